// Tokens and keys while they are inside the process: a value that cannot be printed by accident, the name a
// token goes by in logs and audit, and the scrubbing that is the second line of defence.
import { createHash, timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

const REDACTED = '[redacted]';

/** A string that prints as `[redacted]` however it is printed. Only {@link Secret.reveal} gives it back. */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  reveal(): string {
    return this.#value;
  }

  toString(): string {
    return REDACTED;
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/** The name of a token in logs, audit and errors: the first 16 hex digits of its SHA-256. */
export function tokenFingerprint(token: string): string {
  return createHash('sha256').update(token).digest('hex').slice(0, 16);
}

/** Compares two secrets in time that depends on neither; different lengths are compared by digest. */
export function isSameSecret(a: string, b: string): boolean {
  const digest = (value: string) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(a), digest(b));
}

// A compact JWS (or its beginning: two segments already hold the claims), and what is ours: opaque tokens (`cc_`,
// broker/tokens/opaque.ts) and client secrets (`ccs_`), also where they stand right behind a word.
const TOKEN_SHAPES = /\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)*|ccs?_[0-9A-Za-z]{24,}/g;

/** Replaces whatever looks like a token. For text whose author is not us: libraries' errors, other servers' answers. */
export function scrubTokens(text: string): string {
  return text.replace(TOKEN_SHAPES, REDACTED);
}
