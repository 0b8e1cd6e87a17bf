// A complete set of 100,000 pods and 20,000 ServiceAccounts at a whole broker: no other request waits for the whole of it.
// Measured in CPU time of one turn of the event loop against that of all of them, which a busy machine changes alike.
import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import { parseClusters } from '../../broker/identity/clusters.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { startTestBroker, type TestBroker } from './harness.ts';

const CONTROLLER = { namespace: 'product', serviceAccount: 'controller' };
const ACCOUNT = '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70';
/** In one piece it is two thirds and more; a twentieth is seen, and more where garbage is collected just then. */
const MOST = 0.3;

describe('a complete set of 100,000 pods', function () {
  this.timeout(60_000);
  let issuer: FakeIssuer;
  let broker: TestBroker;
  before(async () => {
    issuer = await startIssuer();
    const entry = {
      name: 'local',
      kind: 'kubernetes',
      issuer: issuer.issuer,
      keys: { url: issuer.jwksUrl },
      controller: CONTROLLER,
    };
    const clusters = parseClusters(JSON.stringify({ clusters: [entry] }), { file: '/clusters' });
    broker = await startTestBroker('live-set', { fake: issuer, clusters });
  });
  after(async () => {
    await broker.stop();
    await issuer.close();
  });

  it('is taken in pieces, and is whole', async () => {
    const own = randomUUID();
    const pods = [own, ...Array.from({ length: 99_999 }, () => randomUUID())];
    const accounts = [ACCOUNT, ...Array.from({ length: 19_999 }, () => randomUUID())];
    const shares: number[] = [];
    for (const gone of [0, 1000]) {
      const left = pods.slice(0, pods.length - gone);
      const turns = measureTurns();
      const answer = await put(own, { pods: left, serviceAccounts: accounts });
      const { longest, all } = turns.stop();
      shares.push(longest / all);
      console.log(
        `      longest turn of the event loop: ${longest.toFixed(1)} of ${all.toFixed(0)} ms of CPU time`,
      );
      expect(answer.body).to.deep.equal({ pods: left.length, serviceAccounts: 20_000, died: gone });
    }
    // Garbage of other tests may be collected in one of the two.
    expect(Math.min(...shares)).to.be.below(MOST);
  });

  function put(pod: string, set: object) {
    const token = issuer.token({
      ...CONTROLLER,
      audiences: ['coatcheck-control'],
      pod: { name: 'controller-0', uid: pod },
    });
    return broker.request('/api/v1/clusters/local/live', {
      method: 'PUT',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ takenAt: new Date().toISOString(), ...set }),
    });
  }
});

/** CPU milliseconds of this thread until it is stopped, in the longest turn and in all; what sends the request is in it, too. */
function measureTurns(): { stop(): { longest: number; all: number } } {
  let longest = 0;
  let all = 0;
  let isOn = true;
  let before = process.threadCpuUsage();
  const turn = () => {
    const { user, system } = process.threadCpuUsage(before);
    longest = Math.max(longest, (user + system) / 1000);
    all += (user + system) / 1000;
    before = process.threadCpuUsage();
    if (isOn) setImmediate(turn);
  };
  // Not the turn in which the request is made.
  setImmediate(() => {
    before = process.threadCpuUsage();
    setImmediate(turn);
  });
  return {
    stop: () => {
      isOn = false;
      return { longest, all };
    },
  };
}
