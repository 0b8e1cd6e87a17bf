// What every step of this suite stands on: a namespace of its own, the webhook as a process, and its registration with
// the API server. Names of the contract are written out here, not imported.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { toWebhookConfiguration, type WebhookRegistration } from '../harness/manifests.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { createServingFiles, type ServingFiles } from '../harness/pki.ts';
import { findFreePorts } from '../harness/ports.ts';
import { waitFor } from '../harness/process.ts';
import { type Product, startProduct } from '../harness/product.ts';

export interface Stage {
  readonly cluster: Cluster;
  /** Pods of this namespace, and of no other, are sent to the webhook. */
  readonly namespace: TestNamespace;
  /** For files of this step. */
  readonly folder: string;
  readonly webhook: Webhook;
  /** Everything back as it was. */
  clear(): Promise<void>;
}

export interface Webhook {
  /** Of this moment: it is another one after a restart. */
  readonly process: () => Product;
  readonly stop: () => Promise<void>;
  /** At the same address, with the same certificate. */
  readonly restart: () => Promise<void>;
  readonly registration: Pick<WebhookRegistration, 'url' | 'ca'>;
}

/** The flags every webhook of this suite has; the broker's address is only written into pods. */
const WEBHOOK_FLAGS = {
  image: 'registry.example/coatcheck-exchange:test',
  'broker-url': 'https://coatcheck-broker.coatcheck.svc:8443',
} as const;

/** Sets the stage for one file of steps; `flags` are the webhook's own. */
export async function setStage(
  purpose: string,
  flags: Readonly<Record<string, string>> = {},
): Promise<Stage> {
  const cluster = openCluster();
  const id = `${purpose}-${randomBytes(4).toString('hex')}`;
  const folder = path.join(cluster.facts.workFolder, id);
  mkdirSync(folder);
  const namespaceLabels = { 'coatcheck-test': id };
  const namespace = await createNamespace(cluster, purpose, namespaceLabels);
  const webhook = await startWebhook(cluster, folder, flags);
  const unregister = await register(cluster, id, [
    { name: 'pods', ...webhook.registration, namespaceLabels },
  ]);
  await waitUntilAsked(cluster, namespace.name);
  return {
    cluster,
    namespace,
    folder,
    webhook,
    clear: async () => {
      await unregister();
      await namespace.remove();
      await webhook.stop();
    },
  };
}

/** A webhook process that the API server can reach. */
export async function startWebhook(
  cluster: Cluster,
  folder: string,
  flags: Readonly<Record<string, string>>,
): Promise<Webhook> {
  const host = cluster.facts.callbackHost ?? '127.0.0.1';
  const [port = 0] = await findFreePorts(1);
  const files = createServingFiles(folder, [host], Date.now());
  const start = () =>
    startProduct('webhook', {
      ...WEBHOOK_FLAGS,
      listen: `${cluster.facts.isOurs ? host : ''}:${port}`,
      ...toTlsFlags(files),
      ...flags,
    });
  let process = await start();
  return {
    process: () => process,
    stop: async () => {
      await process.stop();
    },
    restart: async () => {
      process = await start();
    },
    registration: { url: `https://${host}:${port}/mutate`, ca: files.ca },
  };
}

export function toTlsFlags({ certificateFile, keyFile }: ServingFiles): Record<string, string> {
  return { 'tls-cert-file': certificateFile, 'tls-key-file': keyFile };
}

/** Registers webhooks under one configuration; resolves to its removal. */
export async function register(
  cluster: Cluster,
  name: string,
  registrations: readonly WebhookRegistration[],
): Promise<() => Promise<void>> {
  const fullName = `coatcheck-test-${name}`;
  const collection = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
  const { status, body } = await cluster.request(
    'POST',
    collection,
    toWebhookConfiguration(fullName, registrations),
  );
  if (status !== 201) throw new Error(`the registration was refused: ${String(body.message)}`);
  return async () => {
    await cluster.request('DELETE', `${collection}/${fullName}`);
  };
}

/** The API server learns of a registration in its own time, a second or so. */
export async function waitUntilAsked(cluster: Cluster, namespace: string): Promise<void> {
  const pod = toPod('is-the-webhook-asked', {
    annotations: { 'auth.example.io/audience': 'payments' },
  });
  const isAsked = async () => isInjected((await dryRun(cluster, namespace, pod)).body);
  await waitFor(isAsked, { what: 'the API server to ask the webhook' });
}

/** What the API server would store. */
export function dryRun(cluster: Cluster, namespace: string, pod: object) {
  return cluster.request('POST', `/api/v1/namespaces/${namespace}/pods?dryRun=All`, pod);
}

export function isInjected(pod: JsonObject): boolean {
  return JSON.stringify(pod).includes('"name":"coatcheck-exchange"');
}

/** A small pod with one container `app`. */
export function toPod(
  name: string,
  { annotations, spec }: { annotations?: Readonly<Record<string, string>>; spec?: object } = {},
) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, ...(annotations && { annotations }) },
    spec: {
      containers: [{ name: 'app', image: 'registry.example/app:1' }],
      // On a cluster with nodes nobody pulls these images, and no token names a node.
      schedulerName: 'nobody',
      ...spec,
    },
  };
}
