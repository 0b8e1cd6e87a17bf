// One of the two clusters: namespaces and accounts of the same names as in the other, pods that no node ever runs, and its
// controller, a process with that cluster's ServiceAccount tokens in files, as a kubelet would put them.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Cluster } from '../harness/cluster.ts';
import { type Product, startProduct } from '../harness/product.ts';
import { requestToken } from '../harness/service-account-token.ts';

export interface Names {
  /** Of the pods. */
  readonly namespace: string;
  /** Of the controller. */
  readonly home: string;
}

export interface Member {
  readonly name: string;
  readonly cluster: Cluster;
  /** What its API server publishes. */
  readKeys(): Promise<{ readonly keys: readonly Jwk[] }>;
  /** A pod of the account `checkout`; the one before of that name must be gone. */
  createPod(name: string): Promise<Pod>;
  deletePod(name: string): Promise<void>;
  /** A token that is bound to the pod. */
  requestToken(pod: Pod, audience: string): Promise<string>;
  /** A token of the controller for the broker, and of whoever asks about tokens. */
  requestControl(account: 'coatcheck-controller' | 'receiver'): Promise<string>;
  /** Puts new tokens into the controller's files. */
  renewTokens(): Promise<void>;
  startController(flags: Readonly<Record<string, string>>): Promise<void>;
  stopController(): Promise<void>;
  /** What the controller of now logged. */
  readLog(): string;
  readMetric(name: string): Promise<number>;
}

export type Jwk = Readonly<Record<string, string>>;

export interface Pod {
  readonly name: string;
  readonly uid: string;
}

export const CONTROLLER = 'coatcheck-controller';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';
const RULES = [
  { apiGroups: [''], resources: ['pods', 'serviceaccounts'], verbs: ['get', 'list', 'watch'] },
];
const LEASE_RULES = [
  { apiGroups: ['coordination.k8s.io'], resources: ['leases'], verbs: ['create', 'get', 'patch'] },
];

/** Makes everything in the cluster but the process. */
export async function createMember(
  cluster: Cluster,
  { name, names, folder }: { name: string; names: Names; folder: string },
): Promise<Member> {
  const { namespace, home } = names;
  const at = (file: string) => path.join(folder, file);
  mkdirSync(folder);
  const post = async (where: string, body: object) => {
    const answer = await cluster.request('POST', where, body);
    // A controller makes the account `default`, where there is one.
    if (answer.status !== 201 && answer.status !== 409)
      throw new Error(`POST ${where}: ${answer.status} ${String(answer.body.message)}`);
    return answer.body;
  };
  const accounts = {
    [namespace]: ['default', 'checkout'],
    [home]: ['default', CONTROLLER, 'receiver'],
  };
  for (const [space, inIt] of Object.entries(accounts)) {
    await post('/api/v1/namespaces', { metadata: { name: space } });
    for (const account of inIt)
      await post(`/api/v1/namespaces/${space}/serviceaccounts`, { metadata: { name: account } });
  }
  await grant(post, home);
  const createPod = async (space: string, pod: string, account: string) => {
    const { metadata } = await post(`/api/v1/namespaces/${space}/pods`, toPod(pod, account));
    const { uid } = metadata as { uid: string };
    return { name: pod, uid };
  };
  // The controller's tokens are bound to its pod, as a kubelet's are.
  const ownPod = await createPod(home, 'controller', CONTROLLER);
  const request = (account: string, audiences?: readonly string[]) =>
    requestToken(cluster, {
      namespace: home,
      serviceAccount: account,
      expirationSeconds: 3600,
      ...(audiences && { audiences }),
      ...(account === CONTROLLER && { pod: ownPod }),
    });
  const requestControl = (account: string) => request(account, ['coatcheck-control']);
  const renewTokens = async () => {
    writeFileSync(at('control.token'), await requestControl(CONTROLLER), { mode: 0o600 });
    writeFileSync(at('api.token'), await request(CONTROLLER), { mode: 0o600 });
  };
  await renewTokens();
  let controller: Product | undefined;
  const getController = () => {
    if (!controller) throw new Error(`the controller of ${name} was not started`);
    return controller;
  };
  return {
    name,
    cluster,
    readKeys: async () => {
      const { body } = await cluster.request('GET', '/openid/v1/jwks');
      return body as unknown as { keys: readonly Jwk[] };
    },
    createPod: (pod) => createPod(namespace, pod, 'checkout'),
    deletePod: async (pod) => {
      const where = `/api/v1/namespaces/${namespace}/pods/${pod}?gracePeriodSeconds=0`;
      await cluster.request('DELETE', where);
    },
    requestToken: (pod, audience) =>
      requestToken(cluster, {
        ...{ namespace, serviceAccount: 'checkout', audiences: [audience], pod },
      }),
    requestControl,
    renewTokens,
    startController: async (flags) => {
      controller = await startProduct('controller', {
        cluster: name,
        namespace: home,
        'token-file': at('control.token'),
        'api-server-url': cluster.facts.server,
        'api-server-ca-file': cluster.facts.caFile,
        'api-server-token-file': at('api.token'),
        ...flags,
      });
    },
    stopController: async () => {
      await controller?.stop();
    },
    readLog: () => readFileSync(getController().log, 'utf8'),
    readMetric: (metric) => getController().readCounter(`coatcheck_controller_${metric}`),
  };
}

/** As the chart does; the cluster's keys every ServiceAccount may read. */
async function grant(post: (where: string, body: object) => Promise<unknown>, home: string) {
  const metadata = { name: home };
  const subjects = [{ kind: 'ServiceAccount', name: CONTROLLER, namespace: home }];
  const toRef = (kind: string) => ({ apiGroup: 'rbac.authorization.k8s.io', kind, name: home });
  const inHome = `${RBAC}/namespaces/${home}`;
  await post(`${RBAC}/clusterroles`, { metadata, rules: RULES });
  await post(`${RBAC}/clusterrolebindings`, { metadata, subjects, roleRef: toRef('ClusterRole') });
  await post(`${inHome}/roles`, { metadata, rules: LEASE_RULES });
  await post(`${inHome}/rolebindings`, { metadata, subjects, roleRef: toRef('Role') });
}

function toPod(name: string, serviceAccountName: string): object {
  return {
    metadata: { name },
    spec: {
      serviceAccountName,
      schedulerName: 'nobody',
      containers: [{ name: 'app', image: 'registry.example/app:1' }],
    },
  };
}
