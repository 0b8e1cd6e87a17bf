// Runs a program as a container of a pod would: the pod's volumes at the pod's own paths, the container's variables and
// nothing else of this environment. A mount namespace makes the paths real; where there is none, the two folders are
// given by their settings instead.
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { dieWithParent } from './process.ts';

export interface ContainerMount {
  /** Folder on this machine. */
  from: string;
  /** Path in the pod, below /var/run. */
  to: string;
  readOnly: boolean;
  /** The exchange's setting for this path, for machines without mount namespaces. */
  setting: string;
}

export interface ContainerOptions {
  command: readonly string[];
  environment: Readonly<Record<string, string>>;
  mounts: readonly ContainerMount[];
  /** A folder for this one container's own files; must not exist. */
  folder: string;
}

export interface Container {
  /** Exit code, everything it wrote, and its termination message. */
  readonly ended: Promise<{ code: number; output: string; terminationMessage: string }>;
  terminate(): void;
}

// Volumes are bound below a fresh /run (where /var/run points), devices and the termination log into a fresh /dev.
const ENTER = `set -eu
dev=$1; log=$2; shift 2
mount -t tmpfs tmpfs "$dev"
for name in null zero random urandom; do : > "$dev/$name"; mount --bind "/dev/$name" "$dev/$name"; done
: > "$dev/termination-log"; mount --bind "$log" "$dev/termination-log"
mount -t tmpfs tmpfs /run
while [ "$1" != -- ]; do
  mkdir -p "$2"; mount --bind "$1" "$2"
  if [ "$3" = ro ]; then mount -o remount,bind,ro "$2"; fi
  shift 3
done
shift
mount --rbind "$dev" /dev
exec "$@"`;

/** Starts it; the caller waits for `ended`, or for what the program does meanwhile. */
export function startContainer(options: ContainerOptions): Container {
  const log = path.join(options.folder, 'termination-log');
  mkdirSync(path.join(options.folder, 'dev'), { recursive: true });
  writeFileSync(log, '');
  const { command, environment } = hasMountNamespaces()
    ? inNamespace(options, log)
    : inPlace(options, log);
  const [program = '', ...args] = [...dieWithParent(), ...command];
  const child = spawn(program, args, {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = new Promise<{ code: number; output: string; terminationMessage: string }>(
    (resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) =>
        resolve({ code: code ?? -1, output, terminationMessage: readFileSync(log, 'utf8') }),
      );
    },
  );
  return { ended, terminate: () => child.kill('SIGTERM') };
}

function hasMountNamespaces(): boolean {
  return spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status === 0;
}

interface Start {
  command: readonly string[];
  environment: Readonly<Record<string, string>>;
}

function inNamespace(
  { command, environment, mounts, folder }: ContainerOptions,
  log: string,
): Start {
  const binds = mounts.flatMap(({ from, to, readOnly }) => [from, to, readOnly ? 'ro' : 'rw']);
  const inside = [
    'unshare',
    '--mount',
    'sh',
    '-c',
    ENTER,
    'sh',
    path.join(folder, 'dev'),
    log,
    ...binds,
    '--',
    ...command,
  ];
  return { command: inside, environment };
}

function inPlace({ command, environment, mounts }: ContainerOptions, log: string): Start {
  const folders = Object.fromEntries(mounts.map(({ setting, from }) => [setting, from]));
  return { command, environment: { ...environment, ...folders, COATCHECK_TERMINATION_LOG: log } };
}
