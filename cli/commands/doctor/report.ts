// What the doctor prints for people: a row per check, and below each row that is not ok what it means and what mends it.
import { toPlainText } from '../../plain-text.ts';
import type { Row, State } from './check.ts';

export interface Report extends Summary {
  readonly context: string;
  readonly server: string;
  readonly rows: readonly Row[];
}

export interface Summary {
  readonly problems: number;
  readonly warnings: number;
  readonly unknown: number;
}

/** What stands in the rows is partly others' text (messages, names): no token, nothing that writes over a terminal. */
export function toPlainRow({ check, state, about, seen, means, mend }: Row): Row {
  return {
    check,
    state,
    ...(about !== undefined && { about: toPlainText(about) }),
    seen: toPlainText(seen),
    ...(means !== undefined && { means: toPlainText(means) }),
    ...(mend !== undefined && { mend: toPlainText(mend) }),
  };
}

export function toSummary(rows: readonly Row[]): Summary {
  const count = (wanted: State) => rows.filter(({ state }) => state === wanted).length;
  return { problems: count('problem'), warnings: count('warning'), unknown: count('unknown') };
}

export function renderReport({ context, server, rows, ...summary }: Report): string {
  const width = Math.max(...rows.map(({ check }) => check.length));
  const lines = rows.flatMap(({ state, check, about, seen, means, mend }) => {
    const head = `${state.padEnd(8)} ${check.padEnd(width)}  ${about === undefined ? seen : `${about}: ${seen}`}`;
    const indent = ' '.repeat(8 + 1 + width + 2);
    const below = [
      ...(means === undefined ? [] : [`${indent}means: ${means}`]),
      ...(mend === undefined ? [] : [`${indent}do:    ${mend}`]),
    ];
    return [head, ...below];
  });
  return `Context ${toPlainText(context)}, ${toPlainText(server)}\n\n${lines.join('\n')}\n\n${toSentence(summary)}\n`;
}

function toSentence({ problems, warnings, unknown }: Summary): string {
  const parts = [
    problems === 1 ? '1 problem' : `${problems} problems`,
    warnings === 1 ? '1 warning' : `${warnings} warnings`,
    `${unknown} unknown`,
  ];
  return `${parts.join(', ')}.`;
}
