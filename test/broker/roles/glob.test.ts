// Whether a text fits two patterns at once, held against trying every short text.
import { expect } from 'chai';
import { isMatch, isOverlap } from '../../../broker/roles/glob.ts';

/** All texts over these characters of at most this length. */
function spell(characters: string, longest: number): readonly string[] {
  const all = [''];
  for (let from = 0, length = 1; length <= longest; length++) {
    const to = all.length;
    for (; from < to; from++) for (const one of characters) all.push(`${all[from]}${one}`);
  }
  return all;
}

describe('two patterns', () => {
  const patterns = spell('ab*', 3);
  // Whatever two patterns of three characters share, they share a text of at most six.
  const texts = spell('ab', 6);

  it('overlap where a text fits both, and nowhere else', () => {
    const fitting = patterns.map((pattern) => texts.filter((text) => isMatch(pattern, text)));
    const sets = fitting.map((list) => new Set(list));
    patterns.forEach((a, i) => {
      patterns.forEach((b, j) => {
        const expected = fitting[i]?.some((text) => sets[j]?.has(text)) ?? false;
        if (isOverlap(a, b) !== expected)
          throw new Error(`"${a}" and "${b}" should ${expected ? '' : 'not '}overlap`);
      });
    });
  });

  const rows: readonly (readonly [string, string, boolean])[] = [
    ['team-*', '*-web', true],
    ['team-*', 'crew-*', false],
    ['*-web', '*-db', false],
    ['a*b*c', 'a*c', true],
    ['a*bc', 'ab*d', false],
    ['a*x*b', 'ay*yb', true],
    ['a*x', 'ax*', true],
    ['*', '', true],
    ['a*a', 'a', false],
  ];
  for (const [a, b, expected] of rows) {
    it(`${a} and ${b} ${expected ? 'overlap' : 'do not overlap'}`, () => {
      expect(isOverlap(a, b)).to.equal(expected);
      expect(isOverlap(b, a)).to.equal(expected);
    });
  }
});
