// exp, nbf, iat and warnafter on both sides of the leeway of 30 s. The broker's clock stands still at NOW.
import { expect } from 'chai';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { createTestVerifier, type TestVerifier, toCluster } from '../support/verifying.ts';

describe('attack: the times of the subject token', () => {
  let issuer: FakeIssuer;
  let verifier: TestVerifier;
  let now: number;
  before(async () => {
    issuer = await startIssuer();
    verifier = createTestVerifier([toCluster(issuer)]);
    now = Math.floor(verifier.clock.now() / 1000);
  });
  after(() => issuer.close());

  /** Seconds from now for iat, nbf, exp and warnafter; a function gives the claim itself. */
  interface Times {
    iat?: number | (() => unknown);
    nbf?: number | (() => unknown);
    exp?: number | (() => unknown);
    warnafter?: number | (() => unknown);
  }
  function make(times: Times): string {
    const at = (time: number | (() => unknown)) => (typeof time === 'number' ? now + time : time());
    const { iat = -10, nbf = iat, exp = 600, warnafter } = times;
    const workload = {
      namespace: 'shop',
      serviceaccount: { name: 'checkout', uid: 'u-1' },
      ...(warnafter === undefined ? {} : { warnafter: at(warnafter) }),
    };
    return issuer.token({
      claims: { iat: at(iat), nbf: at(nbf), exp: at(exp), 'kubernetes.io': workload },
    });
  }

  const rows: readonly { title: string; times: Times; expected: string }[] = [
    { title: 'a token of now', times: {}, expected: 'accepted' },
    { title: 'expired 29 s ago', times: { iat: -600, exp: -29 }, expected: 'accepted' },
    { title: 'expired 30 s ago', times: { iat: -600, exp: -30 }, expected: 'token_expired' },
    { title: 'expired 31 s ago', times: { iat: -600, exp: -31 }, expected: 'token_expired' },
    {
      title: 'expired a year ago',
      times: { iat: -40_000_000, exp: -31_536_000 },
      expected: 'token_expired',
    },
    { title: 'nbf in 30 s', times: { nbf: 30 }, expected: 'accepted' },
    { title: 'nbf in 31 s', times: { nbf: 31 }, expected: 'token_not_yet_valid' },
    { title: 'iat in 30 s', times: { iat: 30, nbf: -10 }, expected: 'accepted' },
    { title: 'iat in 31 s', times: { iat: 31, nbf: -10 }, expected: 'token_not_yet_valid' },
    { title: 'no nbf', times: { nbf: () => undefined }, expected: 'accepted' },
    {
      title: 'the year of a default token, warnafter in the future',
      times: { exp: 31_536_000, warnafter: 60 },
      expected: 'accepted',
    },
    {
      title: 'the year of a default token, warnafter 29 s ago',
      times: { iat: -3607, exp: 31_536_000, warnafter: -29 },
      expected: 'accepted',
    },
    {
      title: 'the year of a default token, warnafter 30 s ago',
      times: { iat: -3607, exp: 31_536_000, warnafter: -30 },
      expected: 'token_expired',
    },
    {
      title: 'a warnafter later than exp',
      times: { iat: -600, exp: -31, warnafter: 600 },
      expected: 'token_expired',
    },
    { title: 'no exp', times: { exp: () => undefined }, expected: 'token_claims' },
    { title: 'exp as text', times: { exp: () => '99999999999' }, expected: 'token_claims' },
    { title: 'exp null', times: { exp: () => null }, expected: 'token_claims' },
    { title: 'exp true', times: { exp: () => true }, expected: 'token_claims' },
    { title: 'exp as a list', times: { exp: () => [now + 600] }, expected: 'token_claims' },
    {
      title: 'exp beyond what a number holds exactly',
      times: { exp: () => 1e300 },
      expected: 'token_claims',
    },
    { title: 'exp with a fraction', times: { exp: () => now + 600.5 }, expected: 'token_claims' },
    { title: 'a negative exp', times: { exp: () => -1 }, expected: 'token_claims' },
    {
      title: 'exp in milliseconds, years ahead',
      times: { exp: () => (now + 600) * 1000 },
      expected: 'accepted',
    },
    { title: 'no iat', times: { iat: () => undefined, nbf: -10 }, expected: 'token_claims' },
    { title: 'iat as text', times: { iat: () => '0', nbf: -10 }, expected: 'token_claims' },
    { title: 'nbf as text', times: { nbf: () => '0' }, expected: 'token_claims' },
    { title: 'warnafter as text', times: { warnafter: () => '0' }, expected: 'token_claims' },
  ];
  for (const { title, times, expected } of rows) {
    it(`${expected === 'accepted' ? 'accepts' : `refuses with ${expected}`} ${title}`, async () => {
      expect(await verifier.judge(make(times))).to.equal(expected);
    });
  }

  it('counts warnafter as the end of the token', async () => {
    const subject = await verifier.verify(make({ exp: 31_536_000, warnafter: 60 }));
    expect(subject.expiresAt).to.equal(now + 60);
  });
  it('says which time failed, once the signature was good', async () => {
    const refusal = await verifier.refuse(make({ iat: -600, exp: -31 }));
    expect(refusal.failed).to.deep.equal({ claim: 'exp', got: now - 31, want: `> ${now - 30}` });
    expect(refusal.facts.identity).to.include({
      cluster: 'here',
      namespace: 'shop',
      serviceAccount: 'checkout',
    });
  });
});
