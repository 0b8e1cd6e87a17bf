// What commands print: an aligned table or rows for people, the answer as it came for programs. No colours: the same text
// goes to a terminal, a file and a pipe.
import { toPlainText } from './plain-text.ts';

export type Cell = string | number | undefined;

/** Lines with a heading, columns as wide as their widest cell. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly Cell[])[],
): string {
  const lines = [headings, ...rows.map((row) => row.map(toText))];
  const widths = headings.map((_, column) =>
    Math.max(...lines.map((line) => (line[column] ?? '').length)),
  );
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => cell.padEnd(widths[column] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** `label   value`, one per line; what is undefined is left out. */
export function formatFields(fields: readonly (readonly [label: string, value: Cell])[]): string {
  const told = fields.filter(([, value]) => value !== undefined);
  const width = Math.max(0, ...told.map(([label]) => label.length)) + 2;
  return told.map(([label, value]) => `${label.padEnd(width)}${toText(value)}\n`).join('');
}

/** Comma-separated; `-` where there is nothing. */
export function toList(items: readonly string[] | undefined): string {
  return items === undefined || items.length === 0 ? '-' : items.join(',');
}

function toText(cell: Cell): string {
  return cell === undefined || cell === '' ? '-' : toPlainText(String(cell));
}

export const OUTPUTS = ['table', 'json', 'yaml'] as const;
export type OutputForm = (typeof OUTPUTS)[number];

/** The value in the wanted form; `render` makes the table. YAML's library is loaded only where it is asked for. */
export async function formatOutput(
  output: OutputForm,
  value: unknown,
  render: () => string,
): Promise<string> {
  if (output === 'table') return render();
  if (output === 'json') return `${JSON.stringify(value, undefined, 2)}\n`;
  const { toYaml } = await import('./yaml.ts');
  return toYaml(value);
}
