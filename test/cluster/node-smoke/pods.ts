// Pods of this suite: small, from images that are already on the node, in namespaces where Pod Security is `restricted`.
import type { NodeFacts } from '../harness/cluster.ts';

/** What `restricted` asks of every container. */
export const RESTRICTED = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  runAsUser: 1000,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

export const RESTRICTED_NAMESPACE = { 'pod-security.kubernetes.io/enforce': 'restricted' } as const;

/** A container from one of the loaded images. */
export function toContainer(node: NodeFacts, image: string, rest: object = {}): object {
  return {
    name: 'app',
    image: node.images[image],
    imagePullPolicy: 'Never',
    securityContext: RESTRICTED,
    ...rest,
  };
}

/** A pod of these parts; it ends quickly when it is told to. */
export function toPod(namespace: string, name: string, spec: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 1, ...spec },
  };
}
