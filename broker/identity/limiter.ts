// So many tasks at once, so many waiting, none longer than a deadline: what stands between a flood of requests and an
// API server. Turns are fair (fair-queue.ts): whoever floods waits for itself.
import { type Clock, type Random, systemRandom } from '../../common/clock.ts';
import { createFairQueue, type Turn } from './fair-queue.ts';

/** The task was not started: too many wait, or its turn did not come in time. */
export class LimiterFull extends Error {
  readonly why: 'full' | 'late';
  /** Estimated from what waits and how long tasks take, with jitter; whole seconds. */
  readonly retryAfterSeconds: number;

  constructor(why: 'full' | 'late', text: string, retryAfterSeconds: number) {
    super(text);
    this.why = why;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export interface Limiter {
  /**
   * @param task is told how long it has waited, in milliseconds
   * @throws LimiterFull, or what the task throws
   */
  run<T>(turn: Turn, task: (waitedMs: number) => Promise<T>): Promise<T>;
}

export interface LimiterOptions {
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  readonly maxWaitMs: number;
  readonly clock: Clock;
  /** For the jitter; the system's unless a test gives its own. */
  readonly random?: Random;
  /** Told of each change of how many wait; must not throw. */
  readonly onWaiting?: (count: number) => void;
}

interface Waiter {
  start(): void;
  refuse(why: 'full' | 'late', text: string): void;
}

const LONGEST_RETRY_SECONDS = 30;
/** Of the moving average of how long tasks take. */
const WEIGHT = 0.1;

export function createLimiter(options: LimiterOptions): Limiter {
  const { maxInFlight, maxWaiting, maxWaitMs, clock, onWaiting } = options;
  const { random = systemRandom } = options;
  const waiting = createFairQueue<Waiter>(maxWaiting);
  let inFlight = 0;
  let averageMs = 0;

  function release(): void {
    const next = waiting.next();
    // The place goes on to the next one without ever being free, so that nobody overtakes.
    if (next) next.start();
    else inFlight -= 1;
  }

  /** When the last one of the group would have its turn; with jitter, so that those refused together do not return together. */
  function estimateSeconds(group: string): number {
    const before = Math.min(waiting.size, waiting.countOf(group) * waiting.groups) + 1;
    const seconds = (before * averageMs) / maxInFlight / 1000;
    const jittered = seconds * (1 + random() / 2) + random();
    return Math.min(LONGEST_RETRY_SECONDS, Math.max(1, Math.ceil(jittered)));
  }

  function waitForTurn(turn: Turn): Promise<void> | undefined {
    if (inFlight < maxInFlight) {
      inFlight += 1;
      return undefined;
    }
    if (maxWaitMs === 0)
      return Promise.reject(
        new LimiterFull('full', 'nobody may wait', estimateSeconds(turn.group)),
      );
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadline = new AbortController();
    const end = () => {
      waiting.remove(turn, waiter);
      deadline.abort();
      onWaiting?.(waiting.size);
    };
    const waiter: Waiter = {
      start: () => {
        end();
        resolve();
      },
      refuse: (why, text) => {
        end();
        reject(new LimiterFull(why, text, estimateSeconds(turn.group)));
      },
    };
    clock.sleep(maxWaitMs, deadline.signal).then(
      () => waiter.refuse('late', `no turn within ${maxWaitMs} ms`),
      () => undefined,
    );
    waiting.add(turn, waiter)?.refuse('full', 'too many are waiting');
    onWaiting?.(waiting.size);
    return promise;
  }

  return {
    run: async (turn, task) => {
      const askedAt = clock.now();
      await waitForTurn(turn);
      const startedAt = clock.now();
      try {
        return await task(startedAt - askedAt);
      } finally {
        const tookMs = Math.max(0, clock.now() - startedAt);
        averageMs += (tookMs - averageMs) * (averageMs === 0 ? 1 : WEIGHT);
        release();
      }
    },
  };
}
