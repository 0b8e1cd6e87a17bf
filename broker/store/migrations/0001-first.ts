// The tables of the first release with a store.
import { type Kysely, sql } from 'kysely';
import type { Columns } from '../dialect.ts';

export async function up(db: Kysely<unknown>, { addSequence }: Columns): Promise<void> {
  await createTokens(db, addSequence);
  await createDecisions(db, addSequence);
  const { schema } = db;
  await schema
    .createTable('coatcheck_used_tokens')
    .addColumn('hash', 'text', (column) => column.primaryKey())
    .addColumn('used_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('coatcheck_denials')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('token_id', 'text')
    .addColumn('match', 'text')
    .addColumn('issued_before', 'bigint')
    .addColumn('until', 'bigint', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .execute();
  await createIndexes(db, 'coatcheck_denials', [['until']]);
  await schema
    .createTable('coatcheck_roles')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('document', 'text', (column) => column.notNull())
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_by', 'text', (column) => column.notNull())
    .execute();
  await schema
    .createTable('coatcheck_keys')
    .addColumn('kid', 'text', (column) => column.primaryKey())
    .addColumn('sealed', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('signs_from', 'bigint', (column) => column.notNull())
    .addColumn('retires_at', 'bigint')
    .execute();
  await schema
    .createTable('coatcheck_clients')
    .addColumn('id', 'text', (column) => column.primaryKey())
    .addColumn('name', 'text')
    .addColumn('description', 'text')
    .addColumn('secret_hashes', 'text', (column) => column.notNull())
    .addColumn('jwks', 'text')
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('created_by', 'text', (column) => column.notNull())
    .execute();
  await schema
    .createTable('coatcheck_leases')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('until', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('coatcheck_counters')
    .addColumn('name', 'text', (column) => column.primaryKey())
    .addColumn('value', 'bigint', (column) => column.notNull())
    .execute();
}

async function createTokens(db: Kysely<unknown>, add: Columns['addSequence']): Promise<void> {
  await add(db.schema.createTable('coatcheck_tokens'))
    .addColumn('hash', 'text', (column) => column.notNull().unique())
    .addColumn('accessor', 'text', (column) => column.notNull().unique())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('cluster', 'text')
    .addColumn('namespace', 'text')
    .addColumn('service_account', 'text')
    .addColumn('service_account_uid', 'text')
    .addColumn('pod_name', 'text')
    .addColumn('pod_uid', 'text', (column) => column.notNull())
    .addColumn('audience', 'text')
    .addColumn('role', 'text')
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('policies', 'text', (column) => column.notNull())
    .addColumn('live_name', 'text')
    .addColumn('description', 'text')
    .addColumn('issued_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('max_expires_at', 'bigint', (column) => column.notNull())
    .addColumn('facts', 'text', (column) => column.notNull())
    .execute();
  await createIndexes(db, 'coatcheck_tokens', [
    ['pod_uid', 'subject', 'seq'],
    ['subject', 'seq'],
    ['namespace', 'seq'],
    ['expires_at'],
  ]);
  // Few tokens are static or have a name; those that are not cost these indexes nothing.
  await db.schema
    .createIndex('coatcheck_tokens_by_live_name')
    .unique()
    .on('coatcheck_tokens')
    .column('live_name')
    .where(sql.ref('live_name'), 'is not', null)
    .execute();
  await db.schema
    .createIndex('coatcheck_tokens_static')
    .on('coatcheck_tokens')
    .column('seq')
    .where(sql.ref('kind'), '=', sql.lit('static'))
    .execute();
}

async function createDecisions(db: Kysely<unknown>, add: Columns['addSequence']): Promise<void> {
  await add(db.schema.createTable('coatcheck_decisions'))
    .addColumn('id', 'text', (column) => column.notNull())
    .addColumn('at', 'bigint', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('cluster', 'text')
    .addColumn('namespace', 'text')
    .addColumn('service_account', 'text')
    .addColumn('pod', 'text')
    .addColumn('pod_uid', 'text')
    .addColumn('audience', 'text')
    .addColumn('role', 'text')
    .addColumn('reason', 'text')
    .addColumn('token_id', 'text')
    .addColumn('token_expires_at', 'bigint')
    .addColumn('record', 'text', (column) => column.notNull())
    .execute();
  await createIndexes(db, 'coatcheck_decisions', [
    ['at', 'seq'],
    ['namespace', 'at', 'seq'],
    ['pod_uid', 'at', 'seq'],
    ['id'],
    ['token_id'],
  ]);
}

async function createIndexes(
  db: Kysely<unknown>,
  table: string,
  indexes: readonly string[][],
): Promise<void> {
  for (const columns of indexes) {
    await db.schema
      .createIndex(`${table}_by_${columns.join('_')}`)
      .on(table)
      .columns(columns)
      .execute();
  }
}
