// What every store of a kind needs of the database: attempts that end in an answer or a StoreError, writes that tell of
// their changes in the same transaction, and pages.
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import type { Kysely } from 'kysely';
import type { Clock } from '../../common/clock.ts';
import type { Dialect, Trouble } from './dialect.ts';
import type { Tables } from './schema.ts';
import { type StoreChange, StoreError } from './store.ts';

/** Deadlocks and serialization failures; each attempt was rolled back. */
const MAX_ATTEMPTS = 4;

export interface Write {
  readonly db: Kysely<Tables>;
  /**
   * To be told, here and elsewhere, once this write is committed.
   * @param here what is told here instead: with what was written, which then needs no reading
   */
  readonly changed: (change: StoreChange, here?: StoreChange) => void;
}

export interface Core {
  readonly clock: Clock;
  readonly dialect: Dialect;
  read<T>(work: (db: Kysely<Tables>) => Promise<T>): Promise<T>;
  /** One transaction; resolves when it is durable and every listener here knows. */
  write<T>(work: (write: Write) => Promise<T>): Promise<T>;
  onChange(listener: (change: StoreChange) => void | Promise<void>): void;
  tell(change: StoreChange): Promise<void>;
}

export function createCore(dialect: Dialect, clock: Clock): Core {
  const listeners: ((change: StoreChange) => void | Promise<void>)[] = [];

  async function tell(change: StoreChange): Promise<void> {
    await Promise.all(listeners.map((listener) => listener(change)));
  }

  async function attempt<T>(work: () => Promise<T>): Promise<T> {
    for (let attempts = 1; ; attempts++) {
      dialect.checkReachable();
      try {
        const result = await work();
        dialect.noteOutcome('ok');
        return result;
      } catch (error) {
        if (attempts < MAX_ATTEMPTS && dialect.toTrouble(error) === 'retry') continue;
        throw toFailure(error);
      }
    }
  }

  function toFailure(error: unknown): unknown {
    if (error instanceof StoreError) return error;
    const trouble = dialect.toTrouble(error);
    if (trouble === 'unavailable') dialect.noteOutcome('unavailable');
    return toStoreError(error, trouble);
  }

  return {
    clock,
    dialect,
    tell,
    onChange: (listener) => void listeners.push(listener),
    read: (work) => attempt(() => work(dialect.db)),
    write: async (work) => {
      const { result, changes } = await attempt(() =>
        dialect.db.transaction().execute(async (db) => {
          const said = new Map<string, { change: StoreChange; here: StoreChange }>();
          const changed: Write['changed'] = (change, here = change) => {
            said.set(JSON.stringify(change), { change, here });
          };
          const done = await work({ db, changed });
          for (const { change } of said.values()) await dialect.notify(db, change);
          return { result: done, changes: [...said.values()].map(({ here }) => here) };
        }),
      );
      await Promise.all(changes.map(tell));
      return result;
    },
  };
}

function toStoreError(error: unknown, trouble: Trouble): unknown {
  if (trouble === 'conflict')
    return new StoreError('conflict', 'it is there already', { cause: error });
  if (trouble === 'bug') return error;
  return new StoreError('unavailable', 'the store does not answer', { cause: error });
}

/** Repeats a bounded step until it says that little was left; other work has its turn in between. */
export async function repeatInBatches(
  step: (limit: number) => Promise<number>,
  limit: number,
): Promise<number> {
  for (let total = 0; ; ) {
    const done = await step(limit);
    total += done;
    if (done < limit) return total;
    await yieldToOthers();
  }
}

const CURSOR = /^\d{1,16}(\.\d{1,16})*$/;

/** Whole numbers as an opaque text. */
export function toCursor(...parts: readonly number[]): string {
  return Buffer.from(parts.join('.')).toString('base64url');
}

/** @throws StoreError not_found */
export function parseCursor(text: string, length: number): readonly number[] {
  const plain = Buffer.from(text, 'base64url').toString();
  const parts = CURSOR.test(plain) ? plain.split('.').map(Number) : [];
  if (parts.length !== length || toCursor(...parts) !== text)
    throw new StoreError('not_found', 'there is no such page');
  return parts;
}

/** One more row than the page holds says whether there is another. */
export function toPage<Row, T>(
  rows: readonly Row[],
  limit: number,
  { toItem, toNext }: { toItem: (row: Row) => T; toNext: (last: Row) => string },
): { items: readonly T[]; next?: string } {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const items = shown.map(toItem);
  return rows.length > limit && last ? { items, next: toNext(last) } : { items };
}

/** PostgreSQL has no NUL in a text; without this, sqlite would take what PostgreSQL refuses. */
export function checkTexts(row: object): void {
  for (const [name, value] of Object.entries(row)) {
    if (typeof value === 'string' && value.includes('\0'))
      throw new TypeError(`${name} holds a NUL character`);
  }
}
