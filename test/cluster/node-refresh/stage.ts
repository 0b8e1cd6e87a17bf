// What the steps of this suite share: an installation with short and with usual tokens, and pods that ask for either.
import type { TestNamespace } from '../harness/namespace.ts';
import { toApp } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { type NodeCluster, openNodeCluster, type PodName } from '../harness/node/suite.ts';

export const ACCOUNT = 'checkout';

export interface RefreshStage {
  readonly cluster: NodeCluster;
  readonly installation: Installation;
  readonly namespace: TestNamespace;
  /** A pod with one app; annotated in `refresh` where there is an audience. */
  toPod(name: string, options?: { audience?: string; spec?: object }): object;
  toName(pod: string, container?: string): PodName;
  /** Uninstalls, and ends the pods: readers that never rest would cost later suites their time. */
  clear(): Promise<void>;
}

/** Installs the product; `brief` are tokens for 30 seconds, renewed after 18 to 22. */
export async function setRefreshStage(purpose: string): Promise<RefreshStage> {
  const cluster = openNodeCluster();
  const subjects = [{ namespace: `coatcheck-test-${purpose}-*`, serviceAccount: ACCOUNT }];
  const toRole = (audience: string, ttl: string) => ({ audience, subjects, token: { ttl } });
  const installation = await installProduct(cluster, {
    purpose,
    roles: { brief: toRole('brief', '30s'), payments: toRole('payments', '15m') },
  });
  const namespace = await installation.createNamespace(purpose, {
    'pod-security.kubernetes.io/enforce': 'restricted',
  });
  await namespace.addServiceAccount(ACCOUNT);
  return {
    cluster,
    installation,
    namespace,
    toPod: (name, { audience, spec } = {}) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name,
        namespace: namespace.name,
        annotations: audience === undefined ? {} : { 'auth.example.io/audience': audience },
      },
      spec: {
        serviceAccountName: ACCOUNT,
        terminationGracePeriodSeconds: 1,
        containers: [toApp(cluster.node)],
        ...spec,
      },
    }),
    toName: (pod, container = 'app') => ({ namespace: namespace.name, pod, container }),
    clear: async () => {
      await installation.uninstall();
      await cluster.kubectl(['delete', 'pods', '--all', '-n', namespace.name, '--wait=false']);
    },
  };
}
