// PostgreSQL: a pool under Kysely, one more connection that listens, and time limits on everything, so that a database
// that hangs is as good as one that is gone. The URL holds a password and is never logged.
import {
  CompiledQuery,
  Kysely,
  PostgresDialect,
  type PostgresPool,
  type PostgresPoolClient,
  sql,
} from 'kysely';
import pg from 'pg';
import type { Clock, Random } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Secret } from '../../common/secret.ts';
import type { Dialect } from './dialect.ts';
import { CHANNEL, createPostgresListener, toCode } from './postgres-listener.ts';
import { findSqlState, toPostgresTrouble } from './postgres-trouble.ts';
import type { Tables, TokenRow } from './schema.ts';
import { StoreError } from './store.ts';
import { POSTGRES_END_OLDEST, POSTGRES_INSERT, toLists } from './token-statements.ts';

/** Each replica's; with the listening one well below the 100 that a server takes by default. */
const MAX_CONNECTIONS = 8;
const CONNECT_TIMEOUT_MS = 3000;
const STATEMENT_TIMEOUT_MS = 5000;
/** Later than the server's own limit, which leaves the connection usable. */
const QUERY_TIMEOUT_MS = 6000;
/** So long attempts go on after the first failure; a restart of the listening connection alone is shorter. */
const FAIL_FAST_AFTER_MS = 500;
/** The server takes payloads below 8000 bytes. */
const MAX_PAYLOAD_BYTES = 7000;
const INT8_OID = 20;

// Whoever asked for a durable write gets one, whatever the database's default is; stricter settings stay.
const MAKE_DURABLE =
  "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/** What every opaque token costs; each connection prepares it once. */
const PREPARED: ReadonlyMap<string, string> = new Map([
  [POSTGRES_INSERT, 'insert-tokens'],
  [POSTGRES_END_OLDEST, 'end-oldest-tokens'],
]);

// A statement that was prepared while a table was empty would go on reading all of it, however it grows, until the
// server has gathered statistics. All that is asked often has its index.
const LEAD_BY_INDEX =
  'SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off';

export interface PostgresOptions {
  readonly url: Secret;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** @throws StoreError conflict where the URL, or a certificate it names, cannot be used */
export function createPostgresDialect(options: PostgresOptions): Dialect {
  const { clock, log } = options;
  const config = toConfig(options.url);
  checkConfig(config);
  const listener = createPostgresListener({ ...options, config });
  const pool = openPool(config, MAX_CONNECTIONS);
  pool.on('error', () => listener.check());
  const db = toKysely(pool);
  let lastOkAt = 0;

  return {
    kind: 'postgres',
    db,
    columns: {
      addSequence: (table) => table.addColumn('seq', 'bigserial', (column) => column.primaryKey()),
    },
    open: async () => {
      await attempt(async () => {
        const { rows } = await pool.query<{ fsync: string }>(
          "SELECT current_setting('fsync') AS fsync",
        );
        if (rows[0]?.fsync === 'off')
          log.warn(
            'the database runs with fsync=off: what was acknowledged can be lost at a crash',
          );
      });
    },
    hasTable: async (name) => {
      const { rows } = await pool.query('SELECT 1 WHERE to_regclass($1) IS NOT NULL', [name]);
      return rows.length > 0;
    },
    openForMigrations: async () => {
      const patient = openPool({ ...config, statement_timeout: 0, query_timeout: 0 }, 1);
      patient.on('error', () => undefined);
      const migrating = toKysely(patient);
      return { db: migrating, close: () => migrating.destroy() };
    },
    listen: (onChange) => attempt(() => listener.start(onChange)),
    findTokenRow: async (hash) => {
      const { rows } = await pool.query<TokenRow>({
        name: 'token-by-hash',
        text: 'SELECT * FROM coatcheck_tokens WHERE hash = $1',
        values: [hash],
      });
      return rows[0];
    },
    insertTokens: async (transaction, rows) => {
      const query = CompiledQuery.raw(POSTGRES_INSERT, toLists(rows));
      const inserted = await transaction.executeQuery<{ hash: string }>(query);
      return new Set(inserted.rows.map(({ hash }) => hash));
    },
    endOldestTokens: async (transaction, { owners, max, now }) => {
      const subjects = owners.map(({ subject }) => subject);
      const podUids = owners.map(({ podUid }) => podUid);
      const values = [subjects, podUids, now, max];
      const query = CompiledQuery.raw(POSTGRES_END_OLDEST, values);
      return (await transaction.executeQuery<{ hash: string }>(query)).rows;
    },
    notify: async (transaction, change) => {
      const text = JSON.stringify(change);
      const payload =
        Buffer.byteLength(text) > MAX_PAYLOAD_BYTES
          ? JSON.stringify({ topic: change.topic })
          : text;
      await sql`SELECT pg_notify(${CHANNEL}, ${payload})`.execute(transaction);
    },
    toTrouble: toPostgresTrouble,
    findAwaySince: listener.findAwaySince,
    checkReachable: () => {
      const since = listener.findAwaySince();
      if (since !== undefined && clock.now() - Math.max(since, lastOkAt) > FAIL_FAST_AFTER_MS)
        throw new StoreError('unavailable', 'the database does not answer');
    },
    noteOutcome: (outcome) => {
      if (outcome === 'unavailable') return listener.check();
      lastOkAt = clock.now();
      // An outage so short that work went on by itself: no refusal while the listener waits for its next attempt.
      if (listener.findAwaySince() !== undefined) listener.hurry();
    },
    close: async () => {
      await Promise.all([listener.close(), db.destroy()]);
    },
  };
}

function toConfig(url: Secret): pg.PoolConfig {
  return {
    connectionString: url.reveal(),
    application_name: 'coatcheck-broker',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: 2 * STATEMENT_TIMEOUT_MS,
    keepAlive: true,
    // Times and counters are far below 2^53; the driver would give them as text.
    types: {
      getTypeParser: ((oid: number, format?: 'text') =>
        oid === INT8_OID
          ? Number
          : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
    },
  };
}

/** The driver reads the URL, and the files it names, where a connection is made; that may be hours later. */
function checkConfig(config: pg.PoolConfig): void {
  try {
    new pg.Client(config);
  } catch (error) {
    // Not as a cause: the parser's error quotes the URL.
    throw new StoreError(
      'conflict',
      `the URL of the PostgreSQL store, or a file it names, cannot be used (${toCode(error)})`,
    );
  }
}

async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    throw new StoreError('unavailable', `the database cannot be reached (${toCode(error)})`, {
      cause: error,
    });
  }
}

function openPool(config: pg.PoolConfig, max: number): pg.Pool {
  const pool = new pg.Pool({
    ...config,
    max,
    onConnect: async (client: pg.ClientBase) =>
      void (await client.query(`${MAKE_DURABLE}; ${LEAD_BY_INDEX}`)),
  } as pg.PoolConfig);
  // The pool listens to idle connections only; one that breaks in the middle of its work would end the process.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

function toKysely(pool: pg.Pool): Kysely<Tables> {
  const known = new WeakMap<pg.PoolClient, PostgresPoolClient>();
  const guarded: PostgresPool = {
    options: pool.options,
    end: () => pool.end(),
    connect: async () => {
      const client = await pool.connect();
      const wrapped = known.get(client) ?? guard(client);
      known.set(client, wrapped);
      return wrapped;
    },
  };
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: guarded }) });
}

/** After the driver's own time limit a connection still waits for the answer; the next one to use it would get that. */
function guard(client: pg.PoolClient): PostgresPoolClient {
  let isBroken = false;
  const query = async (text: string, values: unknown[]) => {
    try {
      const name = PREPARED.get(text);
      return await client.query({ text, values, ...(name !== undefined && { name }) });
    } catch (error) {
      if (findSqlState(error) === undefined) isBroken = true;
      throw error;
    }
  };
  return {
    query: query as unknown as PostgresPoolClient['query'],
    release: (destroy) => client.release(destroy === true || isBroken),
  };
}
