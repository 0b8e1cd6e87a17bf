// Why what survives may survive. A place is named by a piece of its source line, which moves less than its number.

export interface ReasonRule {
  /** One sentence; a heading in docs/mutation.md. */
  readonly reason: string;
  readonly at: readonly {
    readonly file: string;
    /** Part of the source line; absent: every line of the file. */
    readonly text?: string;
    readonly mutator?: string;
  }[];
}

export const REASONS: readonly ReasonRule[] = [];
