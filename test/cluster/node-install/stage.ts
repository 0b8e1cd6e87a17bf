// An installation as people make it: `helm install` with the chart's own defaults for certificates and keys. What differs is
// said below; everything else is the harness's.

import { spawn } from 'node:child_process';
import { randomBytes, X509Certificate } from 'node:crypto';
import { parseAllDocuments } from 'yaml';
import { keep } from '../../support/tokens.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { toApp } from '../harness/node/app.ts';
import { type BrokerService, openBrokerService } from '../harness/node/broker-service.ts';
import { CHART, mergeValues, runHelm } from '../harness/node/helm.ts';
import type { NodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';

export const PARTS = ['webhook', 'broker', 'controller'] as const;
export type Part = (typeof PARTS)[number];

const LABEL = 'coatcheck-test-release';
export const ANNOTATIONS = 'auth.example.io/';

/** Quick enough for two rotations while a person watches. */
const TIMES = { leafLifetimeSeconds: 90, caPublishSeconds: 15, caLifetimeSeconds: 36_000 };

export interface InstallStage {
  readonly cluster: NodeCluster;
  readonly release: string;
  /** Of the release. */
  readonly namespace: string;
  /** Of the pods. */
  readonly pods: TestNamespace;
  helm(command: 'install' | 'upgrade', values?: object): Promise<void>;
  helmTest(): Promise<void>;
  uninstall(): Promise<void>;
  /** Objects as `helm template` renders them, with the values of the release. */
  render(): Promise<readonly object[]>;
  kubectl(...args: readonly string[]): Promise<string>;
  waitForRollout(parts?: readonly Part[]): Promise<void>;
  /** Texts of the Secret that the controller keeps. */
  readSecret(): Promise<Readonly<Record<string, string>>>;
  openBroker(): Promise<BrokerService>;
  toPod(name: string, options?: PodOptions): object;
  /** The answer to a pod that is not stored. */
  tryPod(options?: PodOptions): Promise<'injected' | 'plain' | string>;
  rotate(): Promise<void>;
  keepLogs(): Promise<void>;
}

export interface PodOptions {
  /** Undefined: a pod without our annotations. */
  audience?: string;
  mode?: 'init' | 'refresh';
  spec?: object;
  labels?: Readonly<Record<string, string>>;
}

/** Installs nothing yet. */
export async function setStage(cluster: NodeCluster): Promise<InstallStage> {
  const release = `c-install-${randomBytes(2).toString('hex')}`;
  const labels = { [LABEL]: release };
  const { name: namespace } = await createNamespace(cluster, 'product-install', {
    ...labels,
    'pod-security.kubernetes.io/enforce': 'restricted',
  });
  const pods = await createNamespace(cluster, 'install', labels);
  const values = toValues(cluster, labels);
  let given: object = {};
  const kubectl = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await cluster.kubectl(['-n', namespace, ...args]);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const toPod = (name: string, { audience, mode, spec, labels: more }: PodOptions = {}) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: pods.name,
      ...(more && { labels: more }),
      ...(audience !== undefined && {
        annotations: {
          [`${ANNOTATIONS}audience`]: audience,
          ...(mode && { [`${ANNOTATIONS}mode`]: mode }),
        },
      }),
    },
    spec: { terminationGracePeriodSeconds: 1, containers: [toApp(cluster.node)], ...spec },
  });
  const readSecret = async () => {
    const text = await kubectl('get', 'secret', `${release}-certificates`, '-o', 'json');
    const { data = {} } = JSON.parse(text) as { data?: Record<string, string> };
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
    );
  };
  return {
    ...{ cluster, release, namespace, pods, kubectl, readSecret, toPod },
    helm: async (command, more = {}) => {
      given = more;
      await runHelm(cluster, [command, release, CHART, '-n', namespace], mergeValues(values, more));
    },
    helmTest: () => runHelm(cluster, ['test', release, '-n', namespace, '--timeout', '60s']),
    uninstall: () => runHelm(cluster, ['uninstall', release, '-n', namespace, '--wait']),
    render: () => render(cluster, { release, namespace, values: mergeValues(values, given) }),
    waitForRollout: async (parts = PARTS) => {
      const names = parts.map((part) => `deployment/${release}-${part}`);
      await kubectl('rollout', 'status', '--timeout=120s', ...names);
    },
    openBroker: async () => {
      const place = ['get', 'service', `${release}-broker`, '-o', 'jsonpath={.spec.clusterIP}'];
      const host = `${release}-broker.${namespace}.svc`;
      const ca = (await readSecret())['ca.crt'] ?? '';
      return openBrokerService({ address: await kubectl(...place), host, ca });
    },
    tryPod: async (options = { audience: 'payments' }) => {
      const path = `/api/v1/namespaces/${pods.name}/pods?dryRun=All`;
      const { status, body } = await cluster.request('POST', path, toPod('dry', options));
      if (status !== 201) return `${status} ${String(body.message)}`;
      return JSON.stringify(body).includes('coatcheck-exchange') ? 'injected' : 'plain';
    },
    rotate: async () => {
      const secret = `${release}-certificates`;
      await kubectl('annotate', 'secret', secret, `${ANNOTATIONS}rotate-ca=now`);
    },
    keepLogs: async () => {
      for (const part of PARTS) {
        const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=${part}`;
        keep(
          `${release}-${part}.log`,
          await kubectl('logs', '-l', selector, '--tail=-1', '--prefix'),
        );
      }
      keep(`${release}-events.txt`, await kubectl('get', 'events'));
    },
  };
}

function toValues({ node }: NodeCluster, namespaceLabels: object): object {
  const toImage = (name: string) => {
    const [, repository = '', tag = ''] = /^(.*):([^:]*)$/.exec(node.images[name] ?? '') ?? [];
    return { repository, tag, pullPolicy: 'Never' };
  };
  const subjects = [{ namespace: 'coatcheck-test-install-*', serviceAccount: 'default' }];
  const toRole = (audience: string, ttl: string) => ({ audience, subjects, token: { ttl } });
  return {
    image: toImage('coatcheck'),
    exchange: { image: toImage('coatcheck-exchange') },
    // Other suites' pods are not this installation's.
    webhook: { namespaceSelector: { matchLabels: namespaceLabels } },
    // There is nobody to make volumes here.
    broker: { store: { persistence: { enabled: false } } },
    certificates: TIMES,
    // Renewed after 84 to 105 seconds: a pod with it sleeps through two rotations.
    roles: { payments: toRole('payments', '15m'), slow: toRole('slow', '140s') },
  };
}

async function render(
  cluster: NodeCluster,
  { release, namespace, values }: { release: string; namespace: string; values: object },
): Promise<readonly object[]> {
  const args = ['template', release, CHART, '-n', namespace, '--no-hooks'];
  const child = spawn(cluster.node.helm, [...args, '--kube-version', '1.34.0', '-f', '-']);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.end(JSON.stringify(values));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`helm template: ${stderr}`);
  return parseAllDocuments(stdout)
    .map((document) => document.toJS() as object | null)
    .filter((object) => object !== null);
}

/** Fingerprints of the authorities in a PEM text. */
export function listAuthorities(pem = ''): readonly string[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block).fingerprint256);
}

/** Asks for another authority and waits until it signs. */
export async function rotateAndWait({ rotate, readSecret }: InstallStage): Promise<void> {
  const before = (await readSecret())['ca-current.crt'];
  await rotate();
  await waitFor(async () => (await readSecret())['ca-current.crt'] !== before, {
    what: 'another authority to sign',
    withinMs: 60_000,
    everyMs: 500,
  });
}
