// Amounts that are the same are the same number, in whatever unit they are written: Guaranteed QoS hangs on it.
import { expect } from 'chai';
import { findAmount } from '../../webhook/quantity.ts';

describe('a quantity', () => {
  const equal: [string, string | number][] = [
    ['500m', '0.5'],
    ['700m', '0.7'],
    ['2300m', '2.3'],
    ['1', 1],
    ['1', '1.'],
    ['.5', '500m'],
    ['1k', '1e3'],
    ['5e-1', '500m'],
    ['1E', '1e18'],
    ['1Gi', '1024Mi'],
    ['0.5Gi', '512Mi'],
    ['100u', '100000n'],
  ];
  for (const [left, right] of equal) {
    it(`of ${left} is one of ${right}`, () =>
      expect(findAmount(left)).to.be.a('number').and.to.equal(findAmount(right)));
  }

  const different: [string, string][] = [
    ['1G', '1Gi'],
    ['1M', '1m'],
    ['700m', '701m'],
  ];
  for (const [left, right] of different) {
    it(`of ${left} is not one of ${right}`, () =>
      expect(findAmount(left)).to.not.equal(findAmount(right)));
  }

  const none: [string, unknown][] = [
    ['an empty text', ''],
    ['a unit alone', 'm'],
    ['an unknown unit', '1g'],
    ['a dot alone', '.'],
    ['two numbers', '1 2'],
    ['a list', ['1']],
    ['an object that cannot be text', { toString: 1, valueOf: 1 }],
    ['null', null],
    ['a number of 100,000 digits and a letter', `${'1'.repeat(100_000)}x`],
  ];
  for (const [name, given] of none) {
    it(`is not ${name}`, () => expect(findAmount(given)).to.equal(undefined));
  }
});
