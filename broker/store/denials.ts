// The deny list, as it is kept. Additions of one moment share a commit, as inserts of tokens do.
import { type Core, checkTexts, type Write } from './core.ts';
import { createGroupCommit, type RowResult } from './group-commit.ts';
import type { DenialRow } from './schema.ts';
import { type Denial, type DenialStore, StoreError, type TokenFilter } from './store.ts';
import { checkFilter, given } from './token-rows.ts';

const MAX_BATCH_ROWS = 200;

export function createDenialStore(core: Core): DenialStore {
  const adds = createGroupCommit<Denial>({
    maxRows: MAX_BATCH_ROWS,
    commit: (batch) => core.write((write) => addBatch(write, batch)),
  });
  return {
    add: async (denial) => {
      checkDenial(denial);
      await adds.add(denial);
    },
    list: (now) =>
      core.read(async (db) => {
        const rows = await db
          .selectFrom('coatcheck_denials')
          .selectAll()
          .where('until', '>', now)
          .execute();
        return rows.map(toDenial);
      }),
    findMany: (ids) =>
      core.read(async (db) => {
        if (ids.length === 0) return [];
        const rows = await db
          .selectFrom('coatcheck_denials')
          .selectAll()
          .where('id', 'in', [...ids])
          .execute();
        return rows.map(toDenial);
      }),
  };
}

/** @throws TypeError where it would be about nothing, or about everything */
function checkDenial(denial: Denial): void {
  const { tokenId, match, issuedBefore } = denial;
  if ((tokenId === undefined) === (match === undefined))
    throw new TypeError('a denial has a tokenId or a match');
  if (tokenId !== undefined && issuedBefore !== undefined)
    throw new TypeError('issuedBefore goes with a match');
  if (match) checkFilter(match);
  checkTexts({ ...toRow(denial), ...match });
}

async function addBatch(
  { db, changed }: Write,
  batch: readonly Denial[],
): Promise<readonly RowResult[]> {
  const added = await db
    .insertInto('coatcheck_denials')
    .values(batch.map(toRow))
    .onConflict((conflict) => conflict.doNothing())
    .returning('id')
    .execute();
  const ids = new Set(added.map(({ id }) => id));
  if (ids.size > 0) {
    const change = { topic: 'denials', ids: [...ids] } as const;
    changed(change, { ...change, added: batch.filter(({ id }) => ids.has(id)) });
  }
  return batch.map(({ id }) =>
    ids.delete(id) ? undefined : new StoreError('conflict', 'a denial of this id is there already'),
  );
}

function toRow(denial: Denial): DenialRow {
  return {
    id: denial.id,
    token_id: denial.tokenId ?? null,
    match: denial.match ? JSON.stringify(denial.match) : null,
    issued_before: denial.issuedBefore ?? null,
    until: denial.until,
    created_at: denial.createdAt,
    created_by: denial.by,
  };
}

function toDenial(row: DenialRow): Denial {
  return {
    id: row.id,
    ...given('tokenId', row.token_id),
    ...(row.match !== null && { match: JSON.parse(row.match) as TokenFilter }),
    ...given('issuedBefore', row.issued_before),
    until: row.until,
    createdAt: row.created_at,
    by: row.created_by,
  };
}
