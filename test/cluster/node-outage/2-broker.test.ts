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
/** Renewed after 60 to 75 s; the rest is time for the broker to come back. */
const SHORT = { ttl: '100s' } as const;
/** Each renews at a moment of its own: the first of several comes early. */
const REFRESHING = ['one', 'two', 'three', 'four'];

describe('node outage, step 2: the broker is away', function () {
  this.timeout(400_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let burst: string;
  let steady: string;

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
  const stopBroker = async () => {
    await installation.logs('broker');
    await installation.scale('broker', 0);
  };

  it(`starts no pod of ${PODS} for a minute, and all of them after it`, async () => {
    await stopBroker();
    const began = performance.now();
    const annotations = { ...ANNOTATED, 'auth.example.io/mode': 'init' };
    await cluster.apply(
      toDeployment(cluster, { namespace: burst, name: 'burst', replicas: PODS, annotations }),
    );
    await waitFor(async () => (await listBurst()).filter(hasTried).length === PODS, {
      what: `${PODS} pods to ask for a token`,
      withinMs: 180_000,
      everyMs: 1000,
    });
    const asked = performance.now() - began;
    await sleep(Math.max(0, OUTAGE_MS - asked));
    const waiting = await listBurst();
    expect(waiting).to.have.lengthOf(PODS);
    expect(waiting.filter(isReady)).to.deep.equal([]);

    const back = performance.now();
    await installation.scale('broker', 1);
    const answering = performance.now();
    await waitFor(async () => (await listBurst()).filter(isReady).length === PODS, {
      what: `${PODS} pods to be Ready`,
      withinMs: 240_000,
      everyMs: 1000,
    });
    const pods = await listBurst();
    console.log(
      [
        `      asked within ${toSeconds(asked)}, away for ${toSeconds(back - began)}`,
        `broker ready after ${toSeconds(answering - back)}`,
        `all ${PODS} pods after ${toSeconds(performance.now() - back)}`,
        `exchanges started again: ${pods.filter((pod) => getExchange(pod).restartCount > 0).length}`,
      ].join('; '),
    );
    // None was replaced: the ones that waited are the ones that run.
    const uids = ({ metadata }: Pod) => metadata.uid;
    expect(pods.map(uids).sort()).to.deep.equal(waiting.map(uids).sort());
    for (const { metadata } of pods.slice(0, 3)) {
      const name = { namespace: burst, pod: metadata.name, container: 'app' };
      const { claims } = await getClaims({ cluster, installation }, name);
      expect(claims['kubernetes.io']).to.have.nested.property('pod.uid', metadata.uid);
    }
    await cluster.kubectl(['delete', 'deployment', 'burst', '-n', burst, '--wait=false']);
  });

  it('leaves a pod its old token while that lives, and renews it after', async () => {
    await cluster.apply(
      ...REFRESHING.map((name) =>
        toReader(cluster, { namespace: steady, name, annotations: ANNOTATED }),
      ),
    );
    const first = new Map<string, string>();
    for (const pod of REFRESHING) {
      await cluster.waitForPod(named(pod), isReady, 120_000);
      first.set(pod, (await readToken(cluster, named(pod))).token);
    }
    await stopBroker();
    await waitFor(async () => (await findLogged('not renewed; the old token')) !== undefined, {
      what: 'a renewal to fail',
      withinMs: 180_000,
      everyMs: 1000,
    });
    const failed = (await findLogged('not renewed; the old token')) ?? '';
    const { token, json } = await readToken(cluster, named(failed));
    expect(token).to.equal(first.get(failed));
    expect(Date.parse(String(json.expires_at))).to.be.greaterThan(Date.now());
    expect(isReady(await cluster.getPod(named(failed)))).to.equal(true);

    await installation.scale('broker', 1);
    await waitFor(async () => (await readToken(cluster, named(failed))).token !== token, {
      what: 'the token to be renewed',
      withinMs: 90_000,
      everyMs: 1000,
    });
    for (const pod of REFRESHING) {
      const { pod: after } = await getClaims({ cluster, installation }, named(pod));
      expect(getExchange(after).restartCount, pod).to.equal(0);
      expect(getContainerStatus(after, 'app').restartCount, pod).to.equal(0);
    }
    expect(await findLogged('the token has expired')).to.equal(undefined);
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
