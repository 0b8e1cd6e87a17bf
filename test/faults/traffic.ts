// Small things that every suite here needs: many at once, repeatable chance, medians, waiting for what must come true.
import { setTimeout as sleep } from 'node:timers/promises';

/** Far beyond what a busy machine needs; reached only by what never comes. */
const PATIENCE_MS = 60_000;
const PARALLEL = 12;

export async function inParallel<T>(
  items: readonly T[],
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await work(items[next++] as T);
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

/** In [0, 1), the same series for the same seed (mulberry32). */
export function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

export function toMedian(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** Resolves to the milliseconds it took; looks again as soon as the last look has ended. */
export async function waitUntil(what: string, isSo: () => Promise<boolean>): Promise<number> {
  const startedAt = performance.now();
  while (!(await isSo())) {
    if (performance.now() - startedAt > PATIENCE_MS) throw new Error(`it never came true: ${what}`);
    await sleep(1);
  }
  return performance.now() - startedAt;
}
