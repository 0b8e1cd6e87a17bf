// Where our containers stand among the pod's init containers: settled the first time, kept ever after, because by then
// other webhooks may have counted on it.
import type { JsonObject, PatchOperation } from '../common/protocol/admission.ts';
import { EXCHANGE_INIT_CONTAINER } from '../common/protocol/pod.ts';
import type { InitOrder } from './inject-settings.ts';
import { findMember } from './json.ts';
import { isExchangeName, type Pod, type PodContainer } from './pod.ts';
import { isSameContainer } from './same.ts';

/** The index after which an init container finds the token: -1 all of them do, Infinity none does. */
export function findExchangeEnd(pod: Pod, order: InitOrder): number {
  const last = listPresent(pod).at(-1);
  if (last) return last.index;
  return order === 'first' ? -1 : Number.POSITIVE_INFINITY;
}

function listPresent(pod: Pod): readonly PodContainer[] {
  return pod.initContainers.filter(({ name }) => isExchangeName(name));
}

/**
 * The operations that bring our containers (`wanted`, in running order) in place; `replaced` hears of each that differed.
 * They must come after all others that count init containers: they move the indices.
 */
export function placeExchange(
  pod: Pod,
  { wanted, order }: { wanted: readonly JsonObject[]; order: InitOrder },
  replaced: (name: string) => void,
): readonly PatchOperation[] {
  const path = '/spec/initContainers';
  const present = listPresent(pod);
  if (present.length === 0) {
    if (findMember(pod.spec, 'initContainers') === undefined)
      return [{ op: 'add', path, value: wanted }];
    return wanted.map((value, i) => ({
      op: 'add',
      path: `${path}/${order === 'first' ? i : '-'}`,
      value,
    }));
  }
  const [only] = present;
  const [first, second] = wanted;
  const replace = (container: PodContainer, value: JsonObject): readonly PatchOperation[] => {
    if (isSameContainer(container.raw, value)) return [];
    replaced(container.name);
    return [{ op: 'replace', path: `${path}/${container.index}`, value }];
  };
  if (present.length === 1 && only && first && second) {
    const isFirst = only.name === EXCHANGE_INIT_CONTAINER;
    const [kept, missing] = isFirst ? [first, second] : [second, first];
    const index = only.index + (isFirst ? 1 : 0);
    return [...replace(only, kept), { op: 'add', path: `${path}/${index}`, value: missing }];
  }
  // As many as are wanted: each place gets the one that runs then, which also mends a swapped pair.
  return present.flatMap((container, i) => {
    const value = wanted[i];
    return value ? replace(container, value) : [];
  });
}
