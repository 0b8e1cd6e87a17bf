// Entries of the clusters table from files or standard input, as far as the CLI must understand them: each has a name.
// A file may be a whole clusters file or one entry. Everything else about an entry is for the broker to say.
import { readFileSync } from 'node:fs';
import type { CommandIo } from '../common/command.ts';
import { readDocuments } from '../common/documents.ts';
import { ApiFailure } from './failure.ts';

export interface ClusterEntry {
  readonly name: string;
  /** `clusters.yaml, entry 2`. */
  readonly where: string;
  /** Without its name, which stands in the path. */
  readonly document: object;
}

/** @throws ApiFailure with every problem of every file; quotes none of their content */
export async function readClusterFiles(
  files: readonly string[],
  io: Pick<CommandIo, 'stdin'>,
): Promise<readonly ClusterEntry[]> {
  const problems: string[] = [];
  const entries: ClusterEntry[] = [];
  for (const file of files) {
    const text = file === '-' ? await io.stdin() : readText(file, problems);
    const found = readDocuments(text);
    problems.push(...found.flatMap((one) => one.problems.map((problem) => `${file}: ${problem}`)));
    found
      .filter(({ value, problems: wrong }) => wrong.length === 0 && value !== null)
      .flatMap(({ value }) => toItems(value))
      .forEach((item, index) => {
        const where = `${file}, entry ${index + 1}`;
        const { name, ...document } = Object(item) as { name?: unknown };
        if (typeof name === 'string' && name !== '') entries.push({ name, where, document });
        else problems.push(`${where}: must be an entry of the clusters table, with a text as name`);
      });
  }
  const twice = entries.find(
    ({ name }, i) => entries.findIndex((other) => other.name === name) !== i,
  );
  if (twice) problems.push(`${twice.where}: has the same name as an entry before it`);
  if (entries.length === 0 && problems.length === 0)
    problems.push('there is no cluster in the files');
  if (problems.length > 0) throw new ApiFailure(problems.join('\n'));
  return entries;
}

function toItems(value: unknown): readonly unknown[] {
  const { clusters } = Object(value) as { clusters?: unknown };
  return Array.isArray(clusters) ? clusters : [value];
}

function readText(file: string, problems: string[]): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    problems.push(`${file}: cannot be read (${code})`);
    return '';
  }
}
