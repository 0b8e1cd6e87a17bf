// The results as Markdown and JSON. A row is one question with our figure, the reference's where there is one, and the
// number to reach.

import type { Spread } from './load/latencies.ts';
import type { Machine } from './machine.ts';

export interface Row {
  line: string;
  unit: string;
  ours: Spread;
  /** The bare server of bench/references in the same run, alternating with ours. */
  reference?: Spread;
  /** Ours as a share of the reference, from the medians. */
  ratio?: number;
  /** What design and issues ask for, in words. */
  target?: string;
  /** Whether the target is met; absent where there is none. */
  isMet?: boolean;
}

export interface Results {
  machine: Machine;
  isQuick: boolean;
  measuredAt: string;
  rows: readonly Row[];
}

// Below it the machine is as good as idle.
const QUIET_LOAD = 0.5;

export function renderMarkdown({ machine, isQuick, measuredAt, rows }: Results): string {
  const where = `${machine.cores} cores (${machine.processor}), ${machine.memoryGiB} GiB, Node ${machine.node}`;
  const pinned = machine.isPinned
    ? 'server pinned to one core, load to another'
    : 'not pinned: server and load shared the cores';
  const head = [
    'what',
    'unit',
    'Coatcheck: median (min–max)',
    'reference: median (min–max)',
    'ratio',
    'to reach',
  ];
  return [
    `Measured ${measuredAt.slice(0, 10)} on ${where}; ${pinned}.${isQuick ? ' Quick run: fewer and shorter rounds.' : ''}`,
    ...((machine.loadBefore ?? 0) > QUIET_LOAD
      ? [
          '',
          `The machine was busy with other work (load ${machine.loadBefore} before the run): the CPU rows say more than the speeds.`,
        ]
      : []),
    '',
    ...renderTable([head, ...rows.map(toCells)]),
    '',
  ].join('\n');
}

/** As the formatter would write it; the first line is the head. */
function renderTable([head = [], ...lines]: readonly (readonly string[])[]): string[] {
  const widths = head.map((_, column) =>
    Math.max(3, ...[head, ...lines].map((line) => line[column]?.length ?? 0)),
  );
  const render = (line: readonly string[], fill: string) =>
    `| ${widths.map((width, column) => (line[column] ?? '').padEnd(width, fill)).join(' | ')} |`;
  return [render(head, ' '), render([], '-'), ...lines.map((line) => render(line, ' '))];
}

function toCells({ line, unit, ours, reference, ratio, target, isMet }: Row): string[] {
  const mark = isMet === undefined ? '' : isMet ? ' (met)' : ' (**missed**)';
  return [
    line,
    unit,
    formatSpread(ours),
    reference ? formatSpread(reference) : '',
    ratio === undefined ? '' : `${Math.round(ratio * 100)} %`,
    target === undefined ? '' : `${target}${mark}`,
  ];
}

function formatSpread({ median, min, max }: Spread): string {
  return `${formatNumber(median)} (${formatNumber(min)}–${formatNumber(max)})`;
}

function formatNumber(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}
