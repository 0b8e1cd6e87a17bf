// Subject rules against identities: anchored globs, the own cluster, and the first thing that fails.
import { expect } from 'chai';
import fc from 'fast-check';
import { isMatch, isOverlap } from '../../../broker/roles/glob.ts';
import { matchSubject } from '../../../broker/roles/match.ts';
import { NO_NAMESPACES } from '../../../broker/roles/namespaces.ts';
import type { SubjectRule } from '../../../broker/roles/role.ts';

const context = { ownCluster: 'here', namespaces: NO_NAMESPACES };
const identity = {
  kind: 'workload',
  cluster: 'here',
  namespace: 'team-a',
  serviceAccount: 'checkout',
  serviceAccountUid: 'u',
} as const;

describe('a glob', () => {
  const rows: readonly [pattern: string, text: string, expected: boolean][] = [
    ['shop', 'shop', true],
    ['shop', 'shop-a', false],
    ['shop', 'a-shop', false],
    ['*', '', true],
    ['*', 'shop', true],
    ['team-*', 'team-a', true],
    ['team-*', 'team-', true],
    ['team-*', 'my-team-a', false],
    ['*-a', 'team-a', true],
    ['*-a', 'team-ab', false],
    ['a*a', 'a', false],
    ['a*a', 'aa', true],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'axxbyyc', true],
    ['a*b*c', 'acb', false],
    ['*ab*ab*', 'ab', false],
    ['**', 'x', true],
    ['a.c', 'abc', false],
    ['te?m', 'team', false],
    ['[t]eam', 'team', false],
  ];
  for (const [pattern, text, expected] of rows) {
    it(`${pattern} ${expected ? 'fits' : 'does not fit'} "${text}"`, () => {
      expect(isMatch(pattern, text)).to.equal(expected);
    });
  }
  it('agrees with an anchored regular expression', () => {
    const words = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 8 });
    const texts = fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 12 });
    fc.assert(
      fc.property(words, texts, (pattern, text) => {
        expect(isMatch(pattern, text)).to.equal(
          new RegExp(`^${pattern.replaceAll('*', '.*')}$`).test(text),
        );
      }),
      { numRuns: 1000 },
    );
  });
  it('takes linear time where backtracking would not', () => {
    const started = performance.now();
    expect(isMatch('*a'.repeat(60), 'a'.repeat(59))).to.equal(false);
    expect(isMatch(`${'*a'.repeat(100)}*b`, 'a'.repeat(250))).to.equal(false);
    expect(performance.now() - started).to.be.below(100);
  });
  it('overlaps another exactly if some short text fits both', () => {
    const words = fc.string({ unit: fc.constantFrom('a', 'b', '*'), maxLength: 4 });
    const texts = allTexts(8);
    fc.assert(
      fc.property(words, words, (a, b) => {
        expect(isOverlap(a, b)).to.equal(
          texts.some((text) => isMatch(a, text) && isMatch(b, text)),
        );
      }),
      { numRuns: 300 },
    );
  });
});

describe('a subject rule', () => {
  const rows: readonly { title: string; rule: SubjectRule; expected: string }[] = [
    {
      title: 'names the ServiceAccount',
      rule: { namespace: 'team-a', serviceAccount: 'checkout' },
      expected: 'exact',
    },
    {
      title: 'names the own cluster too',
      rule: { cluster: 'here', namespace: 'team-a', serviceAccount: 'checkout' },
      expected: 'exact',
    },
    {
      title: 'has a glob for the namespace',
      rule: { namespace: 'team-*', serviceAccount: 'checkout' },
      expected: 'glob',
    },
    {
      title: 'has a glob for the ServiceAccount',
      rule: { namespace: 'team-a', serviceAccount: '*' },
      expected: 'glob',
    },
    {
      title: 'has every cluster written out',
      rule: { cluster: '*', namespace: 'team-a', serviceAccount: 'checkout' },
      expected: 'glob',
    },
    {
      title: 'names another cluster',
      rule: { cluster: 'there', namespace: 'team-a', serviceAccount: 'checkout' },
      expected: 'cluster',
    },
    {
      title: 'names another namespace',
      rule: { namespace: 'team-b', serviceAccount: 'checkout' },
      expected: 'kubernetes.io.namespace',
    },
    {
      title: 'names another ServiceAccount',
      rule: { namespace: 'team-a', serviceAccount: 'check' },
      expected: 'kubernetes.io.serviceaccount.name',
    },
    {
      title: 'fails in two fields, the first counts',
      rule: { namespace: 'x', serviceAccount: 'y' },
      expected: 'kubernetes.io.namespace',
    },
    { title: 'is about a client', rule: { client: 'ci' }, expected: 'kind' },
    { title: 'is about a person', rule: { user: 'idp:checkout' }, expected: 'kind' },
    { title: 'is about a group', rule: { group: 'idp:team-a' }, expected: 'kind' },
    {
      title: 'is about another issuer',
      rule: { issuer: 'github', subject: '*' },
      expected: 'kind',
    },
  ];
  for (const { title, rule, expected } of rows) {
    it(`that ${title}: ${expected}`, () => {
      const match = matchSubject(rule, { identity, claims: {} }, context);
      expect(match.ok ? match.specificity : match.failed.claim).to.equal(expected);
    });
  }
  it('without cluster means the own one, not the caller’s', () => {
    const rule = { namespace: 'team-a', serviceAccount: 'checkout' };
    expect(
      matchSubject(rule, { identity: { ...identity, cluster: 'there' }, claims: {} }, context),
    ).to.deep.equal({
      ok: false,
      failed: { claim: 'cluster', want: 'here', got: 'there' },
    });
  });
});

function allTexts(length: number): string[] {
  const all = [''];
  for (let at = 0; at < all.length; at++) {
    const text = all[at] ?? '';
    if (text.length < length) all.push(`${text}a`, `${text}b`);
  }
  return all;
}
