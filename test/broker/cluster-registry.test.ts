// Clusters and pushed keys of several replicas on one store: what a replica does that has not heard yet of what another one
// wrote, and what becomes of keys that were too old when their cluster was registered again.
import { expect } from 'chai';
import { type ClusterRegistry, createClusterRegistry } from '../../broker/cluster-registry.ts';
import { createClusterKeys } from '../../broker/identity/cluster-keys.ts';
import { createClusterTable } from '../../broker/identity/cluster-table.ts';
import type { Cluster } from '../../broker/identity/clusters.ts';
import { parseKeySet } from '../../broker/identity/key-set.ts';
import { SIGNING_ALGORITHMS } from '../../broker/identity/keys.ts';
import type { Store, StoreChange } from '../../broker/store/store.ts';
import { createLogger } from '../../common/log.ts';
import { createSigningKey, type SigningKey } from '../support/minting.ts';
import { BACKENDS, type Database } from './store/backends.ts';

const [first, second, third] = ['one', 'two', 'three'].map((kid) =>
  createSigningKey('ES256', kid),
) as [SigningKey, SigningKey, SigningKey];
const toJwks = (...keys: readonly SigningKey[]) => ({ keys: keys.map(({ jwk }) => jwk) });

function toSet(...keys: readonly SigningKey[]) {
  const set = parseKeySet(toJwks(...keys), SIGNING_ALGORITHMS);
  if (!set.ok) throw new TypeError('a set that is none');
  return set;
}

const toDocument = (key: SigningKey, more: object = {}) => ({
  kind: 'kubernetes',
  issuer: 'https://kubernetes.default.svc.cluster.local',
  controller: { namespace: 'coatcheck', serviceAccount: 'controller' },
  maxStalenessSeconds: 120,
  keys: { pushed: { jwks: JSON.parse(toSet(key).jwks) as object } },
  ...more,
});

interface Replica {
  readonly registry: ClusterRegistry;
  /** Which keys it believes the cluster by; undefined: there is none, or they are too old. */
  findKids(name: string): readonly (string | undefined)[] | undefined;
  put(name: string, document: object): Promise<unknown>;
  push(name: string, ...keys: readonly SigningKey[]): Promise<unknown>;
}

interface StartOptions {
  /** It hears of no change, and knows what it read at its start. */
  readonly isDeaf?: boolean;
  readonly ownIssuers?: readonly string[];
  /** What the others do after a write of this one, before it goes on. */
  readonly afterWrite?: () => Promise<unknown>;
}

describe('the registry of clusters', () => {
  let database: Database;
  let store: Store;
  let replicas: Replica[];
  beforeEach(async () => {
    const [sqlite] = BACKENDS;
    if (!sqlite) throw new TypeError('no database');
    database = await sqlite.create();
    store = await database.open();
    replicas = [];
  });
  afterEach(async () => {
    await Promise.all(replicas.map(({ registry }) => registry.stop()));
    await database.close();
  });

  async function start({ isDeaf = false, ownIssuers = [], afterWrite }: StartOptions = {}) {
    const { clock } = database;
    const log = createLogger({ level: 'error', process: 't', stream: { write: () => undefined } });
    const table = createClusterTable({ clusters: [], ownIssuers });
    const clusterKeys = createClusterKeys({ clusters: [], clock, log });
    const registry = createClusterRegistry({
      table,
      clusterKeys,
      store: {
        clusters: {
          ...store.clusters,
          put: async (...write) => {
            const written = await store.clusters.put(...write);
            await afterWrite?.();
            return written;
          },
          putKeys: async (...write) => {
            const written = await store.clusters.putKeys(...write);
            await afterWrite?.();
            return written;
          },
        },
        onChange: (listener: (change: StoreChange) => void | Promise<void>) => {
          if (!isDeaf) store.onChange(listener);
        },
      },
      rules: { allowsPrivate: false },
      clock,
      log,
    });
    table.onChange(() => {
      clusterKeys.update(table.current());
      registry.applyKeys();
    });
    await registry.start();
    const replica: Replica = {
      registry,
      findKids: (name) => {
        const found = clusterKeys.clusters.find((one) => one.name === name);
        return found?.hasUsableKeys() ? found.usableKeys().map(({ kid }) => kid) : undefined;
      },
      put: (name, document) => {
        const parsed = registry.parse(name, document);
        if (!parsed.ok) throw new TypeError('an entry that is none');
        const updatedAt = Math.floor(clock.now() / 1000);
        return registry.put(
          { name, document, updatedAt, updatedBy: 'test' },
          { parsed: parsed.cluster as Cluster, expectedVersion: undefined },
        );
      },
      push: (name, ...keys) =>
        registry.pushKeys(name, toSet(...keys), {
          subject: 'test',
          generation: registry.keysGeneration(name),
        }),
    };
    replicas.push(replica);
    return replica;
  }

  async function refusalOf(work: Promise<unknown>): Promise<unknown> {
    try {
      await work;
      return 'none';
    } catch (error) {
      return (error as { refusal?: unknown }).refusal ?? error;
    }
  }

  it('takes no push for a registration that another replica has replaced meanwhile', async () => {
    const other = await start();
    await other.put('edge', toDocument(first));
    const late = await start({ isDeaf: true });
    await other.put('edge', toDocument(second));
    await other.push('edge', third);
    expect(await refusalOf(late.push('edge', first))).to.equal('changed_meanwhile');
    // Near: what the other one has is in place.
    const fresh = await start();
    expect(fresh.findKids('edge')).to.deep.equal(['three']);
  });

  it('takes no push for a cluster that another replica has deleted meanwhile', async () => {
    const other = await start();
    await other.put('edge', toDocument(first));
    const late = await start({ isDeaf: true });
    await other.registry.remove('edge');
    expect(await refusalOf(late.push('edge', second))).to.equal('changed_meanwhile');
    await other.put('edge', toDocument(first));
    expect(other.findKids('edge')).to.deep.equal(['one']);
    expect(await other.push('edge', second)).to.deep.equal({ changed: true });
  });

  it('does not go back to what it wrote itself where another replica has deleted it since', async () => {
    const other = await start();
    const late = await start({ afterWrite: () => other.registry.remove('edge') });
    await late.put('edge', toDocument(first));
    expect(late.findKids('edge')).to.equal(undefined);
    expect(late.registry.findStored('edge')).to.equal(undefined);
  });

  it('does not go back to the keys that it wrote itself where another replica took others since', async () => {
    const other = await start();
    await other.put('edge', toDocument(first));
    const late = await start({ afterWrite: () => other.push('edge', third) });
    await late.push('edge', second);
    expect(late.findKids('edge')).to.deep.equal(['three']);
  });

  it('deletes what was pushed also where the entry does not count', async () => {
    const replica = await start({ ownIssuers: ['https://broker.example.com'] });
    await replica.put('edge', toDocument(first));
    await replica.push('edge', second);
    await replica.put('edge', toDocument(first, { issuer: 'https://broker.example.com' }));
    expect(replica.findKids('edge')).to.equal(undefined);
    await replica.registry.remove('edge');
    await replica.put('edge', toDocument(first));
    expect(replica.findKids('edge')).to.deep.equal(['one']);
  });

  it('begins anew where keys that were pushed were too old when the cluster was registered again', async () => {
    const replica = await start();
    await replica.put('edge', toDocument(first));
    await replica.push('edge', second);
    await database.clock.advance(121_000);
    expect(replica.findKids('edge')).to.equal(undefined);
    await replica.put('edge', toDocument(first));
    expect(replica.findKids('edge')).to.deep.equal(['one']);
    // So does every other replica, and one that starts later.
    expect((await start()).findKids('edge')).to.deep.equal(['one']);
  });

  it('goes on with keys that were pushed where they were not too old', async () => {
    const replica = await start();
    await replica.put('edge', toDocument(first));
    await replica.push('edge', second);
    await database.clock.advance(119_000);
    await replica.put('edge', toDocument(first, { refreshSeconds: 100 }));
    expect(replica.findKids('edge')).to.deep.equal(['two']);
  });
});
