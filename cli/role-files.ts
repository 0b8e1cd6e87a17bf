// TokenRole documents from files, folders or standard input, as far as the CLI must understand them: each has a name.
// Everything else about a role is for the broker to say.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { CommandIo } from '../common/command.ts';
import { readDocuments } from '../common/documents.ts';
import { ApiFailure } from './failure.ts';

export interface RoleDocument {
  readonly name: string;
  /** `roles/a.yaml, document 2`. */
  readonly where: string;
  readonly document: unknown;
}

const YAML_FILE = /\.(ya?ml|json)$/;

/** @throws ApiFailure with every problem of every file; quotes none of their content */
export async function readRoleFiles(
  files: readonly string[],
  io: Pick<CommandIo, 'stdin'>,
): Promise<readonly RoleDocument[]> {
  const problems: string[] = [];
  const documents: RoleDocument[] = [];
  for (const file of files.flatMap((one) => listFiles(one, problems))) {
    const text = file === '-' ? await io.stdin() : readText(file, problems);
    readDocuments(text).forEach(({ value, problems: found }, i) => {
      const where = `${file}, document ${i + 1}`;
      problems.push(...found.map((problem) => `${where}: ${problem}`));
      if (found.length > 0 || value === null) return;
      const name = findName(value);
      if (name === undefined)
        problems.push(`${where}: must be a TokenRole with a text as metadata.name`);
      else documents.push({ name, where, document: value });
    });
  }
  const twice = documents.find(
    ({ name }, i) => documents.findIndex((other) => other.name === name) !== i,
  );
  if (twice) problems.push(`${twice.where}: has the same name as a document before it`);
  if (documents.length === 0 && problems.length === 0)
    problems.push('there is no role in the files');
  if (problems.length > 0) throw new ApiFailure(problems.join('\n'));
  return documents;
}

function findName(value: unknown): string | undefined {
  const { kind, metadata } = value as { kind?: unknown; metadata?: { name?: unknown } };
  return kind === 'TokenRole' && typeof metadata?.name === 'string' && metadata.name !== ''
    ? metadata.name
    : undefined;
}

function listFiles(file: string, problems: string[]): readonly string[] {
  if (file === '-') return [file];
  try {
    if (!statSync(file).isDirectory()) return [file];
    return readdirSync(file)
      .filter((name) => YAML_FILE.test(name) && !name.startsWith('.'))
      .sort()
      .map((name) => path.join(file, name));
  } catch (error) {
    problems.push(`${file}: cannot be read (${toCode(error)})`);
    return [];
  }
}

function readText(file: string, problems: string[]): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    problems.push(`${file}: cannot be read (${toCode(error)})`);
    return '';
  }
}

function toCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown';
}
