// Secrets of registered clients: made here, kept as argon2id hashes (RFC 9106) in PHC form, compared here. What was
// compared once is remembered under a key of this process, because introspection asks thousands of times a second and
// one comparison takes 30 ms and 19 MiB on purpose.
import { argon2, hash as hashOnce, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../common/clock.ts';
import { Secret } from '../common/secret.ts';
import { BrokerError } from './errors.ts';
import { createLimiter, LimiterFull } from './identity/limiter.ts';
import { type RandomBytes, randomText, toChecksum } from './tokens/opaque.ts';

/** Distinct from a token's: a scanner, and the log's scrubber, know what they found. */
export const CLIENT_SECRET_PREFIX = 'ccs_';
const SECRET_LENGTH = 43;
/** Longer ones are no secrets of anybody; hashing them would be a lever. */
const MAX_SECRET_LENGTH = 1024;

// OWASP's least for argon2id. Secrets made here hold 256 bits and need none of it; those that operators bring may.
const COST = { memory: 19_456, passes: 2, parallelism: 1, tagLength: 32 } as const;
const SALT_BYTES = 16;
/** What another product may have hashed with, and what a writer to the database may make us spend. */
const MAX_COST = { memory: 262_144, passes: 10, parallelism: 4 } as const;
const PHC =
  /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

const REMEMBER_MS = 10 * 60_000;
const MAX_REMEMBERED = 1000;
/** Each comparison takes a thread of the pool that files and DNS need too. */
const LIMITS = { maxInFlight: 2, maxWaiting: 64, maxWaitMs: 2000 } as const;

/** A new secret, to be shown once: `ccs_`, 43 base62 letters, and the checksum of opaque tokens (docs/tokens.md). */
export function newClientSecret(randomBytes: RandomBytes): Secret {
  const body = CLIENT_SECRET_PREFIX + randomText(SECRET_LENGTH, randomBytes);
  return new Secret(body + toChecksum(body));
}

/** The PHC string that is stored. */
export async function hashClientSecret(secret: Secret, randomBytes: RandomBytes): Promise<string> {
  const salt = Buffer.from(randomBytes(SALT_BYTES));
  const hash = await derive(secret.reveal(), { ...COST, salt });
  const { memory, passes, parallelism } = COST;
  return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${toPlainBase64(salt)}$${toPlainBase64(hash)}`;
}

export interface SecretChecker {
  /**
   * Whether `secret` is one of those that were hashed.
   * @throws BrokerError `too_many_requests` where too many comparisons wait
   */
  isOneOf(hashes: readonly string[], secret: Secret): Promise<boolean>;
}

/** @param deps.key 32 random bytes of this process: what is remembered is worth nothing outside it */
export function createSecretChecker(deps: {
  readonly key: Uint8Array;
  readonly clock: Clock;
}): SecretChecker {
  const { clock } = deps;
  const key = Buffer.from(deps.key).toString('hex');
  const limiter = createLimiter({ ...LIMITS, clock });
  // Good ones only: remembering bad ones would let a flood push the good ones out. First is least recently used.
  const remembered = new Map<string, number>();
  // A receiver that starts asks by many connections at once: they share the first comparison.
  const comparing = new Map<string, Promise<boolean>>();

  function isRemembered(name: string): boolean {
    const at = remembered.get(name);
    remembered.delete(name);
    if (at === undefined || clock.now() - at >= REMEMBER_MS) return false;
    // From now on again: who asks all the time must not have to queue behind a flood of wrong secrets.
    remembered.set(name, clock.now());
    return true;
  }

  function remember(name: string): void {
    remembered.set(name, clock.now());
    const [oldest] = remembered.keys();
    if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
  }

  return {
    isOneOf: async (hashes, secret) => {
      if (secret.reveal().length > MAX_SECRET_LENGTH) return false;
      for (const hash of hashes) {
        // The hash is part of the name: a secret that was taken away is forgotten with it. No HMAC, which costs 17 µs
        // where this costs one: nobody sees a name or can make one longer.
        const name = hashOnce('sha256', `${key}\n${hash}\n${secret.reveal()}`, 'base64');
        if (isRemembered(name)) return true;
        if (await compareOnce(name, hash, () => isHashOf(hash, secret))) return true;
      }
      return false;
    },
  };

  function compareOnce(name: string, hash: string, task: () => Promise<boolean>): Promise<boolean> {
    const known = comparing.get(name);
    if (known) return known;
    const result = runLimited(hash, task)
      .then((isSame) => {
        if (isSame) remember(name);
        return isSame;
      })
      .finally(() => comparing.delete(name));
    comparing.set(name, result);
    return result;
  }

  /** Who guesses one client's secret keeps no other client waiting. */
  async function runLimited(hash: string, task: () => Promise<boolean>): Promise<boolean> {
    try {
      return await limiter.run({ group: hash, member: '' }, task);
    } catch (error) {
      if (!(error instanceof LimiterFull)) throw error;
      throw new BrokerError('too_many_requests', 'too many client secrets are being compared', {
        cause: error,
        retryAfterSeconds: error.retryAfterSeconds,
      });
    }
  }
}

/** @throws Error where the stored text is no argon2id hash within {@link MAX_COST}; it quotes nothing */
async function isHashOf(phc: string, secret: Secret): Promise<boolean> {
  const [, m, t, p, salt = '', hash = ''] = PHC.exec(phc) ?? [];
  const cost = { memory: Number(m), passes: Number(t), parallelism: Number(p) };
  const isFair =
    cost.memory <= MAX_COST.memory &&
    cost.passes <= MAX_COST.passes &&
    cost.parallelism <= MAX_COST.parallelism;
  if (!isFair) throw new Error('a stored client secret is no argon2id hash that we compare');
  const wanted = Buffer.from(hash, 'base64');
  const got = await derive(secret.reveal(), {
    ...cost,
    tagLength: wanted.length,
    salt: Buffer.from(salt, 'base64'),
  });
  return timingSafeEqual(got, wanted);
}

interface Derivation {
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly tagLength: number;
  readonly salt: Buffer;
}

function derive(message: string, { salt, ...cost }: Derivation): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  argon2('argon2id', { message, nonce: salt, ...cost }, (error, key) => {
    if (error) reject(error);
    else resolve(key);
  });
  return promise;
}

function toPlainBase64(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
