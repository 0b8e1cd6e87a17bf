// Token buckets by key, as many as fit: how often somebody may do something. One number per key (the generic cell rate
// algorithm), so that a hundred thousand of them are a few megabytes.
import type { Clock } from '../common/clock.ts';

export interface Buckets {
  /** Whether nothing is left for this key at the moment. */
  isEmpty(key: string): boolean;
  /** Takes one, or so many, also where none is left. */
  take(key: string, count?: number): void;
  /** Until there is one again; 0 where there is. */
  secondsUntilNext(key: string): number;
  readonly size: number;
}

export interface BucketsOptions {
  /** So many come back per second; 0: no bucket is ever empty. */
  readonly perSecond: number;
  /** So many are there at first, as seconds of that. */
  readonly burstSeconds: number;
  /** Beyond it those that were used longest ago are forgotten, which fills them. */
  readonly maxKeys: number;
  readonly clock: Clock;
}

export function createBuckets(options: BucketsOptions): Buckets {
  const { perSecond, maxKeys, clock } = options;
  const isOff = perSecond === 0;
  const stepMs = 1000 / perSecond;
  const burstMs = options.burstSeconds * 1000;
  // When each would be full again, milliseconds since the epoch; in the order of their last use.
  const fullAt = new Map<string, number>();

  /** What was taken and did not come back yet, as time. Bounded, so that a clock that is set back locks nobody out. */
  function toTakenMs(key: string): number {
    const at = fullAt.get(key);
    return at === undefined ? 0 : Math.min(burstMs + stepMs, Math.max(0, at - clock.now()));
  }
  const isEmpty = (key: string) => !isOff && toTakenMs(key) > burstMs - stepMs;

  return {
    get size() {
      return fullAt.size;
    },
    isEmpty,
    take: (key, count = 1) => {
      if (isOff) return;
      const takenMs = Math.min(burstMs + stepMs, toTakenMs(key) + count * stepMs);
      fullAt.delete(key);
      fullAt.set(key, clock.now() + takenMs);
      const [oldest] = fullAt.keys();
      if (fullAt.size > maxKeys && oldest !== undefined) fullAt.delete(oldest);
    },
    secondsUntilNext: (key) => (isEmpty(key) ? (toTakenMs(key) - (burstMs - stepMs)) / 1000 : 0),
  };
}
