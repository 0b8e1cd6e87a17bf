// Builds the exchange program and chooses the one that runs here: the compiled one, or the same source on Node.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { ExchangeProgram } from './kubelet.ts';

const ROOT = path.join(import.meta.dirname, '../..');

export interface BuiltProgram extends ExchangeProgram {
  /** For people. */
  readonly description: string;
}

/** @throws Error with the builder's output where nothing could be built. */
export function buildExchange(): BuiltProgram {
  const built = spawnSync(process.execPath, [path.join(ROOT, 'scripts/build.ts'), 'exchange'], {
    encoding: 'utf8',
  });
  if (built.status !== 0)
    throw new Error(`the exchange program could not be built:\n${built.stderr}`);
  const compiled = path.join(ROOT, 'dist/coatcheck-exchange');
  // A processor or C library that the compiler does not know shows at the first start.
  if (existsSync(compiled) && spawnSync(compiled, ['--help'], { stdio: 'ignore' }).status === 0) {
    return { command: compiled, args: [], description: 'the compiled exchange program' };
  }
  const bundle = path.join(ROOT, 'dist/coatcheck-exchange.mjs');
  return {
    command: process.execPath,
    args: [bundle],
    description: 'the exchange program on Node (no compiled one for this machine)',
  };
}
