// Whether it matters how many tokens live: a look-up of a token that the broker has not seen, an introspection of one that
// it has, and a revocation, with a thousand live tokens and with a million: two brokers, asked in turns, one request after
// another. The million are rows that differ in what is unique, inserted into a database at rest.
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { toSpread } from '../load/latencies.ts';
import type { Bench } from '../programs.ts';
import {
  createDatabase,
  STORE_KINDS,
  type StoreBroker,
  type StoreKind,
  startOn,
  toFile,
} from '../stores.ts';
import type { Row } from '../table.ts';

const LIVE = { few: 1000, many: 1_000_000, manyQuick: 50_000 };
const ASKED_ABOUT = 300;
/** "Flat": what a B-tree's one or two more levels, and pages that are not in memory, may cost. */
const MAX_RATIO = 1.5;
const TABLE = 'coatcheck_tokens';

type Times = Readonly<Record<'look-up' | 'introspection' | 'revocation', number[]>>;

export async function measureLiveTokens(bench: Bench): Promise<readonly Row[]> {
  const many = bench.isQuick ? LIVE.manyQuick : LIVE.many;
  const rows: Row[] = [];
  for (const kind of STORE_KINDS) {
    const sides: Side[] = [];
    try {
      for (const count of [LIVE.few, many]) {
        const side = await createSide(bench, { kind, count });
        if (side) sides.push(side);
      }
      const [few, lots] = sides;
      if (few && lots) rows.push(...toRows(await measureInTurns(lots, few), { kind, many }));
    } finally {
      for (const { stop } of sides) await stop();
    }
  }
  return rows;
}

interface Side {
  readonly broker: StoreBroker;
  stop(): Promise<void>;
}

/** A broker on a database of its own with so many live tokens. */
async function createSide(
  bench: Bench,
  { kind, count }: { kind: StoreKind; count: number },
): Promise<Side | undefined> {
  const database = await createDatabase(bench, kind);
  if (!database) return undefined;
  // The row that is copied, and the schema.
  const first = await startOn(bench, database.choice);
  await first.issue();
  await first.server.stop();
  await fill(kind, database.choice, count);
  const broker = await startOn(bench, database.choice);
  return {
    broker,
    stop: async () => {
      await broker.server.stop();
      await database.remove();
    },
  };
}

/** One token here, one there: whatever else the machine does hits both alike. */
async function measureInTurns(
  lots: Side,
  few: Side,
): Promise<{ readonly ours: Times; readonly reference: Times }> {
  const times = { ours: createTimes(), reference: createTimes() };
  // The first half teaches the compiler.
  for (let i = 0; i < 2 * ASKED_ABOUT; i++) {
    const kept = i < ASKED_ABOUT ? { ours: createTimes(), reference: createTimes() } : times;
    await measureOne(lots, kept.ours);
    await measureOne(few, kept.reference);
  }
  return times;
}

async function measureOne({ broker }: Side, times: Times): Promise<void> {
  const token = await broker.issue();
  times['look-up'].push(await broker.introspect(token, 'active'));
  times.introspection.push(await broker.introspect(token, 'active'));
  times.revocation.push(await broker.revoke(token));
  await broker.introspect(token, 'inactive');
}

function createTimes(): Times {
  return { 'look-up': [], introspection: [], revocation: [] };
}

function toRows(
  { ours, reference }: { ours: Times; reference: Times },
  { kind, many }: { kind: StoreKind; many: number },
): readonly Row[] {
  return (Object.keys(ours) as (keyof Times)[]).map((what) => {
    const spreads = { ours: toSpread(ours[what]), reference: toSpread(reference[what]) };
    const ratio = spreads.reference.median / spreads.ours.median;
    return {
      line: `${what} with ${many.toLocaleString('en')} live tokens; the reference: with ${LIVE.few.toLocaleString('en')}; ${kind}`,
      unit: 'ms',
      ...spreads,
      ratio,
      target: `at most ${MAX_RATIO} × the reference`,
      isMet: ratio >= 1 / MAX_RATIO,
    };
  });
}

/** Copies one row so many times, with hash, accessor and pod of its own each. */
async function fill(kind: StoreKind, choice: string, count: number): Promise<void> {
  if (kind === 'sqlite') {
    const database = new DatabaseSync(toFile(choice));
    const sample = database.prepare(`SELECT * FROM ${TABLE} WHERE kind = 'client' LIMIT 1`).get();
    const unique = {
      hash: 'lower(hex(randomblob(32)))',
      accessor: 'lower(hex(randomblob(12)))',
    };
    database.exec(
      `WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < ${count}) ` +
        toInsert(Object.keys(sample ?? {}), { unique, source: 'counter' }),
    );
    database.exec('PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize');
    database.close();
    return;
  }
  const client = new pg.Client({ connectionString: choice });
  await client.connect();
  try {
    const { fields } = await client.query(`SELECT * FROM ${TABLE} LIMIT 0`);
    const unique = {
      hash: 'md5(random()::text || n) || md5(random()::text || n)',
      accessor: 'substr(md5(random()::text || n), 1, 24)',
    };
    const columns = fields.map(({ name }) => name);
    await client.query(
      toInsert(columns, { unique, source: `generate_series(1, ${count}) AS counter(n)` }),
    );
    await client.query(`VACUUM ANALYZE ${TABLE}`);
  } finally {
    await client.end();
  }
}

/** By the columns that there are: a bulk of rows is not worth a second knowledge of the schema. */
function toInsert(
  columns: readonly string[],
  { unique, source }: { unique: Readonly<Record<string, string>>; source: string },
): string {
  const given = columns.filter((name) => name !== 'seq');
  const OF_POD = ['owner', 'pod_uid', 'pod_name'];
  const values = given.map(
    (name) =>
      unique[name] ?? (OF_POD.includes(name) ? `sample.${name} || '-' || n` : `sample.${name}`),
  );
  return (
    `INSERT INTO ${TABLE} (${given.join(', ')}) SELECT ${values.join(', ')} ` +
    `FROM (SELECT * FROM ${TABLE} WHERE kind = 'client' LIMIT 1) AS sample, ${source}`
  );
}
