// Things to keep, as small as they may be; a test states what matters to it.
import { createHash } from 'node:crypto';
import type {
  Denial,
  StoredDecision,
  StoredKey,
  StoredToken,
} from '../../../broker/store/store.ts';

/** Seconds since the epoch of the suites' clock. */
export const NOW = Date.UTC(2026, 10, 22, 12) / 1000;

/** @param name two of one name have the same hash and the same accessor */
export function sampleToken(name: string, change: Partial<StoredToken> = {}): StoredToken {
  const hash = createHash('sha256').update(name).digest('hex');
  return {
    hash,
    accessor: hash.slice(0, 24),
    kind: 'client',
    subject: 'k8s:local:shop:checkout',
    scopes: [],
    policies: [],
    issuedAt: NOW,
    expiresAt: NOW + 900,
    maxExpiresAt: NOW + 3600,
    facts: {},
    ...change,
  };
}

export function sampleDenial(id: string, change: Partial<Denial> = {}): Denial {
  const about = change.match ? {} : { tokenId: `jti-${id}` };
  return { id, ...about, until: NOW + 900, createdAt: NOW, by: 'self', ...change };
}

export function sampleKey(kid: string, change: Partial<StoredKey> = {}): StoredKey {
  return { kid, sealed: `sealed-${kid}`, createdAt: NOW, signsFrom: NOW + 600, ...change };
}

export function sampleDecision(id: string, change: Partial<StoredDecision> = {}): StoredDecision {
  return { id, at: NOW * 1000, outcome: 'allow', record: { id, tried: [] }, ...change };
}
