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
  token: Pick<TokenSpec, 'ttlSeconds' | 'maxTtlSeconds' | 'outliveSubject'>;
  ceilingSeconds: number;
  subjectExpiresAt: number;
  /** Whether the subject token names a pod. */
  isBound: boolean;
}): Expiry {
  const { issuedAt, token } = given;
  const caps: Partial<Record<ExpiryCap, number>> = {
    ttl: issuedAt + token.ttlSeconds,
    maxTtl: issuedAt + token.maxTtlSeconds,
    ceiling: issuedAt + given.ceilingSeconds,
    ...(!given.isBound && { unbound: issuedAt + MAX_UNBOUND_SECONDS }),
    ...(!token.outliveSubject && { subject: given.subjectExpiresAt }),
  };
  const expiresAt = Math.min(...Object.values(caps));
  return { expiresAt, cap: EXPIRY_CAPS.find((cap) => caps[cap] === expiresAt) ?? 'ttl', caps };
}
