// Step 2: no broker. Fifty pods that start in that minute all start after it; a pod whose token is to be renewed lives on the
// old one.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { readToken } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  ANNOTATED,
  getClaims,
  keepAndRemove,
  toReader,
  toReaderRole,
} from '../harness/node/reader.ts';
import {
  getContainerStatus,
  isReady,
  type NodeCluster,
  openNodeCluster,
  type Pod,
} from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { listPods, toDeployment } from './deployment.ts';

const EXCHANGE = 'coatcheck-exchange';
const PODS = 50;
const OUTAGE_MS = 60_000;
/** Renewed after 66 to 82 s: just when the minute is over. */
const SHORT = { ttl: '110s' } as const;
/** Each renews at a moment of its own: the first of several comes early. */
const REFRESHING = ['one', 'two', 'three', 'four'];

describe('node outage, step 2: the broker is away', function () {
  this.timeout(400_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let burst: string;
  let steady: string;
  let waiting: readonly Pod[] = [];
  /** The tokens of the refreshing pods before the outage. */
  const first = new Map<string, string>();

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'no-broker',
      roles: {
        burst: toReaderRole('burst'),
        steady: toReaderRole('steady', SHORT),
      },
    });
    burst = (await installation.createNamespace('burst')).name;
    steady = (await installation.createNamespace('steady')).name;
  });
  after(async () => {
    for (const namespace of [burst, steady]) if (namespace) await keepAndRemove(cluster, namespace);
    await installation?.uninstall();
  });

  const listBurst = () => listPods(cluster, burst, 'burst');

  it('gives tokens to pods while it is there', async () => {
    await cluster.apply(
      ...REFRESHING.map((name) =>
        toReader(cluster, { namespace: steady, name, annotations: ANNOTATED }),
      ),
    );
    for (const pod of REFRESHING) {
      await cluster.waitForPod(named(pod), isReady, 120_000);
      first.set(pod, (await readToken(cluster, named(pod))).token);
    }
  });

  it(`starts none of ${PODS} pods in the minute without it, and leaves others their old tokens`, async () => {
    await installation.logs('broker');
    await installation.scale('broker', 0);
    const annotations = { ...ANNOTATED, 'auth.example.io/mode': 'init' };
    await cluster.apply(
      toDeployment(cluster, { namespace: burst, name: 'burst', replicas: PODS, annotations }),
    );
    await Promise.all([sleep(OUTAGE_MS), waitUntilAsked(), expectOldToken()]);
    waiting = await listBurst();
    expect(waiting).to.have.lengthOf(PODS);
    expect(waiting.filter(isReady)).to.deep.equal([]);
  });

  async function waitUntilAsked(): Promise<void> {
    const began = performance.now();
    await waitFor(async () => (await listBurst()).filter(hasTried).length === PODS, {
      what: `${PODS} pods to ask for a token`,
      withinMs: 180_000,
      everyMs: 1000,
    });
    console.log(`      all ${PODS} had asked after ${toSeconds(performance.now() - began)}`);
  }

  /** Of a pod whose renewal has failed, while the old token lives. */
  async function expectOldToken(): Promise<void> {
    let failed = '';
    await waitFor(
      async () => {
        failed = (await findLogged('not renewed; the old token is still valid')) ?? '';
        return failed !== '';
      },
      { what: 'a renewal to fail', withinMs: 180_000, everyMs: 2000 },
    );
    const { token, json } = await readToken(cluster, named(failed));
    expect(token).to.equal(first.get(failed));
    expect(Date.parse(String(json.expires_at))).to.be.greaterThan(Date.now());
    expect(isReady(await cluster.getPod(named(failed)))).to.equal(true);
  }

  it(`starts all ${PODS} when it is back`, async () => {
    const back = performance.now();
    await installation.scale('broker', 1);
    const answering = performance.now();
    await waitFor(async () => (await listBurst()).filter(isReady).length === PODS, {
      what: `${PODS} pods to be Ready`,
      withinMs: 240_000,
      everyMs: 1000,
    });
    const pods = await listBurst();
    const restarted = pods.filter((pod) => getExchange(pod).restartCount > 0).length;
    console.log(
      `      the broker was ready after ${toSeconds(answering - back)}, all ${PODS} pods after ${toSeconds(performance.now() - back)}; ${restarted} exchanges were started again`,
    );
    // None was replaced: the ones that waited are the ones that run.
    const uids = ({ metadata }: Pod) => metadata.uid;
    expect(pods.map(uids).sort()).to.deep.equal(waiting.map(uids).sort());
    for (const { metadata } of pods.slice(0, 3)) {
      const name = { namespace: burst, pod: metadata.name, container: 'app' };
      const { claims } = await getClaims({ cluster, installation }, name);
      expect(claims['kubernetes.io']).to.have.nested.property('pod.uid', metadata.uid);
    }
  });

  it('renews what could not be renewed, and no container was started again for it', async () => {
    for (const pod of REFRESHING) {
      const isRenewed = async () => (await readToken(cluster, named(pod))).token !== first.get(pod);
      await waitFor(isRenewed, { what: `a new token in ${pod}`, withinMs: 120_000, everyMs: 1000 });
      const { pod: after } = await getClaims({ cluster, installation }, named(pod));
      expect(getExchange(after).restartCount, pod).to.equal(0);
      expect(getContainerStatus(after, 'app').restartCount, pod).to.equal(0);
    }
  });

  const named = (pod: string) => ({ namespace: steady, pod, container: 'app' });

  /** The pod whose exchange has written these words. */
  async function findLogged(words: string): Promise<string | undefined> {
    for (const pod of REFRESHING) {
      const log = await cluster.logs({ ...named(pod), container: EXCHANGE });
      if (log.includes(words)) return pod;
    }
    return undefined;
  }
});

function getExchange(pod: Pod) {
  return getContainerStatus(pod, EXCHANGE);
}

/** Whether its exchange runs or has run. */
function hasTried(pod: Pod): boolean {
  if (pod.status.initContainerStatuses === undefined) return false;
  const { state, restartCount } = getExchange(pod);
  return restartCount > 0 || state.running !== undefined || state.terminated !== undefined;
}

function toSeconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
