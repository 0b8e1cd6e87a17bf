// A broker that asks the API server under test about tokens, the right to do so, and pods whose tokens it is shown.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { keep, noteToken } from '../../support/tokens.ts';
import {
  type ApiServerFields,
  BROKER_ACCOUNT,
  type Broker,
  startBroker,
} from '../api-server/broker.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { waitFor } from '../harness/process.ts';
import { requestToken } from '../harness/service-account-token.ts';

export interface ReviewStage {
  readonly cluster: Cluster;
  readonly broker: Broker;
  readonly namespace: TestNamespace;
  /** Lets the broker create TokenReviews, or not any more. */
  grantReviews(): Promise<void>;
  /** A pod of `shop/checkout` that no node ever runs. */
  createPod(name: string): Promise<{ name: string; uid: string }>;
  deletePod(name: string): Promise<void>;
  requestToken(pod: { name: string; uid: string }, audiences?: readonly string[]): Promise<string>;
  /** Several of a pod, for {@link waitForRefusal}. */
  requestTokens(pod: { name: string; uid: string }): Promise<string[]>;
  exchange(token: string): Promise<Outcome>;
  /**
   * The API server hears of deletions by its own watch, milliseconds later; each try takes a token that nobody has seen, so
   * that no cache answers. Fails after two seconds.
   */
  waitForRefusal(tokens: readonly string[]): Promise<Outcome>;
  /** Samples of a metric of the broker whose line contains all of this. */
  readMetric(name: string, labels?: string): Promise<number>;
  clear(): Promise<void>;
}

export interface Outcome {
  readonly status: number;
  readonly reason: unknown;
}

const ACCOUNT = 'checkout';
const BINDINGS = '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings';

/** Sets everything up; `entry` is the broker's entry of the clusters table, as far as it is not usual. */
export async function setReviewStage(
  entry: (apiServer: ApiServerFields) => object,
): Promise<ReviewStage> {
  const cluster = openCluster();
  const id = randomBytes(4).toString('hex');
  const folder = path.join(cluster.facts.workFolder, `review-${id}`);
  mkdirSync(folder);
  const brokerNamespace = await createNamespace(cluster, 'broker');
  const namespace = await createNamespace(cluster, 'review');
  await namespace.addServiceAccount(ACCOUNT);
  const broker = await startBroker({
    cluster,
    namespace: brokerNamespace,
    folder,
    roles: [toRole(namespace.name)],
    entry,
  });
  const pods = `/api/v1/namespaces/${namespace.name}/pods`;
  const binding = `coatcheck-test-review-${id}`;
  const get = async (what: string, sending: ReturnType<Cluster['request']>) => {
    const { status, body } = await sending;
    if (status !== 201) throw new Error(`${what}: ${status} ${String(body.message)}`);
    return body;
  };
  const ask = (pod: { name: string; uid: string }, audiences = ['payments']) =>
    requestToken(cluster, {
      namespace: namespace.name,
      serviceAccount: ACCOUNT,
      audiences,
      pod,
    });
  const exchange = async (token: string): Promise<Outcome> => {
    const { status, body, text } = await broker.send('/oauth2/token', {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: noteToken(token),
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      audience: 'payments',
    });
    if (status === 200) noteToken(String(body.access_token));
    else keep('review-answer.json', text);
    return { status, reason: body.reason };
  };
  return {
    cluster,
    broker,
    namespace,
    grantReviews: async () => {
      const subject = {
        kind: 'ServiceAccount',
        name: BROKER_ACCOUNT,
        namespace: brokerNamespace.name,
      };
      const roleRef = {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'system:auth-delegator',
      };
      const body = { metadata: { name: binding }, roleRef, subjects: [subject] };
      await get('binding', cluster.request('POST', BINDINGS, body));
    },
    createPod: async (name) => {
      const body = await get('pod', cluster.request('POST', pods, toPod(name)));
      const { uid } = body.metadata as { uid: string };
      return { name, uid };
    },
    deletePod: async (name) => {
      await cluster.request('DELETE', `${pods}/${name}?gracePeriodSeconds=0`);
    },
    requestToken: (pod, audiences) => ask(pod, audiences && [...audiences]),
    requestTokens: (pod) => Promise.all(Array.from({ length: 20 }, () => ask(pod))),
    exchange,
    waitForRefusal: async (tokens) => {
      const left = [...tokens];
      let outcome: Outcome | undefined;
      const isRefused = async () => {
        outcome = await exchange(left.pop() ?? '');
        return outcome.status !== 200;
      };
      await waitFor(isRefused, { what: 'the API server to refuse', withinMs: 2000 });
      return outcome as Outcome;
    },
    readMetric: async (name, labels = '') => {
      const lines = (await broker.process.readMetrics()).split('\n');
      return lines
        .filter((line) => line.startsWith(`coatcheck_broker_${name}{`) && line.includes(labels))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
    },
    clear: async () => {
      await broker.process.stop();
      await cluster.request('DELETE', `${BINDINGS}/${binding}`);
      await namespace.remove();
      await brokerNamespace.remove();
    },
  };
}

function toRole(namespace: string): object {
  return {
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name: 'payments-checkout' },
    spec: { audience: 'payments', subjects: [{ namespace, serviceAccount: ACCOUNT }] },
  };
}

function toPod(name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      serviceAccountName: ACCOUNT,
      schedulerName: 'nobody',
      containers: [{ name: 'app', image: 'registry.example/app:1' }],
    },
  };
}
