// Claims of a client token and the four caps on its life; pure.
import { expect } from 'chai';
import fc from 'fast-check';
import type { WorkloadIdentity } from '../../../broker/identity/identity.ts';
import { limitExpiry } from '../../../broker/tokens/expiry.ts';
import { type TokenContent, toClaims } from '../../../broker/tokens/issue.ts';

const CONTENT: TokenContent & { identity: WorkloadIdentity } = {
  issuer: 'https://broker.example',
  identity: {
    kind: 'workload',
    cluster: 'local',
    namespace: 'shop',
    serviceAccount: 'checkout',
    serviceAccountUid: 'sa-uid',
  },
  audience: 'payments',
  scopes: ['a', 'b'],
  policies: ['p'],
  claims: {},
  jwtType: 'at+jwt',
  issuedAt: 1000,
  expiresAt: 1900,
  tokenId: 'id',
};

describe('claims of a client token', () => {
  const plain = toClaims(CONTENT);

  it('cannot be overridden by a role, whatever names it takes', () => {
    fc.assert(
      fc.property(fc.subarray(Object.keys(plain)), fc.jsonValue(), (names, value) => {
        const claims = Object.fromEntries([
          ...names.map((name) => [name, value]),
          ['tenant', 'shop'],
        ]);
        expect(toClaims({ ...CONTENT, claims })).to.deep.equal({ ...plain, tenant: 'shop' });
      }),
    );
  });

  it('name pod and node only where the subject token did', () => {
    expect(plain['kubernetes.io']).to.deep.equal({
      namespace: 'shop',
      serviceaccount: { name: 'checkout', uid: 'sa-uid' },
    });
    const bound = toClaims({
      ...CONTENT,
      identity: { ...CONTENT.identity, pod: { name: 'p', uid: 'pu' }, node: { name: 'n' } },
    });
    expect(bound['kubernetes.io']).to.deep.include({
      pod: { name: 'p', uid: 'pu' },
      node: { name: 'n' },
    });
  });

  it('have one audience as a text, never a list', () => {
    expect(plain.aud).to.equal('payments');
  });
});

describe('expiry', () => {
  const token = { ttlSeconds: 900, maxTtlSeconds: 3600, outliveSubject: false };
  const base = {
    issuedAt: 1000,
    token,
    ceilingSeconds: 86_400,
    subjectExpiresAt: 5000,
    isBound: true,
  };
  const rows: readonly {
    name: string;
    given: Parameters<typeof limitExpiry>[0];
    expected: { expiresAt: number; cap: string };
  }[] = [
    { name: 'ttl of the role', given: base, expected: { expiresAt: 1900, cap: 'ttl' } },
    {
      name: 'maxTtl of the role',
      given: { ...base, token: { ...token, maxTtlSeconds: 600 } },
      expected: { expiresAt: 1600, cap: 'maxTtl' },
    },
    {
      name: 'ceiling of the broker',
      given: { ...base, ceilingSeconds: 300 },
      expected: { expiresAt: 1300, cap: 'ceiling' },
    },
    {
      name: 'end of the subject token',
      given: { ...base, subjectExpiresAt: 1200 },
      expected: { expiresAt: 1200, cap: 'subject' },
    },
    {
      name: 'not the subject where the role lets it outlive',
      given: { ...base, token: { ...token, outliveSubject: true }, subjectExpiresAt: 1200 },
      expected: { expiresAt: 1900, cap: 'ttl' },
    },
    {
      name: 'an hour without a pod, whatever the role allows',
      given: {
        ...base,
        isBound: false,
        token: { ttlSeconds: 7200, maxTtlSeconds: 7200, outliveSubject: true },
      },
      expected: { expiresAt: 4600, cap: 'unbound' },
    },
    {
      name: 'two hours with a pod, where the role allows it',
      given: { ...base, token: { ttlSeconds: 7200, maxTtlSeconds: 7200, outliveSubject: true } },
      expected: { expiresAt: 8200, cap: 'ttl' },
    },
    {
      name: 'in the past where nothing is left',
      given: { ...base, subjectExpiresAt: 990 },
      expected: { expiresAt: 990, cap: 'subject' },
    },
    {
      name: 'the first of equals',
      given: { ...base, subjectExpiresAt: 1900 },
      expected: { expiresAt: 1900, cap: 'ttl' },
    },
  ];
  for (const { name, given, expected } of rows) {
    it(`is the ${name}`, () => {
      expect(limitExpiry(given)).to.deep.include(expected);
    });
  }

  it('is never later than any cap that binds', () => {
    const seconds = fc.integer({ min: 1, max: 100_000 });
    fc.assert(
      fc.property(
        seconds,
        seconds,
        seconds,
        seconds,
        fc.boolean(),
        (ttlSeconds, maxTtlSeconds, ceilingSeconds, left, outliveSubject) => {
          const { expiresAt, cap, caps } = limitExpiry({
            issuedAt: 1000,
            token: { ttlSeconds, maxTtlSeconds, outliveSubject },
            ceilingSeconds,
            subjectExpiresAt: 1000 + left,
            isBound: true,
          });
          const all = [
            ttlSeconds,
            maxTtlSeconds,
            ceilingSeconds,
            ...(outliveSubject ? [] : [left]),
          ];
          expect(expiresAt).to.equal(1000 + Math.min(...all));
          expect(caps[cap]).to.equal(expiresAt);
        },
      ),
    );
  });
});
