// The securityContext of our containers: `restricted` wherever the pod is. The uid is the delicate part: one more container
// with another uid makes the kubelet write every projected token of the pod 0644 instead of 0600 (seen).
import type { Json, JsonObject } from '../common/protocol/admission.ts';
import { findMember, findObject } from './json.ts';
import type { Pod } from './pod.ts';

/** All that our securityContext takes from a pod. */
export interface Security {
  /** The uid to state; without it the pod's own applies, or the image's, which is not 0. */
  readonly uid: number | undefined;
  readonly isRoot: boolean;
}

export function findSecurity(pod: Pod): Security {
  const podUid = findUid(pod.spec);
  const uid = findUniformUid(pod, podUid);
  return { uid, isRoot: (uid ?? podUid) === 0 };
}

export function toSecurityContext({ uid, isRoot }: Security): JsonObject {
  return {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    readOnlyRootFilesystem: true,
    runAsNonRoot: !isRoot,
    ...(uid !== undefined && { runAsUser: uid }),
    seccompProfile: { type: 'RuntimeDefault' },
  };
}

/** The one uid all containers of others run with, where each states it or inherits it from the pod. */
function findUniformUid(pod: Pod, podUid: Json | undefined): number | undefined {
  const [first] = pod.foreign;
  const uid = first && (findUid(first.raw) ?? podUid);
  if (typeof uid !== 'number') return undefined;
  for (const { raw } of pod.foreign) if ((findUid(raw) ?? podUid) !== uid) return undefined;
  return uid;
}

function findUid(owner: JsonObject): Json | undefined {
  const context = findObject(owner, 'securityContext');
  return context && findMember(context, 'runAsUser');
}
