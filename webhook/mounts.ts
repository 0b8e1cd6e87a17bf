// Where the tokens appear in a container, and which mounts of the pod's own stand in the way. Paths are compared as the
// container sees them: `//`, `.`, `..` and a trailing slash change nothing.
import { posix } from 'node:path';
import type { JsonObject } from '../common/protocol/admission.ts';
import { IDENTITY_VOLUME, type PodAudience, TOKENS_VOLUME } from '../common/protocol/pod.ts';
import type { Denial } from './errors.ts';
import { quote } from './errors.ts';
import { findText } from './json.ts';
import type { PodContainer, ReadOnlyVolumes } from './pod.ts';

/** The mounts of a container: the whole volume where it gets every audience, else one directory for each it gets. */
export function toTokenMounts(
  mountRoot: string,
  { given, all }: { given: readonly PodAudience[]; all: readonly PodAudience[] },
): readonly JsonObject[] {
  if (given.length === all.length)
    return [{ name: TOKENS_VOLUME, mountPath: mountRoot, readOnly: true }];
  // The exchange has made these directories before any such container starts, and swaps files inside of them.
  return given.map(({ name }) => ({
    name: TOKENS_VOLUME,
    mountPath: `${mountRoot}/${name}`,
    readOnly: true,
    subPath: name,
  }));
}

/** The path of a mount as the container sees it, absolute and without detours. */
function toPlainPath(mount: JsonObject): string {
  const path = findText(mount, 'mountPath') ?? '';
  return isPlainPath(path) ? path : posix.resolve('/', path);
}

/** Nearly all are; resolving costs more than everything else in a pod of many containers. */
function isPlainPath(path: string): boolean {
  return (
    path.startsWith('/') && !path.endsWith('/') && !path.includes('//') && !path.includes('/.')
  );
}

function isAtOrBelow(path: string, root: string): boolean {
  if (!path.startsWith(root)) return false;
  return path.length === root.length || root === '/' || path[root.length] === '/';
}

const isOurVolume = (mount: JsonObject) =>
  mount.name === TOKENS_VOLUME || mount.name === IDENTITY_VOLUME;

export interface MountRules {
  readonly mountRoot: string;
  /** Whether the container gets a token at all. */
  readonly isTarget: boolean;
  /** Volumes that are read-only whatever their mounts say. */
  readonly readOnlyVolumes: ReadOnlyVolumes;
}

function isReadOnly(mount: JsonObject, readOnlyVolumes: ReadOnlyVolumes): boolean {
  return mount.readOnly === true || readOnlyVolumes.has(mount.name);
}

/** Adds to `denials` what the container's own mounts make impossible. */
export function checkMounts(container: PodContainer, rules: MountRules, denials: Denial[]): void {
  for (const mount of container.mounts) {
    const denial = findMountDenial(container, mount, rules);
    if (denial) denials.push(denial);
  }
}

const toWhere = ({ list, index, name }: PodContainer) => `spec.${list}[${index}] (${quote(name)})`;

function findMountDenial(
  container: PodContainer,
  mount: JsonObject,
  { mountRoot, isTarget, readOnlyVolumes }: MountRules,
): Denial | undefined {
  const path = toPlainPath(mount);
  if (mount.name === IDENTITY_VOLUME || (mount.name === TOKENS_VOLUME && !isTarget)) {
    return {
      code: 'reserved_volume_mounted',
      message: `${toWhere(container)} mounts ${mount.name} at ${quote(path)}, which only Coatcheck may decide; allowed: no such mount`,
    };
  }
  if (!isTarget || isOurVolume(mount)) return undefined;
  if (isAtOrBelow(path, mountRoot)) {
    return {
      code: 'mount_conflict',
      message: `${toWhere(container)} mounts ${quote(findText(mount, 'name') ?? '')} at ${quote(path)}, where the tokens go; allowed: any path outside ${mountRoot}`,
    };
  }
  if (isAtOrBelow(mountRoot, path) && isReadOnly(mount, readOnlyVolumes)) {
    return {
      code: 'mount_conflict',
      message: `${toWhere(container)} mounts ${quote(findText(mount, 'name') ?? '')} read-only at ${quote(path)}, above ${mountRoot}, so that the tokens could not be mounted; allowed: a writable mount, or any path that is not above`,
    };
  }
  return undefined;
}

/** Whether a mount meets our path by way of `/var/run` → `/run`, a link that most images have but not all. */
export function findLinkedMount(
  { mounts }: PodContainer,
  { mountRoot, readOnlyVolumes }: Pick<MountRules, 'mountRoot' | 'readOnlyVolumes'>,
): string | undefined {
  if (!mountRoot.startsWith('/var/run/')) return undefined;
  const linked = mountRoot.slice('/var'.length);
  for (const mount of mounts) {
    if (isOurVolume(mount)) continue;
    const path = toPlainPath(mount);
    const isAbove = path !== '/' && isAtOrBelow(linked, path) && isReadOnly(mount, readOnlyVolumes);
    if (isAbove || isAtOrBelow(path, linked)) return path;
  }
  return undefined;
}
