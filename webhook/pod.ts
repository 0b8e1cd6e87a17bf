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
      foreign: listForeign(initContainers, containers),
      volumes: readObjects(spec, 'volumes', 'spec'),
      restartPolicy: findText(spec, 'restartPolicy') ?? 'Always',
    };
  } catch (error) {
    if (error instanceof Malformed)
      return { denial: { code: 'pod_malformed', message: error.message } };
    throw error;
  }
}

function listForeign(
  initContainers: readonly PodContainer[],
  containers: readonly PodContainer[],
): readonly PodContainer[] {
  const foreign: PodContainer[] = [];
  for (const container of initContainers)
    if (!isExchangeName(container.name)) foreign.push(container);
  for (const container of containers) if (!isExchangeName(container.name)) foreign.push(container);
  return foreign;
}

function readContainers(spec: JsonObject, list: ContainerList): readonly PodContainer[] {
  const read: PodContainer[] = [];
  for (const raw of readObjects(spec, list, 'spec')) {
    const index = read.length;
    const name = findText(raw, 'name');
    if (name === undefined) throw new Malformed(`spec.${list}[${index}].name must be a string`);
    read.push({
      list,
      index,
      name,
      raw,
      mounts: readObjects(raw, 'volumeMounts', list, index),
      env: readObjects(raw, 'env', list, index),
    });
  }
  return read;
}

const NONE: readonly JsonObject[] = [];

/** The member as a list of objects. Where it stands is put into words only where it is none. */
function readObjects(
  parent: JsonObject,
  name: string,
  owner: ContainerList | 'spec',
  index = 0,
): readonly JsonObject[] {
  const value: Json | undefined = findMember(parent, name);
  if (value === undefined) return NONE;
  const where = () => `${owner === 'spec' ? 'spec' : `spec.${owner}[${index}]`}.${name}`;
  if (!Array.isArray(value)) throw new Malformed(`${where()} must be a list`);
  for (let i = 0; i < value.length; i++)
    if (!isObject(value[i])) throw new Malformed(`${where()}[${i}] must be an object`);
  return value as readonly JsonObject[];
}

/** Whether the pod says that it is for Windows nodes: by its own `os`, or by the nodes it asks for. */
export function isWindowsPod({ spec }: Pod): boolean {
  const os = findObject(spec, 'os');
  if (os && saysWindows(os, 'name')) return true;
  const selector = findObject(spec, 'nodeSelector');
  if (!selector) return false;
  // Kubelets still put the old label on their nodes, and old charts still select by it.
  return (
    saysWindows(selector, 'kubernetes.io/os') || saysWindows(selector, 'beta.kubernetes.io/os')
  );
}

function saysWindows(object: JsonObject, name: string): boolean {
  return findText(object, name)?.toLowerCase() === 'windows';
}

// The kubelet mounts these read-only whatever the mount says.
const READ_ONLY_KINDS = ['configMap', 'secret', 'downwardAPI', 'projected', 'image'];

/** The names of the volumes that are read-only wherever they are mounted; hardly any pod needs to be asked. */
export class ReadOnlyVolumes {
  readonly #pod: Pod;
  #names: ReadonlySet<unknown> | undefined;

  constructor(pod: Pod) {
    this.#pod = pod;
  }

  has(name: unknown): boolean {
    this.#names ??= findReadOnlyVolumes(this.#pod);
    return this.#names.has(name);
  }
}

function findReadOnlyVolumes({ volumes }: Pod): ReadonlySet<unknown> {
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
  for (const name of pod.initContainers.length > 1 ? EXCHANGE_NAMES : []) {
    if (pod.initContainers.filter((one) => one.name === name).length > 1)
      taken(`spec.initContainers holds ${name} twice; allowed: once`);
  }
  let seen: Set<string> | undefined;
  for (const volume of pod.volumes) {
    const name = findText(volume, 'name');
    if (!name?.startsWith('coatcheck-')) continue;
    if (seen?.has(name)) {
      taken(`spec.volumes holds ${quote(name)} twice; allowed: once`);
      break;
    }
    seen ??= new Set();
    seen.add(name);
  }
  return denials;
}
