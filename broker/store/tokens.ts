// The tokens that are looked up: client tokens and static ones, by the hash of their text. A revoked one is deleted; an
// expired one stays until it is swept.
import type { Expression, ExpressionBuilder, SqlBool } from 'kysely';
import { nowSeconds } from '../../common/clock.ts';
import {
  type Core,
  checkTexts,
  parseCursor,
  repeatInBatches,
  toCursor,
  toPage,
  type Write,
} from './core.ts';
import { createGroupCommit, type RowResult } from './group-commit.ts';
import type { Tables } from './schema.ts';
import {
  type Page,
  type PageOf,
  type StoredToken,
  StoreError,
  type TokenFilter,
  type TokenStore,
} from './store.ts';
import { checkFilter, toConditions, toOwner, toToken, toTokenRow } from './token-rows.ts';

/** 21 values each: well below the 32,766 that SQLite takes. */
const MAX_BATCH_ROWS = 200;
const REVOKE_BATCH = 1000;
/** Beyond it one message says all. */
const MAX_NAMED_CHANGES = 20;
const COUNT_LAG_MS = 30_000;

interface Insert {
  readonly token: StoredToken;
  readonly maxPerIdentity: number | undefined;
}

type TokenExpression = ExpressionBuilder<Tables, 'coatcheck_tokens'>;

export function createTokenStore(core: Core): TokenStore {
  const { clock, dialect } = core;
  const inserts = createGroupCommit<Insert>({
    maxRows: MAX_BATCH_ROWS,
    commit: (batch) => core.write((write) => insertBatch(write, batch, nowSeconds(clock))),
  });
  let counted:
    | { readonly at: number; readonly count: Awaited<ReturnType<TokenStore['count']>> }
    | undefined;

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
      checkTexts(toTokenRow(token));
      await inserts.add({ token, maxPerIdentity });
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
    list: (filter, page) =>
      core.read((db) => listTokens(db, { filter, page, now: nowSeconds(clock) })),
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
      const until = last?.seq ?? 0;
      const fits = (eb: TokenExpression) =>
        eb.and([toConditions(eb, filter), eb('expires_at', '>', now), eb('seq', '<=', until)]);
      return repeatInBatches(
        (limit) => core.write((write) => revokeBatch(write, fits, limit)),
        REVOKE_BATCH,
      );
    },
    count: async () => {
      if (counted && clock.now() - counted.at < COUNT_LAG_MS) return counted.count;
      const count = await core.read((db) => countTokens(db, nowSeconds(clock)));
      counted = { at: clock.now(), count };
      return count;
    },
    insertOnce: async (token) => {
      checkTexts(toTokenRow(token));
      return core.write((write) => insertOnce(write, token, nowSeconds(clock)));
    },
  };
}

async function insertBatch(
  write: Write,
  batch: readonly Insert[],
  now: number,
): Promise<readonly RowResult[]> {
  const { db } = write;
  await endExpiredNames(
    write,
    batch.map(({ token }) => token),
    now,
  );
  const inserted = await db
    .insertInto('coatcheck_tokens')
    .values(batch.map(({ token }) => toTokenRow(token)))
    .onConflict((conflict) => conflict.doNothing())
    .returning('hash')
    .execute();
  const hashes = new Set(inserted.map(({ hash }) => hash));
  // Taken out as it is answered for: of two equal rows in one batch one is in.
  const results = batch.map(({ token: { hash } }) =>
    hashes.delete(hash)
      ? undefined
      : new StoreError('conflict', 'a token of this hash, accessor or name is there already'),
  );
  for (const max of new Set(batch.map(({ maxPerIdentity }) => maxPerIdentity))) {
    const owners = batch.filter(
      ({ token, maxPerIdentity }) => token.kind === 'client' && maxPerIdentity === max,
    );
    if (max !== undefined && owners.length > 0)
      await endOldest(write, { owners: owners.map(({ token }) => toOwner(token)), max, now });
  }
  return results;
}

/** A name is free again when its token has ended, swept or not. */
async function endExpiredNames(
  { db }: Write,
  tokens: readonly StoredToken[],
  now: number,
): Promise<void> {
  const names = tokens.flatMap(({ name }) => (name === undefined ? [] : [name]));
  if (names.length === 0) return;
  await db
    .deleteFrom('coatcheck_tokens')
    .where('live_name', 'in', names)
    .where('expires_at', '<=', now)
    .execute();
}

/** Ends what is over the bound, counted from the newest, of every identity at once. */
async function endOldest(
  { db, changed }: Write,
  { owners, max, now }: { owners: readonly string[]; max: number; now: number },
): Promise<void> {
  const ended = await db
    .deleteFrom('coatcheck_tokens')
    .where('seq', 'in', (inner) =>
      inner
        .selectFrom((ranked) =>
          ranked
            .selectFrom('coatcheck_tokens')
            .select(['seq'])
            .select((eb) =>
              eb.fn
                .agg<number>('row_number')
                .over((over) => over.partitionBy('owner').orderBy('seq', 'desc'))
                .as('place'),
            )
            .where('owner', 'in', [...new Set(owners)])
            .where('kind', '=', 'client')
            .where('expires_at', '>', now)
            .as('ranked'),
        )
        .select('seq')
        .where('place', '>', max),
    )
    .returning('hash')
    .execute();
  tellRevoked(changed, ended);
}

function tellRevoked(changed: Write['changed'], gone: readonly { hash: string }[]): void {
  if (gone.length > MAX_NAMED_CHANGES) changed({ topic: 'tokens' });
  else for (const { hash } of gone) changed({ topic: 'tokens', hash });
}

async function listTokens(
  db: Write['db'],
  { filter, page, now }: { filter: TokenFilter; page: Page; now: number },
): Promise<PageOf<StoredToken>> {
  const [before] = page.after === undefined ? [] : parseCursor(page.after, 1);
  const rows = await db
    .selectFrom('coatcheck_tokens')
    .selectAll()
    .where((eb) => toConditions(eb, filter))
    .where('expires_at', '>', now)
    .$if(before !== undefined, (query) => query.where('seq', '<', before ?? 0))
    .orderBy('seq', 'desc')
    .limit(page.limit + 1)
    .execute();
  return toPage(rows, page.limit, { toItem: toToken, toNext: ({ seq }) => toCursor(seq) });
}

async function countTokens(
  db: Write['db'],
  now: number,
): Promise<Record<StoredToken['kind'], number>> {
  const rows = await db
    .selectFrom('coatcheck_tokens')
    .select(['kind', (eb) => eb.fn.countAll<number>().as('n')])
    .where('expires_at', '>', now)
    .groupBy('kind')
    .execute();
  const find = (kind: StoredToken['kind']) => rows.find((row) => row.kind === kind)?.n ?? 0;
  return { client: find('client'), static: find('static') };
}

async function insertOnce(write: Write, token: StoredToken, now: number): Promise<boolean> {
  const used = await write.db
    .insertInto('coatcheck_used_tokens')
    .values({ hash: token.hash, used_at: now })
    .onConflict((conflict) => conflict.doNothing())
    .returning('hash')
    .execute();
  if (used.length === 0) return false;
  const [result] = await insertBatch(write, [{ token, maxPerIdentity: undefined }], now);
  // Thrown inside the transaction: the bootstrap token is not used up by a name that was taken.
  if (result) throw result;
  return true;
}
