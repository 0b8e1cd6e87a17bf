// Opaque tokens through the whole broker: exchanges (RS256 verified, the token durable before it is answered, audit on), and
// introspection of tokens that were looked up before. On the embedded store and on PostgreSQL.
import { PATH_INTROSPECT, PATH_TOKEN } from '../../common/protocol/oauth.ts';
import { type RoundResult, repeat, spreadOf } from '../alternate.ts';
import type { Bench } from '../programs.ts';
import {
  createDatabase,
  getBodies,
  STORE_KINDS,
  type StoreBroker,
  type StoreKind,
  startOn,
} from '../stores.ts';
import type { Row } from '../table.ts';
import { SERVER_NAME } from '../workplace.ts';

const EXCHANGES_PER_SECOND: Readonly<Record<StoreKind, number>> = { sqlite: 2500, postgres: 1500 };
const INTROSPECTIONS_PER_SECOND = 8000;
/** Tokens that are asked about in turn; a replica remembers 20,000. */
const ASKED_ABOUT = 1000;
const CONNECTIONS = 16;

export async function measureOpaque(bench: Bench): Promise<readonly Row[]> {
  const rows: Row[] = [];
  for (const kind of STORE_KINDS) {
    const database = await createDatabase(bench, kind);
    if (!database) continue;
    const broker = await startOn(bench, database.choice);
    try {
      rows.push(...(await measureStore(bench, { kind, broker })));
    } finally {
      await broker.server.stop();
      await database.remove();
    }
  }
  return rows;
}

async function measureStore(
  bench: Bench,
  { kind, broker }: { kind: StoreKind; broker: StoreBroker },
): Promise<readonly Row[]> {
  const { machine, isQuick } = bench;
  const { server } = broker;
  const common = {
    target: { host: '127.0.0.1', serverName: SERVER_NAME },
    contentType: 'application/x-www-form-urlencoded',
    connections: CONNECTIONS,
    seconds: 0,
  };
  const rounds = isQuick
    ? { rounds: 2, warmUpSeconds: 1, seconds: 1 }
    : { rounds: 5, warmUpSeconds: 6, seconds: 2 };
  const linesFile = await getBodies(bench);
  const exchanges = await repeat(
    machine,
    { server, job: { ...common, path: PATH_TOKEN, body: { linesFile, skip: 0, isReused: true } } },
    rounds,
  );
  const tokens: string[] = [];
  while (tokens.length < ASKED_ABOUT) tokens.push(await broker.issue());
  const introspections = await repeat(
    machine,
    {
      server,
      job: { ...common, path: PATH_INTROSPECT, body: tokens.map(broker.toIntrospection) },
    },
    rounds,
  );
  return [
    ...toRows(exchanges, {
      line: `opaque exchanges, durable, audit on, ${CONNECTIONS} connections, ${kind}`,
      unit: 'exchanges/s',
      of: 'exchange',
      atLeast: EXCHANGES_PER_SECOND[kind],
    }),
    ...toRows(introspections, {
      line: `introspections of opaque tokens, warm, ${CONNECTIONS} connections, ${kind}`,
      unit: 'introspections/s',
      of: 'introspection',
      atLeast: INTROSPECTIONS_PER_SECOND,
    }),
  ];
}

function toRows(
  results: readonly RoundResult[],
  { line, unit, of, atLeast }: { line: string; unit: string; of: string; atLeast: number },
): readonly Row[] {
  const speed = spreadOf(results, (one) => one.perSecond);
  const cpu = spreadOf(results, (one) => one.cpuMicroseconds);
  return [
    {
      line,
      unit,
      ours: speed,
      target: `≥ ${atLeast.toLocaleString('en')}/s`,
      isMet: speed.median >= atLeast,
    },
    ...(Number.isNaN(cpu.median)
      ? []
      : [{ line: `CPU of the server per ${of}`, unit: 'µs', ours: cpu }]),
    { line: 'p99 of those', unit: 'ms', ours: spreadOf(results, (one) => one.latencies.p99) },
  ];
}
