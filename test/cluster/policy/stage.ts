// What every step of this suite stands on: namespaces of its own, in which the policies hold, and one in which they do not.
// Names of the API are written out here.
import { randomBytes } from 'node:crypto';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import type { InjectSettings } from '../../../webhook/inject-settings.ts';
import { API_VERSIONS, toPolicies } from '../../../webhook/policy/policies.ts';
import { KNOWN_AUDIENCES } from '../../webhook/golden.ts';
import { dryRun, isInjected, toPod } from '../api-server/stage.ts';
import { type ApiAnswer, type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { waitFor } from '../harness/process.ts';

const GROUP = '/apis/admissionregistration.k8s.io';

export interface PolicyObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: { readonly matchResources?: { readonly namespaceSelector: object } };
}

export type PolicyVersion = (typeof API_VERSIONS)[number];

/** The newest version of MutatingAdmissionPolicy that the cluster serves; undefined: none. */
export async function findPolicyVersion(cluster: Cluster): Promise<PolicyVersion | undefined> {
  for (const version of API_VERSIONS.toReversed()) {
    const { status, body } = await cluster.request('GET', `${GROUP}/${version}`);
    const resources = status === 200 ? (body.resources as readonly { name: string }[]) : [];
    if (resources.some(({ name }) => name === 'mutatingadmissionpolicies')) return version;
  }
  return undefined;
}

/** For `before` hooks: the version, or the whole step is skipped with a loud line. */
export async function needPolicies(
  context: Mocha.Context,
  cluster: Cluster,
): Promise<PolicyVersion> {
  const version = await findPolicyVersion(cluster);
  if (version !== undefined) return version;
  if (cluster.facts.isOurs) throw new Error('the cluster of the harness must have the policies');
  console.log(
    '\n!!! SKIPPED the policy mode: this cluster serves no MutatingAdmissionPolicy (docs/policy-mode.md)\n',
  );
  return context.skip();
}

/** A namespace with its policies; `clear` takes all of it back. */
export interface PolicyStage {
  readonly cluster: Cluster;
  readonly namespace: TestNamespace;
  /** What the API server would store here. */
  try(pod: JsonObject): Promise<ApiAnswer>;
  /** Removes the object of that kind. */
  remove(kind: string): Promise<void>;
  clear(): Promise<void>;
}

/** The API server compiles a policy before it asks it: seconds, and many where nine come at once on a busy machine. */
export function waitForPolicy(isTrue: () => Promise<boolean>, what: string): Promise<void> {
  return waitFor(isTrue, { what, withinMs: 150_000, everyMs: 300 });
}

/** Policies of these settings for a new namespace, working. */
export async function setPolicyStage(
  version: PolicyVersion,
  settings: InjectSettings,
): Promise<PolicyStage> {
  const cluster = openCluster();
  const name = `coatcheck-test-${randomBytes(4).toString('hex')}`;
  const labels = { 'coatcheck-test': name };
  const namespace = await createNamespace(cluster, 'policy', labels);
  const objects = toPolicies(settings, {
    apiVersion: version,
    name,
    excludeNamespaces: [],
    namespaceSelector: {},
    audiences: KNOWN_AUDIENCES,
  }).map((one) => narrow(one as PolicyObject, labels));
  for (const object of objects) await create(cluster, object);
  const attempt = (pod: JsonObject) => dryRun(cluster, namespace.name, toUnplaced(pod));
  const probe = toPod('is-the-policy-asked', {
    annotations: { [`${settings.prefix}audience`]: 'payments' },
  });
  // The API server learns of policies in its own time, and of each apart: injected and refused are two things.
  const isAsked = async () => isInjected((await attempt(probe)).body);
  await waitForPolicy(isAsked, 'the API server to inject by the policy');
  const wrong = toPod('is-the-policy-asked', { annotations: { [`${settings.prefix}x`]: 'y' } });
  const isRefused = async () => (await attempt(wrong)).status === 422;
  await waitForPolicy(isRefused, 'the API server to refuse by the policy');
  return {
    cluster,
    namespace,
    try: attempt,
    remove: (kind) => remove(cluster, getOf(objects, kind)),
    clear: async () => {
      for (const object of objects) await remove(cluster, object);
      await namespace.remove();
    },
  };
}

/** Binds the policy to those of its namespaces that have these labels: nobody else's pods are touched. */
export function narrow(
  object: PolicyObject,
  matchLabels: Readonly<Record<string, string>>,
): PolicyObject {
  const { matchResources } = object.spec;
  if (matchResources === undefined) return object;
  const namespaceSelector = { ...matchResources.namespaceSelector, matchLabels };
  return {
    ...object,
    spec: { ...object.spec, matchResources: { ...matchResources, namespaceSelector } },
  };
}

function getOf(objects: readonly PolicyObject[], kind: string): PolicyObject {
  const found = objects.find((one) => one.kind === kind);
  if (!found) throw new Error(`there is no ${kind}`);
  return found;
}

const COLLECTIONS: Readonly<Record<string, string>> = {
  ValidatingAdmissionPolicy: 'validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding: 'validatingadmissionpolicybindings',
  MutatingAdmissionPolicy: 'mutatingadmissionpolicies',
  MutatingAdmissionPolicyBinding: 'mutatingadmissionpolicybindings',
};

export function toCollection({ apiVersion, kind }: PolicyObject): string {
  return `/apis/${apiVersion}/${COLLECTIONS[kind]}`;
}

async function create(cluster: Cluster, object: PolicyObject): Promise<void> {
  const path = `${toCollection(object)}?fieldValidation=Strict`;
  const { status, body, warnings } = await cluster.request('POST', path, object);
  if (status !== 201 || warnings.length > 0)
    throw new Error(`${object.kind}: ${status} ${String(body.message)} ${warnings.join()}`);
}

export async function remove(cluster: Cluster, object: PolicyObject): Promise<void> {
  await cluster.request('DELETE', `${toCollection(object)}/${object.metadata.name}`);
}

/** The request's path says the namespace; one in the object that differs is refused before anything else. */
export function toUnplaced(pod: JsonObject): JsonObject {
  const { namespace: _, ...metadata } = (pod.metadata ?? {}) as JsonObject;
  return { ...pod, ...(pod.metadata !== undefined && { metadata }) };
}
