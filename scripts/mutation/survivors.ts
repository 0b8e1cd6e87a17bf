// Writes what survived into docs/mutation.md, grouped by the reason that reasons.ts gives for the place. A survivor
// without a reason is an error: either a test is missing, or a sentence.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PARTS, type Part } from './areas.ts';
import { REASONS, type ReasonRule } from './reasons.ts';
import { addScores, countMutants, type Mutant, type Report, toPercent } from './score.ts';

const PAGE = 'docs/mutation.md';
const BEGIN = '<!-- BEGIN GENERATED: node scripts/mutation.ts --survivors -->';
const END = '<!-- END GENERATED -->';

interface Survivor {
  readonly file: string;
  readonly line: number;
  /** The source line, without indentation. */
  readonly text: string;
  readonly mutator: string;
  readonly replacement: string;
}

/** @returns survivors that no reason covers, as text; the page is written all the same */
export function writeSurvivors(
  root: string,
  read: (part: Part) => Report | undefined,
  date: string,
): readonly string[] {
  const reports = PARTS.flatMap((part) => {
    const report = read(part);
    return report ? [{ part, report }] : [];
  });
  const survivors = reports.flatMap(({ part, report }) => listSurvivors(report, part.mutate));
  const reasons = survivors.map((survivor) => REASONS.find((rule) => isCovered(rule, survivor)));
  const page = readFileSync(path.join(root, PAGE), 'utf8');
  const at = page.indexOf(BEGIN) + BEGIN.length;
  const generated = [
    ...toScores(reports, date),
    ...REASONS.flatMap((rule) =>
      toGroup(
        rule,
        survivors.filter((_, i) => reasons[i] === rule),
      ),
    ),
  ];
  const text = `${page.slice(0, at)}\n\n${generated.join('\n')}\n${page.slice(page.indexOf(END))}`;
  writeFileSync(path.join(root, PAGE), text);
  return survivors
    .filter((_, i) => reasons[i] === undefined)
    .map(({ file, line, text: source, mutator, replacement }) => {
      const change = replacement.replace(/\s+/g, ' ').slice(0, 80);
      return `${file}:${line} ${mutator} ${source.slice(0, 100)} → ${change}`;
    });
}

function listSurvivors({ files }: Report, globs: readonly string[]): readonly Survivor[] {
  return Object.entries(files)
    .filter(([file]) => globs.some((glob) => path.matchesGlob(file, glob)))
    .flatMap(([file, { source, mutants }]) => {
      const lines = source.split('\n');
      return mutants.filter(isAlive).map(({ location, mutatorName, replacement = '' }) => ({
        file,
        line: location.start.line,
        text: (lines[location.start.line - 1] ?? '').trim(),
        mutator: mutatorName,
        replacement,
      }));
    });
}

function isAlive({ status }: Mutant): boolean {
  return status === 'Survived' || status === 'NoCoverage';
}

function isCovered({ at }: ReasonRule, { file, text, mutator }: Survivor): boolean {
  return at.some(
    (place) =>
      (place.file === undefined || path.matchesGlob(file, place.file)) &&
      (place.text === undefined || place.text.test(text)) &&
      (place.mutator === undefined || mutator === place.mutator),
  );
}

function toScores(
  reports: readonly { readonly part: Part; readonly report: Report }[],
  date: string,
): readonly string[] {
  const rows = reports.map(({ part, report }) => ({
    ...part,
    counted: countMutants(report, part.mutate),
  }));
  const areas = [...Map.groupBy(rows, ({ area }) => area)].map(([area, group]) => ({
    name: `**${area}**`,
    counted: addScores(group.map(({ counted }) => counted)),
    rest: group.length > 1 ? group : [],
  }));
  const toRow = (name: string, counted: (typeof rows)[number]['counted']) =>
    `| ${name} | ${toPercent(counted).toFixed(1)} % | ${counted.killed} | ${counted.survived} | ${counted.uncovered} | ${counted.ignored} |`;
  return [
    `Measured on ${date}.`,
    '',
    '| Area | Score | Noticed | Survived | Never run | Left out |',
    '| --- | --- | --- | --- | --- | --- |',
    ...areas.flatMap(({ name, counted, rest }) => [
      toRow(name, counted),
      ...rest.map((one) => toRow(one.name, one.counted)),
    ]),
    '',
  ];
}

/** Every file once, its lines with the kinds of changes that survive there. */
function toGroup({ reason }: ReasonRule, survivors: readonly Survivor[]): readonly string[] {
  if (survivors.length === 0) return [];
  const files = [...Map.groupBy(survivors, ({ file }) => file)].map(([file, group]) => {
    const kinds = [...Map.groupBy(group, ({ mutator }) => mutator)].map(([mutator, all]) => {
      const lines = all.map(({ line }) => line).sort((a, b) => a - b);
      return `${mutator} ${[...new Set(lines)].join(', ')}`;
    });
    return `| \`${file}\` | ${kinds.join('; ')} |`;
  });
  return [
    `### ${reason} (${survivors.length})`,
    '',
    '| File | Kind of change and lines |',
    '| --- | --- |',
    ...files,
    '',
  ];
}
