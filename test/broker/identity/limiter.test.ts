// The limiter by itself: how many at once, in which order, how long anybody waits, and who gives way.
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
    random: () => 0,
    ...options,
  });
  const started: number[] = [];
  const seconds: number[] = [];
  const ends = new Map<number, PromiseWithResolvers<void>>();
  const run = (id: number, name = 'shop/checkout') => {
    const [group = '', member = ''] = name.split('/');
    const end = Promise.withResolvers<void>();
    ends.set(id, end);
    return limiter
      .run({ group, member }, () => {
        started.push(id);
        return end.promise;
      })
      .then(
        () => 'done',
        (error: unknown) => {
          if (!(error instanceof LimiterFull)) return 'failed';
          seconds.push(error.retryAfterSeconds);
          return error.why;
        },
      );
  };
  /** Ends what runs, one after another, and says who started after it. */
  const drain = async () => {
    await clock.advance(0);
    const from = started.length;
    for (let at = from - 1; at < started.length; at += 1) {
      ends.get(started[at] ?? -1)?.resolve();
      await clock.advance(0);
    }
    return started.slice(from);
  };
  return { clock, run, started, ends, seconds, drain };
}

describe('limiter', () => {
  it('starts as many as it may, and the next ones in their order', async () => {
    const { clock, run, started, ends } = setUp();
    const all = [1, 2, 3, 4].map((id) => run(id));
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
    const all = [1, 2].map((id) => run(id));
    await clock.advance(0);
    ends.get(1)?.reject(new Error('broken'));
    await clock.advance(0);
    expect(started).to.deep.equal([1, 2]);
    ends.get(2)?.resolve();
    expect(await Promise.all(all)).to.deep.equal(['failed', 'done']);
  });

  it('lets nobody in beside the one who was handed a place', async () => {
    const { clock, run, started, ends } = setUp({ maxInFlight: 1 });
    const all = [1, 2].map((id) => run(id));
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
    const all = [1, 2, 3, 4, 5].map((id) => run(id));
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
    expect(await second).to.equal('late');
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

  describe('is fair', () => {
    it('gives each namespace its turn, however many of another one wait', async () => {
      const { run, drain } = setUp({ maxInFlight: 1, maxWaiting: 100 });
      void run(0);
      for (let id = 1; id <= 5; id += 1) void run(id, 'flood/a');
      for (const id of [11, 12]) void run(id, 'quiet/a');
      void run(21, 'other/a');
      expect(await drain()).to.deep.equal([1, 11, 21, 2, 12, 3, 4, 5]);
    });
    it('lets nobody overtake by coming back: a new turn is behind those that wait', async () => {
      const { clock, run, started, ends, drain } = setUp({ maxInFlight: 1, maxWaiting: 100 });
      void run(0);
      void run(1, 'a/a');
      void run(11, 'b/a');
      ends.get(0)?.resolve();
      await clock.advance(0);
      void run(2, 'a/a');
      expect([...started, ...(await drain())]).to.deep.equal([0, 1, 11, 2]);
    });
    it('gives each ServiceAccount of a namespace its turn', async () => {
      const { run, drain } = setUp({ maxInFlight: 1, maxWaiting: 100 });
      void run(0);
      for (const id of [1, 2, 3]) void run(id, 'shop/loop');
      void run(11, 'shop/checkout');
      void run(21, 'other/a');
      expect(await drain()).to.deep.equal([1, 21, 11, 2, 3]);
    });
    it('has the newest of the longest queue give way to a quiet namespace', async () => {
      const { run, drain } = setUp({ maxInFlight: 1, maxWaiting: 4 });
      void run(0);
      const flood = [1, 2, 3, 4].map((id) => run(id, 'flood/a'));
      void run(11, 'quiet/a');
      expect(await flood[3]).to.equal('full');
      void run(12, 'quiet/b');
      expect(await flood[2]).to.equal('full');
      expect(await run(5, 'flood/a'), 'no room').to.equal('full');
      expect(await run(13, 'quiet/c'), 'as much as the other has').to.equal('full');
      expect(await drain()).to.deep.equal([1, 11, 2, 12]);
    });
    it('has the newest of the longest queue of a namespace give way within it', async () => {
      const { run, drain } = setUp({ maxInFlight: 1, maxWaiting: 3 });
      void run(0);
      const loop = [1, 2, 3].map((id) => run(id, 'shop/loop'));
      void run(11, 'shop/checkout');
      expect(await loop[2]).to.equal('full');
      expect(await run(12, 'shop/checkout')).to.equal('full');
      expect(await drain()).to.deep.equal([1, 11, 2]);
    });
    it('takes nobody out for one who is no quieter', async () => {
      const { run, drain } = setUp({ maxInFlight: 1, maxWaiting: 2 });
      void run(0);
      void run(1, 'a/a');
      void run(11, 'b/a');
      expect(await run(21, 'c/a')).to.equal('full');
      expect(await drain()).to.deep.equal([1, 11]);
    });
    it('says when the queue of that namespace may be through, by what tasks took', async () => {
      const { clock, run, ends, seconds, drain } = setUp({ maxInFlight: 1, maxWaiting: 6 });
      void run(0);
      await clock.advance(800);
      ends.get(0)?.resolve();
      await clock.advance(0);
      void run(1);
      for (const id of [2, 3, 4, 5, 6]) void run(id, 'flood/a');
      void run(11, 'quiet/a');
      expect(await run(7, 'flood/a')).to.equal('full');
      // Seven turns of 0.8 s.
      expect(seconds).to.deep.equal([6]);
      expect(await drain()).to.deep.equal([2, 11, 3, 4, 5, 6]);
    });
  });
});
