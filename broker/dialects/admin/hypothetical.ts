// A subject that nobody proved, as one of its cluster's tokens would prove it: for "what would be decided". It never
// comes near a grant: only explain makes one, and explain issues nothing.
import { type Clock, nowSeconds } from '../../../common/clock.ts';
import type { Cluster } from '../../identity/clusters.ts';
import type { VerifiedSubject, WorkloadIdentity } from '../../identity/identity.ts';

export interface Supposed {
  readonly identity: WorkloadIdentity;
  readonly audience: string;
  readonly roleName?: string;
  readonly scopes?: readonly string[];
}

/** What the kubelet asks for, unless told otherwise. */
const LIFE_SECONDS = 3600;

/** Only clusters of Kubernetes have pods. */
export function findCluster(
  { identity }: Supposed,
  clusters: readonly Cluster[],
): Cluster | undefined {
  return clusters.find(({ name, kind }) => name === identity.cluster && kind === 'kubernetes');
}

export function toHypothetical(
  { identity, audience }: Supposed,
  { cluster, clock }: { readonly cluster: Cluster; readonly clock: Clock },
): VerifiedSubject<WorkloadIdentity> {
  const issuedAt = nowSeconds(clock);
  const expiresAt = issuedAt + LIFE_SECONDS;
  const issuer = cluster.issuers[0] ?? '';
  const { namespace, serviceAccount, serviceAccountUid, pod, node } = identity;
  return {
    identity,
    issuer,
    audiences: [audience],
    issuedAt,
    expiresAt,
    fingerprint: 'supposed',
    claims: {
      iss: issuer,
      sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
      aud: [audience],
      iat: issuedAt,
      nbf: issuedAt,
      exp: expiresAt,
      'kubernetes.io': {
        namespace,
        serviceaccount: { name: serviceAccount, uid: serviceAccountUid },
        ...(pod && { pod }),
        ...(node && { node }),
      },
    },
  };
}
