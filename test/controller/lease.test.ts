// Two controllers, one Lease, an API server that knows conflicts, and clocks that tests move.
import { expect } from 'chai';
import { createKubeClient } from '../../common/kube/client.ts';
import { createLogger } from '../../common/log.ts';
import { createLease, type Lease } from '../../controller/lease.ts';
import { createFakeClock, type FakeClock } from '../support/clock.ts';
import { keep } from '../support/tokens.ts';
import { type FakeApiServer, startApiServer } from './api-server.ts';
import { until } from './harness.ts';

const KEY = 'product/coatcheck-controller';

interface Candidate {
  readonly lease: Lease;
  readonly clock: FakeClock;
  /** Times at which it began and ended to act, by its own clock. */
  readonly terms: { from: number; to?: number }[];
  stop(): Promise<void>;
}

describe('the lease', () => {
  let api: FakeApiServer;
  let candidates: Candidate[] = [];
  beforeEach(async () => {
    api = await startApiServer();
    candidates = [];
  });
  afterEach(async () => {
    api.intercept = undefined;
    await Promise.all(candidates.map((one) => one.stop()));
    await api.close();
  });

  function compete(identity: string, clock = createFakeClock(0)): Candidate {
    const { url, caFile, tokenFile } = api;
    const client = createKubeClient({ url, caFile, tokenFile, timeoutMs: 300 });
    const terms: Candidate['terms'] = [];
    let text = '';
    const lease = createLease({
      client,
      namespace: 'product',
      name: 'coatcheck-controller',
      identity,
      clock,
      wallClock: { now: () => Date.UTC(2026, 10, 22) + clock.now() },
      random: () => 0,
      log: createLogger({
        level: 'debug',
        process: 'controller',
        stream: {
          write: (line: string) => {
            text += line;
          },
        },
      }),
      lead: async (signal) => {
        const term: { from: number; to?: number } = { from: clock.now() };
        terms.push(term);
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        term.to = clock.now();
      },
    });
    const candidate = {
      lease,
      clock,
      terms,
      stop: async () => {
        await lease.stop();
        client.close();
        keep(`lease-${identity}.log`, text);
      },
    };
    candidates.push(candidate);
    return candidate;
  }
  const holder = () =>
    (api.find('leases', KEY)?.spec as { holderIdentity?: string })?.holderIdentity;
  const countRequests = () => api.requests.filter((one) => one.includes('/leases')).length;
  /** Moves the clock, and waits until the tries that this woke up have their answers. */
  const step = async (clock: FakeClock, ms: number) => {
    const before = countRequests();
    await clock.advance(ms);
    if (ms >= 2000) await until(() => countRequests() > before, 'another try');
    await new Promise((resolve) => setTimeout(resolve, 30));
  };

  it('is made by the first who wants it, and renewed every two seconds', async () => {
    const { lease, clock } = compete('a');
    lease.start();
    await until(() => lease.isHeld(), 'the lease held');
    const first = api.find('leases', KEY)?.spec as Record<string, unknown>;
    expect(first).to.deep.include({
      holderIdentity: 'a',
      leaseDurationSeconds: 15,
      acquireTime: '2026-11-22T00:00:00.000000Z',
      leaseTransitions: 0,
    });
    await step(clock, 2000);
    expect(api.find('leases', KEY)?.spec).to.eql({
      ...first,
      renewTime: '2026-11-22T00:00:02.000000Z',
    });
    expect(lease.isHeld()).to.equal(true);
  });

  it('goes to one of two who want it at once', async () => {
    const [a, b] = [compete('a'), compete('b')];
    a.lease.start();
    b.lease.start();
    await until(() => a.lease.isHeld() || b.lease.isHeld(), 'one of them');
    await step(a.clock, 2000);
    await step(b.clock, 2000);
    expect([a.lease.isHeld(), b.lease.isHeld()].filter(Boolean)).to.have.length(1);
    expect(a.terms.length + b.terms.length).to.equal(1);
  });

  it('is not taken while it is renewed, however long one waits', async () => {
    const [a, b] = [compete('a'), compete('b')];
    a.lease.start();
    await until(() => a.lease.isHeld(), 'a');
    b.lease.start();
    for (let seconds = 0; seconds < 40; seconds += 2) {
      await step(a.clock, 2000);
      await step(b.clock, 2000);
    }
    expect(a.lease.isHeld()).to.equal(true);
    expect(b.terms).to.eql([]);
  });

  it('is lost 10 s after the last renewal that was sent in vain', async () => {
    const { lease, clock, terms } = compete('a');
    lease.start();
    await until(() => lease.isHeld(), 'a');
    api.intercept = () => 500;
    for (let ms = 0; ms < 8000; ms += 2000) await step(clock, 2000);
    expect(lease.isHeld()).to.equal(true);
    await clock.advance(2000);
    expect(lease.isHeld()).to.equal(false);
    expect(terms).to.eql([{ from: 0, to: 10_000 }]);
  });

  it('is taken 15 s after its holder was last seen to renew it, and not before', async () => {
    const holds = (renewTime: string) =>
      api.put('leases', {
        metadata: { name: 'coatcheck-controller', namespace: 'product' },
        spec: { holderIdentity: 'gone', leaseDurationSeconds: 15, leaseTransitions: 6, renewTime },
      });
    holds('2026-11-22T00:00:00.000000Z');
    const { lease, clock, terms } = compete('b');
    lease.start();
    await until(() => countRequests() > 0, 'b to look');
    for (let ms = 0; ms < 10_000; ms += 2000) await step(clock, 2000);
    // By the clock of whoever looks, and not by the time that the other one has written.
    holds('2020-01-01T00:00:00.000000Z');
    await step(clock, 2000);
    const seenAt = clock.now();
    while (terms.length === 0 && clock.now() < seenAt + 30_000) await step(clock, 1000);
    expect((terms[0]?.from ?? 0) - seenAt).to.be.within(15_000, 17_500);
    expect(api.find('leases', KEY)?.spec).to.deep.include({
      holderIdentity: 'b',
      leaseTransitions: 7,
    });
  });

  it('is lost at its deadline while a renewal gets no answer at all', async () => {
    const { lease, clock, terms } = compete('a');
    lease.start();
    await until(() => lease.isHeld(), 'a');
    api.intercept = () => 'silence';
    await clock.advance(10_000);
    expect(lease.isHeld()).to.equal(false);
    await until(() => terms[0]?.to !== undefined, 'the end');
    expect(terms).to.eql([{ from: 0, to: 10_000 }]);
  });

  it('is lost at once where another one has taken it', async () => {
    const { lease, clock, terms } = compete('a');
    lease.start();
    await until(() => lease.isHeld(), 'a');
    api.put('leases', {
      metadata: { name: 'coatcheck-controller', namespace: 'product' },
      spec: { holderIdentity: 'b', leaseDurationSeconds: 15 },
    });
    // The renewal meets a conflict, the try after it reads who has it.
    await step(clock, 2000);
    await step(clock, 2000);
    expect(lease.isHeld()).to.equal(false);
    expect(terms).to.have.length(1);
    expect(holder()).to.equal('b');
  });

  it('is given back at a clean stop, and then taken at the next try', async () => {
    const [a, b] = [compete('a'), compete('b')];
    a.lease.start();
    await until(() => a.lease.isHeld(), 'a');
    b.lease.start();
    await until(() => countRequests() >= 3, 'b to look');
    await a.lease.stop();
    expect(holder()).to.equal('');
    await step(b.clock, 3000);
    await until(() => b.lease.isHeld(), 'b');
    expect(a.terms[0]?.to).to.not.equal(undefined);
  });
});
