// What a caller may do at the broker: by the policies of its token, or, for ServiceAccounts of the broker's own cluster,
// by what the cluster's RBAC says of group auth.example.io (SubjectAccessReview). Nobody else may do anything.
import type { Clock } from '../common/clock.ts';
import type { AccessReviews, AccessUser } from '../common/kube/access.ts';
import { KubeError } from '../common/kube/error.ts';
import { BrokerError } from './errors.ts';
import type { Identity, WorkloadIdentity } from './identity/identity.ts';
import { createLimiter, LimiterFull } from './identity/limiter.ts';
import { isAllowedByPolicies, KUBE_RESOURCES, type Resource, type Verb } from './policies.ts';

export const KUBE_GROUP = 'auth.example.io';

/** Of a caller (callers.ts), what its power follows from. */
export interface CapableCaller {
  readonly policies: readonly string[];
  readonly identity?: Identity;
  readonly via: 'token' | 'workload' | 'client';
}

export interface Capabilities {
  /**
   * Whether the caller may. Without a namespace: everywhere, in every cluster.
   * @throws BrokerError `kube_unavailable` where the API server cannot say, `too_many_requests`
   */
  can(
    caller: CapableCaller,
    verb: Verb,
    resource: Resource,
    where?: { readonly namespace?: string },
  ): Promise<boolean>;
}

export interface CapabilitiesDeps {
  /** Absent where the table gives the own cluster no API server: then no ServiceAccount has power here. */
  readonly reviews?: Pick<AccessReviews, 'can'>;
  readonly ownCluster: string;
  readonly clock: Clock;
}

/** A right that was taken away works at most so long. */
export const CAPABILITY_CACHE_MS = 10_000;
const MAX_CACHED = 10_000;
/**
 * Every pod can have a token for the broker and ask about a namespace that nobody asked about before. Half of the own
 * cluster's connections stay for the roles, the labels and the statuses.
 */
const LIMITS = { maxInFlight: 8, maxWaiting: 256, maxWaitMs: 2000 } as const;

interface Answer {
  readonly allowed: Promise<boolean>;
  readonly at: number;
}

/** Answers are kept for {@link CAPABILITY_CACHE_MS} per user and question, failures never. */
export function createCapabilities(deps: CapabilitiesDeps): Capabilities {
  const { reviews, ownCluster, clock } = deps;
  const answers = new Map<string, Answer>();
  const limiter = createLimiter({ ...LIMITS, clock });

  function ask(who: WorkloadIdentity, attributes: Attributes): Promise<boolean> {
    if (!reviews) return Promise.resolve(false);
    const user = toAccessUser(who);
    const key = JSON.stringify([user, attributes]);
    const now = clock.now();
    const known = answers.get(key);
    if (known && now - known.at < CAPABILITY_CACHE_MS) return known.allowed;
    const question = { ...attributes, group: KUBE_GROUP };
    const allowed = limiter
      .run({ group: who.namespace, member: who.serviceAccount }, () => reviews.can(user, question))
      .then(
        (answer) => answer.allowed,
        (error: unknown) => {
          if (answers.get(key)?.at === now) answers.delete(key);
          throw toUnavailable(error);
        },
      );
    // A Map keeps the order of insertion: the first is the oldest.
    answers.delete(key);
    if (answers.size >= MAX_CACHED) answers.delete(answers.keys().next().value ?? '');
    answers.set(key, { allowed, at: now });
    return allowed;
  }

  return {
    can: async ({ policies, identity, via }, verb, resource, where = {}) => {
      if (via !== 'workload') return isAllowedByPolicies(policies, verb, resource);
      // RBAC of the own cluster says nothing about equal names of another one.
      if (identity?.kind !== 'workload' || identity.cluster !== ownCluster) return false;
      return ask(identity, {
        verb,
        resource: KUBE_RESOURCES[resource],
        ...(where.namespace !== undefined && { namespace: where.namespace }),
      });
    },
  };
}

interface Attributes {
  readonly verb: Verb;
  readonly resource: string;
  readonly namespace?: string;
}

/** As the API server itself names a ServiceAccount that authenticates by a token bound to a pod. */
export function toAccessUser({
  namespace,
  serviceAccount,
  serviceAccountUid,
  pod,
}: WorkloadIdentity): AccessUser {
  return {
    user: `system:serviceaccount:${namespace}:${serviceAccount}`,
    uid: serviceAccountUid,
    groups: [
      'system:serviceaccounts',
      `system:serviceaccounts:${namespace}`,
      'system:authenticated',
    ],
    ...(pod && {
      extra: {
        'authentication.kubernetes.io/pod-name': [pod.name],
        'authentication.kubernetes.io/pod-uid': [pod.uid],
      },
    }),
  };
}

function toUnavailable(error: unknown): unknown {
  if (error instanceof LimiterFull)
    return new BrokerError('too_many_requests', 'too many callers ask what they may', {
      cause: error,
    });
  return error instanceof KubeError
    ? new BrokerError(
        'kube_unavailable',
        `the API server cannot say what the caller may: ${error.kind}`,
        {
          cause: error,
        },
      )
    : error;
}
