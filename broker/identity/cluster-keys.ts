// The keys of all clusters: one cache each, kept fresh in the background, and watched for a key that two clusters
// have. Such a key proves neither, so its tokens are refused until the operator has sorted it out.
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import {
  type Cluster,
  type ClusterWithKeySource,
  type FetchedKeys,
  hasKeySource,
} from './clusters.ts';
import type { ParsedToken } from './jose.ts';
import {
  createKeyCache,
  findCandidates,
  type KeyCache,
  type KeyCacheOptions,
  type KeysEvent,
  type LoadedKeys,
} from './jwks.ts';
import { readKeySet } from './key-set.ts';
import { type LoadKeys, toLoadKeys } from './key-sources.ts';
import { isSignedBy, type VerificationKey } from './keys.ts';
import { createPushedKeyCache, type PushedKeyCache, type PushedKeys } from './pushed-keys.ts';

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
  /** As the table is now; another list after {@link ClusterKeys.update}. */
  readonly clusters: readonly ClusterWithKeys[];
  /** Another cluster that has the same key, and goes before this one or stands beside it. */
  findSharing(cluster: string, key: VerificationKey): string | undefined;
  /** Another cluster that has one of the keys, usable or not, whatever its place. */
  findHolder(cluster: string, keys: readonly VerificationKey[]): string | undefined;
  /**
   * The table is another one. Entries whose source of keys is the same go on with the keys they have; what belongs to the
   * others ends.
   */
  update(clusters: readonly Cluster[]): void;
  /** What the controller of a cluster pushed; nothing where its entry takes no pushes. */
  replacePushed(cluster: string, pushed: PushedKeys): void;
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
  toLoad?: (cluster: ClusterWithFetchedKeys) => LoadKeys;
}

export type ClusterWithFetchedKeys = Cluster & { readonly keys: FetchedKeys };

/** One entry of the table, and what goes on for it until {@link Held.stopping} aborts. */
interface Held {
  readonly cluster: ClusterWithKeySource;
  readonly cache: KeyCache | PushedKeyCache;
  readonly withKeys: ClusterWithKeys;
  readonly stopping: AbortController;
}

/** Makes the key caches of the clusters table; nothing is fetched before `start`, or the first token. */
export function createClusterKeys(options: ClusterKeysOptions): ClusterKeys {
  const { clock, log, onEvent } = options;
  const sharing = createSharedKeyWatch({ log, onEvent });
  const running = new Set<Promise<void>>();
  let isStarted = false;
  let held: readonly Held[] = [];
  let clusters: readonly ClusterWithKeys[] = [];
  update(options.clusters);

  function update(table: readonly Cluster[]): void {
    const before = new Map(held.map((one) => [one.cluster.name, one]));
    held = table.filter(hasKeySource).map((cluster) => {
      const known = before.get(cluster.name);
      if (known?.cluster === cluster) {
        before.delete(cluster.name);
        return known;
      }
      return hold(cluster, known);
    });
    for (const { stopping } of before.values()) stopping.abort();
    const names = new Set(held.map(({ cluster }) => cluster.name));
    for (const name of before.keys()) if (!names.has(name)) sharing.remove(name);
    clusters = held.map(({ withKeys }) => withKeys);
  }

  function hold(cluster: ClusterWithKeySource, known: Held | undefined): Held {
    const stopping = new AbortController();
    const before =
      known && isSameSource(known.cluster, cluster) ? known.cache.findLoaded() : undefined;
    const cache: Held['cache'] = createCache(cluster, {
      before,
      onEvent: (event) => {
        // A fetch of an entry that is gone may still end.
        if (stopping.signal.aborted) return;
        if (event.kind === 'loaded') sharing.update(cluster, cache.findLoaded()?.keys ?? []);
        onEvent?.(event);
      },
    });
    sharing.update(cluster, cache.findLoaded()?.keys ?? []);
    const one = { cluster, cache, withKeys: toClusterWithKeys(cluster, cache), stopping };
    if (isStarted) run(one);
    return one;
  }

  function createCache(
    cluster: ClusterWithKeySource,
    {
      before,
      onEvent: tell,
    }: { before: LoadedKeys | undefined } & Pick<KeyCacheOptions, 'onEvent'>,
  ): Held['cache'] {
    const { keys } = cluster;
    const around = { cluster, clock, log, onEvent: tell };
    if (keys.from === 'pushed') {
      // Whoever wrote them into the table said so when it was read.
      const first = before ?? { keys: readKeySet(keys.first), loadedAt: clock.now() };
      return createPushedKeyCache({ ...around, first });
    }
    const fetched = { ...cluster, keys };
    const { toLoad = (one: ClusterWithFetchedKeys) => toLoadKeys(one) } = options;
    return createKeyCache({ ...around, load: toLoad(fetched), before });
  }

  function run({ cache, stopping }: Held): void {
    const loop: Promise<void> = cache.keepFresh(stopping.signal).finally(() => {
      running.delete(loop);
    });
    running.add(loop);
  }

  return {
    get clusters() {
      return clusters;
    },
    findSharing: sharing.find,
    findHolder: sharing.findHolder,
    update,
    replacePushed: (name, pushed) => {
      const one = held.find(({ cluster }) => cluster.name === name);
      if (one && 'replace' in one.cache) one.cache.replace(pushed);
    },
    start: async () => {
      isStarted = true;
      const first = Promise.all(held.map(({ cache }) => cache.refresh()));
      held.forEach(run);
      await first;
    },
    stop: async () => {
      isStarted = false;
      for (const { stopping } of held) stopping.abort();
      await Promise.all(running);
    },
    findObstacles: () =>
      held
        .filter(({ cache }) => !cache.findUsable())
        .map(({ cluster }) => `cluster ${cluster.name} has no usable keys`),
  };
}

/** Keys that came from there are still the keys of this entry. Discovery believes documents of the entry's issuers. */
function isSameSource(a: ClusterWithKeySource, b: ClusterWithKeySource): boolean {
  const toText = ({ keys, issuers }: ClusterWithKeySource) =>
    JSON.stringify([keys, keys.from === 'discovery' ? issuers : []]);
  return toText(a) === toText(b);
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
  update(cluster: Cluster, keys: readonly VerificationKey[]): void;
  remove(cluster: string): void;
  find(cluster: string, key: VerificationKey): string | undefined;
  findHolder(cluster: string, keys: readonly VerificationKey[]): string | undefined;
}

interface Known {
  readonly isRegistered: boolean;
  readonly thumbprints: ReadonlySet<string>;
}

function createSharedKeyWatch({
  log,
  onEvent,
}: Pick<ClusterKeysOptions, 'log' | 'onEvent'>): SharedKeyWatch {
  const byCluster = new Map<string, Known>();
  const alarmed = new Set<string>();

  function find(
    cluster: string,
    { thumbprint }: Pick<VerificationKey, 'thumbprint'>,
    countsAll = false,
  ): string | undefined {
    const isOfFile = byCluster.get(cluster)?.isRegistered !== true;
    for (const [other, { isRegistered, thumbprints }] of byCluster) {
      if (other === cluster || !thumbprints.has(thumbprint)) continue;
      // Whoever registers a cluster must not stop one that the operator wrote into the file.
      if (countsAll || !(isOfFile && isRegistered)) return other;
    }
    return undefined;
  }

  return {
    find: (cluster, key) => find(cluster, key),
    findHolder: (cluster, keys) => {
      const taken = keys.find((key) => find(cluster, key, true) !== undefined);
      return taken && find(cluster, taken, true);
    },
    remove: (cluster) => void byCluster.delete(cluster),
    update: ({ name: cluster, isRegistered = false }, keys) => {
      const thumbprints = new Set(keys.map((key) => key.thumbprint));
      byCluster.set(cluster, { isRegistered, thumbprints });
      for (const key of keys) {
        const other = find(cluster, key, true);
        const alarm = [cluster, other].sort().join(' ') + key.thumbprint;
        if (other === undefined) continue;
        onEvent?.({ kind: 'shared_key', cluster, other });
        // Every refresh finds it again; one line is enough to act on.
        if (alarmed.has(alarm)) continue;
        if (alarmed.size >= MAX_ALARMED) alarmed.clear();
        alarmed.add(alarm);
        log.error(
          { cluster, other, kid: key.kid },
          'two clusters have the same key; tokens it signed are refused',
        );
      }
    },
  };
}

const MAX_ALARMED = 1000;
