// Roles from YAML files: one file, or a folder of them, read again when they change (also by the kubelet's `..data`
// swap). A broken file keeps the roles it had while it was good, and says so until it is mended.
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Clock } from '../../../common/clock.ts';
import { readDocuments } from '../../../common/documents.ts';
import type { Logger } from '../../../common/log.ts';
import { lintRoles } from '../lint.ts';
import type { Role } from '../role.ts';
import { indexRoles, type RoleIndex } from '../role-index.ts';
import { createRoleParser, type RoleLimits } from '../schema.ts';

export interface RolesEvent {
  readonly roles: number;
  readonly problems: number;
}

export interface FileSourceOptions {
  /** A folder, or one file. */
  path: string;
  limits?: RoleLimits;
  /** With it the log also says what the lint finds after every change (overlaps, far-reaching wildcards). */
  ownCluster?: string;
  clock: Clock;
  log: Logger;
  /** After every change of roles or problems; for metrics. */
  onChange?: (event: RolesEvent) => void;
  pollMs?: number;
}

export interface FileSource {
  /** The roles as they are now; a new object after every change. */
  current(): RoleIndex;
  /** `file.yaml#2: spec.subjects: …`, in the order of the files; empty when all is well. */
  problems(): readonly string[];
  /** For readiness: nothing was read yet. Broken files are no obstacle, the other roles still serve. */
  findObstacles(): readonly string[];
  /** Reads what has changed, now. Never rejects: what goes wrong is a problem. */
  reload(): Promise<void>;
  /** Reads everything and keeps watching. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

interface FileState {
  /** Identity of what was read: nothing is parsed twice. */
  readonly digest: string;
  readonly roles: readonly Role[];
  readonly problems: readonly string[];
}

export const POLL_MS = 500;
const MAX_FINDINGS_LOGGED = 20;
// The lint holds every glob against every rule: with this many, a fifth of a second in which nobody is served.
const MAX_RULES_LINTED = 1000;
const MAX_FILE_BYTES = 1024 * 1024;

/** Makes the source; nothing is read before `start` or `reload`. */
export function createFileSource(options: FileSourceOptions): FileSource {
  const { clock, log, onChange, pollMs = POLL_MS } = options;
  const parse = createRoleParser(options.limits);
  let files: ReadonlyMap<string, FileState> = new Map();
  let index = indexRoles([]);
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
        problems: [`${name}: cannot be read (${toCode(error)})`],
      });
    }
    const digest = createHash('sha256').update(content).digest('hex');
    if (before?.digest === digest) return before;
    const parsed = parseFile(name, content, parse);
    return parsed.problems.length === 0
      ? { digest, ...parsed }
      : keepRoles(before, { digest, problems: parsed.problems });
  }

  function publish(sourceProblems: readonly string[]): void {
    const states = [...files.values()];
    const { kept, lost } = dropDuplicates(states.flatMap((state) => state.roles));
    const next = [...sourceProblems, ...states.flatMap((state) => state.problems), ...lost];
    const isSame =
      isPublished && isSameList(next, problems) && isSameList(kept.toSorted(byName), index.all);
    if (isSame) return;
    isPublished = true;
    index = indexRoles(kept);
    problems = next;
    const facts = { path: options.path, roles: kept.length };
    if (problems.length > 0)
      log.warn(
        { ...facts, problems },
        'roles have problems; broken files keep their last good roles',
      );
    else log.info(facts, 'roles loaded');
    reportFindings();
    onChange?.({ roles: kept.length, problems: problems.length });
  }

  function reportFindings(): void {
    if (options.ownCluster === undefined) return;
    const rules = index.all.reduce((sum, { subjects }) => sum + subjects.length, 0);
    if (rules > MAX_RULES_LINTED) {
      log.info({ path: options.path, rules }, 'too many rules to be linted while serving');
      return;
    }
    const findings = lintRoles(index.all, { ownCluster: options.ownCluster });
    if (findings.length === 0) return;
    const first = findings.slice(0, MAX_FINDINGS_LOGGED);
    log.warn(
      { path: options.path, count: findings.length, findings: first },
      'roles deserve a second look',
    );
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
    current: () => index,
    problems: () => problems,
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

type RoleParser = ReturnType<typeof createRoleParser>;

/** Reads the documents of one file; with a problem in one of them the file gives no role at all. */
export function parseFile(
  name: string,
  content: string,
  parse: RoleParser,
): { readonly roles: readonly Role[]; readonly problems: readonly string[] } {
  const roles: Role[] = [];
  const problems: string[] = [];
  if (Buffer.byteLength(content) > MAX_FILE_BYTES)
    return { roles, problems: [`${name}: larger than ${MAX_FILE_BYTES} bytes`] };
  readDocuments(content).forEach((document, at) => {
    const where = `${name}#${at + 1}`;
    if (document.problems.length > 0)
      problems.push(...document.problems.map((problem) => `${where}: ${problem}`));
    else if (document.value !== null) {
      const parsed = parse(document.value, `file:${where}`);
      if (parsed.ok) roles.push(parsed.role);
      else problems.push(...parsed.problems.map((problem) => `${where}: ${problem}`));
    }
  });
  return problems.length > 0 ? { roles: [], problems } : { roles, problems };
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
