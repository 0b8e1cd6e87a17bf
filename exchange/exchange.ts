// One try for one audience: read the ServiceAccount token, ask the broker (RFC 8693), look hard at the answer.
import type { Clock } from '../common/clock.ts';
import {
  type ErrorResponse,
  GRANT_TOKEN_EXCHANGE,
  HEADER_CA_DIGEST,
  HEADER_REQUEST_ID,
  TOKEN_TYPE_JWT,
  type TokenResponse,
} from '../common/protocol/oauth.ts';
import type { PodAudience, TokenFileContent } from '../common/protocol/pod.ts';
import type { Dialer } from './dial.ts';
import { createFailure, type Failure, toRefusal, toSafeText } from './failure.ts';
import { findServiceAccount, readIdentity } from './identity.ts';
import type { Log } from './log.ts';
import { parseRetryAfter } from './retry.ts';
import type { TransportAnswer } from './transport.ts';
import { type Trust, toNextTrust } from './trust.ts';

const MAX_ANSWER_BYTES = 256 * 1024;
const MAX_TOKEN_LENGTH = 64 * 1024;
/** Ten years: longer is a mistake, and beyond it dates stop being representable. */
const MAX_LIFE_SECONDS = 315_360_000;

export interface IssuedToken {
  readonly content: TokenFileContent;
  /** When it was asked for: the life is counted from here, so that the file never claims more than the broker gave. */
  readonly startMs: number;
  readonly endMs: number;
}

export type Outcome =
  | { ok: true; token: IssuedToken }
  | { ok: false; failure: Failure; serviceAccount: string | undefined };

export interface ExchangerOptions {
  dial: Dialer;
  identityDir: string;
  trust: Trust;
  /** Only over TLS with a bundle of our own may an answer name the next bundle. */
  canAdopt: boolean;
  clock: Clock;
  log: Log;
}

/** Makes tries, and keeps what they have in common: the certificates trusted now. */
export class Exchanger {
  readonly #options: ExchangerOptions;
  #trust: Trust;

  constructor(options: ExchangerOptions) {
    this.#options = options;
    this.#trust = options.trust;
  }

  get trust(): Trust {
    return this.#trust;
  }

  /** Never throws: what goes wrong is the outcome. */
  async tryOnce(audience: PodAudience, signal: AbortSignal): Promise<Outcome> {
    const { dial, identityDir, clock } = this.#options;
    let subject: string;
    try {
      subject = readIdentity(identityDir, audience.name);
    } catch (error) {
      const failure = createFailure('identity_unreadable', (error as Error).message);
      return { ok: false, failure, serviceAccount: undefined };
    }
    const startMs = clock.now();
    const trust = this.#trust;
    const dialed = await dial({
      headers: toHeaders(trust),
      body: toForm(audience, subject),
      ca: trust.bundle,
      signal,
      maxBytes: MAX_ANSWER_BYTES,
    });
    const read = dialed.ok
      ? readAnswer(dialed.answer, { audience, subject, startMs, nowMs: clock.now() })
      : dialed;
    if (!read.ok) return { ...read, serviceAccount: findServiceAccount(subject) };
    this.#adopt(read.nextBundle, trust);
    return { ok: true, token: read.token };
  }

  #adopt(announced: unknown, verifiedBy: Trust): void {
    const { canAdopt, clock, log } = this.#options;
    // Another audience's answer may have brought the next bundle meanwhile; this one was verified by the one before.
    if (announced === undefined || !canAdopt || verifiedBy !== this.#trust) return;
    try {
      const next = toNextTrust(announced, clock.now());
      if (next.digest === verifiedBy.digest) return;
      this.#trust = next;
      log.info('trusting the CA bundle the broker announced', { sha256: next.digest });
    } catch (error) {
      log.warn('the CA bundle the broker announced is not usable; keeping the one before', {
        problem: (error as Error).message,
      });
    }
  }
}

function toHeaders(trust: Trust): Record<string, string> {
  return {
    'Content-Type': 'application/x-www-form-urlencoded',
    Accept: 'application/json',
    'User-Agent': 'coatcheck-exchange',
    ...(trust.digest !== undefined && { [HEADER_CA_DIGEST]: trust.digest }),
  };
}

function toForm({ audience, role }: PodAudience, subject: string): string {
  return new URLSearchParams({
    grant_type: GRANT_TOKEN_EXCHANGE,
    subject_token_type: TOKEN_TYPE_JWT,
    subject_token: subject,
    audience,
    ...(role !== undefined && { role }),
  }).toString();
}

interface Asked {
  audience: PodAudience;
  subject: string;
  startMs: number;
  nowMs: number;
}

type Read = { ok: true; token: IssuedToken; nextBundle: unknown } | { ok: false; failure: Failure };

function readAnswer(answer: TransportAnswer, asked: Asked): Read {
  const body = answer.isTooLong ? undefined : parseObject(answer.body);
  if (answer.status !== 200) {
    const { error_description, reason, correlation_id } = (body ?? {}) as Partial<ErrorResponse>;
    const failure = toRefusal({
      status: answer.status,
      reason:
        typeof reason === 'string' && /^[a-z][a-z0-9_]{0,63}$/.test(reason) ? reason : undefined,
      text: toSafeText(error_description),
      correlationId: toSafeText(correlation_id ?? answer.header(HEADER_REQUEST_ID.toLowerCase())),
      retryAfterMs: parseRetryAfter(answer.header('retry-after'), asked.nowMs),
    });
    return { ok: false, failure };
  }
  if (answer.isTooLong) {
    return {
      ok: false,
      failure: createFailure(
        'answer_too_long',
        `the answer is longer than ${MAX_ANSWER_BYTES / 1024} KiB`,
      ),
    };
  }
  const problem = body === undefined ? 'it is no JSON object' : findProblem(body, asked);
  if (problem !== undefined)
    return {
      ok: false,
      failure: createFailure('answer_invalid', `the answer is unusable: ${problem}`),
    };
  return toIssued(body as unknown as TokenResponse, asked);
}

function toIssued(response: TokenResponse, { audience, startMs }: Asked): Read {
  const endMs = startMs + response.expires_in * 1000;
  const content: TokenFileContent = {
    access_token: response.access_token,
    token_type: 'Bearer',
    issued_token_type: response.issued_token_type,
    // `exp` is in whole seconds, rounded down by the broker: rounded down here too, this never lies after it.
    expires_at: new Date(Math.floor(endMs / 1000) * 1000).toISOString(),
    audience: audience.audience,
    scope: response.scope ?? '',
  };
  return { ok: true, token: { content, startMs, endMs }, nextBundle: response.ca_bundle };
}

const PRINTABLE = /^[\x21-\x7e]+$/;

/** What is wrong with an answer of status 200; undefined where nothing is. Never quotes it. */
function findProblem(
  body: Readonly<Record<string, unknown>>,
  { subject }: Asked,
): string | undefined {
  const {
    access_token: token,
    token_type: type,
    issued_token_type: issued,
    expires_in: life,
    scope,
  } = body;
  if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH || !PRINTABLE.test(token)) {
    return 'access_token must be printable ASCII without whitespace';
  }
  // The apps must never see the ServiceAccount token, not even by a broker's mistake.
  if (token === subject) return 'access_token is the ServiceAccount token itself';
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer')
    return 'token_type must be Bearer';
  if (typeof issued !== 'string' || !PRINTABLE.test(issued))
    return 'issued_token_type must be a token type';
  if (typeof life !== 'number' || !(life > 0 && life <= MAX_LIFE_SECONDS))
    return 'expires_in must be a positive number of seconds';
  if (scope !== undefined && (typeof scope !== 'string' || !/^[\x20-\x7e]*$/.test(scope)))
    return 'scope must be printable ASCII';
  return undefined;
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
