// Key sets as texts, as the store has them: which registration a push belongs to, and which keys are another cluster's. No
// key is parsed here.
import { createHash } from 'node:crypto';
import type { StoredCluster, StoredClusters } from './store/store.ts';

/** Names what a cluster was registered with: the digest of its first key set. */
export function toRegistration(first: string): string {
  return createHash('sha256').update(first).digest('hex');
}

/**
 * Whether a key of the set is that of another cluster that is in the table, or was registered a moment ago elsewhere: one
 * that it pushed, or was registered with.
 */
export function isTaken(
  set: string,
  { name, all, inTable }: { name: string; all: StoredClusters; inTable: readonly string[] },
): boolean {
  const others = all.clusters.filter((one) => one.name !== name);
  const names = new Set([...inTable, ...others.map((one) => one.name)]);
  const pushed = all.keys.filter(({ cluster }) => cluster !== name && names.has(cluster));
  const taken = new Set(
    [...pushed.map(({ jwks }) => jwks), ...others.map(toFirst)].flatMap(toKeyIds),
  );
  return toKeyIds(set).some((id) => taken.has(id));
}

/** The set that an entry of the API was registered with; an empty one where it has none. */
function toFirst({ document }: StoredCluster): string {
  const { keys } = Object(document) as { keys?: { pushed?: { jwks?: unknown } } };
  return JSON.stringify(keys?.pushed?.jwks ?? { keys: [] });
}

/** What makes each key of a set the key it is (RFC 7638 §3.2), in the order of the set. */
function toKeyIds(jwks: string): readonly string[] {
  const { keys } = JSON.parse(jwks) as { keys: readonly Readonly<Record<string, unknown>>[] };
  return keys.map(({ kty, crv, n, e, x, y }) => JSON.stringify([kty, crv, n, e, x, y]));
}
