// How a long-running process of ours ends: on SIGTERM or SIGINT it says so, runs its stop functions, and exits 0;
// a second signal ends it at once. Used by each main.ts.
import type { Logger } from './log.ts';

export const EXIT_FAILURE = 1;

/**
 * Runs `stop` at the first SIGTERM or SIGINT and then exits.
 * @param stop resolves when nothing acknowledged can be lost any more; a rejection exits with code 1.
 */
export function exitOnSignal(log: Logger, stop: () => Promise<void>): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(EXIT_FAILURE);
    stopping = true;
    log.info({ signal }, 'stopping');
    stop().then(
      () => {
        log.info('stopped');
        process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: error }, 'could not stop cleanly');
        process.exit(EXIT_FAILURE);
      },
    );
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
