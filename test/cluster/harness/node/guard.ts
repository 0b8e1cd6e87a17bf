// Removes what namespaces do not: the cgroup of a node's pods. Outlives whoever started it, in a session of its own, and
// acts when that one ends, however it ends: its standard input closes then. Usage: node guard.ts <cgroup>
import { setTimeout as sleep } from 'node:timers/promises';
import { readMembers, removeCgroup } from './cgroups.ts';

const EVERY_MS = 50;
/** The kernel kills everything in the node's namespaces at once; what is still there after this was not in them. */
const PATIENCE_MS = 10_000;

async function main([cgroup = '']: readonly string[]): Promise<number> {
  // Ctrl-C and a closed terminal are for the run; this process ends after it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => undefined);
  for await (const _ of process.stdin);
  const deadline = performance.now() + PATIENCE_MS;
  while (!removeCgroup(cgroup)) {
    if (performance.now() > deadline) {
      const members = readMembers(cgroup);
      if (performance.now() > deadline + PATIENCE_MS) return 1;
      for (const member of members) process.kill(member, 'SIGKILL');
    }
    await sleep(EVERY_MS);
  }
  return 0;
}

process.exitCode = await main(process.argv.slice(2));
