// The cache of built programs: a folder outside the checkout, so that a fresh clone does not build Kubernetes again.
// An entry appears whole (rename) or not at all. A lock file that names its owner keeps two runs from building twice;
// nothing breaks if they do all the same, because each fills a draft of its own and the second rename gives way.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** `${XDG_CACHE_HOME:-~/.cache}/coatcheck`. The XDG specification has relative values ignored. */
export function toCacheRoot(environment: NodeJS.ProcessEnv): string {
  const given = environment.XDG_CACHE_HOME;
  const base = given && path.isAbsolute(given) ? given : path.join(os.homedir(), '.cache');
  return path.join(base, 'coatcheck');
}

export interface CacheEntry {
  root: string;
  key: string;
  /** Fills the empty folder it is given; a rejection leaves no entry behind. */
  fill: (folder: string) => Promise<void>;
  /** Called once when another process is already filling this entry. */
  onWait: (owner: number) => void;
  pollMs?: number;
}

/** The folder of a complete entry, filled now if it was not there. */
export async function openCacheEntry(entry: CacheEntry): Promise<string> {
  const folder = path.join(entry.root, entry.key);
  const lock = `${folder}.lock`;
  mkdirSync(entry.root, { recursive: true });
  let told = false;
  while (!existsSync(folder)) {
    if (takeLock(lock)) {
      try {
        await fillEntry(folder, entry.fill);
      } finally {
        rmSync(lock, { force: true });
      }
    } else {
      const owner = findOwner(lock);
      if (owner !== undefined && !told) entry.onWait(owner);
      told ||= owner !== undefined;
      await sleep(entry.pollMs ?? 1000);
    }
  }
  return folder;
}

async function fillEntry(folder: string, fill: (folder: string) => Promise<void>): Promise<void> {
  removeDeadDrafts(folder);
  const draft = `${folder}.draft-${process.pid}`;
  mkdirSync(draft);
  try {
    await fill(draft);
    renameSync(draft, folder);
  } catch (error) {
    rmSync(draft, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
}

function removeDeadDrafts(folder: string): void {
  const prefix = `${path.basename(folder)}.draft-`;
  for (const name of readdirSync(path.dirname(folder)).filter((name) => name.startsWith(prefix))) {
    if (isAlive(Number(name.slice(prefix.length)))) continue;
    rmSync(path.join(path.dirname(folder), name), { recursive: true, force: true });
  }
}

function takeLock(lock: string): boolean {
  if (isStale(lock)) rmSync(lock, { force: true });
  try {
    writeFileSync(lock, `${process.pid}\n`, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A lock is stale when its owner is dead, or when nobody wrote a name into it for ten seconds. */
function isStale(lock: string): boolean {
  if (!existsSync(lock)) return false;
  const owner = findOwner(lock);
  if (owner !== undefined) return !isAlive(owner);
  const written = statSync(lock, { throwIfNoEntry: false })?.mtimeMs;
  return written !== undefined && Date.now() - written > 10_000;
}

function findOwner(lock: string): number | undefined {
  try {
    const owner = Number.parseInt(readFileSync(lock, 'utf8'), 10);
    return owner > 0 ? owner : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
