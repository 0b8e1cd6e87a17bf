// What the steps of this suite share: one installation, one namespace in which Pod Security is `restricted`.
import { expect } from 'chai';
import type { JWTPayload } from 'jose';
import type { TestNamespace } from '../harness/namespace.ts';
import { readToken, toApp } from '../harness/node/app.ts';
import { openBrokerService } from '../harness/node/broker-service.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { type NodeCluster, openNodeCluster, type PodName } from '../harness/node/suite.ts';

export const AUDIENCE = { 'auth.example.io/audience': 'payments' } as const;
export const ACCOUNT = 'checkout';

export interface InjectStage {
  readonly cluster: NodeCluster;
  readonly installation: Installation;
  readonly namespace: TestNamespace;
  /** The app's container. */
  toApp(rest?: object): object;
  /** A pod template of one app, annotated. */
  toTemplate(name: string, options?: TemplateOptions): object;
  toPod(name: string, options?: TemplateOptions): object;
  toName(pod: string, container?: string): PodName;
  /** Names of the pods with the label `app`, sorted. */
  listPods(app: string): Promise<string[]>;
  /**
   * The claims of the token that the app of a pod finds, verified as the app would do it: by discovery from `AUTH_ISSUER`,
   * over TLS that `AUTH_CA_FILE` vouches for. Checks that they name this very pod and its node.
   */
  verifyToken(name: PodName, audience?: string): Promise<JWTPayload>;
  clear(): Promise<void>;
}

export interface TemplateOptions {
  annotations?: Readonly<Record<string, string>>;
  /** Over the pod's specification. */
  spec?: object;
}

/** Installs the product. */
export async function setInjectStage(): Promise<InjectStage> {
  const cluster = openNodeCluster();
  const subjects = [{ namespace: 'coatcheck-test-inject-*', serviceAccount: ACCOUNT }];
  const installation = await installProduct(cluster, {
    purpose: 'inject',
    roles: {
      'payments-checkout': {
        audience: 'payments',
        subjects,
        token: { ttl: '15m', scopes: ['payments:read'] },
      },
      'ledger-checkout': { audience: 'https://ledger.example.io', subjects },
    },
  });
  const namespace = await installation.createNamespace('inject', {
    'pod-security.kubernetes.io/enforce': 'restricted',
  });
  await namespace.addServiceAccount(ACCOUNT);
  const stageApp = (rest: object = {}) => toApp(cluster.node, rest);
  const toTemplate: InjectStage['toTemplate'] = (name, { annotations = AUDIENCE, spec } = {}) => ({
    metadata: { labels: { app: name }, annotations },
    spec: {
      serviceAccountName: ACCOUNT,
      terminationGracePeriodSeconds: 1,
      containers: [stageApp()],
      ...spec,
    },
  });
  return {
    cluster,
    installation,
    namespace,
    toApp: stageApp,
    toTemplate,
    toPod: (name, options) => {
      const template = toTemplate(name, options) as { metadata: object; spec: object };
      const metadata = { ...template.metadata, name, namespace: namespace.name };
      return { apiVersion: 'v1', kind: 'Pod', ...template, metadata };
    },
    toName: (pod, container = 'app') => ({ namespace: namespace.name, pod, container }),
    listPods: async (app) => {
      const selector = encodeURIComponent(`app=${app}`);
      const path = `/api/v1/namespaces/${namespace.name}/pods?labelSelector=${selector}`;
      const { items = [] } = (await cluster.request('GET', path)).body as {
        items?: { metadata: { name: string } }[];
      };
      return items.map(({ metadata }) => metadata.name).sort();
    },
    verifyToken: async (name, audience = 'payments') => {
      const seen = await readToken(cluster, name);
      const host = new URL(seen.issuer).host;
      const broker = openBrokerService({ address: installation.address, host, ca: seen.ca });
      const claims = await broker.verify(seen.token, audience);
      const pod = await cluster.getPod(name);
      expect(claims.sub).to.equal(`k8s:main:${name.namespace}:${ACCOUNT}`);
      const identity = claims['kubernetes.io'] as Record<string, unknown>;
      expect(identity.pod).to.deep.equal({ name: name.pod, uid: pod.metadata.uid });
      expect(identity.node).to.deep.include({ name: cluster.node.name });
      return claims;
    },
    clear: async () => installation.uninstall(),
  };
}
