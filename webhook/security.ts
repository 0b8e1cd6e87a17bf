// The securityContext of our containers: `restricted` wherever the pod is. The uid is the delicate part: one more container
// with another uid makes the kubelet write every projected token of the pod 0644 instead of 0600 (seen).
import type { Json, JsonObject } from '../common/protocol/admission.ts';
import { findMember, findObject } from './json.ts';
import type { Pod, PodContainer } from './pod.ts';

/** The securityContext for this pod. */
export function toSecurityContext(pod: Pod): JsonObject {
  const podUid = findUid(pod.spec);
  const uid = findUniformUid(pod, podUid);
  // Without a uid of ours the pod's own applies, or the image's, which is not 0.
  const isRoot = (uid ?? podUid) === 0;
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
  const uidOf = ({ raw }: PodContainer) => findUid(raw) ?? podUid;
  const [first] = pod.foreign;
  const uid = first && uidOf(first);
  if (typeof uid !== 'number') return undefined;
  return pod.foreign.every((container) => uidOf(container) === uid) ? uid : undefined;
}

function findUid(owner: JsonObject): Json | undefined {
  const context = findObject(owner, 'securityContext');
  return context && findMember(context, 'runAsUser');
}
