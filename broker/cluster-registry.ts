// Clusters at run time: those that are registered through the API, and the keys that clusters push. Both are in the store,
// from where every replica takes them; without a store a replica keeps what was pushed to it until it ends.
import { type Clock, nowSeconds } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { createClusterFollower } from './cluster-following.ts';
import { isTaken, toRegistration } from './cluster-registration.ts';
import type { ClusterKeys } from './identity/cluster-keys.ts';
import type { ClusterTable, ParsedEntry, RegisteredEntry } from './identity/cluster-table.ts';
import { type Cluster, type FetchedKeys, hasKeySource } from './identity/clusters.ts';
import { readKeySet } from './identity/key-set.ts';
import { toLoadKeys } from './identity/key-sources.ts';
import { parseJwks, type VerificationKey } from './identity/keys.ts';
import { parseRegisteredEntry, type RegisteredRules } from './identity/registered-entry.ts';
import type { Store, StoredCluster, StoredClusterKeys, StoredClusters } from './store/store.ts';

/** A set that {@link import('./identity/key-set.ts').parseKeySet} found good. */
export interface KeySet {
  readonly keys: readonly VerificationKey[];
  readonly jwks: string;
}

/** Why something is not written, with what the caller is told. */
export const REFUSALS = {
  not_pushed: 'of this cluster are not pushed: its entry says where they come from',
  key_conflict: 'hold a key of another cluster',
  // Its sender may be one that the change shut out.
  changed_meanwhile: 'changed while this request was under way; send it again',
  unreachable: "could not be fetched from there; the broker's log says why",
  full: 'cannot be those of one more cluster: there are as many as can be',
} as const;
export type Refusal = keyof typeof REFUSALS;

export interface ClusterRegistry {
  readonly table: ClusterTable;
  /** As the store has it, by name. */
  findStored(name: string): StoredCluster | undefined;
  /** The last push that counts. */
  findPush(name: string): Pick<StoredClusterKeys, 'pushedAt' | 'pushedBy'> | undefined;
  parse(name: string, document: unknown): ParsedEntry;
  /**
   * Whether its keys can be had, where they are to be fetched, and are nobody else's.
   * @throws RegistrationRefused
   */
  checkKeys(cluster: Cluster): Promise<void>;
  /** @throws StoreError, also `conflict` where it is not at the version; {@link RegistrationRefused} */
  put(
    cluster: Omit<StoredCluster, 'version'>,
    options: {
      readonly parsed: Cluster;
      readonly expectedVersion: number | undefined;
    },
  ): Promise<StoredCluster>;
  /** Whether keys that were pushed have become too old: only who registers clusters, or root, can say what they are. */
  isStale(name: string): boolean;
  /** Resolves to whether there was one. @throws StoreError */
  remove(name: string): Promise<boolean>;
  /** Another number after every change of a pushed set: to be read before whoever pushes is authenticated. */
  keysGeneration(name: string): number;
  /** @throws StoreError unavailable, {@link RegistrationRefused}; nothing has changed then */
  pushKeys(
    name: string,
    set: KeySet,
    by: { readonly subject: string; readonly generation: number | undefined },
  ): Promise<{ readonly changed: boolean }>;
  /** Takes the stored keys for the entries of the table, which has just changed. */
  applyKeys(): void;
  /** Resolves when what is stored was read. @throws StoreError */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export class RegistrationRefused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(REFUSALS[refusal]);
    this.name = 'RegistrationRefused';
    this.refusal = refusal;
  }
}

export interface ClusterRegistryDeps {
  readonly table: ClusterTable;
  readonly clusterKeys: Pick<ClusterKeys, 'clusters' | 'findHolder' | 'replacePushed'>;
  readonly store?: Pick<Store, 'clusters' | 'onChange'> | undefined;
  readonly rules: RegisteredRules;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Many more than anybody has; a bound on memory. */
export const MAX_REGISTERED = 1000;

/** The set that an entry with pushed keys has now; a set is parsed once. */
interface KnownSet extends KeySet {
  readonly generation: number;
}

type Keys = Omit<StoredClusterKeys, 'version'> & { readonly version?: number };

export function createClusterRegistry(deps: ClusterRegistryDeps): ClusterRegistry {
  const { table, clusterKeys, store, rules, clock, log } = deps;
  const follower = store && createClusterFollower({ store, take, clock, log });
  let clusters: ReadonlyMap<string, StoredCluster> = new Map();
  let keys: ReadonlyMap<string, Keys> = new Map();
  let entries: ReadonlyMap<string, RegisteredEntry> = new Map();
  const sets = new Map<string, KnownSet>();
  let told = '';

  function take(stored: StoredClusters): void {
    clusters = new Map(stored.clusters.map((one) => [one.name, one]));
    keys = new Map(stored.keys.map((one) => [one.cluster, one]));
    const before = entries;
    entries = new Map(stored.clusters.map((one) => [one.name, toEntry(one, before)]));
    table.replaceRegistered([...entries.values()]);
    applyKeys();
    tell();
  }

  /** A version is parsed once. */
  function toEntry(
    { name, version, document }: StoredCluster,
    before: ReadonlyMap<string, RegisteredEntry>,
  ): RegisteredEntry {
    const known = before.get(name);
    if (known?.version === version) return known;
    return { name, version, parsed: parseRegisteredEntry(document, { name, ...rules }) };
  }

  function tell(): void {
    const problems = table
      .reports()
      .flatMap(({ name, message }) => (message === undefined ? [] : [`${name}: ${message}`]));
    const text = problems.join('\n');
    if (text === told) return;
    told = text;
    if (problems.length > 0) log.warn({ problems }, 'some clusters of the API do not count');
    else log.info('all clusters of the API count');
  }

  function findCounting(cluster: Cluster): Keys | undefined {
    if (cluster.keys?.from !== 'pushed') return undefined;
    const pushed = keys.get(cluster.name);
    return pushed?.registration === toRegistration(cluster.keys.first) ? pushed : undefined;
  }

  function applyKeys(): void {
    for (const cluster of table.current())
      if (cluster.keys?.from === 'pushed') applyTo(cluster, cluster.keys.first);
  }

  function applyTo(cluster: Cluster, first: string): void {
    const { name } = cluster;
    const pushed = findCounting(cluster);
    const jwks = pushed?.jwks ?? first;
    const known = sets.get(name);
    const set =
      known?.jwks === jwks
        ? known
        : { jwks, keys: readKeySet(jwks), generation: (known?.generation ?? 0) + 1 };
    sets.set(name, set);
    // The first set of the file is as fresh as the file was when it was read, that of the API as when it was written.
    const written = cluster.isRegistered ? clusters.get(name)?.updatedAt : undefined;
    const since = pushed?.pushedAt ?? written;
    if (since !== undefined)
      clusterKeys.replacePushed(name, { keys: set.keys, loadedAt: since * 1000 });
  }

  function getStore(): Pick<Store, 'clusters'> {
    if (!store) throw new TypeError('without a store nothing is registered');
    return store;
  }

  function isStale(name: string): boolean {
    const one = clusterKeys.clusters.find((cluster) => cluster.name === name);
    return one !== undefined && !one.hasUsableKeys();
  }

  /** Another replica may have replaced or deleted it, and this one not heard of it yet. */
  function checkRegistered({ name, isRegistered }: Cluster, all: StoredClusters): void {
    const there = all.clusters.find((one) => one.name === name);
    if (isRegistered && there?.version !== clusters.get(name)?.version)
      throw new RegistrationRefused('changed_meanwhile');
  }

  function isInFile(name: string): boolean {
    return table.reports().some((one) => one.name === name && one.source === 'file');
  }

  function checkTaken(name: string, set: string, all: StoredClusters): void {
    const inTable = table.current().map((one) => one.name);
    if (isTaken(set, { name, all, inTable })) throw new RegistrationRefused('key_conflict');
  }

  async function findFetched(cluster: Cluster): Promise<readonly VerificationKey[] | undefined> {
    const { keys: from, issuers, name } = cluster;
    if (!from || from.from === 'pushed') return undefined;
    try {
      const load = toLoadKeys({ keys: from as FetchedKeys, issuers });
      const fetched = parseJwks(await load()).keys;
      if (fetched.length > 0) return fetched;
      log.warn({ cluster: name }, 'a cluster is not registered: there is no usable key');
    } catch (error) {
      log.warn(
        { cluster: name, err: error },
        'a cluster is not registered: its keys cannot be had',
      );
    }
    return [];
  }

  return {
    table,
    applyKeys,
    findStored: (name) => clusters.get(name),
    findPush: (name) => {
      const cluster = table.current().find((one) => one.name === name);
      return cluster && findCounting(cluster);
    },
    parse: (name, document) => parseRegisteredEntry(document, { name, ...rules }),
    checkKeys: async (cluster) => {
      if (!hasKeySource(cluster)) return;
      const fetched = await findFetched(cluster);
      if (fetched?.length === 0) throw new RegistrationRefused('unreachable');
      const first = cluster.keys.from === 'pushed' ? readKeySet(cluster.keys.first) : [];
      if (clusterKeys.findHolder(cluster.name, fetched ?? first) !== undefined)
        throw new RegistrationRefused('key_conflict');
    },
    isStale,
    put: async (row, { parsed, expectedVersion }) => {
      const isPushed = parsed.keys?.from === 'pushed';
      // Too old to prove anything: whoever registers it says anew what its keys are.
      const registration =
        isPushed && !isStale(row.name) ? toRegistration(parsed.keys.first) : undefined;
      const written = await getStore().clusters.put(row, {
        expectedVersion,
        registration,
        check: (all) => {
          const isNew = !all.clusters.some(({ name }) => name === row.name);
          if (isNew && all.clusters.length >= MAX_REGISTERED) throw new RegistrationRefused('full');
          if (isPushed) checkTaken(row.name, parsed.keys.first, all);
        },
      });
      await follower?.afterWrite(() => ({
        clusters: [...[...clusters.values()].filter(({ name }) => name !== row.name), written],
        keys: toRows(keys).filter(
          (one) => one.cluster !== row.name || one.registration === registration,
        ),
      }));
      return written;
    },
    remove: async (name) => {
      // What was pushed for an entry of the file under the same name stays.
      const keepsKeys = isInFile(name);
      const wasThere = await getStore().clusters.remove(name, { keepsKeys });
      await follower?.afterWrite(() => ({
        clusters: [...clusters.values()].filter((one) => one.name !== name),
        keys: toRows(keys).filter(({ cluster }) => keepsKeys || cluster !== name),
      }));
      return wasThere;
    },
    keysGeneration: (name) => sets.get(name)?.generation ?? 0,
    pushKeys: async (name, set, { subject, generation }) => {
      const cluster = table.current().find((one) => one.name === name);
      if (cluster?.keys?.from !== 'pushed') throw new RegistrationRefused('not_pushed');
      const known = sets.get(name);
      const isChangedMeanwhile = generation !== undefined && known?.generation !== generation;
      const isSame = known?.jwks === set.jwks;
      if (isChangedMeanwhile && !isSame) throw new RegistrationRefused('changed_meanwhile');
      if (clusterKeys.findHolder(name, set.keys) !== undefined)
        throw new RegistrationRefused('key_conflict');
      const row: Keys = {
        cluster: name,
        registration: toRegistration(cluster.keys.first),
        jwks: set.jwks,
        pushedAt: nowSeconds(clock),
        pushedBy: subject,
      };
      const version = findCounting(cluster)?.version;
      const written = await store?.clusters.putKeys(row, (all) => {
        checkRegistered(cluster, all);
        checkTaken(name, set.jwks, all);
        const there = all.keys.find((one) => one.cluster === name);
        const isOurs = there?.registration !== row.registration || there.version === version;
        if (!isOurs && there.jwks !== set.jwks) throw new RegistrationRefused('changed_meanwhile');
      });
      const others = () => toRows(keys).filter((one) => one.cluster !== name);
      if (written)
        await follower?.afterWrite(() => ({
          clusters: [...clusters.values()],
          keys: [...others(), written],
        }));
      else {
        keys = new Map(keys).set(name, row);
        applyKeys();
      }
      return { changed: !isSame };
    },
    start: async () => {
      await follower?.start();
      applyKeys();
    },
    stop: async () => follower?.stop(),
  };
}

function toRows(keys: ReadonlyMap<string, Keys>): readonly StoredClusterKeys[] {
  return [...keys.values()].map((row) => ({ version: 0, ...row }));
}
