// The pods that missed injection, of all pods that are watched. Every replica knows them; who tells of them and mends them
// is elsewhere (missed-report.ts, evictions.ts).
import type { ItemChange } from '../common/kube/collection.ts';
import { asksForInjection, isInjected, isMissed } from '../common/protocol/missed.ts';
import type { TrackedPod } from './pods.ts';

export interface MissedPods {
  /** By uid; those that are known longest come first. */
  readonly pods: ReadonlyMap<string, TrackedPod>;
  /** The first complete list. */
  begin(all: Iterable<TrackedPod>): void;
  apply(change: ItemChange<TrackedPod>): void;
}

/** What became of the annotations of a pod that was just stored. */
export type Admission = 'injected' | 'missed' | 'unannotated';

export function createMissedPods(isCovered: (namespace: string) => boolean): MissedPods {
  const pods = new Map<string, TrackedPod>();
  const look = (pod: TrackedPod): void => {
    if (isMissed(pod) && isCovered(pod.namespace)) pods.set(pod.uid, pod);
    else pods.delete(pod.uid);
  };
  return {
    pods,
    begin: (all) => {
      pods.clear();
      for (const pod of all) look(pod);
    },
    apply: ({ before, after }) => {
      if (before && before.uid !== after?.uid) pods.delete(before.uid);
      if (after) look(after);
    },
  };
}

/** Undefined where the webhook has no say: a static pod, one for Windows, one that was over before it was seen. */
export function findAdmission(pod: TrackedPod): Admission | undefined {
  if (isMissed(pod)) return 'missed';
  if (pod.isExempt) return undefined;
  if (!asksForInjection(pod)) return 'unannotated';
  return isInjected(pod) ? 'injected' : undefined;
}

/**
 * Which namespaces' pods are expected to be injected, as far as the names tell.
 * @param names with one `*` at most in each; none: all namespaces
 */
export function createCoverage({
  excluded,
  names,
}: {
  excluded: readonly string[];
  names: readonly string[];
}): (namespace: string) => boolean {
  const without = new Set(excluded);
  return (namespace) =>
    !without.has(namespace) && (names.length === 0 || names.some((one) => fits(one, namespace)));
}

function fits(pattern: string, name: string): boolean {
  const [start = '', end] = pattern.split('*');
  if (end === undefined) return name === pattern;
  return name.length >= start.length + end.length && name.startsWith(start) && name.endsWith(end);
}
