// Sealing of what the store keeps but must not be able to read or make: AES-256-GCM by keys from a folder, usually a
// mounted Secret. The last by name seals, all open, so that the sealing key itself can be rotated.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** What a text is sealed for. It opens for nothing else: both are authenticated with it. */
export interface SealContext {
  /** What kind of thing it is: a text made for one purpose is none of another. */
  readonly purpose: string;
  /** Which one it is. */
  readonly name: string;
}

export interface Sealing {
  /** Name of the key that seals now: the last by file name. */
  newest(): string;
  /** @returns `v1.<name of the key>.<nonce>.<ciphertext and tag>`, the last two base64url. */
  seal(plaintext: string, context: SealContext): string;
  /** @returns the text and the key that sealed it; undefined where no key of the folder opens it for this context. */
  open(sealed: string, context: SealContext): Opened | undefined;
}

export interface Opened {
  readonly plaintext: string;
  readonly sealedBy: string;
}

export interface SealingFolder extends Sealing {
  /**
   * Reads the folder again; cheap, for every second.
   * @returns what is wrong with it now, a sentence each; the last good keys stay in use while something is.
   */
  reload(): readonly string[];
  /** Counts up whenever the keys have changed. */
  generation(): number;
}

interface SealingKey {
  readonly name: string;
  readonly bytes: Buffer;
}

const VERSION = 'v1';
const KEY_BYTES = 32;
// 96 bits is what GCM is made for. Random ones repeat with probability 2⁻³² after 2³² seals; we make some hundred.
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** A signing key of RSA-4096 is below 4 KiB; more than this is not ours. */
const MAX_SEALED_CHARACTERS = 32 * 1024;
// What a key in a Secret may be called, so that a name can stand in a sealed text; no dot at its beginning.
const FILE_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$/;
const SEALED = /^v1\.([A-Za-z0-9_-][A-Za-z0-9._-]{0,99})\.([\w-]{16})\.([\w-]{22,})$/;

/** Opens the folder. @returns the keys, or every problem; problems name files, never contents. */
export function openSealingFolder(
  folder: string,
): SealingFolder | { readonly problems: readonly string[] } {
  const first = readFolder(folder);
  if (first.problems.length > 0) return { problems: first.problems };
  let { keys } = first;
  let digest = toDigest(keys);
  let generation = 0;
  return {
    ...createSealing(() => keys),
    generation: () => generation,
    reload: () => {
      const read = readFolder(folder);
      if (read.problems.length > 0) return read.problems;
      const next = toDigest(read.keys);
      if (next !== digest) {
        keys = read.keys;
        digest = next;
        generation += 1;
      }
      return [];
    },
  };
}

function createSealing(current: () => readonly SealingKey[]): Sealing {
  const getNewest = (): SealingKey => {
    const key = current().at(-1);
    if (!key) throw new TypeError('a folder without sealing keys passed its check');
    return key;
  };
  return {
    newest: () => getNewest().name,
    seal: (plaintext, context) => {
      const { name, bytes } = getNewest();
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv('aes-256-gcm', bytes, nonce, { authTagLength: TAG_BYTES });
      cipher.setAAD(toAad(context));
      const box = Buffer.concat([
        cipher.update(plaintext, 'utf8'),
        cipher.final(),
        cipher.getAuthTag(),
      ]);
      return [VERSION, name, nonce.toString('base64url'), box.toString('base64url')].join('.');
    },
    open: (sealed, context) => {
      if (sealed.length > MAX_SEALED_CHARACTERS) return undefined;
      const [, named, nonce, box] = SEALED.exec(sealed) ?? [];
      if (named === undefined || nonce === undefined || box === undefined) return undefined;
      // The named one first; the others too, because a file may have been renamed. The name is not believed: the tag is.
      const keys = current().toSorted(
        (a, b) => Number(b.name === named) - Number(a.name === named),
      );
      for (const key of keys) {
        const plaintext = decrypt(key.bytes, { nonce, box }, context);
        if (plaintext !== undefined) return { plaintext, sealedBy: key.name };
      }
      return undefined;
    },
  };
}

/** The name that a sealed text gives for its key, to tell an operator which file is missing; it proves nothing. */
export function findSealingName(sealed: string): string | undefined {
  return SEALED.exec(sealed.slice(0, MAX_SEALED_CHARACTERS))?.[1];
}

function decrypt(
  key: Buffer,
  { nonce, box }: { nonce: string; box: string },
  context: SealContext,
): string | undefined {
  const bytes = Buffer.from(box, 'base64url');
  if (bytes.length < TAG_BYTES) return undefined;
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.from(nonce, 'base64url'), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(toAad(context));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([
      decipher.update(bytes.subarray(0, -TAG_BYTES)),
      decipher.final(),
    ]).toString('utf8');
  } catch {
    // The tag does not fit: another key, another context, or not ours. Which of them cannot be told.
    return undefined;
  }
}

/** JSON, so that no two contexts are the same bytes. */
function toAad({ purpose, name }: SealContext): Buffer {
  return Buffer.from(JSON.stringify([VERSION, purpose, name]), 'utf8');
}

function toDigest(keys: readonly SealingKey[]): string {
  const hash = createHash('sha256');
  for (const { name, bytes } of keys) hash.update(`${name}\0`).update(bytes);
  return hash.digest('hex');
}

function readFolder(folder: string): { keys: SealingKey[]; problems: string[] } {
  const problems: string[] = [];
  const keys: SealingKey[] = [];
  for (const name of listFiles(folder, problems)) {
    const file = path.join(folder, name);
    try {
      keys.push({ name, bytes: parseSealingKey(readFileSync(file)) });
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      problems.push(`${file}: ${code ? `cannot be read (${code})` : (error as Error).message}`);
    }
  }
  const twice = keys.find(
    ({ bytes }, i) => keys.findIndex((other) => other.bytes.equals(bytes)) !== i,
  );
  if (twice)
    problems.push(
      `${path.join(folder, twice.name)}: is the same key as another file of the folder`,
    );
  if (keys.length === 0 && problems.length === 0)
    problems.push(`${folder}: holds no sealing key; put 32 random bytes there, raw or as base64`);
  return { keys, problems };
}

function listFiles(folder: string, problems: string[]): string[] {
  try {
    // A mounted Secret has `..data` and `..<time>` beside the keys.
    const files = readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .sort();
    const odd = files.filter((name) => !FILE_NAME.test(name));
    if (odd.length > 0)
      problems.push(
        `${folder}: names of sealing keys are letters, digits, dots, dashes and underscores, at most 100`,
      );
    return files.filter((name) => FILE_NAME.test(name));
  } catch (error) {
    problems.push(
      `${folder}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
    );
    return [];
  }
}

/** @throws Error that says what is allowed, and nothing of the content */
function parseSealingKey(content: Buffer): Buffer {
  const bytes = content.length === KEY_BYTES ? content : decodeBase64(content.toString('latin1'));
  if (bytes?.length !== KEY_BYTES)
    throw new Error(`must hold ${KEY_BYTES} random bytes, raw or as base64`);
  // `AAAA…=` from an example is 32 bytes too.
  if (bytes.every((byte) => byte === bytes[0]))
    throw new Error('must hold random bytes, not one byte repeated');
  return bytes;
}

function decodeBase64(text: string): Buffer | undefined {
  const compact = text.replace(/\s+/g, '');
  return /^[A-Za-z0-9+/_-]{43}=?$/.test(compact) ? Buffer.from(compact, 'base64') : undefined;
}
