// Times of records against Date's own.
import { expect } from 'chai';
import fc from 'fast-check';
import { toUtcTime } from '../../broker/utc-time.ts';

describe('a time of a record', () => {
  const toReference = (seconds: number) => new Date(seconds * 1000).toISOString();

  it('is what Date says, for every second from 1970 to 9999', () => {
    const seconds = fc.integer({ min: 0, max: 253_402_300_799 });
    fc.assert(
      fc.property(seconds, (at) => toUtcTime(at) === toReference(at)),
      { numRuns: 5000 },
    );
  });

  it('is what Date says on the first and last days of months, leap years or not', () => {
    for (const year of [1970, 1999, 2000, 2024, 2026, 2100, 9999]) {
      for (let month = 0; month < 12; month++) {
        const first = Date.UTC(year, month, 1) / 1000;
        for (const at of [first, Math.max(first - 1, 0)]) {
          expect(toUtcTime(at)).to.equal(toReference(at));
        }
      }
    }
  });

  it('is left to Date where it is no such second', () => {
    for (const at of [-1, 0.5, 253_402_300_800]) expect(toUtcTime(at)).to.equal(toReference(at));
  });
});
