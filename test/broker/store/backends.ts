// The two databases as the suites see them: a fresh one per test, opened as often as a test wants.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createDatabaseStore, type DatabaseStore } from '../../../broker/store/database.ts';
import type { Dialect } from '../../../broker/store/dialect.ts';
import { createPostgresDialect } from '../../../broker/store/dialect-postgres.ts';
import { createSqliteDialect } from '../../../broker/store/dialect-sqlite.ts';
import type { Clock } from '../../../common/clock.ts';
import { createLogger } from '../../../common/log.ts';
import { Secret } from '../../../common/secret.ts';
import { createFakeClock, type FakeClock } from '../../support/clock.ts';
import { findPostgresLack, getPostgres } from '../../support/postgres.ts';
import { keep } from '../../support/tokens.ts';

export interface Database {
  readonly clock: FakeClock;
  /** The setting's text of it. */
  readonly choice: string;
  /** A dialect that is not opened yet; the test closes it. */
  dialect(clock?: Clock): Dialect;
  /** A started store; closed with the database. */
  open(options?: { clock?: Clock; maxDecisions?: number }): Promise<DatabaseStore>;
  /** Closes every store and throws the database away. */
  close(): Promise<void>;
}

export interface Backend {
  readonly kind: 'sqlite' | 'postgres';
  readonly lack: string | undefined;
  create(): Promise<Database>;
}

const random = () => 0.5;

export const BACKENDS: readonly Backend[] = [
  {
    kind: 'sqlite',
    lack: undefined,
    create: async () => {
      const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-store-'));
      const file = path.join(folder, 'store.db');
      return toDatabase({
        choice: `sqlite:${file}`,
        make: (clock) => createSqliteDialect({ file, clock }),
        remove: () => rmSync(folder, { recursive: true }),
      });
    },
  },
  {
    kind: 'postgres',
    lack: findPostgresLack(),
    create: async () => {
      const postgres = await getPostgres();
      const url = await postgres.createDatabase();
      return toDatabase({
        choice: url,
        make: (clock, log) => createPostgresDialect({ url: new Secret(url), clock, random, log }),
        // It goes with the server.
        remove: () => undefined,
      });
    },
  },
];

type Log = ReturnType<typeof createLogger>;

function toDatabase({
  choice,
  make,
  remove,
}: {
  choice: string;
  make: (clock: Clock, log: Log) => Dialect;
  remove: () => void;
}): Database {
  const fake = createFakeClock();
  const lines: string[] = [];
  const log = createLogger({
    level: 'debug',
    process: 'broker',
    stream: { write: (line: string) => void lines.push(line) },
  });
  const opened: DatabaseStore[] = [];
  return {
    clock: fake,
    choice,
    dialect: (clock = fake) => make(clock, log),
    open: async ({ clock = fake, maxDecisions = 1000 } = {}) => {
      const store = createDatabaseStore(make(clock, log), {
        clock,
        log,
        holder: randomUUID(),
        keepDecisionsSeconds: 3600,
        maxDecisions,
      });
      opened.push(store);
      await store.start();
      return store;
    },
    close: async () => {
      await Promise.all(opened.map((store) => store.close()));
      remove();
      keep('store log', lines.join(''));
    },
  };
}

/** Resolves as soon as it is so; fails after a time that no healthy machine needs. */
export async function waitUntil(
  what: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const until = performance.now() + 8000;
  while (!(await isSo())) {
    if (performance.now() > until) throw new Error(`it never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The kind of the StoreError it ends with; undefined where it does not, what else was thrown is thrown on. */
export async function findRefusal(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if ((error as Error).name !== 'StoreError') throw error;
    return (error as { kind: string }).kind;
  }
}
