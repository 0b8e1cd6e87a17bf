// The files of a kubeconfig, merged by kubectl's rules: the first file that has a name or a value wins, and of two entries
// of one name only the first counts. What stands in them is never quoted: it may be a credential.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parse as parseYaml, YAMLParseError } from 'yaml';

/** What is wrong with a kubeconfig, for the person whose it is. */
export class KubeconfigError extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = 'KubeconfigError';
  }
}

/** One named entry, with the folder that its relative paths start from. */
export interface KubeconfigEntry {
  readonly value: Readonly<Record<string, unknown>>;
  readonly folder: string;
  readonly file: string;
}

export interface Kubeconfig {
  readonly currentContext: string | undefined;
  readonly contexts: ReadonlyMap<string, KubeconfigEntry>;
  readonly clusters: ReadonlyMap<string, KubeconfigEntry>;
  readonly users: ReadonlyMap<string, KubeconfigEntry>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Longer than any that a person has; a device in its place must not fill the memory. */
const MAX_BYTES = 16 * 1024 * 1024;

/**
 * @param explicit the one file of `--kubeconfig`, which must be there; else those of KUBECONFIG, else `~/.kube/config`
 * @returns undefined where there is no file at all
 * @throws KubeconfigError
 */
export async function readKubeconfig(
  explicit: string | undefined,
  environment: Environment,
): Promise<Kubeconfig | undefined> {
  const files = explicit === undefined ? listFiles(environment) : [explicit];
  const read = await Promise.all(files.map((file) => readOne(file, explicit !== undefined)));
  const documents = read.filter((one) => one !== undefined);
  if (documents.length === 0) return undefined;
  const merge = (kind: 'contexts' | 'clusters' | 'users') => {
    const merged = new Map<string, KubeconfigEntry>();
    for (const document of documents)
      for (const [name, entry] of document[kind]) if (!merged.has(name)) merged.set(name, entry);
    return merged;
  };
  return {
    currentContext: documents.find(({ currentContext }) => currentContext)?.currentContext,
    contexts: merge('contexts'),
    clusters: merge('clusters'),
    users: merge('users'),
  };
}

function listFiles(environment: Environment): readonly string[] {
  const listed = (environment.KUBECONFIG ?? '').split(path.delimiter).filter((one) => one !== '');
  if (listed.length > 0) return [...new Set(listed)];
  const home = environment.HOME ?? environment.USERPROFILE;
  return home ? [path.join(home, '.kube', 'config')] : [];
}

async function readOne(file: string, isRequired: boolean): Promise<Kubeconfig | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    // As kubectl: a file of the list that is not there counts as empty.
    if (code === 'ENOENT' && !isRequired) return undefined;
    throw new KubeconfigError(`the kubeconfig ${file} cannot be read (${code})`, { cause });
  }
  if (text.length > MAX_BYTES) throw new KubeconfigError(`the kubeconfig ${file} is too large`);
  const document = parseDocument(file, text);
  const currentContext = document['current-context'];
  return {
    currentContext: typeof currentContext === 'string' ? currentContext : undefined,
    contexts: toEntries(file, document.contexts, 'context'),
    clusters: toEntries(file, document.clusters, 'cluster'),
    users: toEntries(file, document.users, 'user'),
  };
}

function parseDocument(file: string, text: string): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = parseYaml(text, { prettyErrors: true, logLevel: 'error' });
  } catch (cause) {
    // The parser's own message shows the line, which may hold a token.
    const line = cause instanceof YAMLParseError ? cause.linePos?.[0].line : undefined;
    const where = line === undefined ? '' : `, line ${line}`;
    throw new KubeconfigError(`the kubeconfig ${file} is not valid YAML${where}`);
  }
  if (document === null) return {};
  if (typeof document !== 'object' || Array.isArray(document))
    throw new KubeconfigError(`the kubeconfig ${file} must be an object with clusters and users`);
  return document as Record<string, unknown>;
}

function toEntries(
  file: string,
  list: unknown,
  member: 'context' | 'cluster' | 'user',
): ReadonlyMap<string, KubeconfigEntry> {
  const entries = new Map<string, KubeconfigEntry>();
  if (list === undefined || list === null) return entries;
  if (!Array.isArray(list)) throw new KubeconfigError(`${file}: ${member}s must be a list`);
  for (const item of list as unknown[]) {
    const { name, [member]: value } = Object(item) as Record<string, unknown>;
    if (typeof name !== 'string')
      throw new KubeconfigError(`${file}: every one of ${member}s must have a name`);
    const entry = {
      value: Object(value ?? {}) as Record<string, unknown>,
      folder: path.dirname(path.resolve(file)),
      file,
    };
    if (!entries.has(name)) entries.set(name, entry);
  }
  return entries;
}
