// So many tasks at once, so many waiting, none longer than a deadline: what stands between a flood of requests and an
// API server. First come, first served.
import type { Clock } from '../../common/clock.ts';

/** The task was not started: too many wait, or its turn did not come in time. */
export class LimiterFull extends Error {}

export interface Limiter {
  /** @throws LimiterFull, or what the task throws */
  run<T>(task: () => Promise<T>): Promise<T>;
}

export interface LimiterOptions {
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  readonly maxWaitMs: number;
  readonly clock: Clock;
}

export function createLimiter(options: LimiterOptions): Limiter {
  const { maxInFlight, maxWaiting, maxWaitMs, clock } = options;
  // A Set keeps the order and gives up a waiter from its middle in constant time.
  const waiting = new Set<() => void>();
  let inFlight = 0;

  function release(): void {
    const [next] = waiting;
    // The place goes on to the next one without ever being free, so that nobody overtakes.
    if (next) next();
    else inFlight -= 1;
  }

  function waitForTurn(): Promise<void> {
    if (inFlight < maxInFlight) {
      inFlight += 1;
      return Promise.resolve();
    }
    if (maxWaitMs === 0 || waiting.size >= maxWaiting) {
      return Promise.reject(new LimiterFull('too many are waiting'));
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadline = new AbortController();
    const start = () => {
      waiting.delete(start);
      deadline.abort();
      resolve();
    };
    waiting.add(start);
    clock.sleep(maxWaitMs, deadline.signal).then(
      () => {
        waiting.delete(start);
        reject(new LimiterFull(`no turn within ${maxWaitMs} ms`));
      },
      () => undefined,
    );
    return promise;
  }

  return {
    run: async (task) => {
      await waitForTurn();
      try {
        return await task();
      } finally {
        release();
      }
    },
  };
}
