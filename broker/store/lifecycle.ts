// How a broker comes to its store: it waits a while for one that does not answer, instead of ending and being started
// again in a hurry, and it takes a refusal for what it is.
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Mirror } from './mirror.ts';
import { type Store, StoreError } from './store.ts';

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
/** A database that restarts or fails over is back by then; an operator who got it wrong has seen the log by then. */
export const START_PATIENCE_MS = 300_000;

export interface StoreStart {
  readonly store: Store;
  readonly mirror: Mirror;
  readonly clock: Clock;
  readonly log: Logger;
  /** Ends the waiting; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Resolves when the schema is there and the mirror was filled.
 * @throws StoreError conflict at once; unavailable after {@link START_PATIENCE_MS}
 */
export async function startStore(start: StoreStart): Promise<void> {
  const { store, mirror, clock, log, signal } = start;
  const until = clock.now() + START_PATIENCE_MS;
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, LONGEST_WAIT_MS)) {
    try {
      await store.start();
      await mirror.start();
      log.info({ store: store.kind }, 'store is in use');
      return;
    } catch (error) {
      const isWorthWaiting = error instanceof StoreError && error.kind === 'unavailable';
      if (!isWorthWaiting || clock.now() + wait > until) throw error;
      log.warn(
        { err: error, retryInMs: wait, patienceMs: until - clock.now() },
        'the store does not answer; the start waits for it',
      );
      await clock.sleep(wait, signal);
    }
  }
}
