// The exchange as one compiled file: how Bun is called, for this machine's architecture or for another one.
import { execFileSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..');
export const EXCHANGE_ENTRY = 'exchange/entry.ts';

// The compiled program must not take anything from the folder it is started in.
export const COMPILE_FLAGS = [
  '--compile',
  '--minify',
  '--bytecode',
  '--no-compile-autoload-dotenv',
  '--no-compile-autoload-bunfig',
  '--no-compile-autoload-tsconfig',
  '--no-compile-autoload-package-json',
];

/** Another architecture's Bun, which becomes part of the program and is not run. */
export interface CompileTarget {
  readonly architecture: string;
  readonly executable: string;
}

/** Writes the program to `file`. */
export function compile(options: { bun: string; file: string; target?: CompileTarget }): void {
  const { bun, file, target } = options;
  const other = target
    ? [
        `--target=bun-linux-${target.architecture}`,
        `--compile-executable-path=${target.executable}`,
      ]
    : [];
  const args = ['build', ...COMPILE_FLAGS, ...other, EXCHANGE_ENTRY, `--outfile=${file}`];
  // Without the environment: Bun reads options, proxies and registries from it.
  execFileSync(bun, args, { cwd: ROOT, env: {}, stdio: ['ignore', 'ignore', 'inherit'] });
}
