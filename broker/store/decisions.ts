// Decisions for people to look up. They come in batches from the writer behind the desk, and are read by few.
import type { ExpressionBuilder, Insertable } from 'kysely';
import { type Core, checkTexts, parseCursor, toCursor, toPage } from './core.ts';
import type { DecisionRow, DecisionTable, Tables } from './schema.ts';
import type { DecisionFilter, DecisionStore, StoredDecision } from './store.ts';
import { given } from './token-rows.ts';

/** 14 values each. */
const CHUNK_ROWS = 500;

export function createDecisionStore(core: Core): DecisionStore {
  return {
    append: async (batch) => {
      if (batch.length === 0) return;
      const rows = batch.map(toRow);
      for (const row of rows) checkTexts(row);
      await core.write(async ({ db }) => {
        for (let at = 0; at < rows.length; at += CHUNK_ROWS)
          await db
            .insertInto('coatcheck_decisions')
            .values(rows.slice(at, at + CHUNK_ROWS))
            .execute();
      });
    },
    list: (filter, { limit, after }) =>
      core.read(async (db) => {
        const [at, seq] = after === undefined ? [] : parseCursor(after, 2);
        const rows = await db
          .selectFrom('coatcheck_decisions')
          .selectAll()
          .where((eb) => toConditions(eb, filter))
          .$if(at !== undefined, (query) =>
            query.where((eb) =>
              eb.or([
                eb('at', '<', at ?? 0),
                eb.and([eb('at', '=', at ?? 0), eb('seq', '<', seq ?? 0)]),
              ]),
            ),
          )
          .orderBy('at', 'desc')
          .orderBy('seq', 'desc')
          .limit(limit + 1)
          .execute();
        return toPage(rows, limit, {
          toItem: toDecision,
          toNext: (last) => toCursor(last.at, last.seq),
        });
      }),
  };
}

const COLUMNS = {
  id: 'id',
  outcome: 'outcome',
  cluster: 'cluster',
  namespace: 'namespace',
  serviceAccount: 'service_account',
  pod: 'pod',
  podUid: 'pod_uid',
  audience: 'audience',
  role: 'role',
  reason: 'reason',
  tokenId: 'token_id',
} as const satisfies Record<Exclude<keyof DecisionFilter, 'since'>, keyof DecisionRow>;

function toConditions(
  eb: ExpressionBuilder<Tables, 'coatcheck_decisions'>,
  { since, ...members }: DecisionFilter,
) {
  const conditions = Object.entries(COLUMNS).flatMap(([member, column]) => {
    const value = members[member as keyof typeof members];
    return value === undefined ? [] : [eb(column, '=', value)];
  });
  return eb.and(since === undefined ? conditions : [...conditions, eb('at', '>=', since)]);
}

function toRow(decision: StoredDecision): Insertable<DecisionTable> {
  return {
    id: decision.id,
    at: decision.at,
    outcome: decision.outcome,
    cluster: decision.cluster ?? null,
    namespace: decision.namespace ?? null,
    service_account: decision.serviceAccount ?? null,
    pod: decision.pod ?? null,
    pod_uid: decision.podUid ?? null,
    audience: decision.audience ?? null,
    role: decision.role ?? null,
    reason: decision.reason ?? null,
    token_id: decision.tokenId ?? null,
    token_expires_at: decision.tokenExpiresAt ?? null,
    record: JSON.stringify(decision.record ?? null),
  };
}

function toDecision(row: DecisionRow): StoredDecision {
  return {
    id: row.id,
    at: row.at,
    outcome: row.outcome as StoredDecision['outcome'],
    ...given('cluster', row.cluster),
    ...given('namespace', row.namespace),
    ...given('serviceAccount', row.service_account),
    ...given('pod', row.pod),
    ...given('podUid', row.pod_uid),
    ...given('audience', row.audience),
    ...given('role', row.role),
    ...given('reason', row.reason),
    ...given('tokenId', row.token_id),
    ...given('tokenExpiresAt', row.token_expires_at),
    record: JSON.parse(row.record) as unknown,
  };
}
