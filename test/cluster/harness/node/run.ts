// Outside of a node's namespaces: builds what is missing, makes the node's cgroup, has a guard remove it whatever
// happens, and starts the harness with the command it was given. Usage: node run.ts <work folder> <command> [argument …]
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { buildImage, IMAGE_GROUPS } from '../../../../scripts/image/build.ts';
import { findIsolation, isolate } from '../isolation.ts';
import { createCgroup, findAbandoned, removeCgroup, toCgroupName } from './cgroups.ts';
import { openNodeBinaries } from './programs.ts';
import { NODE_VARIABLE, type NodeWish, readNetworkNamespace } from './wish.ts';

const HARNESS = path.join(import.meta.dirname, '../main.ts');
const GUARD = path.join(import.meta.dirname, 'guard.ts');

async function main([workFolder = '', ...command]: readonly string[]): Promise<number> {
  await openNodeBinaries(process.env);
  const images = [];
  for (const name of IMAGE_GROUPS.all) images.push(await buildImage(name, process.env));
  // Of a run whose guard was killed, too.
  for (const name of findAbandoned()) removeCgroup(name);
  const cgroup = toCgroupName(process.pid);
  const guard = startGuard(cgroup);
  createCgroup(cgroup);
  const wish: NodeWish = {
    outerNetwork: readNetworkNamespace(),
    cgroup,
    images,
  };
  mkdirSync(workFolder, { recursive: true });
  try {
    return await runInside(workFolder, command, {
      ...process.env,
      [NODE_VARIABLE]: JSON.stringify(wish),
    });
  } finally {
    await guard.finish();
  }
}

function startGuard(cgroup: string): { finish: () => Promise<void> } {
  const child = spawn(process.execPath, [GUARD, cgroup], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  return {
    finish: async () => {
      child.stdin.end();
      if ((await ended) !== 0) console.error(`the cgroup ${cgroup} could not be removed`);
    },
  };
}

function runInside(
  workFolder: string,
  command: readonly string[],
  environment: NodeJS.ProcessEnv,
): Promise<number> {
  const [program = '', ...args] = isolate(findIsolation(), workFolder, [
    process.execPath,
    HARNESS,
    ...command,
  ]);
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: environment, stdio: 'inherit' });
    // Ctrl-C reaches the whole group, and the harness takes everything down. Whoever signals this process alone gets
    // the quick end: unshare passes no signal on, but takes everything with it.
    process.on('SIGINT', () => undefined);
    for (const signal of ['SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => child.kill('SIGKILL'));
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

process.exitCode = await main(process.argv.slice(2));
