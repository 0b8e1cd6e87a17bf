// Ends a refresh sidecar that is stuck. There is no liveness probe (a probe that fails while the broker is away would
// kill a healthy pod), so the process watches itself: every loop says by when it will have moved on.
import type { Clock } from '../common/clock.ts';

export interface Watchdog {
  /** `name` will call again within `ms`, or is stuck. */
  expect(name: string, ms: number): void;
  /** Resolves with the name of the first loop that is overdue; rejects when `signal` is aborted. */
  watch(signal: AbortSignal): Promise<string>;
}

export interface WatchdogOptions {
  /** Monotonic: a suspended machine must not look like a stuck process. */
  uptime: Clock;
  everyMs: number;
}

export function createWatchdog({ uptime, everyMs }: WatchdogOptions): Watchdog {
  const due = new Map<string, number>();
  return {
    expect: (name, ms) => {
      due.set(name, uptime.now() + ms);
    },
    watch: async (signal) => {
      // Overdue at two looks in a row: after a container was frozen everything is, until the loops have had their turn.
      let before = new Map<string, number>();
      for (;;) {
        await uptime.sleep(everyMs, signal);
        const now = uptime.now();
        const overdue = new Map([...due].filter(([, at]) => at < now));
        const stuck = [...overdue].find(([name, at]) => before.get(name) === at);
        if (stuck) return stuck[0];
        before = overdue;
      }
    },
  };
}
