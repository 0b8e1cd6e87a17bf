// How ours comes into the pod: the JSON Patch of the mutating policy, and the same look at the pod for the validating one,
// which demands that nothing is left to do. The counterpart of webhook/exchange-order.ts and patch building in inject.ts.
import {
  EXCHANGE_INIT_CONTAINER,
  IDENTITY_VOLUME,
  TOKENS_VOLUME,
} from '../../common/protocol/pod.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { toPointerStep } from '../json.ts';
import { SERVICE_ACCOUNT_MOUNT } from '../same.ts';
import { type CelValue, choose, indices, literal, quoted, type Variable } from './cel.ts';

const EXCHANGES = 2;

/** What is to be done, as far as both policies need it. */
export function toDifferenceVariables(): readonly Variable[] {
  const one = 'variables.present.size() == 1 && variables.wanted.size() == 2';
  return [
    {
      name: 'volumes',
      expression: '(has(variables.spec.volumes) ? variables.spec.volumes : [])',
    },
    { name: 'volumeNames', expression: 'variables.volumes.map(v, string(v.name))' },
    {
      name: 'volumesToReplace',
      expression:
        'variables.wantedVolumes.filter(w, w.name in variables.volumeNames && variables.volumes[variables.volumeNames.indexOf(string(w.name))] != w)',
    },
    {
      name: 'volumesToAdd',
      expression: 'variables.wantedVolumes.filter(w, !(w.name in variables.volumeNames))',
    },
    {
      name: 'isFirstAlone',
      expression: `${one} && variables.init[variables.present[0]].name == ${quoted(EXCHANGE_INIT_CONTAINER)}`,
    },
    // What belongs where something of ours stands, in the same order.
    {
      name: 'kept',
      expression: choose(
        [
          ['variables.present.size() == 0', '[]'],
          [one, '[variables.wanted[variables.isFirstAlone ? 0 : 1]]'],
        ],
        'variables.wanted',
      ),
    },
    {
      name: 'differing',
      expression: `${indices('variables.kept.size()', EXCHANGES)}.filter(i, !(${isSame('variables.init[variables.present[i]]', 'variables.kept[i]')}))`,
    },
    {
      name: 'unready',
      expression:
        'variables.work.filter(w, w.missing.size() > 0 || w.open.size() > 0 || w.spare.size() > 0)',
    },
  ];
}

/** Whether the container is as we write it, but for what the API server's own admission adds (webhook/same.ts). */
function isSame(found: string, wanted: string): string {
  const ours = literal([IDENTITY_VOLUME, TOKENS_VOLUME]);
  const mounts = `(has(${found}.volumeMounts) ? ${found}.volumeMounts : []).filter(m, m.mountPath != ${quoted(SERVICE_ACCOUNT_MOUNT)} || m.name in ${ours}) == ${wanted}.volumeMounts`;
  const isKnown = `["requests", "limits"].exists(other, other in ${wanted}.resources && name in ${wanted}.resources[other])`;
  const amounts = `["requests", "limits"].all(kind, kind in found.resources ? found.resources[kind].all(name, kind in ${wanted}.resources && name in ${wanted}.resources[kind] ? found.resources[kind][name] == ${wanted}.resources[kind][name] : !(${isKnown})) : !(kind in ${wanted}.resources))`;
  const has = `(kind in ${wanted}.resources ? ${wanted}.resources[kind].all(name, kind in found.resources && name in found.resources[kind]) : true)`;
  const resources = `[${found}].all(found, ${amounts} && ["requests", "limits"].all(kind, ${has}))`;
  const member = choose(
    [
      [
        'key == "imagePullPolicy"',
        `(${found}[key] == "Always" || ${found}[key] == ${wanted}[key])`,
      ],
      ['key == "volumeMounts"', mounts],
      ['key == "resources"', resources],
    ],
    `key in ${wanted} && ${found}[key] == ${wanted}[key]`,
  );
  return `${found}.all(key, ${member}) && ${wanted}.all(key, key in ${found})`;
}

/** The mutation's expression. `variables.isServed` says whether the pod is refused anyway. */
export function toPatchExpression({ prefix, podAnnotations }: InjectSettings): string {
  const parts = [
    toVolumeOperations(),
    `variables.work.filter(w, w.missing.size() > 0).map(w, ${operation('add', 'w.path + "/env"', 'w.missing + w.env')})`,
    `variables.work.filter(w, w.open.size() > 0).map(w, ${operation('add', 'w.path + "/volumeMounts"', toMounts())})`,
    toExchangeOperations(),
    ...toAnnotationOperations(prefix, podAnnotations),
  ];
  return `!variables.isServed ? [] : ${parts.join(' + ')}`;
}

function operation(op: 'add' | 'replace', path: string, value: string): string {
  return `JSONPatch{op: ${quoted(op)}, path: ${path}, value: ${value}}`;
}

function toVolumeOperations(): string {
  const list = `(has(variables.spec.volumes) ? [] : [${operation('add', quoted('/spec/volumes'), '[]')}])`;
  const index = 'string(variables.volumeNames.indexOf(string(w.name)))';
  const replaced = `variables.volumesToReplace.map(w, ${operation('replace', `"/spec/volumes/" + ${index}`, 'w')})`;
  const added = `variables.volumesToAdd.map(w, ${operation('add', quoted('/spec/volumes/-'), 'w')})`;
  return `${list} + ${replaced} + ${added}`;
}

/** The mounts of work `w`: one that differs is replaced where it stands, else they come last. */
function toMounts(): string {
  return '(w.spare.size() > 0 ? w.mounts.map(m, m == w.spare[0] ? w.open[0] : m) : w.mounts + w.open)';
}

/** Must come after all others that count init containers: they move the indices. */
function toExchangeOperations(): string {
  const path = (index: string) => `"/spec/initContainers/" + ${index}`;
  const list = `(has(variables.spec.initContainers) ? [] : [${operation('add', quoted('/spec/initContainers'), '[]')}])`;
  const whole = `${indices('variables.wanted.size()', EXCHANGES)}.map(i, ${operation('add', path('(variables.order == "first" ? string(i) : "-")'), 'variables.wanted[i]')})`;
  const replaced = `variables.differing.map(i, ${operation('replace', path('string(variables.present[i])'), 'variables.kept[i]')})`;
  const at = 'string(variables.present[0] + (variables.isFirstAlone ? 1 : 0))';
  const missing = `(variables.kept.size() < variables.wanted.size() ? [${operation('add', path(at), 'variables.wanted[variables.isFirstAlone ? 1 : 0]')}] : [])`;
  return `(variables.present.size() == 0 ? ${list} + ${whole} : ${replaced} + ${missing})`;
}

function toAnnotationOperations(
  prefix: string,
  podAnnotations: Readonly<Record<string, string>>,
): readonly string[] {
  const fixed = Object.entries(podAnnotations).map(
    ([key, value]): CelValue => ({ key, path: toPath(key), value }),
  );
  const status = `${prefix}status`;
  const isDone = `${quoted(status)} in variables.given && variables.given[${quoted(status)}] == variables.status`;
  return [
    ...(fixed.length > 0
      ? [
          `${literal(fixed)}.filter(a, !(a.key in variables.given)).map(a, ${operation('add', 'a.path', 'a.value')})`,
        ]
      : []),
    `(${isDone} ? [] : [${operation('add', quoted(toPath(status)), 'variables.status')}])`,
  ];
}

function toPath(annotation: string): string {
  return `/metadata/annotations/${toPointerStep(annotation)}`;
}
