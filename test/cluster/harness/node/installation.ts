// The product as people install it: certificates, Secrets, `helm install` of the chart with the images on the node. Each
// installation sees the namespaces made by it and no others, so that suites never meet.
import { randomBytes } from 'node:crypto';
import { keep } from '../../../support/tokens.ts';
import { createNamespace, type TestNamespace } from '../namespace.ts';
import { waitFor } from '../process.ts';
import { type BrokerService, openBrokerService } from './broker-service.ts';
import { CHART, mergeValues, runHelm } from './helm.ts';
import { createSecrets, type Part, toUsualValues } from './installation-parts.ts';
import type { NodeCluster } from './suite.ts';

const LABEL = 'coatcheck-test-release';
const PARTS: readonly Part[] = ['webhook', 'broker'];

type Roles = Readonly<Record<string, object>>;

export interface InstallationOptions {
  /** Part of the release's name. */
  purpose: string;
  /** Role name to `spec`. Namespaces of `createNamespace(purpose)` are called `coatcheck-test-<purpose>-<random>`. */
  roles: Roles;
  /** Over what the installation sets by itself. */
  values?: object;
}

export interface Installation extends BrokerService {
  readonly release: string;
  /** Where webhook and broker run. */
  readonly namespace: string;
  /** `iss` of client tokens, and the broker's URL inside of the cluster. */
  readonly issuer: string;
  /** ClusterIP of the broker's Service. */
  readonly address: string;
  /** PEM of the authority that signed webhook's and broker's certificates. */
  readonly ca: string;
  /** A namespace whose annotated pods come to this installation. */
  createNamespace(
    purpose: string,
    labels?: Readonly<Record<string, string>>,
  ): Promise<TestNamespace>;
  /** `helm upgrade` with these values over those of the installation; waits for what changes in webhook and broker. */
  upgrade(values: object): Promise<void>;
  /** These roles instead of all others; the broker has them when the kubelet has renewed its mount (about 10 s here). */
  setRoles(roles: Roles): Promise<void>;
  /** Waits until as many are ready; none: until the last is gone. */
  scale(part: Part, replicas: number): Promise<void>;
  /** Requests that the webhooks of this moment have answered. */
  webhookRequests(): Promise<number>;
  /** What the webhooks or brokers of this moment have logged; kept for the leak scan. */
  logs(part: Part): Promise<string>;
  /** Keeps the logs, then uninstalls. */
  uninstall(): Promise<void>;
}

/** Resolves when webhook and broker are ready and the API server asks the webhook. @throws Error with helm's words. */
export async function installProduct(
  cluster: NodeCluster,
  { purpose, roles: firstRoles, values = {} }: InstallationOptions,
): Promise<Installation> {
  const release = `c-${purpose}-${randomBytes(2).toString('hex')}`;
  const namespaceLabels = { [LABEL]: release };
  const { name: namespace } = await createNamespace(cluster, `product-${purpose}`, {
    ...namespaceLabels,
    'pod-security.kubernetes.io/enforce': 'restricted',
  });
  const { ca, manifests } = createSecrets({ release, namespace, now: Date.now() });
  const own = mergeValues(toUsualValues(cluster.node, { ca, namespaceLabels }), values);
  let roles = firstRoles;
  const helm = (command: 'install' | 'upgrade', more: object = {}) =>
    runHelm(
      cluster,
      [command, release, CHART, '-n', namespace],
      mergeValues(own, more, { roles: undefined }, { roles }),
    );
  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await cluster.kubectl(['-n', namespace, ...args]);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const waitForRollout = async () => {
    const toDeployment = (part: Part) => `deployment/${release}-${part}`;
    await kubectl('rollout', 'status', '--timeout=120s', ...PARTS.map(toDeployment));
  };
  const toSelector = (part: Part) =>
    `app.kubernetes.io/instance=${release},app.kubernetes.io/component=${part}`;
  const readPods = async (part: Part, path: string) => {
    const output = `jsonpath={.items[*]${path}}`;
    return (await kubectl('get', 'pods', '-l', toSelector(part), '-o', output))
      .split(' ')
      .filter((word) => word !== '');
  };
  const logs = async (part: Part) => {
    const text = await kubectl('logs', '-l', toSelector(part), '--tail=-1', '--prefix');
    keep(`${release}-${part}.log`, text);
    return text;
  };

  await cluster.apply(...manifests);
  await helm('install');
  await waitForRollout();
  await waitForRegistration(cluster, namespace);
  const host = `${release}-broker.${namespace}.svc`;
  const service = ['get', 'service', `${release}-broker`, '-o', 'jsonpath={.spec.clusterIP}'];
  const address = await kubectl(...service);
  return {
    ...openBrokerService({ address, host, ca }),
    release,
    namespace,
    issuer: `https://${host}`,
    address,
    ca,
    createNamespace: (name, labels = {}) =>
      createNamespace(cluster, name, { ...namespaceLabels, ...labels }),
    upgrade: async (more) => {
      await helm('upgrade', more);
      await waitForRollout();
    },
    setRoles: async (next) => {
      roles = next;
      await helm('upgrade');
    },
    scale: async (part, replicas) => {
      await kubectl('scale', `deployment/${release}-${part}`, `--replicas=${replicas}`);
      await waitForRollout();
      if (replicas > 0) return;
      const isGone = async () => (await readPods(part, '.metadata.name')).length === 0;
      await waitFor(isGone, { what: `the last ${part} to be gone`, withinMs: 90_000 });
    },
    webhookRequests: async () => {
      const counts = (await readPods('webhook', '.status.podIP')).map(readRequests);
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    },
    logs,
    uninstall: async () => {
      for (const part of PARTS) await logs(part);
      await runHelm(cluster, ['uninstall', release, '-n', namespace]);
    },
  };
}

/** The API server takes up a registration in its own time; until then annotated pods would start without a token. */
async function waitForRegistration(cluster: NodeCluster, namespace: string): Promise<void> {
  const misspelt = {
    metadata: { generateName: 'x-', annotations: { 'auth.example.io/audence': 'x' } },
    spec: { containers: [{ name: 'app', image: 'registry.example/app:1' }] },
  };
  const path = `/api/v1/namespaces/${namespace}/pods?dryRun=All`;
  const isAsked = async () => {
    const { body } = await cluster.request('POST', path, misspelt);
    return String(body.message).includes('"pods.coatcheck.example.io" denied the request');
  };
  await waitFor(isAsked, { what: 'the webhook to be asked' });
}

async function readRequests(address: string): Promise<number> {
  const answer = await fetch(`http://${address}:9443/metrics`);
  const samples = (await answer.text())
    .split('\n')
    .filter((line) => line.startsWith('coatcheck_webhook_requests_total{'));
  return samples.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}
