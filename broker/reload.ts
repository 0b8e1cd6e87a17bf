// Reads again, every second, what others rotate under us: keys, certificate, CA bundle. Polling and not watching:
// a mounted Secret changes by a symlink swap that file watchers miss. A failed read changes nothing but a log line.
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import type { ReloadedThing } from './metrics.ts';

/** Files of a few KiB: a read costs less than a request. */
export const RELOAD_MS = 1000;

export interface Reloads {
  /** `read` throws, or returns problems, where the new content cannot be used; an empty list where all is well. */
  add(what: ReloadedThing, read: () => readonly string[]): void;
  start(onFailure: (what: ReloadedThing) => void): void;
  stop(): Promise<void>;
}

export function createReloads({
  clock,
  log,
  everyMs = RELOAD_MS,
}: {
  clock: Clock;
  log: Logger;
  everyMs?: number;
}): Reloads {
  const reads = new Map<ReloadedThing, () => readonly string[]>();
  const told = new Map<ReloadedThing, string>();
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();

  function reloadOne(
    what: ReloadedThing,
    read: () => readonly string[],
    onFailure: (what: ReloadedThing) => void,
  ): void {
    const problems = attempt(read);
    const text = problems.join('\n');
    if (problems.length > 0) onFailure(what);
    // Said once per change, not every second.
    if (text === (told.get(what) ?? '')) return;
    told.set(what, text);
    if (problems.length > 0)
      log.error({ what, problems }, 'reload failed; the last good content stays in use');
    else log.info({ what }, 'reload works again');
  }

  return {
    add: (what, read) => reads.set(what, read),
    start: (onFailure) => {
      const loop = async () => {
        while (!stopping.signal.aborted) {
          await clock.sleep(everyMs, stopping.signal).catch(() => undefined);
          if (stopping.signal.aborted) return;
          for (const [what, read] of reads) reloadOne(what, read, onFailure);
        }
      };
      running = loop();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

function attempt(read: () => readonly string[]): readonly string[] {
  try {
    return read();
  } catch (error) {
    return [(error as Error).message];
  }
}
