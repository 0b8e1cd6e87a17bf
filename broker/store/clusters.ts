// Clusters that were registered through the API, and the keys that clusters pushed. Writers of both take turns at one row,
// so that what a writer checks against all others still holds when it is written; the row counts the versions, which are
// never used again.
import { type Core, checkTexts, type Write } from './core.ts';
import type { ClusterKeysRow, ClusterRow } from './schema.ts';
import {
  type ClusterStore,
  type StoredCluster,
  type StoredClusterKeys,
  type StoredClusters,
  StoreError,
} from './store.ts';

const VERSIONS = 'cluster-version';

export function createClusterStore(core: Core): ClusterStore {
  return {
    read: () => core.read((db) => readAll({ db })),
    put: (cluster, { expectedVersion, registration = '', check }) => {
      const row = {
        name: cluster.name,
        document: JSON.stringify(cluster.document),
        updated_at: cluster.updatedAt,
        updated_by: cluster.updatedBy,
      };
      checkTexts(row);
      return writeChecked(core, check, async (write, guard) => {
        const version = await takeTurn(write);
        const all = await readAll(write);
        const before = all.clusters.find(({ name }) => name === cluster.name);
        if (expectedVersion !== undefined && expectedVersion !== (before?.version ?? 0))
          throw new StoreError('conflict', 'the cluster is not at the expected version');
        guard(all);
        const { name: _name, ...change } = row;
        const written = await write.db
          .insertInto('coatcheck_clusters')
          .values({ ...row, version })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ ...change, version }))
          .returningAll()
          .executeTakeFirstOrThrow();
        await write.db
          .deleteFrom('coatcheck_cluster_keys')
          .where('cluster', '=', cluster.name)
          .where('registration', '!=', registration)
          .execute();
        write.changed({ topic: 'clusters' });
        return toCluster(written);
      });
    },
    remove: (name, { keepsKeys = false } = {}) =>
      core.write(async (write) => {
        await takeTurn(write);
        const { db, changed } = write;
        const gone = await db
          .deleteFrom('coatcheck_clusters')
          .where('name', '=', name)
          .returning('name')
          .executeTakeFirst();
        if (!gone) return false;
        if (!keepsKeys)
          await db.deleteFrom('coatcheck_cluster_keys').where('cluster', '=', name).execute();
        changed({ topic: 'clusters' });
        return true;
      }),
    putKeys: (keys, check) => {
      const row = {
        cluster: keys.cluster,
        registration: keys.registration,
        jwks: keys.jwks,
        pushed_at: keys.pushedAt,
        pushed_by: keys.pushedBy,
      };
      checkTexts(row);
      return writeChecked(core, check, async (write, guard) => {
        const next = await takeTurn(write);
        const all = await readAll(write);
        guard(all);
        const before = all.keys.find(({ cluster }) => cluster === keys.cluster);
        const isSame = before?.registration === keys.registration && before.jwks === keys.jwks;
        const { cluster: _cluster, ...change } = {
          ...row,
          version: isSame ? before.version : next,
        };
        const written = await write.db
          .insertInto('coatcheck_cluster_keys')
          .values({ ...row, ...change })
          .onConflict((conflict) => conflict.column('cluster').doUpdateSet(change))
          .returningAll()
          .executeTakeFirstOrThrow();
        write.changed({ topic: 'clusters' });
        return toKeys(written);
      });
    },
  };
}

type Check = (all: StoredClusters) => void;

/** What a check throws is no failure of the database, whatever it is: it is thrown as it is once all is rolled back. */
async function writeChecked<T>(
  core: Core,
  check: Check,
  work: (write: Write, guard: Check) => Promise<T>,
): Promise<T> {
  let refused: { readonly error: unknown } | undefined;
  const guard: Check = (all) => {
    try {
      check(all);
    } catch (error) {
      refused = { error };
      throw new StoreError('conflict', 'a check refused the write', { cause: error });
    }
  };
  try {
    return await core.write((write) => {
      refused = undefined;
      return work(write, guard);
    });
  } catch (error) {
    throw refused ? refused.error : error;
  }
}

/** The next version; other writers wait until this one is done. */
async function takeTurn({ db }: Write): Promise<number> {
  const { value } = await db
    .insertInto('coatcheck_counters')
    .values({ name: VERSIONS, value: 1 })
    .onConflict((conflict) =>
      conflict
        .column('name')
        .doUpdateSet((eb) => ({ value: eb('coatcheck_counters.value', '+', 1) })),
    )
    .returning('value')
    .executeTakeFirstOrThrow();
  return value;
}

async function readAll({ db }: Pick<Write, 'db'>): Promise<StoredClusters> {
  const clusters = await db.selectFrom('coatcheck_clusters').selectAll().execute();
  const keys = await db.selectFrom('coatcheck_cluster_keys').selectAll().execute();
  return { clusters: clusters.map(toCluster), keys: keys.map(toKeys) };
}

function toCluster(row: ClusterRow): StoredCluster {
  return {
    name: row.name,
    document: JSON.parse(row.document) as unknown,
    version: row.version,
    updatedAt: row.updated_at,
    updatedBy: row.updated_by,
  };
}

function toKeys(row: ClusterKeysRow): StoredClusterKeys {
  const { cluster, registration, jwks, version } = row;
  return { cluster, registration, jwks, version, pushedAt: row.pushed_at, pushedBy: row.pushed_by };
}
