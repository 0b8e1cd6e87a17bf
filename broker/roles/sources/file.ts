// Roles from YAML files: one file, or a folder of them, read again when they change (also by the kubelet's `..data`
// swap). A broken file keeps the roles it had while it was good, and says so until it is mended.
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../../../common/clock.ts';
import { type ReadDocument, readDocuments } from '../../../common/documents.ts';
import type { Logger } from '../../../common/log.ts';
import type { RoleLimits } from '../limits.ts';
import type { Role } from '../role.ts';
import { createRoleParser, type ParsedRole, type RoleParser } from '../schema.ts';
import type { InvalidRole, RoleSource } from '../source.ts';

export interface FileSourceOptions {
  /** A folder, or one file. */
  path: string;
  limits?: RoleLimits;
  clock: Clock;
  log: Logger;
  pollMs?: number;
}

/** Problems are `file.yaml#2: spec.subjects: …`, in the order of the files; roles are in the order of their names. */
export interface FileSource extends RoleSource {
  readonly kind: 'file';
  reload(): Promise<void>;
}

interface FileState {
  /** Identity of what was read: nothing is parsed twice. */
  readonly digest: string;
  readonly roles: readonly Role[];
  readonly invalid: readonly InvalidRole[];
  readonly problems: readonly string[];
}

export const POLL_MS = 500;
const MAX_FILE_BYTES = 1024 * 1024;

/** Makes the source; nothing is read before `start` or `reload`. */
export function createFileSource(options: FileSourceOptions): FileSource {
  const { clock, log, pollMs = POLL_MS } = options;
  const parse = createRoleParser(options.limits);
  let files: ReadonlyMap<string, FileState> = new Map();
  let roles: readonly Role[] = [];
  let invalid: readonly InvalidRole[] = [];
  const listeners: (() => void)[] = [];
  let problems: readonly string[] = [];
  let isLoaded = false;
  let isPublished = false;
  let stamps = '';
  let reloading: Promise<void> | undefined;
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();

  async function read(): Promise<void> {
    let names: readonly string[];
    try {
      const next = await stampFolder(options.path);
      if (next === stamps) return;
      names = await listFiles(options.path);
      stamps = next;
    } catch (error) {
      // A folder that went away is a broken mount: an empty one is how an operator takes all roles away.
      stamps = '';
      publish([`${options.path}: cannot be read (${toCode(error)})`]);
      return;
    }
    const states = await Promise.all(names.map((name) => readState(name, files.get(name))));
    files = new Map(names.map((name, at) => [name, states[at] as FileState]));
    isLoaded = true;
    publish([]);
  }

  async function readState(name: string, before: FileState | undefined): Promise<FileState> {
    let content: string;
    try {
      content = await readFile(name, 'utf8');
    } catch (error) {
      return keepRoles(before, {
        digest: '',
        invalid: [],
        problems: [`${name}: cannot be read (${toCode(error)})`],
      });
    }
    const digest = createHash('sha256').update(content).digest('hex');
    if (before?.digest === digest) return before;
    const parsed = parseFile(name, content, parse);
    return parsed.problems.length === 0
      ? { digest, ...parsed }
      : keepRoles(before, { digest, invalid: parsed.invalid, problems: parsed.problems });
  }

  function publish(sourceProblems: readonly string[]): void {
    const states = [...files.values()];
    const { kept, lost } = dropDuplicates(states.flatMap((state) => state.roles));
    const next = [...sourceProblems, ...states.flatMap((state) => state.problems), ...lost];
    const sorted = kept.toSorted(byName);
    if (isPublished && isSameList(next, problems) && isSameList(sorted, roles)) return;
    isPublished = true;
    roles = Object.freeze(sorted);
    problems = next;
    invalid = states.flatMap((state) => state.invalid);
    const facts = { path: options.path, roles: kept.length };
    if (problems.length > 0)
      log.warn(
        { ...facts, problems },
        'roles have problems; broken files keep their last good roles',
      );
    else log.info(facts, 'roles loaded');
    for (const listener of listeners) listener();
  }

  function reload(): Promise<void> {
    reloading ??= read().finally(() => {
      reloading = undefined;
    });
    return reloading;
  }

  async function watch(): Promise<void> {
    let seen = '';
    while (!stopping.signal.aborted) {
      await clock.sleep(pollMs, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      // A file in the middle of being written looks different at each poll: what has settled is read.
      const now = await stampFolder(options.path).catch(toCode);
      if (now === seen) await reload();
      seen = now;
    }
  }

  return {
    kind: 'file',
    current: () => roles,
    problems: () => problems,
    invalid: () => invalid,
    onChange: (listener) => void listeners.push(listener),
    findObstacles: () => (isLoaded ? [] : [`roles at ${options.path} were not read yet`]),
    reload,
    start: async () => {
      await reload();
      running = watch();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

type ParsedFile = Omit<FileState, 'digest'>;

/** Reads the documents of one file; with a problem in one of them the file gives no role at all. */
export function parseFile(name: string, content: string, parse: RoleParser): ParsedFile {
  const roles: Role[] = [];
  const problems: string[] = [];
  const invalid: InvalidRole[] = [];
  if (Buffer.byteLength(content) > MAX_FILE_BYTES)
    return { roles, invalid, problems: [`${name}: larger than ${MAX_FILE_BYTES} bytes`] };
  readDocuments(content).forEach((document, at) => {
    const where = `${name}#${at + 1}`;
    const found = readRole(document, { source: `file:${where}`, parse });
    if (!found) return;
    if (found.ok) roles.push(found.role);
    else {
      problems.push(...found.problems.map((problem) => `${where}: ${problem}`));
      const named = findName(document.value);
      if (named !== undefined)
        invalid.push({ name: named, source: `file:${where}`, problems: found.problems });
    }
  });
  return problems.length > 0 ? { roles: [], invalid, problems } : { roles, invalid, problems };
}

function readRole(
  { value, problems }: ReadDocument,
  { source, parse }: { source: string; parse: RoleParser },
): ParsedRole | undefined {
  if (problems.length > 0) return { ok: false, problems };
  return value === null ? undefined : parse(value, source);
}

/** The name that the author gave to what is no role. */
function findName(document: unknown): string | undefined {
  const { metadata } = Object(document) as { metadata?: unknown };
  const { name } = Object(metadata) as { name?: unknown };
  return typeof name === 'string' && /^[\w.-]{1,253}$/.test(name) ? name : undefined;
}

function keepRoles(before: FileState | undefined, now: Omit<FileState, 'roles'>): FileState {
  return { ...now, roles: before?.roles ?? [] };
}

/** Of roles with one name the first counts: files in the order of their paths, documents in the order of the file. */
function dropDuplicates(roles: readonly Role[]): {
  kept: readonly Role[];
  lost: readonly string[];
} {
  const byName = new Map<string, Role>();
  const lost: string[] = [];
  for (const role of roles) {
    const first = byName.get(role.name);
    if (first)
      lost.push(
        `${role.source.replace(/^file:/, '')}: metadata.name: is the name of ${first.source} already; ignored`,
      );
    else byName.set(role.name, role);
  }
  return { kept: [...byName.values()], lost };
}

async function listFiles(root: string): Promise<readonly string[]> {
  const found = await stat(root);
  if (!found.isDirectory()) return [root];
  // `..data` and its targets begin with a dot: a ConfigMap's files are the links beside them.
  const names = (await readdir(root)).filter(
    (name) => !name.startsWith('.') && /\.(ya?ml|json)$/.test(name),
  );
  return names.toSorted().map((name) => path.join(root, name));
}

/** A text that changes whenever a file of the folder does. */
async function stampFolder(root: string): Promise<string> {
  const stamps = await Promise.all(
    (await listFiles(root)).map(async (name) => {
      const found = await stat(name, { bigint: true }).catch(() => undefined);
      return `${name} ${found ? `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs}` : 'away'}`;
    }),
  );
  return `${root}\n${stamps.join('\n')}`;
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}

function byName(a: Role, b: Role): number {
  return a.name < b.name ? -1 : 1;
}

function toCode(error: unknown): string {
  const { code } = Object(error) as { code?: unknown };
  return typeof code === 'string' ? code : 'error';
}
