// The chart with its CRD, the store sqlite and the right to read namespaces: a TokenRole by labels of namespaces brings an
// opaque token into a pod, and none into the pod next door.
import { expect } from 'chai';
import { noteToken } from '../../support/tokens.ts';
import { toApp } from '../harness/node/app.ts';
import { runHelm } from '../harness/node/helm.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';

const TOKEN_FILE = '/var/run/secrets/auth.example.io/payments/token';

describe('roles as objects, on a node', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;
  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'roles',
      roles: {},
      values: {
        crds: { install: true },
        broker: {
          tokenRoles: { enabled: true },
          namespaceSelectors: true,
          // There is nobody to make volumes here.
          store: { type: 'sqlite', persistence: { enabled: false } },
        },
      },
    });
    await cluster.apply({
      apiVersion: 'auth.example.io/v1alpha1',
      kind: 'TokenRole',
      metadata: { name: 'web' },
      spec: {
        audience: 'payments',
        subjects: [
          { namespaceSelector: { matchLabels: { tier: 'web' } }, serviceAccount: 'default' },
        ],
        token: { type: 'opaque' },
      },
    });
  });
  after(async () => {
    await installation?.uninstall();
    await cluster?.kubectl(['delete', 'crd', 'tokenroles.auth.example.io']);
  });

  const createPod = async (tier: string) => {
    const { name: namespace } = await installation.createNamespace(`roles-${tier}`, { tier });
    const annotations = {
      'auth.example.io/audience': 'payments',
      'auth.example.io/deadline': '10',
      'auth.example.io/mode': 'init',
    };
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'app', namespace, annotations },
      spec: { restartPolicy: 'Never', containers: [toApp(cluster.node)] },
    });
    return namespace;
  };
  const read = async (args: readonly string[]) => (await cluster.kubectl(args)).stdout;

  it('are said to be in use by the broker in the cluster', async () => {
    const path = 'jsonpath={.status.conditions[0].reason}';
    const isSaid = async () => (await read(['get', 'trole', 'web', '-o', path])) === 'Accepted';
    await waitFor(isSaid, { what: 'the status' });
  });
  it('bring an opaque token into a pod whose namespace has the label', async () => {
    const namespace = await createPod('web');
    const path = 'jsonpath={.status.phase}';
    const isRunning = async () =>
      (await read(['-n', namespace, 'get', 'pod', 'app', '-o', path])) === 'Running';
    await waitFor(isRunning, { what: 'the pod to run' });
    const { stdout } = await cluster.exec({ namespace, pod: 'app' }, 'cat', TOKEN_FILE);
    expect(noteToken(stdout)).to.match(/^cc_[A-Za-z0-9]{73}$/);
  });
  it('bring none into a pod whose namespace has another', async () => {
    const namespace = await createPod('batch');
    const path = 'jsonpath={.status.phase}';
    const isFailed = async () =>
      (await read(['-n', namespace, 'get', 'pod', 'app', '-o', path])) === 'Failed';
    await waitFor(isFailed, { what: 'the pod to fail' });
    const said = await read(['-n', namespace, 'describe', 'pod', 'app']);
    expect(said).to.include('no_role');
  });
  it('show, as helm test, that a pod gets its token, and leave nothing behind', async () => {
    const { release, namespace } = installation;
    await runHelm(cluster, ['test', release, '-n', namespace, '--timeout', '90s']);
    const left = await read([
      '-n',
      namespace,
      'get',
      'pods,serviceaccounts,tokenroles',
      '-o',
      'name',
    ]);
    expect(left).to.include('webhook').and.not.include(`${release}-test`);
  });
  it('show, as helm test, that a pod gets none where the webhook does not see it', async () => {
    const { release, namespace } = installation;
    const label = ['label', 'namespace', namespace, '--overwrite'];
    await read([...label, 'coatcheck-test-release=other']);
    let refused = '';
    await runHelm(cluster, ['test', release, '-n', namespace, '--timeout', '90s']).catch(
      (error: Error) => {
        refused = error.message;
      },
    );
    expect(refused).to.include(`${release}-test`);
    // It stays to be looked at; the role does not.
    const said = await read(['-n', namespace, 'logs', `${release}-test`]);
    expect(said).to.include('test');
    expect(await read(['get', 'tokenroles', '-o', 'name'])).to.not.include(`${release}-test`);
    await read([...label, `coatcheck-test-release=${release}`]);
  });
});
