// Keeps a replica's view of the clusters in the store: read at the start, at each change, each minute in case a change was
// missed, and soon again after one that could not be read.
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { createSingleFlight } from './store/single-flight.ts';
import type { Store, StoreChange, StoredClusters } from './store/store.ts';

export interface ClusterFollower {
  /**
   * After a write: takes what the store has now, which others may have written over. Where it does not answer any more,
   * `toStored` says what holds here all the same.
   */
  afterWrite(toStored: () => StoredClusters): Promise<void>;
  /** Resolves when what is stored was taken. @throws StoreError */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterFollowerDeps {
  readonly store: Pick<Store, 'clusters' | 'onChange'>;
  readonly take: (stored: StoredClusters) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** A safety net; changes are told at once. */
const RELOAD_MS = 60_000;
/** After a change that could not be read: it may have taken a key away. */
const RETRY_MS = 2000;

export function createClusterFollower(deps: ClusterFollowerDeps): ClusterFollower {
  const { store, take, clock, log } = deps;
  const stopping = new AbortController();
  let isBehind = false;
  /** Ends the long pause between two reads. */
  let hurry = new AbortController();
  let running: Promise<void> = Promise.resolve();

  const reads = createSingleFlight(async () => {
    take(await store.clusters.read());
    isBehind = false;
  });

  function fallBehind(error: unknown): void {
    log.warn({ err: error }, 'the clusters in the store could not be read; they are read again');
    isBehind = true;
    hurry.abort();
  }

  async function onChange({ topic }: StoreChange): Promise<void> {
    if (topic === 'clusters' || topic === 'all') await reads.again().catch(fallBehind);
  }

  async function goRound(): Promise<void> {
    while (!stopping.signal.aborted) {
      hurry = new AbortController();
      const signal = AbortSignal.any([stopping.signal, hurry.signal]);
      await clock.sleep(isBehind ? RETRY_MS : RELOAD_MS, signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      if (!hurry.signal.aborted) await reads.again().catch(fallBehind);
    }
  }

  return {
    afterWrite: async (toStored) => {
      try {
        await reads.again();
      } catch (error) {
        take(toStored());
        fallBehind(error);
      }
    },
    start: async () => {
      store.onChange(onChange);
      await reads.again();
      running = goRound();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}
