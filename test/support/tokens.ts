// The leak check's two ends: tests name every token they make (`noteToken`) and keep every text a process put out
// (`keep`); after a tier scripts/test.ts looks for the former in the latter. One hit fails the run.
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const root =
  process.env.COATCHECK_TEST_OUTPUT ?? path.join(import.meta.dirname, '../../.test-output/adhoc');
/** Runs that repeat the suites thousands of times (`make mutation`) keep nothing; `make test` scans. */
const KEEPS_NOTHING = root === 'none';
let count = 0;

/** Remembers a token whose appearance in any kept text is a leak. Returns it, so that it can wrap an expression. */
export function noteToken(token: string): string {
  if (KEEPS_NOTHING) return token;
  mkdirSync(root, { recursive: true });
  appendFileSync(path.join(root, 'tokens.list'), `${token}\n`);
  return token;
}

/** Keeps a text (log, audit, termination message, error body) for the scan. */
export function keep(name: string, text: string): void {
  if (!KEEPS_NOTHING) writeFileSync(openKept(name), text);
}

/** A path for a process to write its output to; everything in the folder is scanned. */
export function openKept(name: string): string {
  const folder = path.join(root, 'kept');
  mkdirSync(folder, { recursive: true });
  count += 1;
  const safe = name.replace(/[^A-Za-z0-9.-]+/g, '-').slice(0, 120);
  return path.join(folder, `${process.pid}-${String(count).padStart(5, '0')}-${safe}`);
}
