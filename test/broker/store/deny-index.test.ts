// Which tokens a denial is about. Each member of a rule has a token that fits and a near miss.
import { expect } from 'chai';
import { createDenyIndex, type DeniableToken } from '../../../broker/store/deny-index.ts';
import type { TokenFilter } from '../../../broker/store/store.ts';
import { NOW, sampleDenial } from './samples.ts';

const toRoleTag = (role: string) => `tag-${role}`;
const token: DeniableToken = {
  tokenId: 'jti-1',
  subject: 'k8s:local:shop:checkout',
  cluster: 'local',
  namespace: 'shop',
  serviceAccount: 'checkout',
  podName: 'checkout-1',
  podUid: 'uid-1',
  audience: 'payments',
  roleTag: 'tag-payments-checkout',
  issuedAt: NOW,
};

const RULES: readonly { match: TokenFilter; nearMiss: Partial<DeniableToken> }[] = [
  { match: { podUid: 'uid-1' }, nearMiss: { podUid: 'uid-2' } },
  { match: { podName: 'checkout-1' }, nearMiss: { podName: 'checkout-10' } },
  { match: { serviceAccount: 'checkout' }, nearMiss: { serviceAccount: 'Checkout' } },
  {
    match: { subject: 'k8s:local:shop:checkout' },
    nearMiss: { subject: 'k8s:local:shop:checkout2' },
  },
  { match: { role: 'payments-checkout' }, nearMiss: { roleTag: 'payments-checkout' } },
  { match: { namespace: 'shop' }, nearMiss: { namespace: 'shop2' } },
  { match: { audience: 'payments' }, nearMiss: { audience: 'payment' } },
  { match: { cluster: 'local' }, nearMiss: { cluster: 'remote' } },
  { match: { kind: 'client' }, nearMiss: { kind: 'static' } },
  { match: { cluster: 'local', namespace: 'shop' }, nearMiss: { cluster: 'remote' } },
  {
    match: { namespace: 'shop', serviceAccount: 'checkout', cluster: 'local' },
    nearMiss: { namespace: 'other' },
  },
];

describe('deny list', () => {
  for (const { match, nearMiss } of RULES) {
    it(`refuses by ${JSON.stringify(match)} what fits, and not ${JSON.stringify(nearMiss)}`, () => {
      const index = createDenyIndex([sampleDenial('rule', { match })], toRoleTag);
      expect(index.find(token)?.id).to.equal('rule');
      expect(index.find({ ...token, ...nearMiss })).to.equal(undefined);
    });
  }

  for (const member of ['podUid', 'podName', 'namespace', 'audience', 'roleTag'] as const) {
    it(`takes a token without ${member} for one that a rule about it does not fit`, () => {
      const { [member]: _, ...without } = token;
      const match = { [member === 'roleTag' ? 'role' : member]: 'undefined' };
      const index = createDenyIndex([sampleDenial('rule', { match })], toRoleTag);
      expect(index.find(without as DeniableToken)).to.equal(undefined);
    });
  }

  it('lets of equal rules the one that reaches furthest count, in whatever order they came', () => {
    const match = { namespace: 'shop' };
    const near = sampleDenial('near', { match, issuedBefore: NOW - 10 });
    const far = sampleDenial('far', { match, issuedBefore: NOW + 10 });
    const ever = sampleDenial('ever', { match: { ...match, audience: 'payments' } });
    for (const rules of [
      [near, far],
      [far, near],
    ]) {
      const index = createDenyIndex(rules, toRoleTag);
      expect(index.find(token)?.id).to.equal('far');
      expect(index.find({ ...token, issuedAt: NOW + 10 })).to.equal(undefined);
      expect([index.has('near'), index.has('far')]).to.deep.equal([true, true]);
      index.add(ever);
      expect(index.find({ ...token, issuedAt: NOW + 10 })?.id).to.equal('ever');
      expect(index.find({ ...token, issuedAt: NOW + 10, audience: 'ledger' })).to.equal(undefined);
    }
  });

  it('costs a token no more where the same was revoked a hundred thousand times', () => {
    const rules = Array.from({ length: 100_000 }, (_, i) =>
      sampleDenial(`rule-${i}`, { match: { namespace: 'shop' }, issuedBefore: NOW - i }),
    );
    const index = createDenyIndex(rules, toRoleTag);
    const startedAt = performance.now();
    for (let i = 0; i < 1000; i++) expect(index.find(token)).to.equal(undefined);
    // Looked through one by one they take half a minute.
    expect(performance.now() - startedAt).to.be.below(2000);
  });

  it('spares a token that was issued at or after the moment of the rule', () => {
    const rule = sampleDenial('rule', { match: { namespace: 'shop' }, issuedBefore: NOW });
    const index = createDenyIndex([rule], toRoleTag);
    expect(index.find({ ...token, issuedAt: NOW - 1 })?.id).to.equal('rule');
    expect(index.find({ ...token, issuedAt: NOW })).to.equal(undefined);
  });

  it('finds the second of two rules that stand under the same value', () => {
    const index = createDenyIndex(
      [
        sampleDenial('past', { match: { namespace: 'shop' }, issuedBefore: NOW }),
        sampleDenial('role', { match: { namespace: 'shop', role: 'payments-checkout' } }),
      ],
      toRoleTag,
    );
    expect(index.find(token)?.id).to.equal('role');
  });

  it('is about nobody where a rule states nothing', () => {
    const index = createDenyIndex([sampleDenial('rule', { match: {} })], toRoleTag);
    expect(index.find(token)).to.equal(undefined);
  });

  it('answers as fast with a hundred thousand denials as with ten', () => {
    const measure = (count: number) => {
      const denials = Array.from({ length: count }, (_, i) =>
        i % 2 === 0
          ? sampleDenial(`j${i}`)
          : sampleDenial(`r${i}`, { match: { namespace: `n${i}`, cluster: 'local' } }),
      );
      const index = createDenyIndex(denials, toRoleTag);
      const rounds = Array.from({ length: 7 }, () => {
        const startedAt = performance.now();
        for (let i = 0; i < 2000; i++) index.find(token);
        return performance.now() - startedAt;
      });
      return Math.min(...rounds);
    };
    measure(10);
    // A list that is walked would take thousands of times as long.
    expect(measure(100_000)).to.be.lessThan(50 * measure(10) + 5);
  });
});
