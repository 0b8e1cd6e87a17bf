// Tokens die with what they were given to: pods that are deleted, that are over, that went while nobody looked, and
// ServiceAccounts. On a real kubelet, with two controllers from the chart.
import { expect } from 'chai';
import { toApp } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { requestToken } from '../harness/service-account-token.ts';
import { exchange, getTokens, isActive, type PodTokens, tell, watchDeath } from './tokens.ts';

const subjects = [{ namespace: 'coatcheck-test-deaths-*', serviceAccount: '*' }];
const ROLES = {
  payments: { audience: 'payments', subjects, token: { ttl: '1h' } },
  orders: { audience: 'orders', subjects, token: { ttl: '1h', type: 'opaque' } },
};
const VALUES = {
  broker: { store: { type: 'sqlite', persistence: { enabled: false } } },
  controller: { enabled: true, replicas: 2 },
  // What the API server itself says of a token does not count then: only the controller's word does.
  cluster: { validation: 'offline' },
  receivers: [
    { identity: 'k8s:main:coatcheck-test-deaths-*:receiver', audiences: ['payments', 'orders'] },
  ],
};

describe('tokens of the dead', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: string;
  let receiver: string;
  const dead: PodTokens[] = [];
  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await cluster.kubectl(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const waitForControllers = (...more: string[]) => {
    const deployment = `deployment/${installation.release}-controller`;
    const args = ['-n', installation.namespace, 'rollout', 'status', deployment, ...more];
    return kubectl(...args, '--timeout=90s');
  };
  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'deaths',
      roles: ROLES,
      values: VALUES,
    });
    const made = await installation.createNamespace('deaths');
    namespace = made.name;
    await made.addServiceAccount('receiver');
    receiver = await requestToken(cluster, {
      namespace,
      serviceAccount: 'receiver',
      audiences: ['coatcheck-control'],
      expirationSeconds: 3600,
    });
    await waitForControllers();
  });
  after(async () => {
    if (!installation) return;
    const selector = `app.kubernetes.io/instance=${installation.release},app.kubernetes.io/component=controller`;
    const text = await kubectl('-n', installation.namespace, 'logs', '-l', selector, '--tail=40');
    console.log(text.split('\n').slice(-12).join('\n'));
    await installation.uninstall();
  });

  const createPod = async (pod: string, spec: object = {}, annotations: object = {}) => {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod, namespace, annotations },
      spec: { terminationGracePeriodSeconds: 1, containers: [toApp(cluster.node)], ...spec },
    });
    await cluster.waitForPod({ namespace, pod }, ({ status }) => status.phase === 'Running');
    return getTokens(cluster, installation, { namespace, pod });
  };
  const isThere = async (pod: string) => {
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}`;
    return (await cluster.request('GET', path)).status === 200;
  };
  /** The kubelet writes a last phase once all containers have ended; the object goes after that. */
  const isAlive = async (pod: string) => {
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}`;
    const { status, body } = await cluster.request('GET', path);
    const { phase } = Object(body.status) as { phase?: string };
    return status === 200 && phase !== 'Succeeded' && phase !== 'Failed';
  };
  const die = async (tokens: PodTokens, what: string, is = () => isAlive(tokens.pod)) => {
    const times = await watchDeath(installation, tokens, { receiver, isThere: is });
    dead.push(tokens);
    return tell(what, times);
  };
  const areActive = async ({ jwt, opaque }: PodTokens) =>
    Promise.all([jwt, opaque].map((token) => isActive(installation, { token, receiver })));

  it('live while a pod is told to end, and die within a second of its end', async () => {
    const slow = toApp(cluster.node, {
      command: ['sh', '-c', 'trap "" TERM; while :; do sleep 1; done'],
    });
    const neighbour = await createPod('neighbour');
    const tokens = await createPod('deleted', {
      terminationGracePeriodSeconds: 5,
      containers: [slow],
    });
    expect(await areActive(tokens)).to.eql([true, true]);
    const watched = die(tokens, 'deleted');
    await kubectl('-n', namespace, 'delete', 'pod', 'deleted', '--wait=false');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(await isThere('deleted')).to.equal(true);
    expect(await areActive(tokens)).to.eql([true, true]);
    const again = await exchange(installation, tokens.subjects.payments, 'payments');
    expect(again.status).to.equal(200);
    expect(await watched).to.be.below(1000);
    expect(await areActive(neighbour)).to.eql([true, true]);
  });

  it('die within a second of a deletion by force', async () => {
    const tokens = await createPod('forced');
    const watched = die(tokens, 'deleted by force');
    await kubectl('-n', namespace, 'delete', 'pod', 'forced', '--force', '--grace-period=0');
    expect(await watched).to.be.below(1000);
  });

  it('die with a pod that got them by an init container alone', async () => {
    const annotations = { 'auth.example.io/audience': 'payments', 'auth.example.io/mode': 'init' };
    const tokens = await createPod('init-only', {}, annotations);
    const file = '/var/run/secrets/auth.example.io/payments/token';
    const name = { namespace, pod: 'init-only', container: 'app' };
    const { stdout } = await cluster.exec(name, 'cat', file);
    const injected = { ...tokens, jwt: stdout };
    expect(await areActive(injected)).to.eql([true, true]);
    const watched = die(injected, 'init only');
    await kubectl('-n', namespace, 'delete', 'pod', 'init-only', '--wait=false');
    expect(await watched).to.be.below(1000);
  });

  it('die with a pod that is done, though its object stays', async () => {
    const app = toApp(cluster.node, { command: ['sh', '-c', 'sleep 8'] });
    const tokens = await createPod('done', { restartPolicy: 'Never', containers: [app] });
    expect(await die(tokens, 'completed')).to.be.below(1000);
    expect(await isThere('done')).to.equal(true);
  });

  const refusesTheDead = async () => {
    expect(dead.length).to.be.greaterThan(3);
    for (const { pod, subjects: given } of dead) {
      for (const audience of ['payments', 'orders'] as const) {
        const { status, body } = await exchange(installation, given[audience], audience);
        expect(status, pod).to.equal(400);
        expect(body.reason, pod).to.equal('token_refused');
      }
    }
    const near = await getTokens(cluster, installation, { namespace, pod: 'neighbour' });
    expect(await areActive(near)).to.eql([true, true]);
  };

  it(
    'cannot be had for a dead pod’s ServiceAccount token, though its signature and times are good',
    refusesTheDead,
  );

  it('die with the ServiceAccount, also where another one takes its name at once', async () => {
    const account = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    const make = () => cluster.request('POST', account, { metadata: { name: 'worker' } });
    await make();
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'worker', namespace },
      spec: {
        serviceAccountName: 'worker',
        terminationGracePeriodSeconds: 1,
        containers: [toApp(cluster.node)],
      },
    });
    await cluster.waitForPod({ namespace, pod: 'worker' }, (one) => one.status.phase === 'Running');
    const place = { namespace, pod: 'worker', serviceAccount: 'worker' };
    const tokens = await getTokens(cluster, installation, place);
    const { body } = await cluster.request('GET', `${account}/worker`);
    const { uid } = body.metadata as { uid: string };
    const isTheOld = async () => {
      const found = await cluster.request('GET', `${account}/worker`);
      return (found.body.metadata as { uid?: string } | undefined)?.uid === uid;
    };
    const watched = die(tokens, 'ServiceAccount', isTheOld);
    await cluster.request('DELETE', `${account}/worker`);
    expect((await make()).status).to.equal(201);
    expect(await watched).to.be.below(1000);
    // The pod lives, and its next token is of the new one.
    expect(await areActive(await getTokens(cluster, installation, place))).to.eql([true, true]);
  });

  it('die soon after the controller is back, where it was away when the pod went', async () => {
    const tokens = await createPod('unseen');
    const deployment = `deployment/${installation.release}-controller`;
    const scale = (replicas: number) =>
      kubectl('-n', installation.namespace, 'scale', deployment, `--replicas=${replicas}`);
    const countPods = async () => {
      const selector = `app.kubernetes.io/instance=${installation.release},app.kubernetes.io/component=controller`;
      const args = ['-n', installation.namespace, 'get', 'pods', '-l', selector, '-o', 'name'];
      return (await kubectl(...args)).split('\n').filter((line) => line !== '').length;
    };
    await scale(0);
    await waitFor(async () => (await countPods()) === 0, {
      what: 'no controller',
      withinMs: 60_000,
    });
    await kubectl('-n', namespace, 'delete', 'pod', 'unseen');
    expect(await areActive(tokens)).to.eql([true, true]);
    const from = performance.now();
    await scale(2);
    await waitForControllers();
    const isOver = async () => (await areActive(tokens)).every((one) => !one);
    await waitFor(isOver, { what: 'the end of the tokens', withinMs: 90_000 });
    console.log(
      `        found ${Math.round(performance.now() - from)} ms after the start was asked for`,
    );
    dead.push(tokens);
  });

  it('cannot be had in hybrid mode either, from a broker that knew nothing when it started', async () => {
    await installation.upgrade({ cluster: { validation: 'hybrid' } });
    // It has no memory of its own here: the controller tells it within seconds.
    const [first] = dead;
    // The Service leads to it in its own time.
    const isTold = async () =>
      exchange(installation, first?.subjects.payments ?? '', 'payments').then(
        ({ status }) => status === 400,
        () => false,
      );
    await waitFor(isTold, { what: 'the dead to be told', withinMs: 60_000 });
    await refusesTheDead();
  });
});
