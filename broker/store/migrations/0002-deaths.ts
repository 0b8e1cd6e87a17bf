// Pods and ServiceAccounts that are dead.
import type { Kysely } from 'kysely';

export async function up(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('coatcheck_deaths')
    .addColumn('cluster', 'text', (column) => column.notNull())
    .addColumn('uid', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('died_at', 'bigint', (column) => column.notNull())
    .addColumn('reported_at', 'bigint', (column) => column.notNull())
    .addColumn('until', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('coatcheck_deaths_key', ['cluster', 'uid', 'kind'])
    .execute();
  for (const [table, column] of [
    ['coatcheck_deaths', 'until'],
    ['coatcheck_deaths', 'reported_at'],
  ] as const) {
    await schema.createIndex(`${table}_by_${column}`).on(table).column(column).execute();
  }
}
