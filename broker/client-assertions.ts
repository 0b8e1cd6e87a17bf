// `private_key_jwt`: a client proves itself by a short JWT of its own (RFC 7523 §3), made for us alone and used once.
import { type Clock, nowSeconds } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import { BrokerError } from './errors.ts';
import { checkUniqueMembers, type ParsedToken, parseToken } from './identity/jose.ts';
import { isSignedBy, parseJwks, type SigningAlgorithm } from './identity/keys.ts';

/** What clients may sign with; the key decides, and a key that states `alg` has no other. */
export const ASSERTION_ALGORITHMS: readonly SigningAlgorithm[] = [
  'ES256',
  'RS256',
  'PS256',
  'EdDSA',
];

/** An assertion that lives longer would have to be remembered longer, and be of use to a thief for as long. */
export const MAX_ASSERTION_SECONDS = 300;
const LEEWAY_SECONDS = 10;
const MAX_ID_LENGTH = 256;
/** Some 8 MiB. Of each client, so that none of them can lock out the others; there are as many as were registered. */
const MAX_REMEMBERED = 50_000;

export interface AssertionChecker {
  /** The client that an assertion says it is from; nothing of it is believed yet. @throws BrokerError */
  findClaimed(assertion: Secret): string;
  /**
   * Checks signature, audience, times and that it was not used before; remembers it.
   * @param jwks the client's, as it is stored
   * @throws BrokerError `client_unauthenticated`, its detail says why; `too_many_requests`
   */
  check(assertion: Secret, client: { readonly id: string; readonly jwks: unknown }): void;
}

export interface AssertionDeps {
  /** Any one of them is us: the issuer and the token endpoint (RFC 7523 §3). */
  readonly audiences: readonly string[];
  readonly clock: Clock;
  /** Bound on what is remembered of each client. */
  readonly maxRemembered?: number;
}

export function createAssertionChecker(deps: AssertionDeps): AssertionChecker {
  const { audiences, clock, maxRemembered = MAX_REMEMBERED } = deps;
  // By client its `jti`, until its assertion has ended. A Map keeps the order, and all live equally long at most.
  const usedBy = new Map<string, Map<string, number>>();

  function useOnce(client: string, { jti, until }: { jti: string; until: number }): void {
    const now = nowSeconds(clock);
    const used = usedBy.get(client) ?? new Map<string, number>();
    usedBy.set(client, used);
    for (const [one, end] of used) {
      if (end > now) break;
      used.delete(one);
    }
    if ((used.get(jti) ?? 0) > now) throw refuse('the assertion was used before');
    if (used.size >= maxRemembered)
      throw new BrokerError(
        'too_many_requests',
        'too many assertions of the client are remembered',
      );
    used.set(jti, until);
  }

  return {
    findClaimed: (assertion) => {
      const { sub } = parse(assertion).payload;
      if (typeof sub !== 'string') throw refuse('sub is not a text');
      return sub;
    },
    check: (assertion, { id, jwks }) => {
      const token = parse(assertion);
      checkSignature(token, jwks);
      checkUniqueMembers(token.payloadText, token.payload, 'payload');
      const { iss, sub, aud, jti } = token.payload;
      if (iss !== id || sub !== id) throw refuse('iss and sub are not the client');
      // A second audience could show it here in the client's name.
      const only: unknown = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud;
      if (!audiences.some((one) => one === only)) throw refuse('aud is not this broker alone');
      const until = checkTimes(token.payload, nowSeconds(clock));
      if (typeof jti !== 'string' || jti === '' || jti.length > MAX_ID_LENGTH)
        throw refuse('jti is not a short text');
      useOnce(id, { jti, until });
    },
  };
}

function parse(assertion: Secret): ParsedToken {
  try {
    return parseToken(assertion.reveal());
  } catch (error) {
    throw refuse(`the assertion is malformed: ${(error as Error).message}`, error);
  }
}

function checkSignature(token: ParsedToken, jwks: unknown): void {
  if (!ASSERTION_ALGORITHMS.includes(token.alg)) throw refuse('the algorithm is not allowed');
  if (jwks === undefined) throw refuse('the client has no keys');
  const { keys } = parseJwks(JSON.stringify(jwks));
  const fitting = keys.filter(
    ({ kid, algorithms }) =>
      algorithms.includes(token.alg) && (token.kid === undefined || kid === token.kid),
  );
  if (!fitting.some((key) => isSignedBy(key, token.alg, token)))
    throw refuse('no key of the client verifies the signature');
}

/** @returns when it ends */
function checkTimes(claims: ParsedToken['payload'], now: number): number {
  const { exp, iat, nbf } = claims;
  if (!Number.isSafeInteger(exp)) throw refuse('exp is not a time in seconds');
  const end = exp as number;
  if (end + LEEWAY_SECONDS <= now) throw refuse('the assertion has expired');
  if (end > now + MAX_ASSERTION_SECONDS + LEEWAY_SECONDS)
    throw refuse(`exp lies more than ${MAX_ASSERTION_SECONDS} s ahead`);
  for (const begin of [iat, nbf]) {
    if (begin === undefined) continue;
    if (!Number.isSafeInteger(begin)) throw refuse('iat or nbf is not a time in seconds');
    if ((begin as number) > now + LEEWAY_SECONDS) throw refuse('the assertion is not valid yet');
  }
  return end + LEEWAY_SECONDS + 1;
}

function refuse(detail: string, cause?: unknown): BrokerError {
  return new BrokerError('client_unauthenticated', detail, { cause });
}
