// The tokens that are looked up: client tokens and static ones, by the hash of their text. A revoked one is deleted; an
// expired one stays until it is swept.
import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import { nowSeconds } from '../../common/clock.ts';
import { type Core, checkTexts, repeatInBatches, type Write } from './core.ts';
import type { Owner } from './dialect.ts';
import { createGroupCommit, type RowResult } from './group-commit.ts';
import type { Tables } from './schema.ts';
import { StoreError, type TokenStore } from './store.ts';
import { createTokenCount } from './token-count.ts';
import { checkFilter, toConditions, toToken, toTokenRow } from './token-rows.ts';
import { isLiveAt, listTokens, toWindows } from './token-search.ts';
import type { NewTokenRow } from './token-statements.ts';

/** Some milliseconds of an embedded database, which others wait for. */
const MAX_BATCH_ROWS = 200;
const REVOKE_BATCH = 1000;
/** Beyond it one message says all. */
const MAX_NAMED_CHANGES = 20;

interface Insert {
  readonly row: NewTokenRow;
  readonly maxPerIdentity: number | undefined;
}

type TokenExpression = ExpressionBuilder<Tables, 'coatcheck_tokens'>;

export function createTokenStore(core: Core): TokenStore {
  const { clock, dialect } = core;
  const inserts = createGroupCommit<Insert>({
    maxRows: MAX_BATCH_ROWS,
    commit: (batch) => core.write((write) => insertBatch(core, write, batch)),
  });

  async function revokeBatch(
    { db, changed }: Write,
    fits: (eb: TokenExpression) => Expression<SqlBool>,
    limit: number,
  ): Promise<number> {
    const gone = await db
      .deleteFrom('coatcheck_tokens')
      .where('seq', 'in', (inner) =>
        inner.selectFrom('coatcheck_tokens').select('seq').where(fits).limit(limit),
      )
      .returning('hash')
      .execute();
    tellRevoked(changed, gone);
    return gone.length;
  }

  return {
    insert: async (token, { maxPerIdentity } = {}) => {
      const row = toTokenRow(token);
      checkTexts(row);
      await inserts.add({ row, maxPerIdentity });
    },
    findByHash: (hash) =>
      core.read(async () => {
        const row = await dialect.findTokenRow(hash);
        return row && toToken(row);
      }),
    findByAccessor: (accessor) =>
      core.read(async (db) => {
        const row = await db
          .selectFrom('coatcheck_tokens')
          .selectAll()
          .where('accessor', '=', accessor)
          .executeTakeFirst();
        return row && toToken(row);
      }),
    list: (filter, page) => listTokens(core, { filter, page, now: nowSeconds(clock) }),
    extend: (hash, { expiresAt, now }) =>
      core.write(async ({ db, changed }) => {
        const { numUpdatedRows } = await db
          .updateTable('coatcheck_tokens')
          .set({ expires_at: expiresAt })
          .where('hash', '=', hash)
          .where('expires_at', '>', now)
          .executeTakeFirst();
        if (numUpdatedRows === 0n) throw new StoreError('not_found', 'there is no such live token');
        changed({ topic: 'tokens', hash });
      }),
    revoke: (hash) =>
      core.write(async (write) => (await revokeBatch(write, (eb) => eb('hash', '=', hash), 1)) > 0),
    revokeWhere: async (filter) => {
      checkFilter(filter);
      const now = nowSeconds(clock);
      const last = await core.read((db) =>
        db
          .selectFrom('coatcheck_tokens')
          .select((eb) => eb.fn.max('seq').as('seq'))
          .executeTakeFirst(),
      );
      // Tokens that are made meanwhile are not meant, and could keep this going for ever.
      let total = 0;
      for await (const { from, below } of toWindows(core, filter, (last?.seq ?? 0) + 1)) {
        const fits = (eb: TokenExpression) =>
          eb.and([
            toConditions(eb, filter),
            isLiveAt(now),
            eb('seq', '<', below),
            eb('seq', '>=', from),
          ]);
        total += await repeatInBatches(
          (limit) => core.write((write) => revokeBatch(write, fits, limit)),
          REVOKE_BATCH,
        );
      }
      return total;
    },
    count: createTokenCount(core),
    insertOnce: async (token) => {
      const row = toTokenRow(token);
      checkTexts(row);
      return core.write((write) => insertOnce(core, write, row));
    },
  };
}

async function insertBatch(
  core: Core,
  write: Write,
  batch: readonly Insert[],
): Promise<readonly RowResult[]> {
  const { dialect, clock } = core;
  const now = nowSeconds(clock);
  const rows = batch.map(({ row }) => row);
  await endExpiredNames(write, rows, now);
  const hashes = new Set(await dialect.insertTokens(write.db, rows));
  // Taken out as it is answered for: of two equal rows in one batch one is in.
  const results = rows.map(({ hash }) =>
    hashes.delete(hash)
      ? undefined
      : new StoreError('conflict', 'a token of this hash, accessor or name is there already'),
  );
  for (const max of new Set(batch.map(({ maxPerIdentity }) => maxPerIdentity))) {
    const owners = max === undefined ? [] : toOwners(batch, max);
    if (max === undefined || owners.length === 0) continue;
    tellRevoked(write.changed, await dialect.endOldestTokens(write.db, { owners, max, now }));
  }
  return results;
}

/** Whose client tokens of this bound the batch holds, each once. */
function toOwners(batch: readonly Insert[], max: number): readonly Owner[] {
  const owners = new Map<string, Owner>();
  for (const { row, maxPerIdentity } of batch) {
    const { kind, subject, pod_uid: podUid } = row;
    // No uid holds a blank.
    if (kind === 'client' && maxPerIdentity === max)
      owners.set(`${podUid} ${subject}`, { subject, podUid });
  }
  return [...owners.values()];
}

/** A name is free again when its token has ended, swept or not. */
async function endExpiredNames(
  { db }: Write,
  rows: readonly NewTokenRow[],
  now: number,
): Promise<void> {
  const names = rows.flatMap(({ live_name: name }) => (name === null ? [] : [name]));
  if (names.length === 0) return;
  await db
    .deleteFrom('coatcheck_tokens')
    .where('live_name', 'in', names)
    .where('expires_at', '<=', now)
    .execute();
}

function tellRevoked(changed: Write['changed'], gone: readonly { hash: string }[]): void {
  if (gone.length > MAX_NAMED_CHANGES) changed({ topic: 'tokens' });
  else for (const { hash } of gone) changed({ topic: 'tokens', hash });
}

async function insertOnce(core: Core, write: Write, row: NewTokenRow): Promise<boolean> {
  const used = await write.db
    .insertInto('coatcheck_used_tokens')
    .values({ hash: row.hash, used_at: nowSeconds(core.clock) })
    .onConflict((conflict) => conflict.doNothing())
    .returning('hash')
    .execute();
  if (used.length === 0) return false;
  const [result] = await insertBatch(core, write, [{ row, maxPerIdentity: undefined }]);
  // Thrown inside the transaction: the bootstrap token is not used up by a name that was taken.
  if (result) throw result;
  return true;
}
