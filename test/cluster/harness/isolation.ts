// Runs the whole tier inside namespaces of its own: processes, mounts and network addresses exist only in there, so it
// cannot clash with anything, and when the one parent ends (kill -9 included) nothing of it is left.
import { spawnSync } from 'node:child_process';
import { dieWithParent } from './process.ts';

export type Isolation = 'root' | 'user' | 'none';

const NAMESPACES = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
// A user namespace makes an ordinary user root over addresses and mounts of its own, where the kernel allows it.
const AS_USER = ['--user', '--map-root-user'];

// First process of the namespace: it reaps orphans, which a Node process would leave as zombies. Everything written
// below $1 lives in memory and is gone with the mount.
const ENTER =
  'ip link set lo up && mount -t tmpfs -o mode=0700 tmpfs "$1" || exit 125; shift; "$@"; exit $?';

/** The strongest isolation this machine gives us, found by trying. */
export function findIsolation(): Isolation {
  if (process.platform !== 'linux') return 'none';
  if (process.getuid?.() === 0 && works([])) return 'root';
  return works(AS_USER) ? 'user' : 'none';
}

function works(extra: readonly string[]): boolean {
  const probe = spawnSync(
    'unshare',
    [...extra, ...NAMESPACES, 'sh', '-c', ENTER, 'sh', '/mnt', 'true'],
    { stdio: 'ignore' },
  );
  return probe.status === 0;
}

/** `command` as it is started in that isolation; `workFolder` must exist and is empty in there. */
export function isolate(
  isolation: Isolation,
  workFolder: string,
  command: readonly string[],
): string[] {
  if (isolation === 'none') return [...dieWithParent(), ...command];
  return [
    ...dieWithParent(),
    'unshare',
    ...(isolation === 'user' ? AS_USER : []),
    ...NAMESPACES,
    'sh',
    '-c',
    ENTER,
    'sh',
    workFolder,
    ...command,
  ];
}
