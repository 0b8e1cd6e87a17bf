// What operators write as YAML or JSON: read strictly, checked by a zod schema, and answered with every problem at
// once. A problem names the place and what is allowed there, and never quotes the document: it may hold a secret.
import { LineCounter, parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { didYouMean } from './spelling.ts';

export interface ReadDocument {
  readonly value: unknown;
  /** Why the text is not a document; `value` means nothing where there is one. */
  readonly problems: readonly string[];
}

// A billion laughs stays small: this many times may one alias be resolved.
const MAX_ALIASES = 100;

/** Every document of a YAML (or JSON) text. A text without a document is an empty list; empty documents are null. */
export function readDocuments(text: string): readonly ReadDocument[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    prettyErrors: false,
    lineCounter: lines,
    stringKeys: true,
    strict: true,
    uniqueKeys: true,
    logLevel: 'silent',
  });
  if (!Array.isArray(documents)) return [];
  return documents.map((document) => {
    // The parser's messages quote the text, its codes do not.
    const problems = [...document.errors, ...document.warnings].map((error) => {
      const { line, col } = lines.linePos(error.pos[0]);
      return `not valid YAML at line ${line}, column ${col}: ${error.code.toLowerCase().replaceAll('_', ' ')}`;
    });
    if (problems.length > 0) return { value: undefined, problems };
    try {
      const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
      return isCyclic(value)
        ? { value: undefined, problems: ['an alias inside of its own anchor'] }
        : { value, problems };
    } catch {
      return { value: undefined, problems: ['an alias without anchor, or too many aliases'] };
    }
  });
}

/** An anchor may hold its own alias; no JSON can say that, and whoever walks it never comes to an end. */
function isCyclic(value: unknown, above: readonly object[] = []): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (above.includes(value)) return true;
  const path = [...above, value];
  return Object.values(value).some((member) => isCyclic(member, path));
}

/** Whether lists and objects stand in one another more than `max` deep: whoever walks such a value runs out of stack. */
export function isDeeperThan(value: unknown, max: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return max <= 0 || Object.values(value).some((member) => isDeeperThan(member, max - 1));
}

export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly string[] };

/** One thing that is wrong with a value. */
export interface Problem {
  /** `spec.subjects[0].namespace`; empty for the whole. */
  readonly path: string;
  /** What is allowed there; never quotes the value. */
  readonly problem: string;
}

export type CheckedValue<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** They go into answers, log lines and statuses, and somebody's document may have a hundred thousand. */
const MAX_PROBLEMS = 100;
const MAX_UNKNOWN_FIELDS = 20;

/** Checks a value by a schema and tells each problem with its place, a hundred at most. */
export function checkValue<T>(schema: z.ZodType<T>, value: unknown): CheckedValue<T> {
  const result = schema.safeParse(value, { error: explain });
  if (result.success) return { ok: true, value: result.data };
  const { issues } = result.error;
  const problems = issues.slice(0, MAX_PROBLEMS).map((issue) => ({
    path: toPath(issue.path),
    problem: issue.message,
  }));
  if (issues.length <= MAX_PROBLEMS) return { ok: false, problems };
  const rest = { path: '', problem: `${issues.length - MAX_PROBLEMS} more problems` };
  return { ok: false, problems: [...problems, rest] };
}

/** Checks a value by a schema; each problem is `path: what is allowed` (`spec.subjects[0].namespace: is required`). */
export function checkDocument<T>(schema: z.ZodType<T>, value: unknown): Checked<T> {
  const checked = checkValue(schema, value);
  if (checked.ok) return checked;
  const problems = checked.problems.map(({ path, problem }) =>
    path === '' ? problem : `${path}: ${problem}`,
  );
  return { ok: false, problems };
}

/** `a.b[0]["odd key"]`. */
export function toPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_][\w-]*$/.test(String(part)))
      text += text === '' ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part))}]`;
  }
  return text;
}

const KINDS: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'true or false',
  number: 'a number',
  int: 'a whole number',
  object: 'an object',
  record: 'an object',
  string: 'a text',
};

function explain(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'is required';
      return `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      if (issue.input === undefined) return 'is required';
      return `must be ${issue.values.length > 1 ? 'one of ' : ''}${issue.values.join(', ')}`;
    case 'unrecognized_keys': {
      const known = issue.inst instanceof z.ZodObject ? Object.keys(issue.inst.shape) : [];
      const told = issue.keys
        .slice(0, MAX_UNKNOWN_FIELDS)
        .map((key) => `unknown field ${key.slice(0, 100)}${didYouMean(key, known)}`);
      const more = issue.keys.length - told.length;
      return [...told, ...(more > 0 ? [`${more} more unknown fields`] : [])].join(', ');
    }
    case 'too_big':
      return `must be at most ${issue.maximum}${toUnit(issue.origin)}`;
    case 'too_small':
      return `must be at least ${issue.minimum}${toUnit(issue.origin)}`;
    default:
      // A schema's own words.
      return undefined;
  }
}

function toUnit(origin: string): string {
  if (origin === 'string') return ' characters';
  return origin === 'array' ? ' items' : '';
}
