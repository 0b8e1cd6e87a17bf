import { expect } from 'chai';
import fc from 'fast-check';
import {
  backoff,
  nextRenewalWait,
  nextWait,
  type Pace,
  parseRetryAfter,
  toRenewalTime,
} from '../../exchange/retry.ts';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const nearlyOne = () => 1 - 2 ** -32;

function failed(pace: Pace, failures = 1, retryAfterMs?: number, random = 0.5) {
  return { pace, failures, retryAfterMs, random: () => random };
}

describe('exchange retry', () => {
  describe('backoff', () => {
    const curve = { floorMs: 100, baseMs: 500, capMs: 4_000 };
    for (const [failures, span] of [
      [1, 500],
      [2, 1_000],
      [3, 2_000],
      [4, 4_000],
      [5, 4_000],
      [5_000, 4_000],
    ] as const) {
      it(`spans ${span} ms above the floor after ${failures} failures`, () => {
        expect(backoff(curve, failures, () => 0)).to.equal(100);
        expect(backoff(curve, failures, nearlyOne)).to.equal(100 + span - 1);
      });
    }
  });

  describe('the next try of a first exchange', () => {
    const time = { leftMs: 60_000, reserveMs: 2_000 };
    const rows = [
      {
        title: 'comes between nothing and 500 ms after a first fast failure',
        given: failed('fast'),
        expected: 250,
      },
      { title: 'comes later after more failures', given: failed('fast', 4), expected: 2_000 },
      {
        title: 'comes 2 s later at the earliest after a slow failure',
        given: failed('slow', 1, undefined, 0),
        expected: 2_000,
      },
      {
        title: 'comes after Retry-After, with a little jitter',
        given: failed('fast', 1, 5_000),
        expected: 5_500,
      },
      {
        title: 'comes later than a Retry-After of zero',
        given: failed('slow', 1, 0, 0),
        expected: 2_000,
      },
      {
        title: 'comes before the deadline whatever Retry-After says',
        given: failed('fast', 1, 3_600_000),
        expected: 58_000,
      },
    ];
    for (const { title, given, expected } of rows)
      it(title, () => expect(nextWait(given, time)).to.equal(expected));
    it('does not come after a final failure', () =>
      expect(nextWait(failed('never'), time)).to.equal(undefined));
    it('does not come where only the reserve is left', () => {
      expect(nextWait(failed('fast'), { leftMs: 2_000, reserveMs: 2_000 })).to.equal(undefined);
    });
    it('always leaves time for itself', () => {
      fc.assert(
        fc.property(
          fc.constantFrom<Pace>('fast', 'slow'),
          fc.integer({ min: 1, max: 10_000 }),
          fc.option(fc.integer({ min: 0, max: 86_400_000 }), { nil: undefined }),
          fc.double({ min: 0, max: 0.999_999, noNaN: true }),
          fc.integer({ min: 2_001, max: 600_000 }),
          (pace, failures, retryAfterMs, random, leftMs) => {
            const wait = nextWait(
              { pace, failures, retryAfterMs, random: () => random },
              { leftMs, reserveMs: 2_000 },
            );
            expect(wait).to.be.within(0, leftMs - 2_000);
          },
        ),
      );
    });
  });

  describe('the next try of a renewal', () => {
    const rows = [
      {
        title: 'fits several times into a short rest of life',
        given: failed('fast', 20),
        lifeLeftMs: 8_000,
        min: 0,
        max: 2_000,
      },
      {
        title: 'comes within 30 s in a long rest of life',
        given: failed('fast', 20),
        lifeLeftMs: 3_600_000,
        min: 0,
        max: 30_000,
      },
      {
        title: 'comes within 10 s once the token has expired',
        given: failed('fast', 20),
        lifeLeftMs: -1,
        min: 0,
        max: 10_000,
      },
      {
        title: 'comes slowly after a refusal',
        given: failed('slow', 20),
        lifeLeftMs: 3_600_000,
        min: 5_000,
        max: 35_000,
      },
      {
        title: 'comes even more slowly, but comes, after a final refusal',
        given: failed('never', 20),
        lifeLeftMs: 3_600_000,
        min: 5_000,
        max: 65_000,
      },
      {
        title: 'comes within five minutes whatever Retry-After says',
        given: failed('fast', 1, 86_400_000),
        lifeLeftMs: 3_600_000,
        min: 300_000,
        max: 300_000,
      },
    ];
    for (const { title, given, lifeLeftMs, min, max } of rows) {
      it(title, () => {
        expect(nextRenewalWait({ ...given, random: () => 0 }, lifeLeftMs)).to.be.at.least(min);
        expect(nextRenewalWait({ ...given, random: nearlyOne }, lifeLeftMs)).to.be.at.most(max);
      });
    }
  });

  describe('Retry-After', () => {
    const rows: readonly [string, string | undefined, number | undefined][] = [
      ['no header', undefined, undefined],
      ['seconds', '7', 7_000],
      ['seconds with blanks', ' 7 ', 7_000],
      ['more than a day', '999999', 86_400_000],
      ['a date', 'Sun, 22 Nov 2026 12:00:05 GMT', 5_000],
      ['a date that has passed', 'Sun, 22 Nov 2026 11:00:00 GMT', 0],
      ['a negative number', '-5', undefined],
      ['a fraction', '1.5', undefined],
      ['words', 'soon', undefined],
      ['nothing', '', undefined],
    ];
    for (const [title, given, expected] of rows) {
      it(`reads ${title}`, () => expect(parseRetryAfter(given, NOW)).to.equal(expected));
    }
  });

  it('plans a renewal at 60 to 75 % of the life', () => {
    const life = { startMs: NOW, endMs: NOW + 1_000_000 };
    expect(toRenewalTime(life, () => 0)).to.equal(NOW + 600_000);
    expect(toRenewalTime(life, nearlyOne)).to.be.within(NOW + 749_999, NOW + 750_000);
  });
});
