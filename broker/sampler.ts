// So many a second of what may come in floods.
import type { Clock } from '../common/clock.ts';

/** True at most so many times a second. */
export function createSampler(clock: Clock, perSecond: number): () => boolean {
  let second = 0;
  let count = 0;
  return () => {
    const now = Math.floor(clock.now() / 1000);
    if (now !== second) {
      second = now;
      count = 0;
    }
    count += 1;
    return count <= perSecond;
  };
}
