// Who gets the token: every container that starts after the exchange, but for the operator's skip list; or whom the pod's
// annotations name. A container with only some of the audiences sees the directories of those alone.
import type { PodAudience } from '../common/protocol/pod.ts';
import { didYouMean } from '../common/spelling.ts';
import type { TokenRequest } from './annotations.ts';
import { type Denial, type DenialCode, toShown } from './errors.ts';
import type { InjectSettings } from './inject-settings.ts';
import { isExchangeName, type Pod, type PodContainer } from './pod.ts';

/** One container and the audiences it gets, at least one, in the pod's order. */
export interface Target {
  readonly container: PodContainer;
  readonly audiences: readonly PodAudience[];
}

interface TargetOptions {
  readonly pod: Pod;
  readonly request: TokenRequest;
  readonly settings: Pick<InjectSettings, 'prefix'>;
  /** The operator's skip list. */
  readonly skipped: ReadonlySet<string>;
  /** Init containers with a greater index start after the exchange. */
  readonly startsAfter: number;
}

/** The containers that get a token, in the pod's order; what is wrong with those that were named goes to `denials`. */
export function findTargets(options: TargetOptions, denials: Denial[]): readonly Target[] {
  const { pod, request, settings, skipped, startsAfter } = options;
  const isDefault = ({ list, index, name }: PodContainer) =>
    !skipped.has(name) && (list === 'containers' || index > startsAfter);
  const targets: Target[] = [];
  const isNamed = request.containers !== undefined || request.containersByAudience.size > 0;
  const named = isNamed && checkNamed(options, pod.foreign, denials);
  for (const container of pod.foreign) {
    const audiences = named
      ? request.audiences.filter(({ name }) => {
          const list = named.get(name) ?? named.get('');
          return list ? list.has(container.name) : isDefault(container);
        })
      : isDefault(container) && request.audiences;
    if (audiences && audiences.length > 0) targets.push({ container, audiences });
  }
  if (targets.length === 0 && denials.length === 0) {
    const key = `${settings.prefix}containers`;
    denials.push({
      code: 'container_none',
      annotation: key,
      message: `${key}: every container of this pod is on the operator's skip list, so none would get the token; allowed: the names of the containers that shall have it`,
    });
  }
  return targets;
}

/** The lists of names by audience, the plain list under the empty name. */
function checkNamed(
  { pod, request, settings, startsAfter }: TargetOptions,
  containers: readonly PodContainer[],
  denials: Denial[],
): ReadonlyMap<string, ReadonlySet<string>> {
  const lists = new Map<string, ReadonlySet<string>>();
  const known = new Map(containers.map((container) => [container.name, container]));
  const check = (annotation: string, names: readonly string[]): void => {
    const deny = (code: DenialCode, problem: string) =>
      denials.push({ code, annotation, message: `${annotation}: ${problem}` });
    const unknown = names.find((name) => !known.has(name));
    if (unknown !== undefined)
      deny('container_unknown', describeUnknown(unknown, pod, [...known.keys()]));
    const early = names.find((name) => {
      const container = known.get(name);
      return container?.list === 'initContainers' && container.index <= startsAfter;
    });
    if (early !== undefined) {
      deny(
        'container_too_early',
        `init container ${early} runs before the exchange; allowed: app containers, and init containers after it (${settings.prefix}init-order: first puts the exchange before all)`,
      );
    }
  };
  if (request.containers) {
    check(`${settings.prefix}containers`, request.containers);
    lists.set('', new Set(request.containers));
  }
  for (const [audience, names] of request.containersByAudience) {
    check(`${settings.prefix}containers.${audience}`, names);
    lists.set(audience, new Set(names));
  }
  return lists;
}

const MOST_NAMES_SHOWN = 20;

function describeUnknown(name: string, pod: Pod, known: readonly string[]): string {
  if (isExchangeName(name))
    return `${name} is Coatcheck's own container; allowed: the pod's other containers`;
  // Bounded: a pod may have thousands of containers, and comparing spellings costs.
  const shown = known.slice(0, MOST_NAMES_SHOWN);
  const more = known.length > shown.length ? `, and ${known.length - shown.length} more` : '';
  const both = pod.initContainers.length > 0 ? ' (init containers included)' : '';
  return `the pod has no container named ${name}${didYouMean(name, shown)}; allowed${both}: ${shown.map(toShown).join(', ')}${more}`;
}
