// A good signature is not enough: what a ServiceAccount token must say about itself, and that it must say it twice
// alike. Legacy tokens from Secrets never expire and are refused.
import { expect } from 'chai';
import {
  type Claims,
  type FakeIssuer,
  serviceAccountClaims,
  startIssuer,
} from '../support/issuer.ts';
import { createTestVerifier, type TestVerifier, toCluster } from '../support/verifying.ts';

describe('attack: the claims of the subject token', () => {
  let issuer: FakeIssuer;
  let verifier: TestVerifier;
  before(async () => {
    issuer = await startIssuer();
    verifier = createTestVerifier([toCluster(issuer)]);
  });
  after(() => issuer.close());

  const base = serviceAccountClaims({ issuer: 'unused' })['kubernetes.io'] as Claims;
  const kubernetes = (more: Claims): Claims => ({ 'kubernetes.io': { ...base, ...more } });
  const rows: readonly { title: string; claims: Claims; expected?: string }[] = [
    { title: 'a pod’s token', claims: {}, expected: 'accepted' },
    {
      title: 'a token without pod',
      claims: kubernetes({ pod: undefined, node: undefined }),
      expected: 'accepted',
    },
    {
      title: 'a token of a node without uid',
      claims: kubernetes({ node: { name: 'node-1' } }),
      expected: 'accepted',
    },
    {
      title: 'a token bound to a Secret that expires',
      claims: kubernetes({ pod: undefined, node: undefined, secret: { name: 's', uid: 'u' } }),
      expected: 'accepted',
    },
    {
      title: 'a pod name with dots',
      claims: kubernetes({ pod: { name: 'a.b-c.0', uid: 'u' } }),
      expected: 'accepted',
    },
    { title: 'no sub', claims: { sub: undefined } },
    { title: 'sub as a list', claims: { sub: ['system:serviceaccount:shop:checkout'] } },
    { title: 'sub of another ServiceAccount', claims: { sub: 'system:serviceaccount:shop:admin' } },
    {
      title: 'sub of another namespace',
      claims: { sub: 'system:serviceaccount:kube-system:checkout' },
    },
    { title: 'sub of a person', claims: { sub: 'admin' } },
    { title: 'sub with more behind it', claims: { sub: 'system:serviceaccount:shop:checkout:x' } },
    { title: 'no kubernetes.io', claims: { 'kubernetes.io': undefined } },
    { title: 'kubernetes.io as text', claims: { 'kubernetes.io': 'shop' } },
    { title: 'kubernetes.io as a list', claims: { 'kubernetes.io': [base] } },
    { title: 'kubernetes.io null', claims: { 'kubernetes.io': null } },
    { title: 'no namespace', claims: kubernetes({ namespace: undefined }) },
    { title: 'namespace as a list', claims: kubernetes({ namespace: ['shop'] }) },
    {
      title: 'a namespace with a colon',
      claims: {
        ...kubernetes({ namespace: 'shop:checkout', serviceaccount: { name: 'x', uid: 'u' } }),
        sub: 'system:serviceaccount:shop:checkout:x',
      },
    },
    {
      title: 'an empty namespace',
      claims: { ...kubernetes({ namespace: '' }), sub: 'system:serviceaccount::checkout' },
    },
    {
      title: 'a namespace that is a glob',
      claims: { ...kubernetes({ namespace: '*' }), sub: 'system:serviceaccount:*:checkout' },
    },
    {
      title: 'a namespace in upper case',
      claims: { ...kubernetes({ namespace: 'Shop' }), sub: 'system:serviceaccount:Shop:checkout' },
    },
    { title: 'no ServiceAccount', claims: kubernetes({ serviceaccount: undefined }) },
    {
      title: 'a ServiceAccount without uid',
      claims: kubernetes({ serviceaccount: { name: 'checkout' } }),
    },
    {
      title: 'a ServiceAccount with an empty uid',
      claims: kubernetes({ serviceaccount: { name: 'checkout', uid: '' } }),
    },
    {
      title: 'a ServiceAccount with a uid of 257 characters',
      claims: kubernetes({ serviceaccount: { name: 'checkout', uid: 'u'.repeat(257) } }),
    },
    { title: 'a ServiceAccount as text', claims: kubernetes({ serviceaccount: 'checkout' }) },
    { title: 'a pod without uid', claims: kubernetes({ pod: { name: 'p' } }) },
    { title: 'a pod without name', claims: kubernetes({ pod: { uid: 'u' } }) },
    { title: 'a pod null', claims: kubernetes({ pod: null }) },
    { title: 'a pod with a path as name', claims: kubernetes({ pod: { name: '../x', uid: 'u' } }) },
    {
      title: 'a pod with a newline in its name',
      claims: kubernetes({ pod: { name: 'p\nq', uid: 'u' } }),
    },
    {
      title: 'a pod whose name is longer than names are',
      claims: kubernetes({ pod: { name: 'p'.repeat(254), uid: 'u' } }),
    },
    { title: 'a node as text', claims: kubernetes({ node: 'node-1' }) },
    {
      title: 'a node with a uid that is a number',
      claims: kubernetes({ node: { name: 'node-1', uid: 1 } }),
    },
    { title: 'jti as a number', claims: { jti: 1 } },
    { title: 'jti as a list', claims: { jti: ['a'] } },
    { title: 'jti of 257 characters', claims: { jti: 'j'.repeat(257) } },
  ];
  for (const { title, claims, expected = 'token_claims' } of rows) {
    it(`${expected === 'accepted' ? 'accepts' : `refuses with ${expected}`} ${title}`, async () => {
      expect(await verifier.judge(issuer.token({ claims }))).to.equal(expected);
    });
  }

  it('refuses a legacy token from a Secret and says so to the operator', async () => {
    const legacy = {
      'kubernetes.io': undefined,
      'kubernetes.io/serviceaccount/namespace': 'shop',
      'kubernetes.io/serviceaccount/secret.name': 'checkout-token',
      'kubernetes.io/serviceaccount/service-account.name': 'checkout',
      'kubernetes.io/serviceaccount/service-account.uid': 'u',
      exp: undefined,
      iat: undefined,
      nbf: undefined,
      aud: undefined,
    };
    const refusal = await verifier.refuse(issuer.token({ claims: legacy }));
    expect(refusal.reason).to.equal('token_claims');
    expect(refusal.detail).to.contain('from a Secret, which never expires');
    expect(refusal.facts).to.have.all.keys('fingerprint', 'cluster', 'issuer');
  });
});
