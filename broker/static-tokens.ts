// Static tokens: made by name, with policies, an end and perhaps an audience; shown once and stored as a hash.
import { type Clock, nowSeconds } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import { BrokerError } from './errors.ts';
import type { StoredToken, TokenStore } from './store/store.ts';
import { newOpaqueToken, type RandomBytes } from './tokens/opaque.ts';

export interface StaticTokenRequest {
  readonly name: string;
  readonly description?: string;
  /** None: it opens the broker itself, and no receiver. */
  readonly audience?: string;
  readonly policies: readonly string[];
  readonly scopes: readonly string[];
  readonly ttlSeconds: number;
}

export interface StaticTokens {
  /**
   * Durable when it resolves; the token is nowhere else.
   * @param by the subject of whoever asked
   * @throws StoreError conflict: a live static token has the name
   */
  create(
    request: StaticTokenRequest,
    by: string,
  ): Promise<{ readonly token: Secret; readonly stored: StoredToken }>;
}

export interface StaticTokensDeps {
  readonly tokens: Pick<TokenStore, 'insert'>;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  /** The operator's ceiling. */
  readonly maxTtlSeconds: number;
}

export function createStaticTokens(deps: StaticTokensDeps): StaticTokens {
  return {
    create: async (request, by) => {
      if (request.ttlSeconds > deps.maxTtlSeconds)
        throw new BrokerError('beyond_own', "beyond the operator's ceiling on static tokens");
      const { token, accessor, hash } = newOpaqueToken(deps.randomBytes);
      const stored = toStoredStatic(request, { accessor, hash, by, now: nowSeconds(deps.clock) });
      await deps.tokens.insert(stored);
      return { token, stored };
    },
  };
}

/** The row of a static token. */
export function toStoredStatic(
  request: StaticTokenRequest,
  made: { accessor: string; hash: string; by: string; now: number },
): StoredToken {
  const expiresAt = made.now + request.ttlSeconds;
  return {
    hash: made.hash,
    accessor: made.accessor,
    kind: 'static',
    subject: toStaticSubject(request.name),
    ...(request.audience !== undefined && { audience: request.audience }),
    scopes: request.scopes,
    policies: request.policies,
    name: request.name,
    ...(request.description !== undefined && { description: request.description }),
    issuedAt: made.now,
    expiresAt,
    maxExpiresAt: expiresAt,
    facts: { createdBy: made.by },
  };
}

/** A prefix of its own: the name of a token must not pass for a client or a person. */
export function toStaticSubject(name: string): string {
  return `static:${name}`;
}
