// The warm-up: its reviews are real ones, of every kind it claims, and it ends in time.
import { expect } from 'chai';
import { review } from '../../webhook/review.ts';
import { warmUp } from '../../webhook/warm-up.ts';
import { SETTINGS } from './golden.ts';

describe('the warm-up', () => {
  const run = (prefix: string, milliseconds: number): string[] => {
    const outcomes: string[] = [];
    // One tick for each look at the clock; the first one is the start.
    let time = 0;
    warmUp((body) => outcomes.push(review(body, { ...SETTINGS, prefix }).outcome), {
      prefix,
      milliseconds,
      now: () => time++,
    });
    return outcomes;
  };

  for (const prefix of [SETTINGS.prefix, 'other.example/']) {
    it(`injects pods and denies one under ${prefix}`, () => {
      const outcomes = run(prefix, 2);
      const known = ['injected', 'injected', 'injected', 'injected', 'denied'];
      expect(outcomes).to.deep.equal([...known, 'injected']);
    });
  }

  it('goes on until its time is over', () => {
    expect(run(SETTINGS.prefix, 4)).to.have.lengthOf(18);
  });

  it('has a pod in each round that none of its last rounds had', () => {
    const seen: string[] = [];
    let time = 0;
    warmUp((body) => seen.push(Buffer.from(body).toString()), {
      prefix: SETTINGS.prefix,
      milliseconds: 281,
      now: () => time++,
    });
    const last = seen.filter((_, i) => i % 6 === 5);
    expect(last).to.have.lengthOf(280);
    expect(new Set(last).size).to.equal(280);
  });

  it('answers nothing where it is given no time', () => {
    expect(run(SETTINGS.prefix, 0)).to.deep.equal([]);
  });
});
