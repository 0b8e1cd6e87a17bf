// Time and randomness as parameters, so that tests own both. Nothing else in the product calls Date.now()
// for a decision, and nothing calls Math.random() at all.
import { randomInt } from 'node:crypto';

/** Where a process gets the time. `now` is milliseconds since the epoch. */
export interface Clock {
  now(): number;
  /** Resolves after `ms`, or rejects with the signal's reason as soon as it is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A number in [0, 1). */
export type Random = () => number;

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const timer = setTimeout(done, ms);
      function done(): void {
        signal?.removeEventListener('abort', aborted);
        resolve();
      }
      function aborted(): void {
        clearTimeout(timer);
        reject(signal?.reason as Error);
      }
      signal?.addEventListener('abort', aborted, { once: true });
    }),
};

/** Uniform with 32 bits from the system's generator: jitter needs no more, and one source is easier to reason about. */
export const systemRandom: Random = () => randomInt(0x1_0000_0000) / 0x1_0000_0000;

/** Whole seconds since the epoch, as JWT's NumericDate wants them (RFC 7519 §2). */
export function nowSeconds(clock: Clock): number {
  return Math.floor(clock.now() / 1000);
}
