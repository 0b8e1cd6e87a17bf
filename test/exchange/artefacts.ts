// What the black-box suite runs against: both artefacts as they are shipped, built first (nothing to do where current).
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '../..');
const COMPILED = path.join(ROOT, 'dist/coatcheck-exchange');

export interface Artefact {
  readonly name: string;
  readonly command: readonly string[];
}

execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.ts'), 'exchange'], {
  stdio: 'inherit',
});

/** The compiled one is missing only where its compiler does not exist for the platform; the build says so. */
export const ARTEFACTS: readonly Artefact[] = [
  {
    name: 'Node bundle',
    command: [process.execPath, path.join(ROOT, 'dist/coatcheck-exchange.mjs')],
  },
  ...(existsSync(COMPILED) ? [{ name: 'compiled program', command: [COMPILED] }] : []),
];
