// What the exchange container may use. A Guaranteed pod stays Guaranteed; otherwise small requests and limits that hold
// two processes, because the startup probe is one. Always set: a ResourceQuota refuses containers that say nothing.
import type { JsonObject } from '../common/protocol/admission.ts';
import type { InjectSettings } from './inject-settings.ts';
import { findMember, findObject } from './json.ts';
import type { Pod } from './pod.ts';
import { findAmount } from './quantity.ts';

const NAMES = ['cpu', 'memory'] as const;

/** The `resources` of our containers in this pod. */
export function toResources(pod: Pod, settings: InjectSettings): JsonObject {
  const limits = { cpu: settings.exchangeCpuLimit, memory: settings.exchangeMemoryLimit };
  const requests = isGuaranteed(pod)
    ? limits
    : { cpu: settings.exchangeCpuRequest, memory: settings.exchangeMemoryRequest };
  const shared = NAMES.filter((name) => isSharedByPod(pod, name));
  if (shared.length === 0) return { requests, limits };
  if (shared.length === NAMES.length) return {};
  return { requests: without(requests, shared), limits: without(limits, shared) };
}

/** Whether every container of the pod has limits for both, and requests that say nothing else. */
function isGuaranteed(pod: Pod): boolean {
  return pod.foreign.every(({ raw }) => {
    const resources = findObject(raw, 'resources') ?? {};
    const limits = findObject(resources, 'limits') ?? {};
    const requests = findObject(resources, 'requests') ?? {};
    return NAMES.every((name) => {
      const limit = findAmount(findMember(limits, name));
      // A request that is not written is defaulted from the limit.
      const request =
        findMember(requests, name) === undefined ? limit : findAmount(findMember(requests, name));
      return limit !== undefined && limit > 0 && request === limit;
    });
  });
}

/**
 * Whether the pod itself has a budget for the resource (`spec.resources`, Kubernetes 1.34). Its containers' requests must
 * fit into that, so that one more container with a figure of its own could make a valid pod invalid; and the pod's QoS
 * class no longer depends on containers.
 */
function isSharedByPod({ spec }: Pod, name: string): boolean {
  const budget = findObject(spec, 'resources') ?? {};
  return ['requests', 'limits'].some(
    (kind) => findMember(findObject(budget, kind) ?? {}, name) !== undefined,
  );
}

function without(amounts: Readonly<Record<string, string>>, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(amounts).filter(([name]) => !names.includes(name)));
}
