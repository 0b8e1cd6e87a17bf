// The limiter by itself: how many at once, in which order, and how long anybody waits.
import { expect } from 'chai';
import { createLimiter, LimiterFull } from '../../../broker/identity/limiter.ts';
import { createFakeClock } from '../../support/clock.ts';

function setUp(options: { maxInFlight?: number; maxWaiting?: number; maxWaitMs?: number } = {}) {
  const clock = createFakeClock();
  const limiter = createLimiter({
    maxInFlight: 2,
    maxWaiting: 3,
    maxWaitMs: 1000,
    clock,
    ...options,
  });
  const started: number[] = [];
  const ends = new Map<number, PromiseWithResolvers<void>>();
  const run = (id: number) => {
    const end = Promise.withResolvers<void>();
    ends.set(id, end);
    return limiter
      .run(() => {
        started.push(id);
        return end.promise;
      })
      .then(
        () => 'done',
        (error: unknown) => (error instanceof LimiterFull ? 'full' : 'failed'),
      );
  };
  return { clock, run, started, ends };
}

describe('limiter', () => {
  it('starts as many as it may, and the next ones in their order', async () => {
    const { clock, run, started, ends } = setUp();
    const all = [1, 2, 3, 4].map(run);
    await clock.advance(0);
    expect(started).to.deep.equal([1, 2]);
    ends.get(2)?.resolve();
    await clock.advance(0);
    expect(started).to.deep.equal([1, 2, 3]);
    for (const end of ends.values()) end.resolve();
    expect(await Promise.all(all)).to.deep.equal(['done', 'done', 'done', 'done']);
  });

  it('gives the place of a failed task to the next', async () => {
    const { clock, run, started, ends } = setUp({ maxInFlight: 1 });
    const all = [1, 2].map(run);
    await clock.advance(0);
    ends.get(1)?.reject(new Error('broken'));
    await clock.advance(0);
    expect(started).to.deep.equal([1, 2]);
    ends.get(2)?.resolve();
    expect(await Promise.all(all)).to.deep.equal(['failed', 'done']);
  });

  it('lets nobody in beside the one who was handed a place', async () => {
    const { clock, run, started, ends } = setUp({ maxInFlight: 1 });
    const all = [1, 2].map(run);
    ends.get(1)?.resolve();
    await clock.advance(0);
    all.push(run(3));
    await clock.advance(0);
    expect(started).to.deep.equal([1, 2]);
    ends.get(2)?.resolve();
    ends.get(3)?.resolve();
    expect(await Promise.all(all)).to.deep.equal(['done', 'done', 'done']);
  });

  it('refuses at once whom it has no room for to wait', async () => {
    const { clock, run, started, ends } = setUp();
    const all = [1, 2, 3, 4, 5].map(run);
    expect(await run(6)).to.equal('full');
    for (const end of ends.values()) end.resolve();
    expect(await Promise.all(all)).to.deep.equal(['done', 'done', 'done', 'done', 'done']);
    expect(started).to.not.include(6);
    await clock.advance(0);
  });

  it('refuses whose turn does not come in time, and does not start it later', async () => {
    const { clock, run, started, ends } = setUp({ maxInFlight: 1 });
    const first = run(1);
    const second = run(2);
    await clock.advance(999);
    const third = run(3);
    await clock.advance(1);
    expect(await second).to.equal('full');
    ends.get(1)?.resolve();
    ends.get(3)?.resolve();
    expect(await Promise.all([first, third])).to.deep.equal(['done', 'done']);
    expect(started).to.deep.equal([1, 3]);
  });

  it('lets nobody wait where the wait is zero', async () => {
    const { run, ends } = setUp({ maxInFlight: 1, maxWaitMs: 0 });
    const first = run(1);
    expect(await run(2)).to.equal('full');
    ends.get(1)?.resolve();
    expect(await first).to.equal('done');
    ends.get(2)?.resolve();
    const third = run(3);
    ends.get(3)?.resolve();
    expect(await third).to.equal('done');
  });
});
