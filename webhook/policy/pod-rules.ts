// Why the policies refuse a pod for what stands in it: its containers, their mounts, our names; and the last rule, that
// nothing of ours is missing once everybody has had the pod. Beside rules.ts, which is about annotations.
import { MAX_AUDIENCES } from '../../common/protocol/audiences.ts';
import {
  EXCHANGE_CONTAINER,
  EXCHANGE_INIT_CONTAINER,
  IDENTITY_VOLUME,
  TOKENS_VOLUME,
} from '../../common/protocol/pod.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { choose, indices, literal, quoted, type Variable } from './cel.ts';
import { isOurs, MOST_CONTAINERS } from './containers.ts';
import { EVERYONE } from './request.ts';
import { type Rule, shown } from './rule.ts';

/** What the rules about mounts share. */
export function toMountVariables({ mountRoot }: InjectSettings): readonly Variable[] {
  const root = quoted(mountRoot);
  const is = (kind: string) => `has(v.${kind})`;
  const says = (kind: string) =>
    `(has(v.${kind}) && has(v.${kind}.readOnly) && v.${kind}.readOnly)`;
  const readOnly = [
    ...['configMap', 'secret', 'downwardAPI', 'projected', 'image'].map(is),
    ...['persistentVolumeClaim', 'csi'].map(says),
  ].join(' || ');
  const isReadOnly = '((has(m.readOnly) && m.readOnly) || m.name in variables.readOnlyVolumes)';
  const isAbove = `${root}.startsWith(path == "/" ? "/" : path + "/")`;
  const isWrong = `path == ${root} || path.startsWith(${quoted(`${mountRoot}/`)}) || (${isAbove} && ${isReadOnly})`;
  const isOthers = `!(m.name in ${literal([IDENTITY_VOLUME, TOKENS_VOLUME])})`;
  return [
    // The kubelet mounts these read-only whatever the mount says.
    {
      name: 'readOnlyVolumes',
      expression: `variables.volumes.filter(v, ${readOnly}).map(v, string(v.name))`,
    },
    {
      name: 'conflicts',
      expression: `variables.targets.map(t, {"container": dyn(t.name), "mounts": dyn(t.mounts.filter(m, ${isOthers} && [${PLAIN_PATH}].exists(path, ${isWrong})))}).filter(c, c.mounts.size() > 0)`,
    },
  ];
}

/** The path of mount `m` as the container sees it; what has detours is rare, and putting it together costs. */
const PLAIN_PATH = choose(
  [
    [
      'm.mountPath.startsWith("/") && !m.mountPath.endsWith("/") && !m.mountPath.contains("//") && !m.mountPath.contains("/.")',
      'm.mountPath',
    ],
  ],
  '("/" + m.mountPath.split("/").filter(step, step != "" && step != ".").join("/"))',
);

export function toPodRules(settings: InjectSettings): readonly Rule[] {
  return [
    ...toShapeRules(),
    ...toNameRules(),
    ...toTargetRules(settings),
    ...toMountRules(settings),
  ];
}

function toShapeRules(): readonly Rule[] {
  const labels = literal(['kubernetes.io/os', 'beta.kubernetes.io/os']);
  const byNode = `has(variables.spec.nodeSelector) && ${labels}.exists(label, label in variables.spec.nodeSelector && variables.spec.nodeSelector[label].lowerAscii() == "windows")`;
  return [
    {
      code: 'windows_pod',
      expression: `!(has(variables.spec.os) && variables.spec.os.name.lowerAscii() == "windows") && !(${byNode})`,
      message: 'pods for Windows nodes are not supported; allowed: no annotation of ours on them',
    },
    {
      code: 'needs_webhook',
      expression: `variables.foreign.size() <= ${MOST_CONTAINERS}`,
      message: `a pod of more than ${MOST_CONTAINERS} containers needs the webhook; allowed: fewer containers`,
    },
  ];
}

function toNameRules(): readonly Rule[] {
  const count = (name: string) => `variables.init.filter(c, c.name == ${quoted(name)}).size() <= 1`;
  const ours = `variables.apps.filter(c, ${isOurs('c.name')})`;
  const reserved = 'variables.volumeNames.filter(name, name.startsWith("coatcheck-"))';
  return [
    {
      code: 'reserved_name_taken',
      expression: `${ours}.size() == 0`,
      message: "an app container has a name that is Coatcheck's; allowed: any other name",
      detail: `"an app container has the name " + ${ours}[0].name + ", which is Coatcheck's; allowed: any other name"`,
    },
    {
      code: 'reserved_name_taken',
      expression: `${count(EXCHANGE_CONTAINER)} && ${count(EXCHANGE_INIT_CONTAINER)}`,
      message: `spec.initContainers holds ${EXCHANGE_CONTAINER} or ${EXCHANGE_INIT_CONTAINER} twice; allowed: once`,
    },
    {
      code: 'reserved_name_taken',
      expression: `${reserved}.all(name, ${reserved}.filter(other, other == name).size() == 1)`,
      message: 'spec.volumes holds a name of ours twice; allowed: once',
    },
  ];
}

function toTargetRules({ prefix }: InjectSettings): readonly Rule[] {
  const key = `${prefix}containers`;
  const unknown = toBadLists('!variables.places.exists(p, p.name == name)');
  const early = toBadLists('variables.places.exists(p, p.name == name && !p.isLate)');
  const where = (bad: string) => `${quoted(prefix)} + ${bad}[0].key`;
  const what = (bad: string) => `${bad}[0].name`;
  return [
    {
      code: 'container_unknown',
      expression: `${unknown}.size() == 0`,
      message: `${key}: the pod has no container of that name; allowed: the pod's other containers`,
      detail: `${where(unknown)} + ": the pod has no container named " + ${what(unknown)} + "; allowed: " + variables.places.map(p, string(p.name)).join(", ")`,
    },
    {
      code: 'container_too_early',
      expression: `${early}.size() == 0`,
      message: `${key}: that init container runs before the exchange; allowed: app containers, and init containers after it`,
      detail: `${where(early)} + ": init container " + ${what(early)} + ${quoted(` runs before the exchange; allowed: app containers, and init containers after it (${prefix}init-order: first puts the exchange before all)`)}`,
    },
    {
      code: 'container_none',
      expression: 'variables.targets.size() > 0',
      message: `${key}: every container of this pod is on the operator's skip list, so none would get the token; allowed: the names of the containers that shall have it`,
    },
  ];
}

/** For each audience whose list holds a `name` that is bad: the annotation's key without the prefix, and that name. */
function toBadLists(isBad: string): string {
  const bad = `variables.lists[j].filter(name, name != ${quoted(EVERYONE)} && ${isBad})`;
  const own = '("containers." + variables.asked[j].name)';
  const found = `{"key": ${own} in variables.keys ? ${own} : "containers", "name": ${bad}[0]}`;
  return `${indices('variables.lists.size()', MAX_AUDIENCES)}.filter(j, ${bad}.size() > 0).map(j, ${found})`;
}

function toMountRules({ mountRoot }: InjectSettings): readonly Rule[] {
  const isTarget = 'variables.targets.exists(t, t.path == p.path)';
  const taken = `variables.places.filter(p, p.mounts.exists(m, m.name == ${quoted(IDENTITY_VOLUME)} || (m.name == ${quoted(TOKENS_VOLUME)} && !${isTarget})))`;
  const conflict = 'variables.conflicts[0]';
  const mount = `${conflict}.mounts[0]`;
  return [
    {
      code: 'reserved_volume_mounted',
      expression: `${taken}.size() == 0`,
      message: `a container mounts ${IDENTITY_VOLUME} or ${TOKENS_VOLUME}, which only Coatcheck may decide; allowed: no such mount`,
      detail: `"container " + ${shown(`${taken}[0].name`)} + ${quoted(` mounts ${IDENTITY_VOLUME} or ${TOKENS_VOLUME}, which only Coatcheck may decide; allowed: no such mount`)}`,
    },
    {
      code: 'reserved_volume_mounted',
      expression: 'variables.work.all(w, w.spare.size() <= w.open.size())',
      message: `a container also mounts ${TOKENS_VOLUME} elsewhere; allowed: ${mountRoot}, or the directories of its audiences below`,
    },
    {
      code: 'needs_webhook',
      expression: 'variables.work.all(w, w.spare.size() == 0 || w.open.size() == 1)',
      message: `a container mounts several parts of ${TOKENS_VOLUME} in another way than Coatcheck does, which needs the webhook to put right; allowed: no such mounts`,
    },
    // CEL cannot resolve it.
    {
      code: 'needs_webhook',
      expression:
        '!variables.targets.exists(t, t.mounts.exists(m, ("/" + m.mountPath + "/").contains("/../")))',
      message: 'a mountPath with ".." in it needs the webhook; allowed: the path without detours',
    },
    {
      code: 'mount_conflict',
      expression: 'variables.conflicts.size() == 0',
      message: `a container mounts something at or below ${mountRoot}, or read-only above it; allowed: any path outside`,
      detail: `"container " + ${shown(`${conflict}.container`)} + " mounts " + ${shown(`${mount}.name`)} + " at " + ${shown(`${mount}.mountPath`)} + ${quoted(`, where the tokens go, or read-only above; allowed: any path outside ${mountRoot}`)}`,
    },
  ];
}

/** The defence: an annotated pod that does not have all of ours, exactly, is refused whoever is to blame. */
export function toLastRule(name: string): Rule {
  const parts: readonly (readonly [string, string])[] = [
    ['variables.volumesToAdd.size() + variables.volumesToReplace.size() == 0', 'volumes'],
    [
      'variables.present.size() == variables.wanted.size() && variables.differing.size() == 0',
      `init container ${EXCHANGE_CONTAINER}`,
    ],
    ['variables.unready.size() == 0', 'mounts and variables of its containers'],
  ];
  const what = parts.map(([isRight, part]) => `(${isRight} ? [] : [${quoted(part)}])`).join(' + ');
  const end = `not as the MutatingAdmissionPolicy ${name} writes them: it did not run, or another admission plugin changed them after it; allowed: exactly what it writes`;
  return {
    code: 'not_injected',
    expression: parts.map(([isRight]) => `(${isRight})`).join(' && '),
    message: `volumes, init containers or mounts are ${end}`,
    detail: `(${what}).join(", ") + ${quoted(` are ${end}`)}`,
  };
}
