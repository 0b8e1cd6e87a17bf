// Pods as the controller keeps them: missed, injected, without annotations.
import type { PodOwner, TrackedPod } from '../../controller/pods.ts';

const VOLUMES = ['coatcheck-identity', 'coatcheck-tokens'];

export function toOwner(name: string, more: Partial<PodOwner> = {}): PodOwner {
  return { apiVersion: 'apps/v1', kind: 'ReplicaSet', name, uid: `uid-${name}`, ...more };
}

/** Owned by the ReplicaSet whose name stands before the dash, unless said otherwise. */
export function toMissed(
  name: string,
  owner: PodOwner | undefined = toOwner(name.split('-')[0] ?? ''),
) {
  return {
    uid: `uid-${name}`,
    name,
    namespace: 'shop',
    phase: 'Running',
    serviceAccountName: 'default',
    annotations: { audience: 'payments' },
    volumeNames: ['data'],
    ...(owner && { owner }),
  } satisfies TrackedPod;
}

export const toInjected = (name: string): TrackedPod => ({
  ...toMissed(name),
  volumeNames: VOLUMES,
});
export const toReady = (pod: TrackedPod): TrackedPod => ({ ...pod, isReady: true });
/** Without annotations of ours. */
export function toPlain(name: string): TrackedPod {
  const { annotations: _, ...rest } = toMissed(name);
  return rest;
}
