// The registered clients, with the hashes of their secrets.
import { type Core, checkTexts } from './core.ts';
import type { ClientRow } from './schema.ts';
import { type ClientStore, type StoredClient, StoreError } from './store.ts';
import { given } from './token-rows.ts';

export function createClientStore(core: Core): ClientStore {
  return {
    list: () =>
      core.read(async (db) => {
        const rows = await db.selectFrom('coatcheck_clients').selectAll().execute();
        return rows.map(toClient).toSorted((a, b) => (a.id < b.id ? -1 : 1));
      }),
    find: (id) =>
      core.read(async (db) => {
        const row = await db
          .selectFrom('coatcheck_clients')
          .selectAll()
          .where('id', '=', id)
          .executeTakeFirst();
        return row && toClient(row);
      }),
    put: async (client, { mustBeNew = false } = {}) => {
      const row = toRow(client);
      checkTexts(row);
      const { id: _, ...change } = row;
      await core.write(async ({ db, changed }) => {
        const written = await db
          .insertInto('coatcheck_clients')
          .values(row)
          .onConflict((conflict) =>
            mustBeNew ? conflict.doNothing() : conflict.column('id').doUpdateSet(change),
          )
          .returning('id')
          .execute();
        if (written.length === 0) throw new StoreError('conflict', 'a client of this id is there');
        changed({ topic: 'clients' });
      });
    },
    remove: (id) =>
      core.write(async ({ db, changed }) => {
        const { numDeletedRows } = await db
          .deleteFrom('coatcheck_clients')
          .where('id', '=', id)
          .executeTakeFirst();
        if (numDeletedRows > 0n) changed({ topic: 'clients' });
        return numDeletedRows > 0n;
      }),
  };
}

function toRow(client: StoredClient): ClientRow {
  return {
    id: client.id,
    name: client.name ?? null,
    description: client.description ?? null,
    secret_hashes: JSON.stringify(client.secretHashes),
    jwks: client.jwks === undefined ? null : JSON.stringify(client.jwks),
    created_at: client.createdAt,
    created_by: client.createdBy,
  };
}

function toClient(row: ClientRow): StoredClient {
  return {
    id: row.id,
    ...given('name', row.name),
    ...given('description', row.description),
    secretHashes: JSON.parse(row.secret_hashes) as readonly string[],
    ...(row.jwks !== null && { jwks: JSON.parse(row.jwks) as unknown }),
    createdAt: row.created_at,
    createdBy: row.created_by,
  };
}
