// Whether an object under one of our names is what we would write now (docs/decisions/0003-what-counts-as-ours.md). Exact,
// but for the three things the API server's own admission adds to every container when it runs again after us.
import type { JsonObject } from '../common/protocol/admission.ts';
import { IDENTITY_VOLUME, TOKENS_VOLUME } from '../common/protocol/pod.ts';
import { findMember, findObject, isObject, isSameJson } from './json.ts';

export const SERVICE_ACCOUNT_MOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** @param wanted an exchange container as we write it; @param found the one in the pod under the same name. */
export function isSameContainer(found: JsonObject, wanted: JsonObject): boolean {
  const tolerated: { [name: string]: JsonObject[string] } = { ...found };
  if (findMember(found, 'imagePullPolicy') === 'Always') {
    // AlwaysPullImages.
    tolerated.imagePullPolicy = wanted.imagePullPolicy ?? null;
  }
  tolerated.volumeMounts = withoutServiceAccountMount(found);
  tolerated.resources = withoutOtherResources(found, wanted);
  return isSameJson(tolerated, wanted);
}

/** ServiceAccount admission mounts the default token into every container that has nothing there. */
function withoutServiceAccountMount(found: JsonObject): JsonObject[string] {
  const mounts = findMember(found, 'volumeMounts');
  if (!Array.isArray(mounts)) return mounts ?? null;
  return mounts.filter(
    (mount) =>
      !isObject(mount) ||
      mount.mountPath !== SERVICE_ACCOUNT_MOUNT ||
      mount.name === IDENTITY_VOLUME ||
      mount.name === TOKENS_VOLUME,
  );
}

/** LimitRanger adds the resources that a container does not mention (ephemeral-storage, say). */
function withoutOtherResources(found: JsonObject, wanted: JsonObject): JsonObject[string] {
  const has = findObject(found, 'resources');
  const should = findObject(wanted, 'resources');
  if (!has || !should) return findMember(found, 'resources') ?? null;
  const trimmed: { [name: string]: JsonObject[string] } = { ...has };
  for (const kind of ['requests', 'limits']) {
    const amounts = findObject(has, kind);
    const ours = findObject(should, kind) ?? {};
    if (!amounts) continue;
    const kept = Object.entries(amounts).filter(
      ([name]) => Object.hasOwn(ours, name) || isBaseResource(name, should),
    );
    if (kept.length > 0) trimmed[kind] = Object.fromEntries(kept);
    else delete trimmed[kind];
  }
  return trimmed;
}

/** A resource we set in the other list (a request without a limit of ours) is not one that we left to others. */
function isBaseResource(name: string, should: JsonObject): boolean {
  return ['requests', 'limits'].some((kind) => Object.hasOwn(findObject(should, kind) ?? {}, name));
}
