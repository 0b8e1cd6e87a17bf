// Where our containers stand among the pod's init containers: settled the first time, kept ever after, because by then
// other webhooks may have counted on it.
import type { JsonObject, PatchOperation } from '../common/protocol/admission.ts';
import { EXCHANGE_INIT_CONTAINER } from '../common/protocol/pod.ts';
import type { InitOrder } from './inject-settings.ts';
import { findMember } from './json.ts';
import { SharedOperation } from './patch.ts';
import { isExchangeName, type Pod, type PodContainer } from './pod.ts';
import { isSameContainer } from './same.ts';

const PATH = '/spec/initContainers';

/** The index after which an init container finds the token: -1 all of them do, Infinity none does. */
export function findExchangeEnd(pod: Pod, order: InitOrder): number {
  const last = listPresent(pod).at(-1);
  if (last) return last.index;
  return order === 'first' ? -1 : Number.POSITIVE_INFINITY;
}

function listPresent(pod: Pod): readonly PodContainer[] {
  return pod.initContainers.filter(({ name }) => isExchangeName(name));
}

/** Our containers in running order, and how they come into a pod that has none of them. */
export interface ExchangeAdditions {
  readonly wanted: readonly JsonObject[];
  /** Where the pod has no list of init containers. */
  readonly whole: readonly SharedOperation[];
  readonly each: readonly SharedOperation[];
}

export function toExchangeAdditions(
  wanted: readonly JsonObject[],
  order: InitOrder,
): ExchangeAdditions {
  return {
    wanted,
    whole: [new SharedOperation('add', PATH, wanted)],
    each: wanted.map(
      (value, i) => new SharedOperation('add', `${PATH}/${order === 'first' ? i : '-'}`, value),
    ),
  };
}

/**
 * The operations that bring our containers in place; `replaced` hears of each that differed.
 * They must come after all others that count init containers: they move the indices.
 */
export function placeExchange(
  pod: Pod,
  { wanted, whole, each }: ExchangeAdditions,
  replaced: (name: string) => void,
): readonly PatchOperation[] {
  const present = listPresent(pod);
  if (present.length === 0)
    return findMember(pod.spec, 'initContainers') === undefined ? whole : each;
  const [only] = present;
  const [first, second] = wanted;
  const replace = (container: PodContainer, value: JsonObject): readonly PatchOperation[] => {
    if (isSameContainer(container.raw, value)) return [];
    replaced(container.name);
    return [{ op: 'replace', path: `${PATH}/${container.index}`, value }];
  };
  if (present.length === 1 && only && first && second) {
    const isFirst = only.name === EXCHANGE_INIT_CONTAINER;
    const [kept, missing] = isFirst ? [first, second] : [second, first];
    const index = only.index + (isFirst ? 1 : 0);
    return [...replace(only, kept), { op: 'add', path: `${PATH}/${index}`, value: missing }];
  }
  // As many as are wanted: each place gets the one that runs then, which also mends a swapped pair.
  return present.flatMap((container, i) => {
    const value = wanted[i];
    return value ? replace(container, value) : [];
  });
}
