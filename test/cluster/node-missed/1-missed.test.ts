// Pods that were created while the webhook's configuration was away: people are told, and where it is wished they are
// evicted, so that injected ones come in their place. On a real kubelet, with the controller from the chart.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { createNamespace } from '../harness/namespace.ts';
import { readToken, toApp } from '../harness/node/app.ts';
import { installProduct } from '../harness/node/installation.ts';
import { isReady, openNodeCluster, type Pod } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { kubectl, listEvents, listPods, readMetric, type Stage, takeWebhookAway } from './stage.ts';

const ROLES = {
  payments: {
    audience: 'payments',
    subjects: [{ namespace: 'coatcheck-test-missed-*', serviceAccount: '*' }],
  },
};
const ASKS = { 'auth.example.io/audience': 'payments' };

describe('pods that missed injection', function () {
  this.timeout(150_000);
  let stage: Stage;
  let outside: string;
  let bringBack: () => Promise<void>;
  let first: Pod;
  before(async () => {
    const cluster = openNodeCluster();
    // Its name is among those that are looked at, but for the exclusion.
    outside = (await createNamespace(cluster, 'missed-outside')).name;
    const installation = await installProduct(cluster, {
      purpose: 'missed',
      roles: ROLES,
      values: {
        excludeNamespaces: [outside],
        controller: {
          enabled: true,
          replicas: 1,
          missedPods: { namespaces: ['coatcheck-test-missed-*'] },
        },
      },
    });
    const { name: namespace } = await installation.createNamespace('missed');
    stage = { cluster, installation, namespace };
    await waitForController();
    bringBack = await takeWebhookAway(stage);
    await cluster.apply(
      toDeployment('web', ASKS),
      toPod('bare', namespace),
      toPod('outside', outside),
    );
    first = await waitForOne('web');
  });
  after(async () => {
    if (!stage) return;
    const { cluster, installation, namespace } = stage;
    const selector = `app.kubernetes.io/instance=${installation.release},app.kubernetes.io/component=controller`;
    const args = ['-n', installation.namespace, 'logs', '-l', selector, '--tail=-1'];
    keep('controller.log', await kubectl(cluster, ...args));
    keep('events.txt', await kubectl(cluster, '-n', namespace, 'get', 'events'));
    await installation.uninstall();
  });

  const toSpec = () => ({
    terminationGracePeriodSeconds: 1,
    containers: [toApp(stage.cluster.node)],
  });
  const toPod = (name: string, namespace: string) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, annotations: ASKS },
    spec: toSpec(),
  });
  const toDeployment = (name: string, annotations: object) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: stage.namespace },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name }, annotations }, spec: toSpec() },
    },
  });
  const toBudget = (maxUnavailable: number) => ({
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: { name: 'web', namespace: stage.namespace },
    spec: { maxUnavailable, selector: { matchLabels: { app: 'web' } } },
  });
  const waitForController = () => {
    const { cluster, installation } = stage;
    const deployment = `deployment/${installation.release}-controller`;
    const args = ['-n', installation.namespace, 'rollout', 'status', deployment];
    return kubectl(cluster, ...args, '--timeout=90s');
  };
  const getUid = async (pod: string) =>
    (await stage.cluster.getPod({ namespace: stage.namespace, pod })).metadata.uid;
  const findEvents = (reason: string, namespace = stage.namespace) =>
    listEvents(stage.cluster, namespace, reason);
  const waitForEvents = async (reason: string, count: number) => {
    const areThere = async () => (await findEvents(reason)).length >= count;
    await waitFor(areThere, { what: `${count} Events ${reason}`, withinMs: 60_000 });
    return findEvents(reason);
  };
  /** The one pod of the Deployment, once it is ready. */
  const waitForOne = async (app: string, is: (pod: Pod) => boolean = () => true) => {
    let found: Pod | undefined;
    const isThere = async () => {
      const pods = await listPods(stage, app);
      [found] = pods;
      return pods.length === 1 && found !== undefined && isReady(found) && is(found);
    };
    await waitFor(isThere, { what: `a pod of ${app}`, withinMs: 60_000 });
    if (!found) throw new Error('unreachable');
    return found;
  };

  it('are counted, and told of on the pod and on its owner', async () => {
    const { cluster, namespace } = stage;
    const events = await waitForEvents('MissedInjection', 3);
    const owner = first.metadata.name.replace(/-[^-]+$/, '');
    expect(events.map(({ about }) => about)).to.have.members([
      `Pod ${first.metadata.name}`,
      `ReplicaSet ${owner}`,
      'Pod bare',
    ]);
    for (const { type, note, source } of events) {
      expect([type, source]).to.eql(['Warning', 'coatcheck-controller']);
      expect(note).to.include('auth.example.io/audience');
    }
    const pod = first.metadata.name;
    expect(await kubectl(cluster, '-n', namespace, 'describe', 'pod', pod)).to.include(
      `kubectl delete pod -n ${namespace} ${pod}; its ReplicaSet makes another one`,
    );
    expect(await readMetric(stage, 'coatcheck_controller_missed_pods')).to.eql({ '': 2 });
    expect(await readMetric(stage, 'coatcheck_controller_events_total')).to.include({ stored: 3 });
  });

  it('are not told of in an excluded namespace', async () => {
    const { cluster } = stage;
    const { metadata } = await cluster.getPod({ namespace: outside, pod: 'outside' });
    expect(metadata.annotations).to.include(ASKS);
    expect(await findEvents('MissedInjection', outside)).to.eql([]);
  });

  it('stay where evictions are off, and while a budget allows none', async () => {
    const { cluster, installation } = stage;
    await bringBack();
    expect(await getUid(first.metadata.name)).to.equal(first.metadata.uid);
    await cluster.apply(toBudget(0));
    await installation.upgrade({
      controller: { evictMissedPods: { enabled: true, perMinute: 60 } },
    });
    await waitForController();
    const [held] = await waitForEvents('EvictionHeldBack', 1);
    expect(held?.about).to.equal(`Pod ${first.metadata.name}`);
    expect(await getUid(first.metadata.name)).to.equal(first.metadata.uid);
    expect((await readMetric(stage, 'coatcheck_controller_evictions_total')).accepted).to.equal(0);
  });

  it('are evicted once the budget is loosened; what comes instead is injected and has its token', async () => {
    const { cluster, installation, namespace } = stage;
    await cluster.apply(toBudget(1));
    const next = await waitForOne('web', ({ metadata }) => metadata.uid !== first.metadata.uid);
    const { token } = await readToken(cluster, { namespace, pod: next.metadata.name });
    await installation.verify(token, 'payments');
    const isCounted = async () =>
      (await readMetric(stage, 'coatcheck_controller_evicted_successors_total')).ready === 1;
    await waitFor(isCounted, { what: 'the successor to be counted' });
    const owner = first.metadata.name.replace(/-[^-]+$/, '');
    const told = (await findEvents('EvictedForInjection')).map(({ about }) => about);
    expect(told).to.include(`ReplicaSet ${owner}`);
  });

  it('are evicted once and no more where the template lacks what the pod was given later', async () => {
    const { cluster, namespace } = stage;
    await cluster.apply(toDeployment('plain', {}));
    const plain = await waitForOne('plain');
    const annotation = 'auth.example.io/audience=payments';
    await kubectl(cluster, '-n', namespace, 'annotate', 'pod', plain.metadata.name, annotation);
    const [stopped] = await waitForEvents('EvictionStopped', 1);
    expect(stopped?.about).to.match(/^ReplicaSet plain-/);
    expect(stopped?.note).to.include('put it into the pod template');
    const next = await waitForOne('plain', ({ metadata }) => metadata.uid !== plain.metadata.uid);
    await kubectl(cluster, '-n', namespace, 'annotate', 'pod', next.metadata.name, annotation);
    const isSeen = async () =>
      (await readMetric(stage, 'coatcheck_controller_missed_pods'))[''] === 2;
    await waitFor(isSeen, { what: 'the annotated pod to be counted beside the bare one' });
    // Three rounds of the controller.
    await new Promise((resolve) => setTimeout(resolve, 3000));
    expect(await getUid(next.metadata.name)).to.equal(next.metadata.uid);
  });

  it('stay where nothing would make them again', async () => {
    const bare = await stage.cluster.getPod({ namespace: stage.namespace, pod: 'bare' });
    expect(bare.status.phase).to.equal('Running');
    const told = (await findEvents('EvictedForInjection')).map(({ about }) => about);
    expect(told).to.not.include('Pod bare');
  });
});
