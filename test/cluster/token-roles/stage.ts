// A broker whose roles are TokenRole objects of the API server under test, the right to read them, and pods whose tokens
// it is shown.
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { keep, noteToken } from '../../support/tokens.ts';
import { BROKER_ACCOUNT, type Broker, startBroker } from '../api-server/broker.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { waitFor } from '../harness/process.ts';
import { type Product, startProduct } from '../harness/product.ts';
import { requestToken } from '../harness/service-account-token.ts';
import { installCrd, TOKEN_ROLES } from './crd.ts';

export interface RoleStage {
  readonly cluster: Cluster;
  /** Of the pods. */
  readonly namespace: TestNamespace;
  readonly broker: Broker;
  /** The process of this moment. */
  process(): Product;
  /** What the broker may do in the whole cluster, from now on; as the chart's ClusterRole. */
  grant(rules: readonly object[]): Promise<void>;
  restartBroker(): Promise<void>;
  /** Creates or replaces. @throws Error with the API server's words */
  applyRole(name: string, spec: object): Promise<void>;
  deleteRole(name: string): Promise<void>;
  /** The condition Ready, and the rest of the status. */
  readStatus(name: string): Promise<RoleStatus>;
  waitForReason(name: string, reason: string): Promise<RoleStatus>;
  labelNamespace(labels: Readonly<Record<string, string | null>>): Promise<void>;
  /** A token of the pod for this audience at the token endpoint; a fresh one unless given. */
  exchange(audience: string, token?: string): Promise<Outcome>;
  /** Tokens of the pod for later: without an API server there are no new ones. */
  tokens(audience: string, count: number): Promise<string[]>;
  /** Milliseconds until the outcome is this one. */
  waitForOutcome(audience: string, reason: Outcome['reason']): Promise<number>;
  clear(): Promise<void>;
}

/** `none` with 200; the scope is a witness of the role that gave the token. */
export interface Outcome {
  readonly reason: string;
  readonly scope?: string;
}

export interface RoleStatus {
  readonly generation: number;
  readonly observedGeneration?: number;
  readonly ready?: { readonly status: string; readonly reason: string; readonly message: string };
  readonly overlaps?: readonly string[];
}

/** As the chart has them. */
export const READ_TOKEN_ROLES = [
  { apiGroups: ['authorization.k8s.io'], resources: ['subjectaccessreviews'], verbs: ['create'] },
  { apiGroups: ['auth.example.io'], resources: ['tokenroles'], verbs: ['get', 'list', 'watch'] },
  { apiGroups: ['auth.example.io'], resources: ['tokenroles/status'], verbs: ['patch'] },
];
export const READ_NAMESPACES = [
  { apiGroups: [''], resources: ['namespaces'], verbs: ['get', 'list', 'watch'] },
];

const ACCOUNT = 'checkout';
const RBAC = '/apis/rbac.authorization.k8s.io/v1';

/** Sets everything up, the CRD included; `files` are roles in files. */
export async function setRoleStage(files: readonly object[] = []): Promise<RoleStage> {
  const cluster = openCluster();
  await installCrd(cluster);
  const id = randomBytes(4).toString('hex');
  const name = `coatcheck-test-token-roles-${id}`;
  const folder = path.join(cluster.facts.workFolder, `token-roles-${id}`);
  mkdirSync(folder);
  const home = await createNamespace(cluster, 'token-roles-broker');
  const namespace = await createNamespace(cluster, 'token-roles');
  await namespace.addServiceAccount(ACCOUNT);
  const ask = async (method: string, at: string, body?: object) => {
    const answer = await cluster.request(method, at, body);
    if (answer.status >= 300)
      throw new Error(`${method} ${at}: ${answer.status} ${String(answer.body.message)}`);
    return answer.body;
  };
  await ask('POST', `${RBAC}/clusterroles`, { metadata: { name }, rules: READ_TOKEN_ROLES });
  await ask('POST', `${RBAC}/clusterrolebindings`, {
    metadata: { name },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', name: BROKER_ACCOUNT, namespace: home.name }],
  });
  const broker = await startBroker({
    cluster,
    namespace: home,
    folder,
    roles: files,
    flags: ({ url, caFile, tokenFile }) => ({
      'token-roles': 'true',
      'api-server-url': url,
      'api-server-ca-file': caFile,
      'api-server-token-file': tokenFile,
    }),
  });
  let product = broker.process;
  const pod = await createPod(namespace.name);
  async function createPod(inNamespace: string): Promise<{ name: string; uid: string }> {
    const { metadata } = await ask('POST', `/api/v1/namespaces/${inNamespace}/pods`, {
      metadata: { name: 'app' },
      spec: {
        serviceAccountName: ACCOUNT,
        schedulerName: 'nobody',
        containers: [{ name: 'app', image: 'registry.example/app:1' }],
      },
    });
    return metadata as { name: string; uid: string };
  }
  const made = new Set<string>();

  async function exchange(audience: string, known?: string): Promise<Outcome> {
    const token = known ?? (await newToken(audience));
    const { status, body, text } = await broker.send('/oauth2/token', {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      audience,
    });
    if (status === 200) {
      noteToken(String(body.access_token));
      return { reason: 'none', scope: String(body.scope) };
    }
    keep('token-roles-answer.json', text);
    return { reason: String(body.reason) };
  }
  const newToken = (audience: string) =>
    requestToken(cluster, {
      namespace: namespace.name,
      serviceAccount: ACCOUNT,
      audiences: [audience],
      pod: { name: pod.name, uid: pod.uid },
    });

  async function readStatus(role: string): Promise<RoleStatus> {
    const { metadata, status } = await ask('GET', `${TOKEN_ROLES}/${role}`);
    const { conditions = [], ...rest } = Object(status) as {
      conditions?: (NonNullable<RoleStatus['ready']> & { type: string })[];
    };
    const ready = conditions.find(({ type }) => type === 'Ready');
    const { generation } = metadata as { generation: number };
    return { generation, ...rest, ...(ready && { ready }) };
  }

  return {
    cluster,
    namespace,
    broker,
    process: () => product,
    grant: async (rules) => {
      await ask('PUT', `${RBAC}/clusterroles/${name}`, { metadata: { name }, rules });
    },
    restartBroker: async () => {
      await product.stop();
      product = await startProduct('broker', broker.flags);
    },
    applyRole: async (role, spec) => {
      made.add(role);
      const object = {
        apiVersion: 'auth.example.io/v1alpha1',
        kind: 'TokenRole',
        metadata: { name: role },
        spec,
      };
      const { code, stderr } = await cluster.kubectl(['apply', '-f', '-'], object);
      if (code !== 0) throw new Error(stderr);
    },
    deleteRole: async (role) => {
      made.delete(role);
      await ask('DELETE', `${TOKEN_ROLES}/${role}`);
    },
    readStatus,
    waitForReason: async (role, reason) => {
      const isSaid = async () => {
        const { ready, observedGeneration, generation } = await readStatus(role);
        return ready?.reason === reason && observedGeneration === generation;
      };
      await waitFor(isSaid, { what: `${role} to be ${reason}` });
      return readStatus(role);
    },
    labelNamespace: async (labels) => {
      const args = Object.entries(labels).map(([key, value]) =>
        value === null ? `${key}-` : `${key}=${value}`,
      );
      const { code, stderr } = await cluster.kubectl([
        ...['label', '--overwrite', 'namespace', namespace.name],
        ...args,
      ]);
      if (code !== 0) throw new Error(stderr);
    },
    exchange,
    tokens: (audience, count) =>
      Promise.all(Array.from({ length: count }, () => newToken(audience))),
    waitForOutcome: async (audience, reason) => {
      const started = performance.now();
      const token = await newToken(audience);
      const isSo = async () => (await exchange(audience, token)).reason === reason;
      await waitFor(isSo, { what: `${audience} to be answered ${reason}`, everyMs: 20 });
      return performance.now() - started;
    },
    clear: async () => {
      await product.stop();
      for (const role of made) await cluster.request('DELETE', `${TOKEN_ROLES}/${role}`);
      for (const kind of ['clusterrolebindings', 'clusterroles'])
        await cluster.request('DELETE', `${RBAC}/${kind}/${name}`);
      await namespace.remove();
      await home.remove();
    },
  };
}
