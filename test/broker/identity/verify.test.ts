// What a verified subject holds, and how keys are kept in the background. What must be refused is in test/attacks.
import { expect } from 'chai';
import { tokenFingerprint } from '../../../common/secret.ts';
import { type FakeIssuer, startIssuer } from '../../support/issuer.ts';
import { createTestVerifier, type TestVerifier, toCluster } from '../../support/verifying.ts';

describe('a verified subject', () => {
  let issuer: FakeIssuer;
  let verifier: TestVerifier;
  beforeEach(async () => {
    issuer = await startIssuer();
    verifier = createTestVerifier([toCluster(issuer)]);
  });
  afterEach(async () => {
    await verifier.keys.stop();
    await issuer.close();
  });

  it('is whom the token names, with names and uids', async () => {
    const issuedAt = Math.floor(verifier.clock.now() / 1000) - 5;
    const token = issuer.token({
      namespace: 'bank',
      serviceAccount: 'teller',
      pod: { name: 'teller-0', uid: 'pod-uid' },
      node: { name: 'node-7', uid: 'node-uid' },
      audiences: ['b', 'a'],
      issuedAt,
      lifetimeSeconds: 600,
      claims: { jti: 'token-1', tenant: 'shop' },
    });
    const subject = await verifier.verify(token);
    expect(subject.identity).to.deep.equal({
      kind: 'workload',
      cluster: 'here',
      namespace: 'bank',
      serviceAccount: 'teller',
      serviceAccountUid: '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70',
      pod: { name: 'teller-0', uid: 'pod-uid' },
      node: { name: 'node-7', uid: 'node-uid' },
    });
    const { identity: _, claims, ...rest } = subject;
    expect(rest).to.deep.equal({
      issuer: issuer.issuer,
      audiences: ['b', 'a'],
      issuedAt,
      expiresAt: issuedAt + 600,
      tokenId: 'token-1',
      fingerprint: tokenFingerprint(token),
    });
    expect(claims).to.include({ tenant: 'shop' });
    expect(JSON.stringify(subject)).to.not.contain(token);
  });
  it('has no pod and no node where the token is bound to none', async () => {
    const { identity } = await verifier.verify(issuer.token({ pod: null }));
    expect(identity).to.not.have.any.keys('pod', 'node');
  });

  it('says nothing about a token before its signature was good, but its fingerprint', async () => {
    const token = `${issuer.token().slice(0, -8)}AAAAAAAA`;
    const refusal = await verifier.refuse(token);
    expect(refusal.facts).to.deep.equal({ fingerprint: tokenFingerprint(token) });
  });

  it('has obstacles until every cluster has keys, and then none', async () => {
    issuer.setMode({ status: 500 });
    await verifier.keys.start();
    expect(verifier.keys.findObstacles()).to.deep.equal(['cluster here has no usable keys']);
    issuer.setMode('up');
    await verifier.clock.advance(10_000);
    for (let round = 0; round < 400 && verifier.keys.findObstacles().length > 0; round++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(verifier.keys.findObstacles()).to.deep.equal([]);
  });
  it('fetches keys in the background, so that a rotation costs no token a fetch', async () => {
    await verifier.keys.start();
    issuer.rotate();
    await verifier.clock.advance(300_000);
    for (let round = 0; round < 400 && verifier.events.length < 2; round++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(verifier.events).to.deep.equal([
      { kind: 'loaded', cluster: 'here', keys: 1 },
      { kind: 'loaded', cluster: 'here', keys: 2 },
    ]);
    expect(await verifier.judge(issuer.token())).to.equal('accepted');
    expect(issuer.requests).to.have.length(2);
  });
  it('fetches nothing any more once it was stopped', async () => {
    await verifier.keys.start();
    await verifier.keys.stop();
    await verifier.clock.advance(900_000);
    expect(issuer.requests).to.have.length(1);
  });
});
