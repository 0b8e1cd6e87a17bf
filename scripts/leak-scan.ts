// Looks for every token the tests made in everything the processes under test put out (see test/support/tokens.ts).
// A token counts as leaked when the whole of it appears, or the part of it that is the secret: a JWT's signature,
// an opaque token's end.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';

const SHORTEST_SECRET = 16;
const OPAQUE = /^cc_[0-9A-Za-z]{24}([0-9A-Za-z]{49})$/;

export interface Leak {
  readonly file: string;
  /** Which token, by its place in tokens.list: the finding itself must not repeat the leak. */
  readonly token: number;
}

export interface LeakScan {
  readonly files: number;
  readonly tokens: number;
  readonly leaks: readonly Leak[];
}

/** Scans `<folder>/kept` and `<folder>/*.log` for the tokens of `<folder>/tokens.list`. */
export function scanForTokens(folder: string): LeakScan {
  const needles = readNeedles(path.join(folder, 'tokens.list'));
  const files = [
    ...listFiles(path.join(folder, 'kept')),
    ...listFiles(folder).filter((file) => file.endsWith('.log')),
  ];
  const leaks = files.flatMap((file) => findLeaks(file, needles));
  return { files: files.length, tokens: new Set(needles.values()).size, leaks };
}

/** Secret text → number of its token. */
function readNeedles(list: string): Map<string, number> {
  const needles = new Map<string, number>();
  if (!existsSync(list)) return needles;
  const tokens = new Set(
    readFileSync(list, 'utf8')
      .split('\n')
      .filter((line) => line.length >= SHORTEST_SECRET),
  );
  let number = 0;
  for (const token of tokens) {
    number += 1;
    needles.set(token, number);
    const signature = token.split('.')[2];
    if (signature !== undefined && signature.length >= SHORTEST_SECRET)
      needles.set(signature, number);
    // Behind the accessor, which names an opaque token and may be shown, stands its secret (docs/tokens.md).
    const opaque = OPAQUE.exec(token)?.[1];
    if (opaque !== undefined) needles.set(opaque, number);
  }
  return needles;
}

function listFiles(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .map((name) => path.join(folder, name))
    .filter((file) => statSync(file).isFile());
}

// Tokens are words of base64url characters and dots: looking up each word of a file in the set of secrets is one pass,
// where searching for each of ten thousand tokens would be ten thousand.
const WORDS = /[A-Za-z0-9_.-]{16,}/g;

function findLeaks(file: string, needles: ReadonlyMap<string, number>): Leak[] {
  if (needles.size === 0) return [];
  const found = new Set<number>();
  for (const [word] of readFileSync(file, 'utf8').matchAll(WORDS)) {
    const candidates = [word, ...word.split('.'), word.replace(/^[.-]+|[.-]+$/g, '')];
    for (const candidate of candidates) {
      const token = needles.get(candidate);
      if (token !== undefined) found.add(token);
    }
  }
  return [...found].map((token) => ({ file, token }));
}

/** Prints the finding and returns how many leaks there are. */
export function reportLeaks(name: string, scan: LeakScan): number {
  console.log(
    `leak scan (${name}): ${scan.files} kept texts searched for ${scan.tokens} tokens, ${scan.leaks.length} hits`,
  );
  for (const leak of scan.leaks)
    console.error(`  LEAK: token ${leak.token} of tokens.list appears in ${leak.file}`);
  return scan.leaks.length;
}
