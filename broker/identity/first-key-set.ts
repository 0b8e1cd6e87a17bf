// The key set that an entry with pushed keys begins with, as the clusters file states it: in the entry, or in a file of
// its own.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { z } from 'zod';
import { file } from './cluster-review.ts';
import { type ParsedKeySet, parseKeySet } from './key-set.ts';
import type { SigningAlgorithm } from './keys.ts';

/** `keys.pushed` of an entry in the file. */
export const pushedSchema = z
  .strictObject({ jwks: z.looseObject({}).optional(), file: file.optional() })
  .refine(({ jwks, file: from }) => (jwks === undefined) !== (from === undefined), {
    error: 'must have either jwks, the first key set, or file, which holds it',
  });

export interface FirstSetSource {
  /** Relative paths start from there. */
  readonly folder: string;
  /** The disk, unless a caller wants to know what was read. */
  readonly readText?: ((path: string) => string) | undefined;
}

/** Paths of problems begin with `jwks` or `file`. */
export function readFirstSet(
  { jwks, file: from }: z.infer<typeof pushedSchema>,
  algorithms: readonly SigningAlgorithm[],
  { folder, readText = readFile }: FirstSetSource,
): ParsedKeySet {
  if (from === undefined) return withPath('jwks', parseKeySet(jwks, algorithms));
  let text: string;
  try {
    text = readText(resolve(folder, from));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    return refuse(`cannot be read (${code})`);
  }
  try {
    return withPath('file', parseKeySet(JSON.parse(text), algorithms));
  } catch {
    // The parser's message quotes the text.
    return refuse('is not JSON');
  }
}

function refuse(problem: string): ParsedKeySet {
  return { ok: false, problems: [{ path: 'file', problem }] };
}

function withPath(first: string, parsed: ParsedKeySet): ParsedKeySet {
  if (parsed.ok) return parsed;
  const problems = parsed.problems.map(({ path, problem }) => ({
    path: `${first}.${path}`,
    problem,
  }));
  return { ok: false, problems };
}

function readFile(path: string): string {
  return readFileSync(path, 'utf8');
}
