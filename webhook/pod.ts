// A raw pod seen as far as we must see it: its containers by list, index and name, and its volumes. Whatever has the
// wrong JSON type is refused here, so that nothing behind this file can throw on a hostile pod.
import type { Json, JsonObject } from '../common/protocol/admission.ts';
import { EXCHANGE_CONTAINER, EXCHANGE_INIT_CONTAINER } from '../common/protocol/pod.ts';
import { type Denial, quote } from './errors.ts';
import { findMember, findObject, findText, isObject } from './json.ts';

export type ContainerList = 'containers' | 'initContainers';

export interface PodContainer {
  readonly list: ContainerList;
  readonly index: number;
  readonly name: string;
  readonly raw: JsonObject;
  readonly mounts: readonly JsonObject[];
  readonly env: readonly JsonObject[];
}

export interface Pod {
  readonly spec: JsonObject;
  readonly annotations: JsonObject;
  readonly containers: readonly PodContainer[];
  readonly initContainers: readonly PodContainer[];
  /** Those of both lists that are not ours, init containers first. */
  readonly foreign: readonly PodContainer[];
  readonly volumes: readonly JsonObject[];
  /** As the API server will default it. */
  readonly restartPolicy: string;
}

class Malformed extends Error {}

const EXCHANGE_NAMES: readonly string[] = [EXCHANGE_CONTAINER, EXCHANGE_INIT_CONTAINER];

export function isExchangeName(name: string): boolean {
  return name === EXCHANGE_CONTAINER || name === EXCHANGE_INIT_CONTAINER;
}

/** Sees a raw pod, or says which part of it has the wrong type. `annotations` were found before. */
export function readPod(
  raw: JsonObject,
  annotations: JsonObject,
): Pod | { readonly denial: Denial } {
  try {
    const spec = findMember(raw, 'spec');
    if (!isObject(spec)) throw new Malformed('spec must be an object');
    const containers = readContainers(spec, 'containers');
    if (containers.length === 0)
      throw new Malformed('spec.containers must hold at least one container');
    const initContainers = readContainers(spec, 'initContainers');
    return {
      spec,
      annotations,
      containers,
      initContainers,
      foreign: [...initContainers, ...containers].filter(({ name }) => !isExchangeName(name)),
      volumes: readObjects(spec, 'volumes', 'spec.volumes'),
      restartPolicy: findText(spec, 'restartPolicy') ?? 'Always',
    };
  } catch (error) {
    if (error instanceof Malformed)
      return { denial: { code: 'pod_malformed', message: error.message } };
    throw error;
  }
}

function readContainers(spec: JsonObject, list: ContainerList): readonly PodContainer[] {
  return readObjects(spec, list, `spec.${list}`).map((raw, index) => {
    const where = `spec.${list}[${index}]`;
    const name = findText(raw, 'name');
    if (name === undefined) throw new Malformed(`${where}.name must be a string`);
    return {
      list,
      index,
      name,
      raw,
      mounts: readObjects(raw, 'volumeMounts', `${where}.volumeMounts`),
      env: readObjects(raw, 'env', `${where}.env`),
    };
  });
}

function readObjects(parent: JsonObject, name: string, where: string): readonly JsonObject[] {
  const value: Json | undefined = findMember(parent, name);
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new Malformed(`${where} must be a list`);
  const wrong = value.findIndex((item) => !isObject(item));
  if (wrong !== -1) throw new Malformed(`${where}[${wrong}] must be an object`);
  return value as readonly JsonObject[];
}

/** Whether the pod says that it is for Windows nodes: by its own `os`, or by the nodes it asks for. */
export function isWindowsPod({ spec }: Pod): boolean {
  const os = findObject(spec, 'os');
  const selector = findObject(spec, 'nodeSelector');
  const isWindows = (value: string | undefined) => value?.toLowerCase() === 'windows';
  return (
    isWindows(os && findText(os, 'name')) ||
    // Kubelets still put the old label on their nodes, and old charts still select by it.
    ['kubernetes.io/os', 'beta.kubernetes.io/os'].some((label) =>
      isWindows(selector && findText(selector, label)),
    )
  );
}

// The kubelet mounts these read-only whatever the mount says.
const READ_ONLY_KINDS = ['configMap', 'secret', 'downwardAPI', 'projected', 'image'];

/** The names of the volumes that are read-only wherever they are mounted. */
export function findReadOnlyVolumes({ volumes }: Pod): ReadonlySet<unknown> {
  const isReadOnly = (volume: JsonObject): boolean =>
    READ_ONLY_KINDS.some((kind) => findObject(volume, kind) !== undefined) ||
    ['persistentVolumeClaim', 'csi'].some((kind) => findObject(volume, kind)?.readOnly === true);
  return new Set(volumes.filter(isReadOnly).map(({ name }) => name));
}

/** What is wrong with the places where names of ours stand: twice, or where only an app container can be. */
export function findNameDenials(pod: Pod): readonly Denial[] {
  const denials: Denial[] = [];
  const taken = (message: string): void => {
    denials.push({ code: 'reserved_name_taken', message });
  };
  const app = pod.containers.find(({ name }) => isExchangeName(name));
  if (app)
    taken(
      `spec.containers[${app.index}] has the name ${app.name}, which is Coatcheck's; allowed: any other name`,
    );
  for (const name of EXCHANGE_NAMES) {
    if (pod.initContainers.filter((one) => one.name === name).length > 1)
      taken(`spec.initContainers holds ${name} twice; allowed: once`);
  }
  const volumes = pod.volumes.flatMap((volume) => {
    const name = findText(volume, 'name');
    return name?.startsWith('coatcheck-') ? [name] : [];
  });
  const seen = new Set<string>();
  const twice = volumes.find((name) => seen.size === seen.add(name).size);
  if (twice !== undefined) taken(`spec.volumes holds ${quote(twice)} twice; allowed: once`);
  return denials;
}
