// How long a client token lives: the smallest of five caps, and which one it was. Operators ask "why only five minutes".
import type { TokenSpec } from '../roles/role.ts';

/** In the order in which a tie is told. */
export const EXPIRY_CAPS = ['ttl', 'maxTtl', 'ceiling', 'unbound', 'subject'] as const;
export type ExpiryCap = (typeof EXPIRY_CAPS)[number];

/** No pod's death ends the token of a subject without a pod: it lives an hour at most, whatever the role says. */
export const MAX_UNBOUND_SECONDS = 3600;

export interface Expiry {
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  readonly cap: ExpiryCap;
  /**
   * When each cap would end the token, seconds since the epoch; `subject` is missing where the role lets it outlive,
   * `unbound` where a pod is named.
   */
  readonly caps: Readonly<Partial<Record<ExpiryCap, number>>>;
}

/** May lie in the past: that is for the caller to refuse. */
export function limitExpiry(given: {
  issuedAt: number;
  /** Of a renewal: when the token was issued first. Everything but `ttl` counts from there. */
  firstIssuedAt?: number;
  /** Of a renewal: the end that was promised at the issue as the last one. */
  maxExpiresAt?: number;
  token: Pick<TokenSpec, 'ttlSeconds' | 'maxTtlSeconds' | 'outliveSubject'>;
  ceilingSeconds: number;
  subjectExpiresAt: number;
  /** Whether the subject token names a pod. */
  isBound: boolean;
}): Expiry {
  const { issuedAt, token, firstIssuedAt = issuedAt, maxExpiresAt = Infinity } = given;
  const caps: Partial<Record<ExpiryCap, number>> = {
    ttl: issuedAt + token.ttlSeconds,
    maxTtl: Math.min(firstIssuedAt + token.maxTtlSeconds, maxExpiresAt),
    ceiling: firstIssuedAt + given.ceilingSeconds,
    ...(!given.isBound && { unbound: firstIssuedAt + MAX_UNBOUND_SECONDS }),
    ...(!token.outliveSubject && { subject: given.subjectExpiresAt }),
  };
  const expiresAt = Math.min(...Object.values(caps));
  return { expiresAt, cap: EXPIRY_CAPS.find((cap) => caps[cap] === expiresAt) ?? 'ttl', caps };
}

/** The last end that renewals can reach: every cap but `ttl`, which a renewal counts anew. */
export function toMaxExpiresAt({ caps }: Expiry): number {
  const { ttl: _ttl, ...lasting } = caps;
  return Math.min(...Object.values(lasting));
}
