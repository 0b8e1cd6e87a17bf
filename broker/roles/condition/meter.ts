// How much one evaluation of a condition may cost. CEL ends always, but not soon: nested loops and growing texts are
// within the language, so everything that can grow is paid for, and who has spent all gets an error.

/** One step is a node of the expression, 0.1 to 0.4 µs: all of them are less than five milliseconds. */
export const MAX_STEPS = 10_000;

export interface Meter {
  /** Starts an evaluation of at most so many steps. */
  reset(limit?: number): void;
  /** @throws RangeError once more than the limit was charged since the reset, every time from then on */
  charge(steps: number): void;
  spent(): number;
}

export function createMeter(): Meter {
  let spent = 0;
  let most = MAX_STEPS;
  return {
    reset: (limit = MAX_STEPS) => {
      spent = 0;
      most = limit;
    },
    charge: (steps) => {
      spent += steps;
      if (spent > most) throw new RangeError('the condition takes too many steps');
    },
    spent: () => spent,
  };
}
