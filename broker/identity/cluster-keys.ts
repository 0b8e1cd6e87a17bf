// The keys of all clusters: one cache each, kept fresh in the background, and watched for a key that two clusters
// have. Such a key proves neither, so its tokens are refused until the operator has sorted it out.
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { type Cluster, type ClusterWithKeySource, hasKeySource } from './clusters.ts';
import type { ParsedToken } from './jose.ts';
import { createKeyCache, findCandidates, type KeyCache, type KeysEvent } from './jwks.ts';
import { type LoadKeys, toLoadKeys } from './key-sources.ts';
import { isSignedBy, type VerificationKey } from './keys.ts';

export interface Found {
  readonly cluster: ClusterWithKeys;
  readonly key: VerificationKey;
}

export interface ClusterWithKeys {
  readonly name: string;
  readonly kind: Cluster['kind'];
  /** Of an OIDC issuer: how long ago a token may have been issued. */
  readonly maxTokenAgeSeconds?: number;
  readonly issuers: readonly string[];
  /** The cluster's key that verifies the token, among the keys at hand. */
  findSigner(token: ParsedToken): Found | undefined;
  /** Whether a fetch could bring a key for this token: it names an unknown one, or there are none. */
  mayLackKey(token: ParsedToken): boolean;
  /** Why this cluster cannot say that the token is bad; undefined if it can. */
  findFailure(token: ParsedToken): ReturnType<KeyCache['findFailure']>;
  refresh(): Promise<void>;
  /** Milliseconds since the epoch of the last good fetch. */
  findLoadedAt(): number | undefined;
  /** Whether there are keys, and not past their staleness. */
  hasUsableKeys(): boolean;
  /** Those at hand, for lists; empty where there are none or they are too old. */
  usableKeys(): readonly Pick<VerificationKey, 'kid' | 'algorithms'>[];
}

export interface ClusterKeys {
  readonly clusters: readonly ClusterWithKeys[];
  /** Another cluster that has the same key. */
  findSharing(cluster: string, key: VerificationKey): string | undefined;
  /** Fetches all keys and keeps them fresh; resolves after every first fetch has ended, well or not. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** For readiness, a sentence each: clusters without usable keys. */
  findObstacles(): readonly string[];
}

export interface ClusterKeysOptions {
  /** Those without keys are left out. */
  clusters: readonly Cluster[];
  clock: Clock;
  log: Logger;
  /** For metrics; called from background work, must not throw. */
  onEvent?: ((event: KeysEvent) => void) | undefined;
  /** How keys are fetched; the real network and files unless a test gives its own. */
  toLoad?: (cluster: ClusterWithKeySource) => LoadKeys;
}

/** Makes the key caches of the clusters table; nothing is fetched before `start`, or the first token. */
export function createClusterKeys(options: ClusterKeysOptions): ClusterKeys {
  const { clock, log, onEvent, toLoad = (cluster) => toLoadKeys(cluster) } = options;
  const sharing = createSharedKeyWatch({ log, onEvent });
  const clusters = options.clusters.filter(hasKeySource).map((cluster) => {
    const cache: KeyCache = createKeyCache({
      cluster,
      load: toLoad(cluster),
      clock,
      log,
      onEvent: (event) => {
        if (event.kind === 'loaded') sharing.update(cluster.name, cache.findUsable() ?? []);
        onEvent?.(event);
      },
    });
    return { cache, withKeys: toClusterWithKeys(cluster, cache) };
  });
  const stopping = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  return {
    clusters: clusters.map(({ withKeys }) => withKeys),
    findSharing: sharing.find,
    start: async () => {
      const first = Promise.all(clusters.map(({ cache }) => cache.refresh()));
      running = Promise.all(clusters.map(({ cache }) => cache.keepFresh(stopping.signal)));
      await first;
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
    findObstacles: () =>
      clusters
        .filter(({ cache }) => !cache.findUsable())
        .map(({ withKeys }) => `cluster ${withKeys.name} has no usable keys`),
  };
}

function toClusterWithKeys(cluster: Cluster, cache: KeyCache): ClusterWithKeys {
  const candidatesFor = (token: ParsedToken) =>
    cluster.algorithms.includes(token.alg) ? findCandidates(cache.findUsable() ?? [], token) : [];
  const hasKid = (token: ParsedToken) =>
    token.kid !== undefined && (cache.findUsable() ?? []).some((key) => key.kid === token.kid);
  const isPossible = (token: ParsedToken) => cluster.algorithms.includes(token.alg);
  const withKeys: ClusterWithKeys = {
    name: cluster.name,
    kind: cluster.kind,
    ...(cluster.kind === 'oidc' && { maxTokenAgeSeconds: cluster.maxTokenAgeSeconds }),
    issuers: cluster.issuers,
    findSigner: (token) => {
      const key = candidatesFor(token).find((one) => isSignedBy(one, token.alg, token));
      return key && { cluster: withKeys, key };
    },
    mayLackKey: (token) => isPossible(token) && !hasKid(token),
    findFailure: (token) => {
      if (!isPossible(token) || hasKid(token)) return undefined;
      return cache.findFailure() ?? (cache.findUsable() ? undefined : 'keys_unavailable');
    },
    refresh: cache.refresh,
    findLoadedAt: () => cache.loadedAt,
    hasUsableKeys: () => cache.findUsable() !== undefined,
    usableKeys: () => cache.findUsable() ?? [],
  };
  return withKeys;
}

interface SharedKeyWatch {
  update(cluster: string, keys: readonly VerificationKey[]): void;
  find(cluster: string, key: VerificationKey): string | undefined;
}

function createSharedKeyWatch({
  log,
  onEvent,
}: Pick<ClusterKeysOptions, 'log' | 'onEvent'>): SharedKeyWatch {
  const byCluster = new Map<string, ReadonlySet<string>>();
  const alarmed = new Set<string>();
  const find = (cluster: string, { thumbprint }: Pick<VerificationKey, 'thumbprint'>) => {
    for (const [other, thumbprints] of byCluster) {
      if (other !== cluster && thumbprints.has(thumbprint)) return other;
    }
    return undefined;
  };
  return {
    find,
    update: (cluster, keys) => {
      byCluster.set(cluster, new Set(keys.map((key) => key.thumbprint)));
      for (const key of keys) {
        const other = find(cluster, key);
        const alarm = [cluster, other].sort().join(' ') + key.thumbprint;
        // Every refresh finds it again; one line is enough to act on.
        if (other === undefined || alarmed.has(alarm)) continue;
        alarmed.add(alarm);
        log.error(
          { cluster, other, kid: key.kid },
          'two clusters have the same key; tokens it signed are refused',
        );
        onEvent?.({ kind: 'shared_key', cluster, other });
      }
    },
  };
}
