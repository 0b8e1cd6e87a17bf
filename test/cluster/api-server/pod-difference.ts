// Two ways to hold what came back from the API server against what went in: without what the server gives every object
// (uid, times, random names), and without what is ours by name.
import type { Json, JsonObject } from '../../../common/protocol/admission.ts';

type Item = JsonObject & { readonly name?: string };
type MutableObject = Record<string, Json>;

const OUR_CONTAINERS = ['coatcheck-exchange', 'coatcheck-exchange-init'];
const OUR_VOLUMES = ['coatcheck-identity', 'coatcheck-tokens'];
const OUR_VARIABLES = ['AUTH_TOKEN_FILE', 'AUTH_TOKEN_DIR', 'AUTH_ISSUER', 'AUTH_CA_FILE'];
const SERVER_METADATA = [
  'namespace',
  'uid',
  'creationTimestamp',
  'resourceVersion',
  'managedFields',
  'generation',
];

/** A pod of a dry run without what differs between two identical requests; the name too where it was generated. */
export function toComparable(pod: JsonObject): JsonObject {
  // The token that the API server itself projects has a volume with a random name, kube-api-access-x7k2p.
  const text = JSON.stringify(pod).replaceAll(
    /"kube-api-access-[a-z0-9]{5}"/g,
    '"kube-api-access"',
  );
  const copy = JSON.parse(text) as { metadata: MutableObject };
  for (const key of SERVER_METADATA) delete copy.metadata[key];
  if (copy.metadata.generateName !== undefined) delete copy.metadata.name;
  return copy;
}

/**
 * The same pod with volumes and mounts in order of their names. The API server's own token volume is put last by the
 * ServiceAccount admission, which runs before webhooks: it stands before our volumes where the server injected, and
 * after them where someone sent an injected pod. The order of volumes means nothing, that of containers and variables
 * does and is kept.
 */
export function toSorted(pod: JsonObject): JsonObject {
  return mapPod(pod, {
    volumes: sortByName,
    container: (container) => mapList(container, 'volumeMounts', sortByName),
  });
}

/** The pod without our objects, the rest in its order; `fixedAnnotations` are those the operator adds. */
export function withoutOurs(
  pod: JsonObject,
  prefix: string,
  fixedAnnotations: readonly string[],
): JsonObject {
  const spec = asObject(pod.spec);
  const theirs = (container: JsonObject) => !OUR_CONTAINERS.includes(String(container.name));
  const initContainers = asList(spec.initContainers).filter(theirs);
  const metadata = asObject(pod.metadata);
  const annotations = Object.fromEntries(
    Object.entries(asObject(metadata.annotations)).filter(
      ([key]) => key !== `${prefix}status` && !fixedAnnotations.includes(key),
    ),
  );
  const bare = {
    ...pod,
    metadata: withList(metadata, 'annotations', annotations),
    spec: withList(spec, 'initContainers', initContainers),
  };
  return mapPod(bare, {
    volumes: (volumes) => volumes.filter(({ name }) => !OUR_VOLUMES.includes(String(name))),
    container: (container) =>
      mapList(
        mapList(container, 'volumeMounts', (mounts) =>
          mounts.filter(({ name }) => !OUR_VOLUMES.includes(String(name))),
        ),
        'env',
        (env) => env.filter(({ name }) => !OUR_VARIABLES.includes(String(name))),
      ),
  });
}

interface Mapping {
  volumes: (volumes: readonly Item[]) => readonly Item[];
  container: (container: JsonObject) => JsonObject;
}

function mapPod(pod: JsonObject, { volumes, container }: Mapping): JsonObject {
  let spec = mapList(asObject(pod.spec), 'volumes', volumes);
  for (const key of ['initContainers', 'containers'])
    spec = mapList(spec, key, (list) => list.map(container));
  return { ...pod, spec };
}

function mapList(
  object: JsonObject,
  key: string,
  map: (list: readonly Item[]) => readonly Item[],
): JsonObject {
  return object[key] === undefined
    ? object
    : withList(object, key, map(asList(object[key])) as readonly Json[]);
}

/** A list or map that ends up empty is left out, as the API server leaves it out. */
function withList(
  object: JsonObject,
  key: string,
  value: readonly Json[] | JsonObject,
): JsonObject {
  const { [key]: _, ...rest } = object;
  return Object.keys(value).length === 0 ? rest : { ...rest, [key]: value };
}

function sortByName(list: readonly Item[]): readonly Item[] {
  const key = (item: Item) => `${String(item.name)} ${String(item.mountPath)}`;
  return list.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

function asObject(value: Json | undefined): JsonObject {
  return (value ?? {}) as JsonObject;
}

function asList(value: Json | undefined): readonly Item[] {
  return (value ?? []) as readonly Item[];
}
