// `node scripts/cluster-shell.ts [command …]`: a Kubernetes of your own, with a node, the project's images on it, and a
// shell (or the command) in it with kubectl and helm set up. It is gone when the shell ends.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { findNodeLack } from '../test/cluster/harness/node/programs.ts';

const HARNESS = path.join(import.meta.dirname, '../test/cluster/harness/node');

async function main(command: readonly string[]): Promise<number> {
  const lack = findNodeLack(process.env);
  if (lack !== undefined) {
    console.error(`No cluster here: ${lack}`);
    return 1;
  }
  const output = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-cluster-'));
  mkdirSync(path.join(output, 'work'));
  const args = [
    path.join(HARNESS, 'run.ts'),
    path.join(output, 'work'),
    process.execPath,
    path.join(HARNESS, 'shell.ts'),
    ...command,
  ];
  try {
    return await new Promise<number>((resolve, reject) => {
      const child = spawn(process.execPath, args, {
        env: { ...process.env, COATCHECK_TEST_OUTPUT: output },
        stdio: 'inherit',
      });
      // Ctrl-C is for the shell inside.
      process.on('SIGINT', () => undefined);
      for (const signal of ['SIGTERM', 'SIGHUP'] as const)
        process.on(signal, () => child.kill(signal));
      child.once('error', reject);
      child.once('exit', (code) => resolve(code ?? 1));
    });
  } finally {
    rmSync(output, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
