// What the API server works out from all containers of a pod, ours included: the only two places where a pod of others
// changes because of our container, and how.
import type { JsonObject } from '../../../common/protocol/admission.ts';

interface Resources {
  readonly requests?: Readonly<Record<string, string>>;
}

/**
 * The pod as it was without us, with what our container adds to what is derived:
 * - requests of ours lift a pod out of BestEffort; Guaranteed and Burstable stay what they are;
 * - a pod with resources of its own as a whole gets the sum of its containers' requests for each resource of which it
 *   says nothing. Where one container had stated it, the sum is there already; else it is what ours states.
 */
export function withDerived(before: JsonObject, injected: JsonObject): JsonObject {
  const spec = before.spec as JsonObject;
  const status = before.status as JsonObject;
  const podResources = spec.resources as (JsonObject & Resources) | undefined;
  return {
    ...before,
    status: {
      ...status,
      qosClass: status.qosClass === 'BestEffort' ? 'Burstable' : (status.qosClass ?? null),
    },
    spec: podResources
      ? {
          ...spec,
          resources: {
            ...podResources,
            requests: { ...findExchangeRequests(injected), ...podResources.requests },
          },
        }
      : spec,
  };
}

function findExchangeRequests(pod: JsonObject): Readonly<Record<string, string>> {
  const { initContainers } = pod.spec as {
    initContainers?: { name: string; resources?: Resources }[];
  };
  const exchange = initContainers?.find(({ name }) => name === 'coatcheck-exchange');
  return exchange?.resources?.requests ?? {};
}
