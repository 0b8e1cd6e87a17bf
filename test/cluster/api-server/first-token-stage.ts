// Broker, webhook and a namespace together, wired as an installation would be: the webhook writes the broker's address
// and CA into the pods, the broker believes the cluster.

import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { JsonObject } from '../../../common/protocol/admission.ts';
import { openCluster } from '../harness/cluster.ts';
import { createNamespace } from '../harness/namespace.ts';
import { requestToken } from '../harness/service-account-token.ts';
import { type Broker, startBroker } from './broker.ts';
import { type Artefact, type PodRun, startExchange } from './kubelet.ts';
import { type Stage, setStage, toPod } from './stage.ts';
import { type StoredPod, toStoredPod } from './stored-pod.ts';

export interface FirstTokenStage extends Stage {
  readonly broker: Broker;
  /** Creates a pod through the API server, and its ServiceAccount where there is none. */
  createPod(wish: PodWish): Promise<StoredPod>;
  /** What the kubelet would put into the pod, for whatever audiences; none: the API server's own. */
  requestToken(pod: StoredPod, audiences?: readonly string[]): Promise<string>;
  /** Runs the pod's exchange container. */
  startExchange(
    pod: StoredPod,
    artefact: Artefact,
    swapToken?: (audience: string) => Promise<string>,
  ): Promise<PodRun>;
}

export interface PodWish {
  serviceAccount: string;
  /** Without prefix. */
  annotations: Readonly<Record<string, string>>;
}

/** A role for ServiceAccounts of this stage's namespace. */
export function toRole(name: string, audience: string, serviceAccount: string): object {
  return {
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name },
    spec: {
      audience,
      subjects: [{ namespace: 'coatcheck-test-first-token-*', serviceAccount }],
      token: { ttl: '5m', scopes: [`${audience}:read`] },
    },
  };
}

/** Sets everything up; `roles` are those the broker starts with. */
export async function setFirstTokenStage(roles: readonly object[]): Promise<FirstTokenStage> {
  const cluster = openCluster();
  const folder = path.join(cluster.facts.workFolder, `broker-${randomBytes(4).toString('hex')}`);
  mkdirSync(folder);
  const brokerNamespace = await createNamespace(cluster, 'broker');
  const broker = await startBroker({ cluster, namespace: brokerNamespace, folder, roles });
  const stage = await setStage('first-token', {
    'broker-url': broker.url,
    'broker-fallback-address': broker.address,
    'broker-ca-file': broker.caFile,
  });
  const namespace = stage.namespace.name;
  let count = 0;
  const next = (what: string) => {
    count += 1;
    return `${what}-${count}`;
  };
  return {
    ...stage,
    broker,
    createPod: async ({ serviceAccount, annotations }) => {
      await stage.namespace.addServiceAccount(serviceAccount);
      const prefixed = Object.entries(annotations).map(([key, value]) => [
        `auth.example.io/${key}`,
        value,
      ]);
      const pod = toPod(next('pod'), {
        annotations: Object.fromEntries(prefixed),
        spec: {
          serviceAccountName: serviceAccount,
          containers: [{ name: 'app', image: 'registry.example/app:1' }],
        },
      });
      const { status, body } = await cluster.request(
        'POST',
        `/api/v1/namespaces/${namespace}/pods`,
        pod,
      );
      if (status !== 201)
        throw new Error(`the pod was refused: ${String((body as JsonObject).message)}`);
      return toStoredPod(body);
    },
    requestToken: (pod, audiences) =>
      requestToken(cluster, {
        namespace,
        serviceAccount: pod.serviceAccount,
        pod: { name: pod.name, uid: pod.uid },
        ...(audiences && { audiences }),
      }),
    startExchange: (pod, artefact, swapToken) =>
      startExchange({
        cluster,
        namespace,
        pod,
        artefact,
        folder: path.join(stage.folder, next('run')),
        ...(swapToken && { swapToken }),
      }),
    clear: async () => {
      await stage.clear();
      await broker.process.stop();
      await brokerNamespace.remove();
    },
  };
}
