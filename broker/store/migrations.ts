// The schema's way up: numbered steps, forward only, all of them bundled with the program. Kysely's migrator holds a lock
// of the database while it works, so that replicas that start together take turns.
import type { Kysely } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import type { Columns, Dialect } from './dialect.ts';
import { up as first } from './migrations/0001-first.ts';
import { up as deaths } from './migrations/0002-deaths.ts';
import { up as clusters } from './migrations/0003-clusters.ts';
import { StoreError } from './store.ts';

const TABLE = 'coatcheck_migrations';
const LOCK_TABLE = 'coatcheck_migrations_lock';

type Step = (db: Kysely<unknown>, columns: Columns) => Promise<void>;

/** In order. A step that was released is never changed again. */
export const MIGRATIONS: Readonly<Record<string, Step>> = {
  '0001-first': first,
  '0002-deaths': deaths,
  '0003-clusters': clusters,
};

/**
 * Brings the schema up to this program's.
 * @throws StoreError conflict where the database is newer than the program
 */
export async function migrate(
  dialect: Dialect,
  steps: Readonly<Record<string, Step>> = MIGRATIONS,
): Promise<void> {
  const known = Object.keys(steps);
  const applied = await findApplied(dialect);
  const foreign = applied.filter((name) => !known.includes(name));
  if (foreign.length > 0)
    throw new StoreError(
      'conflict',
      `the database was made by a newer version of the broker (it has ${foreign.join(', ')}); start that version or a later one`,
    );
  if (applied.length === known.length) return;
  const { db, close } = await dialect.openForMigrations();
  try {
    const { error } = await createMigrator({
      db,
      columns: dialect.columns,
      steps,
    }).migrateToLatest();
    if (error !== undefined) throw error;
  } finally {
    await close();
  }
}

/** Names of the steps that the database has seen; none before the first. */
async function findApplied({ db, hasTable }: Dialect): Promise<readonly string[]> {
  if (!(await hasTable(TABLE))) return [];
  const rows = await (db as unknown as Kysely<Record<typeof TABLE, { name: string }>>)
    .selectFrom(TABLE)
    .select('name')
    .execute();
  return rows.map(({ name }) => name);
}

function createMigrator({
  db,
  columns,
  steps,
}: {
  db: Dialect['db'];
  columns: Columns;
  steps: Readonly<Record<string, Step>>;
}): Migrator {
  const entries = Object.entries(steps).map(([name, step]): [string, Migration] => [
    name,
    { up: (transaction) => step(transaction as Kysely<unknown>, columns) },
  ]);
  return new Migrator({
    db,
    provider: { getMigrations: async () => Object.fromEntries(entries) },
    migrationTableName: TABLE,
    migrationLockTableName: LOCK_TABLE,
  });
}
