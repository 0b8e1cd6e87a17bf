// What differs between the two databases, as one contract: opening, raw look-ups, news of changes, and what an error
// means. dialect-sqlite.ts and dialect-postgres.ts keep it; no other file of the store knows which one it has.
import type { CreateTableBuilder, Kysely } from 'kysely';
import type { Tables, TokenRow } from './schema.ts';
import type { StoreChange, StoreKind } from './store.ts';
import type { NewTokenRow } from './token-statements.ts';

/** What a migration cannot say alike for both. */
export interface Columns {
  /** Adds `seq`, a primary key that counts up by itself. */
  readonly addSequence: <T extends string, C extends string>(
    table: CreateTableBuilder<T, C>,
  ) => CreateTableBuilder<T, C | 'seq'>;
}

/** A database's own identifier of what went wrong, sorted into what can be done about it. */
export type Trouble =
  /** It does not answer, or cannot now. */
  | 'unavailable'
  /** Something unique is taken. */
  | 'conflict'
  /** It was rolled back for another's sake; the same again may work. */
  | 'retry'
  /** A mistake of ours. */
  | 'bug';

export interface Owner {
  readonly subject: string;
  /** Empty where there is no pod. */
  readonly podUid: string;
}

export interface Dialect {
  readonly kind: Exclude<StoreKind, 'none'>;
  readonly db: Kysely<Tables>;
  readonly columns: Columns;
  /**
   * Connects, and refuses a database that is not for us. May be called again after it failed.
   * @throws StoreError
   */
  open(): Promise<void>;
  hasTable(name: string): Promise<boolean>;
  /** A connection for the migrations, which may take their time; it marks the database as ours where that can be. */
  openForMigrations(): Promise<{ readonly db: Kysely<Tables>; close(): Promise<void> }>;
  /** Begins to tell of changes made elsewhere, and of `all` after changes may have been missed. @throws StoreError */
  listen(onChange: (change: StoreChange) => Promise<void>): Promise<void>;
  /** The one hot look-up, prepared. */
  findTokenRow(hash: string): Promise<TokenRow | undefined>;
  /** Resolves to the hashes of those that went in; the others met something unique that is taken. */
  insertTokens(
    transaction: Kysely<Tables>,
    rows: readonly NewTokenRow[],
  ): Promise<ReadonlySet<string>>;
  /** Ends live client tokens beyond the newest `max` of each owner. Resolves to their hashes. */
  endOldestTokens(
    transaction: Kysely<Tables>,
    bound: { readonly owners: readonly Owner[]; readonly max: number; readonly now: number },
  ): Promise<readonly { readonly hash: string }[]>;
  /** Tells other replicas once the transaction commits. */
  notify(transaction: Kysely<Tables>, change: StoreChange): Promise<void>;
  toTrouble(error: unknown): Trouble;
  findAwaySince(): number | undefined;
  /** @throws StoreError unavailable where it is known that an attempt would only wait */
  checkReachable(): void;
  /** Told of each attempt's end, so that an outage is noticed where it shows first. */
  noteOutcome(outcome: 'ok' | 'unavailable'): void;
  close(): Promise<void>;
}
