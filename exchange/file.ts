// The files of the pod: `<root>/<name>/{token,token.json,ca.crt}` behind one symlink that is swapped whole, as the
// kubelet does it, and `<root>/ca.crt`. Modes are set by chmod, because the umask is whatever the image had.
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import {
  CA_FILE,
  DATA_LINK,
  TOKEN_FILE,
  TOKEN_JSON_FILE,
  type TokenFileContent,
} from '../common/protocol/pod.ts';

const DIRECTORY_MODE = 0o755;
const FILE_MODE = 0o644;
/** Of what is not finished yet; swept at the next write if a crash left it. */
const TEMPORARY = '..tmp';

export interface TokenToWrite {
  readonly name: string;
  readonly content: TokenFileContent;
}

export interface WriteOptions {
  root: string;
  /** PEM for the ca.crt files; none are written without it. */
  bundle: string | undefined;
  nowMs: number;
}

/**
 * Writes the tokens of one or more audiences. All are laid out completely before the first one is made visible.
 * @throws Error of the system (`ENOSPC`, `EACCES`, …); what was laid out is then gone again.
 */
export function writeTokens(
  tokens: readonly TokenToWrite[],
  { root, bundle, nowMs }: WriteOptions,
): void {
  ensureRoot(root);
  const staged: { directory: string; data: string }[] = [];
  try {
    for (const { name, content } of tokens) {
      const directory = path.join(root, name);
      ensureDirectory(directory);
      const data = mkdtempSync(path.join(directory, `..${toStamp(nowMs)}.`));
      staged.push({ directory, data });
      writePublic(path.join(data, TOKEN_FILE), content.access_token);
      writePublic(path.join(data, TOKEN_JSON_FILE), `${JSON.stringify(content)}\n`);
      if (bundle !== undefined) writePublic(path.join(data, CA_FILE), bundle);
      ensureMode(data, DIRECTORY_MODE);
    }
    if (bundle !== undefined) replaceFile(path.join(root, CA_FILE), bundle);
  } catch (error) {
    for (const { data } of staged) rmSync(data, { recursive: true, force: true });
    throw error;
  }
  for (const { directory, data } of staged) {
    // The links first, into what is not there yet: a process killed here has made nothing visible, and one killed after the
    // swap has made everything visible. A restart would keep such a token and never look at its links again.
    for (const file of [TOKEN_FILE, TOKEN_JSON_FILE, ...(bundle === undefined ? [] : [CA_FILE])]) {
      ensureLink(path.join(directory, file), path.join(DATA_LINK, file));
    }
    const link = path.join(directory, DATA_LINK);
    // Stays until the next write: whoever is on the way through the link finds what it led to, also on a busy machine.
    const before = findLink(link);
    replaceLink(link, path.basename(data));
    sweep(directory, [path.basename(data), before]);
  }
}

function ensureRoot(root: string): void {
  const first = mkdirSync(root, { recursive: true });
  // Outside a pod the parents may be ours too; a umask of 077 must not close the way.
  for (
    let made = first && root;
    made && made.length >= (first ?? '').length;
    made = path.dirname(made)
  ) {
    chmodSync(made, DIRECTORY_MODE);
  }
  // The kubelet makes an emptyDir 0777, or 2777 with an fsGroup: that is enough and stays.
  ensureMode(root, DIRECTORY_MODE);
}

function ensureDirectory(directory: string): void {
  mkdirSync(directory, { recursive: true });
  ensureMode(directory, DIRECTORY_MODE);
}

/** Adds what is missing of `mode`. Not ours to change (EPERM) is an error only where something is missing. */
function ensureMode(file: string, mode: number): void {
  if ((statSync(file).mode & mode) !== mode) chmodSync(file, mode);
}

function writePublic(file: string, text: string): void {
  writeFileSync(file, text, { flag: 'wx', mode: FILE_MODE });
  chmodSync(file, FILE_MODE);
}

function replaceFile(file: string, text: string): void {
  const temporary = `${path.dirname(file)}/..${path.basename(file)}${TEMPORARY}`;
  rmSync(temporary, { force: true });
  writePublic(temporary, text);
  renameSync(temporary, file);
}

function replaceLink(link: string, target: string): void {
  const temporary = `${link}${TEMPORARY}`;
  rmSync(temporary, { force: true, recursive: true });
  symlinkSync(target, temporary);
  renameSync(temporary, link);
}

function ensureLink(link: string, target: string): void {
  if (findLink(link) !== target) replaceLink(link, target);
}

function findLink(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

/** Removes what earlier writes, finished or not, have left beside `kept`. */
function sweep(directory: string, kept: readonly (string | undefined)[]): void {
  for (const entry of readdirSync(directory)) {
    const isOurs = entry.startsWith('..') || entry.endsWith(TEMPORARY);
    if (isOurs && entry !== DATA_LINK && !kept.includes(entry)) {
      rmSync(path.join(directory, entry), { recursive: true, force: true });
    }
  }
}

/** `2026_11_22_19_30_00`, as the kubelet names its data directories. */
function toStamp(nowMs: number): string {
  return new Date(nowMs).toISOString().slice(0, 19).replace(/[-:T]/g, '_');
}

export interface StoredToken {
  readonly content: TokenFileContent;
  readonly writtenMs: number;
  readonly expiresMs: number;
}

/** The token of one audience as it lies there, whole and consistent; undefined where there is none. */
export function findToken(root: string, name: string): StoredToken | undefined {
  const directory = path.join(root, name);
  const target = findLink(path.join(directory, DATA_LINK));
  if (target === undefined) return undefined;
  try {
    const file = path.join(directory, target, TOKEN_JSON_FILE);
    const content = JSON.parse(readFileSync(file, 'utf8')) as TokenFileContent;
    const expiresMs = Date.parse(content.expires_at);
    const bare = readFileSync(path.join(directory, target, TOKEN_FILE), 'utf8');
    if (Number.isNaN(expiresMs) || bare === '' || bare !== content.access_token) return undefined;
    return { content, expiresMs, writtenMs: statSync(file).mtimeMs };
  } catch {
    return undefined;
  }
}

/** The bundle an earlier run of this container, or the init container before it, trusted last. */
export function findBundle(root: string): string | undefined {
  try {
    return readFileSync(path.join(root, CA_FILE), 'utf8');
  } catch {
    return undefined;
  }
}
