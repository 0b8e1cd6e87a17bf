// Whether a caller may use a route, and how far it then reaches: everywhere, or in one namespace of the broker's own
// cluster. Settled before anything of the request is validated or looked up, so that a refusal tells nothing.
import type { Capabilities } from '../../capabilities.ts';
import { BrokerError } from '../../errors.ts';
import type { Cluster } from '../../identity/clusters.ts';
import { isAllowedByPolicies, POLICY_DEFAULT, POLICY_ROOT } from '../../policies.ts';
import type { AdminCaller } from './caller.ts';
import type { Needs } from './route.ts';

/** What a caller may see and change. */
export type Reach =
  | { readonly everywhere: true }
  | { readonly everywhere: false; readonly cluster: string; readonly namespace: string };

export const EVERYWHERE: Reach = { everywhere: true };

const NAMESPACE = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

export interface Asked {
  readonly needs: Exclude<Needs, 'public' | 'controller'>;
  /** As the query has it, in whatever form. */
  readonly namespace: string | undefined;
  readonly ownCluster: string;
}

/**
 * How far the caller reaches. A right for one namespace counts only where the request names that namespace, and is about
 * the own cluster: equal names in other clusters are other tenants.
 * @throws BrokerError `bearer_forbidden`, `kube_unavailable`
 */
export async function authorizeCaller(
  caller: AdminCaller,
  { needs, namespace, ownCluster }: Asked,
  capabilities: Capabilities,
): Promise<Reach> {
  if (needs === 'caller') return EVERYWHERE;
  if (needs === 'own') {
    checkOwn(caller);
    return EVERYWHERE;
  }
  const { verb, resource, namespaced = false } = needs;
  if (await capabilities.can(caller, verb, resource)) return EVERYWHERE;
  const isNarrow = namespaced && namespace !== undefined && NAMESPACE.test(namespace);
  if (isNarrow && (await capabilities.can(caller, verb, resource, { namespace })))
    return { everywhere: false, cluster: ownCluster, namespace };
  throw new BrokerError('bearer_forbidden', `may not ${verb} ${resource}`);
}

/**
 * Only the controller of the cluster: who reports deaths ends credentials. Another cluster's controller of the same name is
 * another identity, and so is every other ServiceAccount of the own cluster, whatever RBAC gives it.
 * @throws BrokerError `bearer_forbidden`
 */
export function authorizeController(
  { identity, policies, via }: AdminCaller,
  name: string,
  clusters: readonly Cluster[],
): Reach {
  if (via === 'token' && policies.includes(POLICY_ROOT)) return EVERYWHERE;
  const cluster = clusters.find((one) => one.name === name);
  const controller = cluster?.kind === 'kubernetes' ? cluster.controller : undefined;
  const isController =
    via === 'workload' &&
    controller !== undefined &&
    identity?.kind === 'workload' &&
    identity.cluster === name &&
    identity.namespace === controller.namespace &&
    identity.serviceAccount === controller.serviceAccount;
  if (!isController) throw new BrokerError('bearer_forbidden', 'not the controller of the cluster');
  return EVERYWHERE;
}

/** One's own token: only who has one, and a policy that says so. */
function checkOwn({ token, policies }: AdminCaller): void {
  const isAllowed =
    policies.includes(POLICY_DEFAULT) || isAllowedByPolicies(policies, 'update', 'tokens');
  if (!token || !isAllowed)
    throw new BrokerError('bearer_forbidden', 'no token of its own, or without the policy default');
}

/** Whether something of this owner is within reach. */
export function isWithinReach(
  reach: Reach,
  owner: { readonly cluster?: string; readonly namespace?: string },
): boolean {
  return (
    reach.everywhere || (owner.cluster === reach.cluster && owner.namespace === reach.namespace)
  );
}
