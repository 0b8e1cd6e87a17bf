// A clock that the test moves: sleepers wake in the order of their times, and everything between runs to its end.
import type { Clock } from '../../common/clock.ts';

interface Sleeper {
  atMs: number;
  wake: () => void;
}

export class FakeClock implements Clock {
  #nowMs: number;
  #sleepers: Sleeper[] = [];
  /** Every sleep that was asked for, in order. */
  readonly slept: number[] = [];

  constructor(nowMs = 1_000_000) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.slept.push(ms);
    return new Promise((resolve, reject) => {
      const fail = () => reject(signal?.reason as Error);
      if (signal?.aborted) return fail();
      signal?.addEventListener('abort', fail, { once: true });
      this.#sleepers.push({
        atMs: this.#nowMs + ms,
        wake: () => {
          signal?.removeEventListener('abort', fail);
          resolve();
        },
      });
      return undefined;
    });
  }

  /** Moves on by `ms`, waking whoever is due on the way. */
  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = this.#sleepers
        .filter(({ atMs }) => atMs <= endMs)
        .sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#sleepers = this.#sleepers.filter((one) => one !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.wake();
      await settle();
    }
    this.#nowMs = endMs;
  }
}

/** Lets everything that waits for nothing but other promises run to its end. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
