// What the exchange container may use. A Guaranteed pod stays Guaranteed; otherwise small requests and limits that hold
// two processes, because the startup probe is one. Always set: a ResourceQuota refuses containers that say nothing.
import type { JsonObject } from '../common/protocol/admission.ts';
import type { InjectSettings } from './inject-settings.ts';
import { findMember, findObject } from './json.ts';
import type { Pod } from './pod.ts';
import { findAmount } from './quantity.ts';

const NAMES = ['cpu', 'memory'] as const;

/** All that our `resources` take from a pod: whether it is Guaranteed, and for what it has a budget of its own. */
export type ResourceClass = `${'guaranteed' | 'burstable'}${'' | '+cpu'}${'' | '+memory'}`;

export function findResourceClass(pod: Pod): ResourceClass {
  const qos = isGuaranteed(pod) ? 'guaranteed' : 'burstable';
  const budget = findObject(pod.spec, 'resources');
  if (!budget) return qos;
  const cpu = isBudgeted(budget, 'cpu') ? '+cpu' : '';
  return `${qos}${cpu}${isBudgeted(budget, 'memory') ? '+memory' : ''}`;
}

/** The `resources` of our containers in a pod of this class. */
export function toResources(resources: ResourceClass, settings: InjectSettings): JsonObject {
  const limits = { cpu: settings.exchangeCpuLimit, memory: settings.exchangeMemoryLimit };
  const requests = resources.startsWith('guaranteed')
    ? limits
    : { cpu: settings.exchangeCpuRequest, memory: settings.exchangeMemoryRequest };
  const shared = NAMES.filter((name) => resources.includes(`+${name}`));
  if (shared.length === 0) return { requests, limits };
  if (shared.length === NAMES.length) return {};
  return { requests: without(requests, shared), limits: without(limits, shared) };
}

/** Whether every container of the pod has limits for both, and requests that say nothing else. */
function isGuaranteed(pod: Pod): boolean {
  for (const { raw } of pod.foreign) {
    const resources = findObject(raw, 'resources');
    const limits = resources && findObject(resources, 'limits');
    if (!limits) return false;
    const requests = findObject(resources, 'requests');
    if (!isFixed('cpu', limits, requests) || !isFixed('memory', limits, requests)) return false;
  }
  return true;
}

function isFixed(name: string, limits: JsonObject, requests: JsonObject | undefined): boolean {
  const limit = findAmount(findMember(limits, name));
  if (limit === undefined || limit <= 0) return false;
  // A request that is not written is defaulted from the limit.
  const request = requests && findMember(requests, name);
  return request === undefined || findAmount(request) === limit;
}

/**
 * Whether the pod itself has a budget for the resource (`spec.resources`, Kubernetes 1.34). Its containers' requests must
 * fit into that, so that one more container with a figure of its own could make a valid pod invalid; and the pod's QoS
 * class no longer depends on containers.
 */
function isBudgeted(budget: JsonObject, name: string): boolean {
  return ['requests', 'limits'].some(
    (kind) => findMember(findObject(budget, kind) ?? {}, name) !== undefined,
  );
}

function without(amounts: Readonly<Record<string, string>>, names: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(amounts).filter(([name]) => !names.includes(name)));
}
