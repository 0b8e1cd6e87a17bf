// The sealed signing keys. The store holds them and cannot read them.
import { type Core, checkTexts, type Write } from './core.ts';
import type { KeyRow } from './schema.ts';
import { type KeyStore, type StoredKey, StoreError } from './store.ts';
import { given } from './token-rows.ts';

/** The row whose lock makes "there is none" and "so I make one" one step. */
const LEASE = 'first-key';

export function createKeyStore(core: Core): KeyStore {
  return {
    list: () =>
      core.read(async (db) => {
        const rows = await db.selectFrom('coatcheck_keys').selectAll().execute();
        return rows
          .map(toKey)
          .toSorted((a, b) => a.signsFrom - b.signsFrom || (a.kid < b.kid ? -1 : 1));
      }),
    insert: async (key, { onlyIfNone = false } = {}) => {
      const row = toRow(key);
      checkTexts(row);
      await core.write(async (write) => {
        if (onlyIfNone) await checkNone(write);
        const inserted = await write.db
          .insertInto('coatcheck_keys')
          .values(row)
          .onConflict((conflict) => conflict.doNothing())
          .returning('kid')
          .execute();
        if (inserted.length === 0) throw new StoreError('conflict', 'a key of this kid is there');
        write.changed({ topic: 'keys' });
      });
    },
    update: (kid, { sealed, retiresAt }) =>
      core.write(async ({ db, changed }) => {
        const change = {
          ...(sealed !== undefined && { sealed }),
          ...(retiresAt !== undefined && { retires_at: retiresAt }),
        };
        if (Object.keys(change).length === 0) throw new TypeError('an update changes something');
        checkTexts(change);
        const { numUpdatedRows } = await db
          .updateTable('coatcheck_keys')
          .set(change)
          .where('kid', '=', kid)
          .executeTakeFirst();
        if (numUpdatedRows === 0n) throw new StoreError('not_found', 'there is no such key');
        changed({ topic: 'keys' });
      }),
    remove: (kid) =>
      core.write(async ({ db, changed }) => {
        const { numDeletedRows } = await db
          .deleteFrom('coatcheck_keys')
          .where('kid', '=', kid)
          .executeTakeFirst();
        if (numDeletedRows > 0n) changed({ topic: 'keys' });
        return numDeletedRows > 0n;
      }),
  };
}

/** A second writer waits at the row until the first has committed, and then sees its key. */
async function checkNone({ db }: Write): Promise<void> {
  await db
    .insertInto('coatcheck_leases')
    .values({ name: LEASE, holder: '', until: 0 })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ holder: '' }))
    .execute();
  const any = await db.selectFrom('coatcheck_keys').select('kid').limit(1).executeTakeFirst();
  if (any) throw new StoreError('conflict', 'there is a key already');
}

function toRow(key: StoredKey): KeyRow {
  return {
    kid: key.kid,
    sealed: key.sealed,
    created_at: key.createdAt,
    signs_from: key.signsFrom,
    retires_at: key.retiresAt ?? null,
  };
}

function toKey(row: KeyRow): StoredKey {
  return {
    kid: row.kid,
    sealed: row.sealed,
    createdAt: row.created_at,
    signsFrom: row.signs_from,
    ...given('retiresAt', row.retires_at),
  };
}
