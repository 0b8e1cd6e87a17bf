// Counts what Stryker reports (the mutation-testing report schema, as far as it is used here).
import path from 'node:path';

export interface Mutant {
  readonly mutatorName: string;
  readonly replacement?: string;
  readonly location: { readonly start: { readonly line: number; readonly column: number } };
  readonly status: string;
}

export interface Report {
  readonly files: Readonly<
    Record<string, { readonly source: string; readonly mutants: readonly Mutant[] }>
  >;
}

export interface Counted {
  /** A test failed, or did not end. */
  readonly killed: number;
  readonly survived: number;
  /** No quick test runs the place: counts like a survivor. */
  readonly uncovered: number;
  readonly ignored: number;
}

/** @param only globs of the files that count: reports remember those of earlier runs */
export function countMutants({ files }: Report, only: readonly string[]): Counted {
  const statuses = Object.entries(files)
    .filter(([file]) => only.some((glob) => path.matchesGlob(file, glob)))
    .flatMap(([, { mutants }]) => mutants.map(({ status }) => status));
  const count = (...wanted: readonly string[]) =>
    statuses.filter((status) => wanted.includes(status)).length;
  return {
    killed: count('Killed', 'Timeout'),
    survived: count('Survived'),
    uncovered: count('NoCoverage'),
    // RuntimeError: the change keeps the code from loading at all, which no test could miss.
    ignored: count('Ignored', 'RuntimeError', 'CompileError'),
  };
}

export function addScores(all: readonly Counted[]): Counted {
  const sum = (name: keyof Counted) => all.reduce((total, one) => total + one[name], 0);
  return {
    killed: sum('killed'),
    survived: sum('survived'),
    uncovered: sum('uncovered'),
    ignored: sum('ignored'),
  };
}

/** Noticed changes of those that could have been noticed; 100 where there was none. */
export function toPercent({ killed, survived, uncovered }: Counted): number {
  const valid = killed + survived + uncovered;
  return valid === 0 ? 100 : (100 * killed) / valid;
}

export function describe(counted: Counted): string {
  const { killed, survived, uncovered, ignored } = counted;
  const parts = `${killed} noticed, ${survived} survived, ${uncovered} never run, ${ignored} left out`;
  return `${toPercent(counted).toFixed(1)} % (${parts})`;
}
