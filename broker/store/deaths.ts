// Which pods and ServiceAccounts were reported dead, so that a broker knows after a restart, and replicas of one another.
import { type Core, checkTexts, repeatInBatches } from './core.ts';
import type { DeathRow } from './schema.ts';
import type { DeathStore, StoredDeath } from './store.ts';

/** What one message of PostgreSQL can name. */
const BATCH = 100;

export function createDeathStore(core: Core): DeathStore {
  return {
    add: async (deaths) => {
      const rows = deaths.map(toRow);
      rows.forEach(checkTexts);
      const added: StoredDeath[] = [];
      for (const batch of toBatches(rows)) added.push(...(await addBatch(core, batch)));
      return added;
    },
    list: ({ now, reportedSince }) =>
      core.read(async (db) => {
        const rows = await db
          .selectFrom('coatcheck_deaths')
          .selectAll()
          .where('until', '>', now)
          .where('reported_at', '>=', reportedSince)
          .orderBy('reported_at')
          .execute();
        return rows.map(toDeath);
      }),
    findMany: (cluster, uids) =>
      core.read(async (db) => {
        if (uids.length === 0) return [];
        const rows = await db
          .selectFrom('coatcheck_deaths')
          .selectAll()
          .where('cluster', '=', cluster)
          .where('uid', 'in', [...uids])
          .execute();
        return rows.map(toDeath);
      }),
  };
}

/** Takes out what ended; resolves to how many. @param before seconds since the epoch */
export function sweepDeaths(core: Core, before: number, batch: number): Promise<number> {
  return repeatInBatches(
    (limit) =>
      core.write(async ({ db }) => {
        const ended = await db
          .selectFrom('coatcheck_deaths')
          .select(['cluster', 'uid', 'kind'])
          .where('until', '<=', before)
          .limit(limit)
          .execute();
        if (ended.length === 0) return 0;
        const { numDeletedRows } = await db
          .deleteFrom('coatcheck_deaths')
          .where('until', '<=', before)
          .where(
            'uid',
            'in',
            ended.map(({ uid }) => uid),
          )
          .executeTakeFirst();
        return Math.min(limit, Number(numDeletedRows));
      }),
    batch,
  );
}

/** One transaction, and one change for each cluster in it. */
function addBatch(core: Core, rows: readonly DeathRow[]): Promise<readonly StoredDeath[]> {
  return core.write(async ({ db, changed }) => {
    const added = await db
      .insertInto('coatcheck_deaths')
      .values([...rows])
      .onConflict((conflict) => conflict.doNothing())
      .returningAll()
      .execute();
    for (const [cluster, dead] of Map.groupBy(added, (row) => row.cluster))
      changed({ topic: 'deaths', cluster, uids: dead.map(({ uid }) => uid) });
    return added.map(toDeath);
  });
}

function toBatches<T>(items: readonly T[]): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / BATCH) }, (_, index) =>
    items.slice(index * BATCH, (index + 1) * BATCH),
  );
}

function toRow({ cluster, uid, kind, diedAt, reportedAt, until }: StoredDeath): DeathRow {
  return { cluster, uid, kind, died_at: diedAt, reported_at: reportedAt, until };
}

function toDeath(row: DeathRow): StoredDeath {
  const { cluster, uid, until } = row;
  const kind = row.kind === 'ServiceAccount' ? row.kind : 'Pod';
  return { cluster, uid, kind, diedAt: row.died_at, reportedAt: row.reported_at, until };
}
