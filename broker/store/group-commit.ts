// Many writes, one commit. What arrives while a commit is under way shares the next one; a caller is answered when the
// commit that holds its row is durable. A row that the database refuses for itself fails alone.
import { StoreError } from './store.ts';

export interface GroupCommit<Row> {
  /** Resolves when the row is durable; rejects with what `commit` said of it. */
  add(row: Row): Promise<void>;
}

/** Said of a row; undefined: it is in. */
export type RowResult = Error | undefined;

export interface GroupCommitOptions<Row> {
  /** All of them in one transaction, a result for each; throws where none of it happened. */
  readonly commit: (rows: readonly Row[]) => Promise<readonly RowResult[]>;
  readonly maxRows: number;
}

interface Waiting<Row> {
  readonly row: Row;
  readonly settle: (result: RowResult) => void;
}

export function createGroupCommit<Row>(options: GroupCommitOptions<Row>): GroupCommit<Row> {
  const { commit, maxRows } = options;
  let queue: Waiting<Row>[] = [];
  let isBusy = false;

  async function flush(): Promise<void> {
    while (queue.length > 0) {
      const batch = queue.slice(0, maxRows);
      queue = queue.slice(maxRows);
      await commitBatch(batch);
    }
    isBusy = false;
  }

  async function commitBatch(batch: readonly Waiting<Row>[]): Promise<void> {
    try {
      const results = await commit(batch.map(({ row }) => row));
      for (const [index, { settle }] of batch.entries()) settle(results[index]);
    } catch (error) {
      await refuse(batch, error);
    }
  }

  async function refuse(batch: readonly Waiting<Row>[], error: unknown): Promise<void> {
    if (batch.length === 1 || isOutage(error)) {
      for (const { settle } of batch) settle(toError(error));
      return;
    }
    // One of them spoils the transaction: each has one of its own.
    for (const one of batch) await commitBatch([one]);
  }

  return {
    add: (row) =>
      new Promise((resolve, reject) => {
        queue.push({ row, settle: (error) => (error ? reject(error) : resolve()) });
        if (isBusy) return;
        isBusy = true;
        // After what this turn of the loop has read from sockets: all of it goes together.
        setImmediate(() => void flush());
      }),
  };
}

function isOutage(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'unavailable';
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error('the write failed', { cause: error });
}
