// Waiting for either some time or somebody's word.
import type { Clock } from '../common/clock.ts';

export interface Bell {
  /** Ends the wait; where nobody waits, the next one ends at once. */
  ring(): void;
  /** Resolves after so long, when it is rung, or when the signal is aborted; never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
}

/** Longer than any process lives without being told something; timers take no more. */
export const FOREVER_MS = 2 ** 31 - 1;

export function createBell(clock: Clock): Bell {
  let isRung = false;
  let waking = new AbortController();
  return {
    ring: () => {
      isRung = true;
      waking.abort();
    },
    wait: async (ms, signal) => {
      waking = new AbortController();
      if (!isRung) {
        const either = AbortSignal.any([signal, waking.signal]);
        await clock.sleep(ms, either).catch(() => undefined);
      }
      isRung = false;
    },
  };
}
