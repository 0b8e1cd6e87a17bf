// Key sets as texts: which registration a push belongs to, and which keys two sets have in common. No key is parsed here.
import { createHash } from 'node:crypto';

/** Names what a cluster was registered with: the digest of its first key set. */
export function toRegistration(first: string): string {
  return createHash('sha256').update(first).digest('hex');
}

/** What makes each key of a set the key it is (RFC 7638 §3.2), in the order of the set. */
export function toKeyIds(jwks: string): readonly string[] {
  const { keys } = JSON.parse(jwks) as { keys: readonly Readonly<Record<string, unknown>>[] };
  return keys.map(({ kty, crv, n, e, x, y }) => JSON.stringify([kty, crv, n, e, x, y]));
}
