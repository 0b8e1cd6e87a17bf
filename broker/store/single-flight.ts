// At most one run of a piece of work at a time, and one waiting, however many ask.

export interface SingleFlight {
  /** Resolves after a run that began at or after this call. */
  again(): Promise<void>;
  isRunning(): boolean;
}

export function createSingleFlight(work: () => Promise<void>): SingleFlight {
  let current: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = (): Promise<void> => {
    current = work().finally(() => {
      current = undefined;
    });
    return current;
  };
  return {
    isRunning: () => current !== undefined,
    again: () => {
      if (!current) return start();
      next ??= current
        .catch(() => undefined)
        .then(() => {
          next = undefined;
          return start();
        });
      return next;
    },
  };
}
