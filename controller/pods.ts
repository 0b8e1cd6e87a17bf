// What is kept of a pod and of a ServiceAccount: a hundred thousand of them must fit into the memory of the process.
import type { KubeObject } from '../common/kube/watch-stream.ts';

/** Who made it, and would make another one. */
export interface PodOwner {
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

export interface TrackedPod {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly phase: string;
  readonly serviceAccountName: string;
  readonly owner?: PodOwner;
  readonly deletionTimestamp?: string;
  /** Ours alone, without the prefix; absent where there is none. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly volumeNames: readonly string[];
}

export interface TrackedServiceAccount {
  readonly uid: string;
}

/** Makes what trims a pod. Equal texts are kept once: names of volumes and phases are few. */
export function createPodTrimmer(prefix: string): (object: KubeObject) => TrackedPod {
  const known = new Map<string, string>();
  const once = (text: string): string => {
    const same = known.get(text);
    if (same !== undefined) return same;
    // Names come and go: rather some twice than all for ever.
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(text, text);
    return text;
  };
  return (object) => {
    const { metadata } = object;
    const spec = Object(object.spec) as { serviceAccountName?: unknown; volumes?: unknown };
    const { phase } = Object(object.status) as { phase?: unknown };
    const { deletionTimestamp } = metadata;
    const owner = findOwner(metadata.ownerReferences);
    const annotations = findOwn(metadata.annotations, prefix);
    return {
      uid: toText(metadata.uid),
      name: metadata.name,
      namespace: once(metadata.namespace ?? ''),
      phase: once(toText(phase)),
      serviceAccountName: once(toText(spec.serviceAccountName)),
      ...(owner && { owner: { ...owner, kind: once(owner.kind), uid: once(owner.uid) } }),
      ...(typeof deletionTimestamp === 'string' && { deletionTimestamp }),
      ...(annotations && { annotations }),
      volumeNames: toVolumeNames(spec.volumes).map(once),
    };
  };
}

export function toTrackedServiceAccount({ metadata }: KubeObject): TrackedServiceAccount {
  return { uid: toText(metadata.uid) };
}

const MAX_KNOWN = 20_000;

function findOwner(references: unknown): PodOwner | undefined {
  const all = (Array.isArray(references) ? references : []) as readonly Record<string, unknown>[];
  const owner = all.find(({ controller }) => controller === true);
  return owner && { kind: toText(owner.kind), name: toText(owner.name), uid: toText(owner.uid) };
}

function findOwn(
  annotations: unknown,
  prefix: string,
): Readonly<Record<string, string>> | undefined {
  const own = Object.entries(Object(annotations) as Record<string, unknown>)
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), toText(value)] as const);
  return own.length === 0 ? undefined : Object.fromEntries(own);
}

function toVolumeNames(volumes: unknown): readonly string[] {
  const all = (Array.isArray(volumes) ? volumes : []) as readonly { name?: unknown }[];
  return all.map(({ name }) => toText(name));
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
