// The cgroup that holds a node's pods: one name, on cgroup v1 in every hierarchy, on v2 in the one. A node that is killed
// leaves it behind, so it is made, and removed, by processes outside of the node (guard.ts).
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';

const MOUNT = '/sys/fs/cgroup';
const PREFIX = 'coatcheck-test-';

/** Named after the process that answers for it. */
export function toCgroupName(owner: number): string {
  return `${PREFIX}${owner}`;
}

/** Makes the cgroup in every hierarchy. */
export function createCgroup(name: string): void {
  for (const hierarchy of listHierarchies()) {
    if (hierarchy === MOUNT) enableControllers(hierarchy);
    const folder = path.join(hierarchy, name);
    mkdirSync(folder, { recursive: true });
    // v1: a new cpuset is empty, and nothing can run in it.
    for (const file of ['cpuset.cpus', 'cpuset.mems']) {
      const parent = path.join(hierarchy, file);
      if (hierarchy !== MOUNT && existsSync(parent))
        writeFileSync(path.join(folder, file), readFileSync(parent));
    }
  }
}

/** v2: a controller must be handed down. In a container's root cgroup that fails, and the kubelet will say what lacks. */
function enableControllers(folder: string): void {
  const names = readFileSync(path.join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ');
  for (const name of names) {
    try {
      writeFileSync(path.join(folder, 'cgroup.subtree_control'), `+${name}`);
    } catch (error) {
      console.warn(`cgroup controller ${name} cannot be handed down: ${(error as Error).message}`);
    }
  }
}

/** Process ids in the cgroup and below, of every hierarchy. */
export function readMembers(name: string): number[] {
  const folders = listHierarchies().flatMap((hierarchy) => listTree(path.join(hierarchy, name)));
  const members = folders.flatMap((folder) => readOrNothing(path.join(folder, 'cgroup.procs')));
  return [...new Set(members)];
}

function readOrNothing(file: string): number[] {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return text === '' ? [] : text.split('\n').map(Number);
  } catch {
    return [];
  }
}

/** Removes what is empty; false while something is left. */
export function removeCgroup(name: string): boolean {
  let isGone = true;
  for (const hierarchy of listHierarchies()) {
    for (const folder of listTree(path.join(hierarchy, name)).toReversed()) {
      try {
        rmdirSync(folder);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') isGone = false;
      }
    }
  }
  return isGone;
}

/** Names of cgroups like ours whose owner is dead. */
export function findAbandoned(): string[] {
  const names = listHierarchies().flatMap((hierarchy) => readdirSync(hierarchy));
  const ours = names.filter((name) => name.startsWith(PREFIX));
  return [...new Set(ours)].filter((name) => !existsSync(`/proc/${name.slice(PREFIX.length)}`));
}

/** cgroup v2: its one mount. v1: a mount per controller; `unified`, where it exists, has no controllers for pods. */
function listHierarchies(): string[] {
  if (existsSync(path.join(MOUNT, 'cgroup.controllers'))) return [MOUNT];
  const folders = readdirSync(MOUNT).map((name) => path.join(MOUNT, name));
  return folders.filter((folder) => existsSync(path.join(folder, 'cgroup.procs')));
}

/** A folder and everything below it, parents first. */
function listTree(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const below = readdirSync(folder, { withFileTypes: true, recursive: true });
  const folders = below
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(entry.parentPath, entry.name));
  return [folder, ...folders.sort()];
}
