// The main job over real HTTP: a ServiceAccount token in, a client token out, verified by somebody who knows nothing
// but the issuer.
import { expect } from 'chai';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { nowSeconds } from '../../common/clock.ts';
import { TOKEN_TYPE_ACCESS, TOKEN_TYPE_ID, TOKEN_TYPE_JWT } from '../../common/protocol/oauth.ts';
import { tokenFingerprint } from '../../common/secret.ts';
import { createFakeClock } from '../support/clock.ts';
import { decodeClaims, decodeHeader, startTestBroker, type TestBroker } from './harness.ts';

describe('token exchange', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('exchange');
  });
  after(() => broker.stop());

  it('gives a token that a receiver verifies from discovery alone', async () => {
    const answer = await broker.exchange({ subject_token: broker.issuer.token() });
    expect(answer.status).to.equal(200);
    const { issuer, jwks_uri } = (await broker.request('/.well-known/openid-configuration')).body;
    const { payload, protectedHeader } = await jwtVerify(
      String(answer.body.access_token),
      createRemoteJWKSet(new URL(String(jwks_uri))),
      {
        issuer: String(issuer),
        audience: 'payments',
        typ: 'at+jwt',
        requiredClaims: ['exp', 'iat', 'jti', 'sub', 'client_id'],
      },
    );
    expect(protectedHeader).to.have.all.keys('alg', 'kid', 'typ');
    expect(payload).to.have.all.keys(
      'iss',
      'sub',
      'client_id',
      'aud',
      'iat',
      'nbf',
      'exp',
      'jti',
      'scope',
      'policies',
      'cluster',
      'kubernetes.io',
      'tenant',
    );
    expect(payload).to.deep.include({
      iss: issuer,
      sub: 'k8s:local:shop:checkout',
      client_id: 'k8s:local:shop:checkout',
      aud: 'payments',
      scope: 'payments:read payments:write',
      policies: ['payments'],
      cluster: 'local',
      tenant: 'shop',
      'kubernetes.io': {
        namespace: 'shop',
        serviceaccount: { name: 'checkout', uid: '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70' },
        pod: { name: 'checkout-5d9c7b8f4-x2x4z', uid: '6c1f8c0e-7b0a-4f6e-9a52-0d8a3c1b2e01' },
        node: { name: 'node-1', uid: '0a5d2f4b-1c3e-4d6f-8b7a-9e0f1a2b3c4d' },
      },
    });
    expect(Number(payload.exp) - Number(payload.iat)).to.equal(900);
    expect(payload.nbf).to.equal(payload.iat);
  });

  it('answers with exactly the members of the contract', async () => {
    const { body, headers } = await broker.exchange({ subject_token: broker.issuer.token() });
    expect(body).to.have.all.keys(
      'access_token',
      'issued_token_type',
      'token_type',
      'expires_in',
      'scope',
      'expiry_cap',
    );
    expect(body).to.deep.include({
      issued_token_type: TOKEN_TYPE_ACCESS,
      token_type: 'Bearer',
      expires_in: 900,
      scope: 'payments:read payments:write',
      expiry_cap: 'ttl',
    });
    expect(headers.get('cache-control')).to.equal('no-store');
    expect(headers.get('pragma')).to.equal('no-cache');
    expect(headers.get('content-type')).to.equal('application/json');
    expect(headers.get('access-control-allow-origin')).to.equal(null);
    expect(headers.get('x-powered-by')).to.equal(null);
  });

  it('leaves one audit record per exchange, with every fact and without a token', async () => {
    const subjectToken = broker.issuer.token();
    const count = broker.audit.length;
    const answer = await broker.exchange({ subject_token: subjectToken, scope: 'payments:read' });
    const claims = decodeClaims(answer.body.access_token);
    expect(broker.audit).to.have.length(count + 1);
    const { time, ...record } = broker.audit.at(-1) ?? { time: '' };
    const subject = decodeClaims(subjectToken);
    const end = (seconds: number) => toTime(Number(claims.iat) + seconds);
    expect(Math.abs(Date.parse(time) - Date.now())).to.be.lessThan(10_000);
    expect(record).to.deep.equal({
      kind: 'decision',
      correlationId: answer.headers.get('x-request-id'),
      dialect: 'oauth',
      action: 'exchange',
      outcome: 'allow',
      subject: 'k8s:local:shop:checkout',
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      serviceAccountUid: '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70',
      pod: 'checkout-5d9c7b8f4-x2x4z',
      podUid: '6c1f8c0e-7b0a-4f6e-9a52-0d8a3c1b2e01',
      node: 'node-1',
      subjectIssuer: broker.issuer.issuer,
      validation: 'offline',
      subjectTokenId: subject.jti,
      subjectFingerprint: tokenFingerprint(subjectToken),
      audience: 'payments',
      role: 'payments-checkout',
      scopes: ['payments:read'],
      tokenId: claims.jti,
      expiresAt: toTime(claims.exp),
      expiryCap: 'ttl',
      expiryCaps: {
        ttl: end(900),
        maxTtl: end(3600),
        ceiling: end(86_400),
        subject: toTime(subject.exp),
      },
      subjectAudiences: ['payments'],
      subjectExpiresAt: toTime(subject.exp),
      tried: [
        {
          role: 'payments-checkout',
          ok: true,
          subjects: [{ subject: 1, ok: true, specificity: 'exact' }],
        },
      ],
    });
  });

  const allowed: readonly { name: string; parameters: Record<string, string> }[] = [
    { name: 'takes an id_token type as well', parameters: { subject_token_type: TOKEN_TYPE_ID } },
    {
      name: 'takes requested_token_type access_token',
      parameters: { requested_token_type: TOKEN_TYPE_ACCESS },
    },
    {
      name: 'takes requested_token_type jwt',
      parameters: { requested_token_type: TOKEN_TYPE_JWT },
    },
    { name: 'takes the audience by name', parameters: { audience: 'payments' } },
    { name: 'takes a role by name', parameters: { role: 'payments-checkout' } },
    { name: 'ignores an unauthenticated client_id', parameters: { client_id: 'anything' } },
    { name: 'ignores parameters it does not know', parameters: { flavour: 'vanilla' } },
    {
      name: 'takes an empty parameter for an absent one',
      parameters: { audience: '', scope: '', actor_token: '' },
    },
  ];
  for (const { name, parameters } of allowed) {
    it(name, async () => {
      const answer = await broker.exchange({ subject_token: broker.issuer.token(), ...parameters });
      expect(answer.status, answer.text).to.equal(200);
      expect(decodeClaims(answer.body.access_token).aud).to.equal('payments');
    });
  }

  it('never gives two tokens the same jti', async () => {
    const token = broker.issuer.token();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => broker.exchange({ subject_token: token })),
    );
    const ids = new Set(answers.map(({ body }) => decodeClaims(body.access_token).jti));
    expect(ids.size).to.equal(20);
  });

  it('gives no more scopes than were asked for', async () => {
    const answer = await broker.exchange({
      subject_token: broker.issuer.token(),
      scope: 'payments:write payments:write',
    });
    expect(answer.body.scope).to.equal('payments:write');
    expect(decodeClaims(answer.body.access_token).scope).to.equal('payments:write');
  });

  it('serves a token without a pod where the role says so, and names no pod', async () => {
    const token = broker.issuer.token({ audiences: ['batch'], pod: null, node: null });
    const answer = await broker.exchange({ subject_token: token });
    expect(answer.status, answer.text).to.equal(200);
    expect(decodeClaims(answer.body.access_token)['kubernetes.io']).to.have.all.keys(
      'namespace',
      'serviceaccount',
    );
  });

  // at+jwt is no ServiceAccount token to begin with; one that calls itself JWT fails by its issuer.
  for (const { audience, reason } of [
    { audience: 'payments', reason: 'token_malformed' },
    { audience: 'plain', reason: 'token_issuer' },
  ]) {
    it(`does not take its own token for ${audience} as a subject: ${reason}`, async () => {
      const first = await broker.exchange({
        subject_token: broker.issuer.token({ audiences: [audience] }),
      });
      expect(first.status, first.text).to.equal(200);
      const second = await broker.exchange({ subject_token: String(first.body.access_token) });
      expect(second.status).to.equal(400);
      expect(second.body).to.deep.include({ error: 'invalid_request', reason });
    });
  }

  it('writes typ JWT where the role says so', async () => {
    const answer = await broker.exchange({
      subject_token: broker.issuer.token({ audiences: ['plain'] }),
    });
    expect(decodeHeader(answer.body.access_token).typ).to.equal('JWT');
    expect(answer.body.scope).to.equal('');
  });
});

describe('token lifetime over HTTP', () => {
  it('ends with the subject token, and says so in answer and audit', async () => {
    const broker = await startTestBroker('lifetime');
    try {
      const subjectToken = broker.issuer.token({ lifetimeSeconds: 120 });
      const answer = await broker.exchange({ subject_token: subjectToken });
      expect(decodeClaims(answer.body.access_token).exp).to.equal(decodeClaims(subjectToken).exp);
      expect(answer.body.expiry_cap).to.equal('subject');
      expect(answer.body.expires_in).to.be.within(110, 120);
      expect(broker.audit.at(-1)?.expiryCap).to.equal('subject');
    } finally {
      await broker.stop();
    }
  });

  it('ends after an hour without a pod, whatever the role says, and says so', async () => {
    const roles = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: long }
spec:
  audience: batch
  requirePod: false
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { ttl: 5h, maxTtl: 5h, outliveSubject: true }`;
    const broker = await startTestBroker('lifetime-unbound', { roles });
    try {
      const ask = (pod?: null) =>
        broker.exchange({
          subject_token: broker.issuer.token({
            audiences: ['batch'],
            ...(pod === null && { pod, node: null }),
          }),
        });
      expect((await ask(null)).body).to.include({ expires_in: 3600, expiry_cap: 'unbound' });
      expect((await ask()).body).to.include({ expires_in: 18_000, expiry_cap: 'ttl' });
    } finally {
      await broker.stop();
    }
  });

  it('ends at the ceiling of the broker, and says so', async () => {
    const broker = await startTestBroker('ceiling', { maxTokenTtlSeconds: 60 });
    try {
      const answer = await broker.exchange({ subject_token: broker.issuer.token() });
      expect(answer.body).to.deep.include({ expires_in: 60, expiry_cap: 'ceiling' });
    } finally {
      await broker.stop();
    }
  });
});

describe('keys of the cluster', () => {
  it('are fetched once more for many exchanges at the same time with a new key', async () => {
    const clock = createFakeClock();
    const broker = await startTestBroker('single-flight', { clock });
    try {
      expect(broker.issuer.requests).to.have.length(1);
      broker.issuer.rotate();
      await clock.advance(11_000);
      const subject_token = broker.issuer.token({ issuedAt: nowSeconds(clock) });
      const answers = await Promise.all(
        Array.from({ length: 10 }, () => broker.exchange({ subject_token })),
      );
      expect(answers.map(({ status }) => status)).to.deep.equal(Array(10).fill(200));
      expect(broker.issuer.requests).to.have.length(2);
    } finally {
      await broker.stop();
    }
  });
});

function toTime(seconds: unknown): string {
  return new Date(Number(seconds) * 1000).toISOString();
}
