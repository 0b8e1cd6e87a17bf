// What a node could leave on the machine, as text to compare: mounts, network, kernel settings, cgroups, folders; and
// which processes belong to a run.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** In the environment of every process of a run; containers, which have another, are known by their cgroup. */
export const RUN_VARIABLE = 'COATCHECK_TEST_RUN';

const SETTINGS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'net/ipv4/ip_forward',
  'net/netfilter/nf_conntrack_max',
];
const FOLDERS = ['/run', '/var/lib', '/var/log', '/etc', '/opt'];

/** Everything but processes and cgroups. */
export function readTraces(): Record<string, unknown> {
  const text = (command: string, ...args: string[]) =>
    execFileSync(command, args, { encoding: 'utf8' }).trim().split('\n');
  return {
    links: text('ip', '-brief', 'link').map((line) => line.split(' ')[0]),
    routes: text('ip', 'route'),
    rules: text('nft', 'list', 'ruleset'),
    mounts: readFileSync('/proc/self/mountinfo', 'utf8').split('\n'),
    settings: SETTINGS.map((name) => `${name} ${readSetting(name)}`),
    // Other programs keep files in these, too, but none of a node's.
    folders: FOLDERS.flatMap((folder) =>
      readdirSync(folder).map((name) => `${folder}/${name}`),
    ).filter((file) => /cni|containerd|coatcheck|netns|kube|etcd|runc|pods|containers/.test(file)),
  };
}

function readSetting(name: string): string {
  try {
    return readFileSync(`/proc/sys/${name}`, 'utf8').trim();
  } catch {
    return 'absent';
  }
}

/** Of a harness's making, in every hierarchy; not those of other runs that live beside this one. */
export function listCgroups(): string[] {
  const found = listFolders('/sys/fs/cgroup').filter((name) =>
    /(^|\/)(coatcheck-test-[^/]*|kubepods[^/]*)$/.test(name),
  );
  return found.filter((name) => !isOfAnotherRun(name)).sort();
}

/** Folders below, relative. Cgroups go while one looks: those that did are left out. */
function listFolders(root: string, below = ''): string[] {
  try {
    return readdirSync(`${root}/${below}`, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => (below === '' ? name : `${below}/${name}`))
      .flatMap((name) => [name, ...listFolders(root, name)]);
  } catch {
    return [];
  }
}

/** The name of a run's cgroup ends in the pid of its run.ts, which is a child of ours if the run is. */
function isOfAnotherRun(cgroup: string): boolean {
  const pid = /coatcheck-test-(\d+)/.exec(cgroup)?.[1];
  if (pid === undefined) return false;
  try {
    const parent = /^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return Number(parent) !== process.pid;
  } catch {
    return false;
  }
}

/** Processes of the run, as `pid command`. */
export function listProcesses(run: string): string[] {
  const read = (pid: string, file: string) => {
    try {
      return readFileSync(`/proc/${pid}/${file}`, 'latin1');
    } catch {
      return '';
    }
  };
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .filter((pid) => read(pid, 'environ').includes(`${RUN_VARIABLE}=${run}\0`))
    .map((pid) => `${pid} ${read(pid, 'cmdline').replaceAll('\0', ' ')}`);
}
