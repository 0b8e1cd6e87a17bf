// Signing keys from a folder, usually a mounted Secret: one private key per file, in order of file names. Receivers
// cache our JWKS, so a key that appears is published at once and signs only when everybody can know it.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Clock } from '../../common/clock.ts';
import { type KeySet, type KeySource, parseSigningKey, type SigningKey } from './keys.ts';

/** Twice the time receivers may cache the JWKS (metadata.ts). */
export const PUBLISH_BEFORE_USE_MS = 10 * 60_000;

const KEY_FILE = /\.(pem|key|jwk|json)$/;

export interface KeyFolder extends KeySource {
  /**
   * Reads the folder again; cheap, for every second.
   * @returns what is wrong with it now, a sentence each. The last good keys stay in use while something is.
   */
  reload(): readonly string[];
}

interface NamedKey {
  readonly file: string;
  /** Of the file's text: the same text is not parsed every second again. */
  readonly digest: string;
  readonly key: SigningKey;
}

/**
 * Opens the folder. The last file by name signs, once it has been published for ten minutes by this process; until then
 * the last of those before it. A start is no exception: with several keys it begins with the first, which any other
 * replica already knows, and moves on after the ten minutes.
 * @returns the keys, or every problem of the folder; problems name files, never contents.
 */
export function openKeyFolder(
  folder: string,
  clock: Clock,
): KeyFolder | { readonly problems: readonly string[] } {
  const first = readFolder(folder, []);
  if (first.problems.length > 0) return { problems: first.problems };
  const publishedAt = new Map<string, number>();
  let named = first.named;
  let set: KeySet | undefined;
  const refresh = (): void => {
    for (const { key } of named)
      if (!publishedAt.has(key.kid)) publishedAt.set(key.kid, clock.now());
    const signing = chooseSigning(
      named,
      (kid) => clock.now() - (publishedAt.get(kid) ?? 0) >= PUBLISH_BEFORE_USE_MS,
    );
    const published = named.map(({ key }) => key);
    const isSame =
      set?.signing.kid === signing.kid &&
      set.published.map(toKid).join() === published.map(toKid).join();
    // Same keys, same object: caches of bytes built from it stay valid.
    if (!isSame) set = { signing, published };
  };
  refresh();
  return {
    current: () => {
      if (!set) throw new Error('no signing key has been loaded');
      return set;
    },
    reload: () => {
      const read = readFolder(folder, named);
      if (read.problems.length === 0) named = read.named;
      refresh();
      return read.problems;
    },
  };
}

const toKid = (key: SigningKey): string => key.kid;

function chooseSigning(named: readonly NamedKey[], isKnown: (kid: string) => boolean): SigningKey {
  const chosen = named.findLast(({ key }) => isKnown(key.kid)) ?? named[0];
  if (!chosen) throw new TypeError('a key folder without keys passed its check');
  return chosen.key;
}

function readFolder(
  folder: string,
  known: readonly NamedKey[],
): { named: NamedKey[]; problems: string[] } {
  const problems: string[] = [];
  const named: NamedKey[] = [];
  for (const file of listFiles(folder, problems)) {
    try {
      const text = readFileSync(path.join(folder, file), 'utf8');
      const digest = createHash('sha256').update(text).digest('base64url');
      const before = known.find((one) => one.digest === digest);
      named.push({ file, digest, key: before?.key ?? parseSigningKey(text) });
    } catch (error) {
      // A code is the system's (ENOENT); everything else is a sentence of keys.ts.
      const code = (error as NodeJS.ErrnoException).code;
      problems.push(
        `${path.join(folder, file)}: ${code ? `cannot be read (${code})` : (error as Error).message}`,
      );
    }
  }
  const twice = named.find(
    ({ key }, i) => named.findIndex((other) => other.key.kid === key.kid) !== i,
  );
  if (twice)
    problems.push(
      `${path.join(folder, twice.file)}: is the same key as another file of the folder`,
    );
  if (named.length === 0 && problems.length === 0) {
    problems.push(
      `${folder}: holds no signing key; put a private key there, as .pem, .key, .jwk or .json`,
    );
  }
  return { named, problems };
}

function listFiles(folder: string, problems: string[]): string[] {
  try {
    // A mounted Secret has `..data` and `..<time>` beside the keys.
    const files = readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .sort();
    const odd = files.filter((name) => !KEY_FILE.test(name));
    problems.push(
      ...odd.map(
        (name) => `${path.join(folder, name)}: a key file ends in .pem, .key, .jwk or .json`,
      ),
    );
    return files.filter((name) => KEY_FILE.test(name));
  } catch (error) {
    problems.push(
      `${folder}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    );
    return [];
  }
}
