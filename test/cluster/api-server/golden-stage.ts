// One webhook per set of operator's settings that golden cases have, all in this process: the real server with the real
// review behind it, a port and a namespace for each. Nine processes would start slower than all cases run.
import { randomBytes } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { listen, type RunningServer } from '../../../common/http.ts';
import { createLogger } from '../../../common/log.ts';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import type { InjectSettings } from '../../../webhook/inject-settings.ts';
import { createMetrics } from '../../../webhook/metrics.ts';
import { review } from '../../../webhook/review.ts';
import { createHandler } from '../../../webhook/server.ts';
import { openKept } from '../../support/tokens.ts';
import type { GoldenCase } from '../../webhook/golden.ts';
import { type ApiAnswer, type Cluster, openCluster } from '../harness/cluster.ts';
import type { WebhookRegistration } from '../harness/manifests.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { createServingFiles, type ServingFiles } from '../harness/pki.ts';
import { waitFor } from '../harness/process.ts';
import { dryRun, isInjected, register, toPod } from './stage.ts';

export interface GoldenStage {
  /** What the API server makes of a pod that nobody injects. */
  tryPlain(pod: JsonObject): Promise<ApiAnswer>;
  /** What it makes of the case's pod with the webhook of the case's settings. */
  tryInjected(golden: GoldenCase): Promise<ApiAnswer>;
  clear(): Promise<void>;
}

interface Group {
  readonly settings: InjectSettings;
  readonly namespace: TestNamespace;
  readonly server: RunningServer;
  readonly registration: WebhookRegistration;
}

export async function setGoldenStage(cases: readonly GoldenCase[]): Promise<GoldenStage> {
  const cluster = openCluster();
  const id = `goldens-${randomBytes(4).toString('hex')}`;
  const folder = path.join(cluster.facts.workFolder, id);
  mkdirSync(folder);
  const files = createServingFiles(folder, [cluster.facts.callbackHost ?? '127.0.0.1'], Date.now());
  const groups = new Map<string, Group>();
  for (const { settings } of cases) {
    const key = JSON.stringify(settings);
    if (!groups.has(key))
      groups.set(key, await startGroup({ cluster, files, settings, name: `${id}-${groups.size}` }));
  }
  const plain = await createNamespace(cluster, 'goldens-plain');
  const all = [...groups.values()];
  const unregister = await register(
    cluster,
    id,
    all.map(({ registration }) => registration),
  );
  for (const { namespace, settings } of all) {
    const probe = toPod('is-the-webhook-asked', {
      annotations: { [`${settings.prefix}audience`]: 'payments' },
    });
    const isAsked = async () => isInjected((await dryRun(cluster, namespace.name, probe)).body);
    await waitFor(isAsked, { what: 'the API server to ask the webhook' });
  }
  return {
    tryPlain: (pod) => dryRun(cluster, plain.name, toUnplaced(pod)),
    tryInjected: ({ pod, settings }) => {
      const group = groups.get(JSON.stringify(settings));
      if (!group) throw new Error('these settings have no webhook');
      return dryRun(cluster, group.namespace.name, toUnplaced(pod));
    },
    clear: async () => {
      await unregister();
      await plain.remove();
      for (const { namespace, server } of all) {
        await namespace.remove();
        await server.drain(0);
      }
    },
  };
}

interface GroupOptions {
  cluster: Cluster;
  files: ServingFiles;
  settings: InjectSettings;
  name: string;
}

async function startGroup({ cluster, files, settings, name }: GroupOptions): Promise<Group> {
  const host = cluster.facts.callbackHost ?? '127.0.0.1';
  const namespaceLabels = { 'coatcheck-test': name };
  const namespace = await createNamespace(cluster, 'goldens', namespaceLabels);
  const handler = createHandler({
    review: (body) => review(body, settings),
    metrics: createMetrics(),
    log: createLogger({
      level: 'info',
      process: 'webhook',
      stream: createWriteStream(openKept(`${name}.log`)),
    }),
  });
  const tls = {
    cert: readFileSync(files.certificateFile, 'utf8'),
    key: readFileSync(files.keyFile, 'utf8'),
  };
  const server = await listen(handler, {
    address: { host: cluster.facts.isOurs ? host : '::', port: 0 },
    tls,
  });
  const url = `https://${host}:${server.address.port}/mutate`;
  return {
    settings,
    namespace,
    server,
    registration: { name, url, ca: files.ca, prefix: settings.prefix, namespaceLabels },
  };
}

/** The request's path says the namespace; one in the object that differs is refused before anything else. */
function toUnplaced(pod: JsonObject): JsonObject {
  const { namespace: _, ...metadata } = (pod.metadata ?? {}) as JsonObject;
  return { ...pod, ...(pod.metadata !== undefined && { metadata }) };
}
