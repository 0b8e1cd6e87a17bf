// Buckets by key: what is there at first, how it comes back, and that nobody is locked out by a clock or remembered for ever.
import { expect } from 'chai';
import { createBuckets } from '../../broker/buckets.ts';
import { createFakeClock } from '../support/clock.ts';

function setUp(options: { perSecond?: number; burstSeconds?: number; maxKeys?: number } = {}) {
  const clock = createFakeClock();
  const buckets = createBuckets({ perSecond: 2, burstSeconds: 5, maxKeys: 3, clock, ...options });
  const take = (key: string, count: number) => {
    for (let i = 0; i < count; i += 1) buckets.take(key);
  };
  return { clock, buckets, take };
}

describe('buckets', () => {
  it('have as many as they hold, and then none, each key by itself', () => {
    const { buckets, take } = setUp();
    take('a', 9);
    expect(buckets.isEmpty('a')).to.equal(false);
    take('a', 1);
    expect(buckets.isEmpty('a')).to.equal(true);
    expect(buckets.isEmpty('b')).to.equal(false);
  });
  it('get one back at a time, and are full after a while, not fuller', async () => {
    const { clock, buckets, take } = setUp();
    take('a', 10);
    expect(buckets.secondsUntilNext('a')).to.equal(0.5);
    await clock.advance(499);
    expect(buckets.isEmpty('a')).to.equal(true);
    await clock.advance(1);
    expect([buckets.isEmpty('a'), buckets.secondsUntilNext('a')]).to.deep.equal([false, 0]);
    take('a', 1);
    expect(buckets.isEmpty('a')).to.equal(true);
    await clock.advance(3_600_000);
    take('a', 9);
    expect(buckets.isEmpty('a')).to.equal(false);
    take('a', 1);
    expect(buckets.isEmpty('a')).to.equal(true);
  });
  it('owe one at most, however long somebody goes on', async () => {
    const { clock, buckets, take } = setUp();
    take('a', 10_000);
    await clock.advance(999);
    expect(buckets.isEmpty('a')).to.equal(true);
    await clock.advance(1);
    expect(buckets.isEmpty('a')).to.equal(false);
  });
  it('lock nobody out where the clock is set back', async () => {
    const { clock, buckets, take } = setUp();
    take('a', 10);
    await clock.advance(-3_600_000);
    expect(buckets.secondsUntilNext('a')).to.be.at.most(1);
  });
  it('are never empty where the rate is zero, and none is kept', () => {
    const { buckets, take } = setUp({ perSecond: 0 });
    take('a', 1000);
    expect([buckets.isEmpty('a'), buckets.size, buckets.secondsUntilNext('a')]).to.deep.equal([
      false,
      0,
      0,
    ]);
  });
  it('are forgotten by their last use where there are too many', () => {
    const { buckets, take } = setUp();
    take('a', 10);
    take('b', 10);
    take('c', 10);
    take('a', 1);
    take('d', 1);
    expect(buckets.size).to.equal(3);
    expect(['a', 'b', 'c'].map((key) => buckets.isEmpty(key))).to.deep.equal([true, false, true]);
  });
});
