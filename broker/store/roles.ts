// The roles that were written through the API. Writers take turns at one row, which also remembers the highest version
// that was ever removed: a role of an old name begins above it, so that no editor of the old one writes over the new.
import type { Insertable } from 'kysely';
import { type Core, checkTexts, type Write } from './core.ts';
import type { RoleRow } from './schema.ts';
import { type RoleStore, type StoredRole, StoreError } from './store.ts';

const REMOVED = 'removed-role-version';

export function createRoleStore(core: Core): RoleStore {
  return {
    list: () =>
      core.read(async (db) => {
        const rows = await db.selectFrom('coatcheck_roles').selectAll().execute();
        return rows.map(toRole).toSorted((a, b) => (a.name < b.name ? -1 : 1));
      }),
    find: (name) =>
      core.read(async (db) => {
        const row = await db
          .selectFrom('coatcheck_roles')
          .selectAll()
          .where('name', '=', name)
          .executeTakeFirst();
        return row && toRole(row);
      }),
    put: (role, expectedVersion) => {
      const row = {
        name: role.name,
        document: JSON.stringify(role.document),
        updated_at: role.updatedAt,
        updated_by: role.updatedBy,
      };
      checkTexts(row);
      return core.write(async (write) => {
        const version = (await takeTurn(write)) + 1;
        const written = await putRow(write, { ...row, version }, expectedVersion);
        if (!written) throw new StoreError('conflict', 'the role is not at the expected version');
        write.changed({ topic: 'roles' });
        return toRole(written);
      });
    },
    remove: (name) =>
      core.write(async (write) => {
        const { db, changed } = write;
        const removed = await takeTurn(write);
        const gone = await db
          .deleteFrom('coatcheck_roles')
          .where('name', '=', name)
          .returning('version')
          .executeTakeFirst();
        if (!gone) return false;
        await db
          .updateTable('coatcheck_counters')
          .set({ value: Math.max(removed, gone.version) })
          .where('name', '=', REMOVED)
          .execute();
        changed({ topic: 'roles' });
        return true;
      }),
  };
}

/** Resolves to the highest version that was ever removed, and keeps other writers waiting until this one is done. */
async function takeTurn({ db }: Write): Promise<number> {
  const { value } = await db
    .insertInto('coatcheck_counters')
    .values({ name: REMOVED, value: 0 })
    .onConflict((conflict) => conflict.column('name').doUpdateSet({ name: REMOVED }))
    .returning('value')
    .executeTakeFirstOrThrow();
  return value;
}

function putRow(
  { db }: Write,
  row: Insertable<RoleRow>,
  expectedVersion: number | undefined,
): Promise<RoleRow | undefined> {
  const { document, updated_at, updated_by } = row;
  const change = { document, updated_at, updated_by };
  if (expectedVersion === undefined || expectedVersion === 0) {
    const insert = db.insertInto('coatcheck_roles').values(row);
    return insert
      .onConflict((conflict) =>
        expectedVersion === 0
          ? conflict.doNothing()
          : conflict.column('name').doUpdateSet((eb) => ({
              ...change,
              version: eb('coatcheck_roles.version', '+', 1),
            })),
      )
      .returningAll()
      .executeTakeFirst();
  }
  return db
    .updateTable('coatcheck_roles')
    .set({ ...change, version: expectedVersion + 1 })
    .where('name', '=', row.name)
    .where('version', '=', expectedVersion)
    .returningAll()
    .executeTakeFirst();
}

function toRole(row: RoleRow): StoredRole {
  return {
    name: row.name,
    document: JSON.parse(row.document) as unknown,
    version: row.version,
    updatedAt: row.updated_at,
    updatedBy: row.updated_by,
  };
}
