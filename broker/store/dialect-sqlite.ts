// The embedded database: node:sqlite under Kysely, one file, one process. A write is durable when its transaction ends:
// WAL with synchronous=FULL syncs the log at every commit.
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { Kysely, type SqliteDatabase, SqliteDialect } from 'kysely';
import type { Clock } from '../../common/clock.ts';
import type { Dialect, Trouble } from './dialect.ts';
import type { Tables, TokenRow } from './schema.ts';
import { StoreError } from './store.ts';
import { SQLITE_END_OLDEST, SQLITE_INSERT, toValues } from './token-statements.ts';

/** `COAT`, in the header of every file of ours. */
const APPLICATION_ID = 0x43_4f_41_54;
/** A batch of inserts has as many texts as rows it may have. */
const MAX_STATEMENTS = 300;
const FIND_TOKEN = 'SELECT * FROM coatcheck_tokens WHERE hash = ?';
const PRAGMAS = [
  'journal_mode = WAL',
  'synchronous = FULL',
  // Only a backup from outside ever holds a lock for a moment; the loop stands still meanwhile.
  'busy_timeout = 100',
  // A page that many commits touch is copied into the file once; 16 MiB of log at the default size of a page.
  'wal_autocheckpoint = 4000',
  'journal_size_limit = 67108864',
  // In KiB. With the default of 2 MiB every insert reads pages of indexes again.
  'cache_size = -32768',
  'trusted_schema = OFF',
  'cell_size_check = ON',
];

// https://www.sqlite.org/rescode.html
const BUSY = [5, 6];
const UNAVAILABLE = [...BUSY, 7, 8, 10, 11, 13, 14, 26];
const CONSTRAINT = 19;

export function createSqliteDialect({ file, clock }: { file: string; clock: Clock }): Dialect {
  let opened: { readonly database: DatabaseSync; readonly lock: DatabaseSync } | undefined;
  let statements = new Map<string, StatementSync>();
  let awaySince: number | undefined;

  function getDatabase(): DatabaseSync {
    if (!opened) throw new StoreError('unavailable', 'the store is not open');
    return opened.database;
  }

  function prepare(sql: string): StatementSync {
    const known = statements.get(sql);
    if (known) return known;
    if (statements.size >= MAX_STATEMENTS) statements = new Map();
    const statement = getDatabase().prepare(sql);
    statements.set(sql, statement);
    return statement;
  }

  const db = new Kysely<Tables>({
    dialect: new SqliteDialect({ database: toKyselyDatabase(prepare) }),
  });

  return {
    kind: 'sqlite',
    db,
    columns: {
      // AUTOINCREMENT: the number of a deleted row is never used again, and cursors hold numbers.
      addSequence: (table) =>
        table.addColumn('seq', 'integer', (column) => column.primaryKey().autoIncrement()),
    },
    open: async () => {
      opened ??= openFiles(file);
    },
    hasTable: async (name) =>
      getDatabase().prepare('SELECT 1 FROM sqlite_schema WHERE name = ?').get(name) !== undefined,
    openForMigrations: async () => {
      getDatabase().exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      return { db, close: async () => undefined };
    },
    // Nobody else writes: the process that holds the file makes all changes.
    listen: async () => undefined,
    notify: async () => undefined,
    findTokenRow: async (hash) => {
      return prepare(FIND_TOKEN).get(hash) as TokenRow | undefined;
    },
    // There is one connection, and whoever is in a transaction has it.
    insertTokens: async (_, rows) => {
      const insert = prepare(SQLITE_INSERT);
      const added = rows.filter((row) => insert.run(...toValues(row)).changes === 1);
      return new Set(added.map(({ hash }) => hash));
    },
    endOldestTokens: async (_, { owners, max, now }) => {
      const list = owners.map(({ subject, podUid }) => [subject, podUid]);
      const ended = prepare(SQLITE_END_OLDEST).all(JSON.stringify(list), now, max);
      return ended as { hash: string }[];
    },
    toTrouble,
    findAwaySince: () => awaySince,
    checkReachable: () => void getDatabase(),
    noteOutcome: (outcome) => {
      awaySince = outcome === 'ok' ? undefined : (awaySince ?? clock.now());
    },
    close: async () => {
      statements = new Map();
      opened?.database.close();
      opened?.lock.close();
      opened = undefined;
    },
  };
}

function toKyselyDatabase(prepare: (sql: string) => StatementSync): SqliteDatabase {
  return {
    // The dialect closes its files itself.
    close: () => undefined,
    prepare: (sql) => {
      const statement = prepare(sql);
      const toValues = (parameters: readonly unknown[]) => parameters as (string | number | null)[];
      return {
        reader: statement.columns().length > 0,
        all: (parameters) => statement.all(...toValues(parameters)),
        run: (parameters) => statement.run(...toValues(parameters)),
        iterate: (parameters) => statement.iterate(...toValues(parameters)),
      };
    },
  };
}

function toTrouble(error: unknown): Trouble {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  if (typeof code !== 'number') return 'bug';
  const primary = code & 0xff;
  if (primary === CONSTRAINT) return 'conflict';
  return UNAVAILABLE.includes(primary) ? 'unavailable' : 'bug';
}

/** @throws StoreError */
function openFiles(file: string): { database: DatabaseSync; lock: DatabaseSync } {
  const lock = openLock(`${file}.lock`);
  try {
    return { database: openDatabase(file), lock };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/**
 * A second file whose lock the system gives back when the process ends, however it ends. Not a lock on the database
 * itself: that would shut out a backup.
 */
function openLock(file: string): DatabaseSync {
  let lock: DatabaseSync | undefined;
  try {
    makePrivate(file);
    lock = new DatabaseSync(file, { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock?.close();
    if (BUSY.includes(toPrimary(error)))
      throw new StoreError(
        'conflict',
        'another process has this sqlite store open; only one broker may (use postgres for more replicas)',
      );
    throw new StoreError('unavailable', `the lock file of the sqlite store: ${describe(error)}`, {
      cause: error,
    });
  }
}

function openDatabase(file: string): DatabaseSync {
  let database: DatabaseSync | undefined;
  try {
    makePrivate(file);
    database = new DatabaseSync(file, { enableForeignKeyConstraints: false });
    checkIsOurs(database);
    for (const pragma of PRAGMAS) database.exec(`PRAGMA ${pragma}`);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof StoreError) throw error;
    const NOT_A_DATABASE = 26;
    if (toPrimary(error) === NOT_A_DATABASE)
      throw new StoreError('conflict', 'the file of the sqlite store is no SQLite database');
    throw new StoreError('unavailable', `the sqlite store cannot be opened: ${describe(error)}`, {
      cause: error,
    });
  }
}

/** @throws StoreError conflict */
function checkIsOurs(database: DatabaseSync): void {
  const id = database.prepare('PRAGMA application_id').get()?.application_id;
  const isEmpty = database.prepare('SELECT count(*) AS n FROM sqlite_schema').get()?.n === 0;
  if (id !== APPLICATION_ID && !isEmpty)
    throw new StoreError(
      'conflict',
      'the file of the sqlite store is the database of another program',
    );
}

/** SQLite gives its log the rights of the database, and a new file those of the umask. */
function makePrivate(file: string): void {
  closeSync(openSync(file, 'a', 0o600));
}

function toPrimary(error: unknown): number {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : 0;
}

function describe(error: unknown): string {
  const { code, errstr } = error as { code?: string; errstr?: string };
  return errstr ?? code ?? 'unknown';
}
