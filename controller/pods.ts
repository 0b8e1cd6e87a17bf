// What is kept of a pod and of a ServiceAccount: a hundred thousand of them must fit into the memory of the process.
import type { KubeObject } from '../common/kube/watch-stream.ts';
import { type InjectionFacts, toInjectionFacts } from '../common/protocol/missed.ts';

/** Who made it, and would make another one. */
export interface PodOwner {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** Also what tells whether it missed injection. */
export interface TrackedPod extends InjectionFacts {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccountName: string;
  readonly owner?: PodOwner;
  readonly isReady?: true;
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
    const { serviceAccountName } = Object(object.spec) as { serviceAccountName?: unknown };
    const owner = findOwner(metadata.ownerReferences);
    const facts = toInjectionFacts(object, prefix);
    return {
      ...facts,
      uid: toText(metadata.uid),
      name: metadata.name,
      namespace: once(metadata.namespace ?? ''),
      phase: once(facts.phase),
      serviceAccountName: once(toText(serviceAccountName)),
      ...(owner && { owner: toShared(owner, once) }),
      ...(isReady(object.status) && { isReady: true }),
      volumeNames: facts.volumeNames.map(once),
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
  if (!owner) return undefined;
  const { apiVersion, kind, name, uid } = owner;
  return {
    apiVersion: toText(apiVersion),
    kind: toText(kind),
    name: toText(name),
    uid: toText(uid),
  };
}

function toShared(owner: PodOwner, once: (text: string) => string): PodOwner {
  const { apiVersion, kind, name, uid } = owner;
  return { apiVersion: once(apiVersion), kind: once(kind), name, uid: once(uid) };
}

function isReady(status: unknown): boolean {
  const { conditions } = Object(status) as { conditions?: unknown };
  const all = (Array.isArray(conditions) ? conditions : []) as readonly unknown[];
  return all.some((one) => {
    const { type, status: is } = Object(one) as { type?: unknown; status?: unknown };
    return type === 'Ready' && is === 'True';
  });
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
