// Tokens of OIDC issuers, as CI systems and identity providers make them, and as nobody should; and what an issuer's
// discovery may make the broker fetch.
import { expect } from 'chai';
import type { OidcIssuer } from '../../broker/identity/clusters.ts';
import {
  createSigningKey,
  DISCOVERY_PATH,
  type FakeIssuer,
  JWKS_PATH,
  mint,
  startIssuer,
} from '../support/issuer.ts';
import {
  createTestVerifier,
  type TestVerifier,
  toCluster,
  toOidcIssuer,
} from '../support/verifying.ts';

type Claims = Readonly<Record<string, unknown>>;

/** The payload of a GitHub Actions job's token, with what a test says over it. */
function toClaims(issuer: string, more: Claims = {}): Claims {
  const now = Math.floor(Date.now() / 1000);
  return {
    jti: 'a6a1d9f4-8c0f-4b1e-9d8e-1c6f0d9a7b11',
    sub: 'repo:acme/shop:ref:refs/heads/main',
    aud: 'payments',
    ref: 'refs/heads/main',
    sha: '0e1c9a1bd0ccfb2e0f7f2d6d6c5c0d7a9b8f1e22',
    repository: 'acme/shop',
    repository_owner: 'acme',
    repository_id: '74',
    run_attempt: '1',
    event_name: 'push',
    ref_type: 'branch',
    environment: 'production',
    job_workflow_ref: 'acme/shop/.github/workflows/release.yaml@refs/heads/main',
    iss: issuer,
    nbf: now - 5,
    iat: now,
    exp: now + 300,
    ...more,
  };
}

describe('attack: OIDC issuers', () => {
  let issuer: FakeIssuer;
  let cluster: FakeIssuer;
  const verifiers: TestVerifier[] = [];
  beforeEach(async () => {
    issuer = await startIssuer({ alg: 'RS256' });
    cluster = await startIssuer();
  });
  afterEach(async () => {
    await Promise.all(verifiers.splice(0).map((verifier) => verifier.keys.stop()));
    await Promise.all([issuer.close(), cluster.close()]);
  });

  function create(more: Partial<OidcIssuer> = {}): TestVerifier {
    const verifier = createTestVerifier([toCluster(cluster), toOidcIssuer(issuer, more)]);
    verifiers.push(verifier);
    return verifier;
  }
  const token = (more: Claims = {}, header: Claims = { typ: 'JWT', x5t: 'abc' }) =>
    mint({ key: issuer.key, header, claims: toClaims(issuer.issuer, more) });

  it('takes a job’s token as its issuer wrote it, by the name of the entry', async () => {
    const subject = await create().verifyAny(token());
    expect(subject.identity).to.deep.equal({
      kind: 'oidc',
      issuer: 'github',
      subject: 'repo:acme/shop:ref:refs/heads/main',
    });
    expect(subject.audiences).to.deep.equal(['payments']);
    expect(subject.issuer).to.equal(issuer.issuer);
    expect(subject.claims).to.include({ environment: 'production', ref: 'refs/heads/main' });
  });

  const now = () => Math.floor(Date.now() / 1000);
  const rows: readonly { name: string; claims: () => Claims; header?: Claims; reason: string }[] = [
    { name: 'as it is', claims: () => ({}), reason: 'accepted' },
    {
      name: 'of a pull request',
      claims: () => ({ sub: 'repo:acme/shop:pull_request' }),
      reason: 'accepted',
    },
    {
      name: 'with a blank in the environment',
      claims: () => ({ sub: 'repo:acme/shop:environment:Prod East' }),
      reason: 'accepted',
    },
    {
      name: 'with letters of another script',
      claims: () => ({ sub: 'repo:acme/shop:ref:refs/heads/größe' }),
      reason: 'accepted',
    },
    {
      name: 'with a list of audiences',
      claims: () => ({ aud: ['payments', 'other'] }),
      reason: 'accepted',
    },
    { name: 'with azp', claims: () => ({ azp: 'somebody' }), reason: 'accepted' },
    { name: 'with nested claims', claims: () => ({ a: { b: { c: ['d'] } } }), reason: 'accepted' },
    {
      name: 'with a sub of 255 characters',
      claims: () => ({ sub: 'a'.repeat(255) }),
      reason: 'accepted',
    },
    {
      name: 'with a sub of 256 characters',
      claims: () => ({ sub: 'a'.repeat(256) }),
      reason: 'token_claims',
    },
    { name: 'without sub', claims: () => ({ sub: undefined }), reason: 'token_claims' },
    { name: 'with an empty sub', claims: () => ({ sub: '' }), reason: 'token_claims' },
    {
      name: 'with a list for sub',
      claims: () => ({ sub: ['repo:acme/shop'] }),
      reason: 'token_claims',
    },
    {
      name: 'with a line break in sub',
      claims: () => ({ sub: 'repo:acme/shop\n' }),
      reason: 'token_claims',
    },
    {
      name: 'with text turned round in sub',
      claims: () => ({ sub: 'repo:acme/\u202epohs' }),
      reason: 'token_claims',
    },
    { name: 'with a NUL in sub', claims: () => ({ sub: 'repo\0' }), reason: 'token_claims' },
    {
      name: 'with half a character in sub',
      claims: () => ({ sub: 'repo\ud800' }),
      reason: 'token_claims',
    },
    {
      name: 'with a blank before sub',
      claims: () => ({ sub: ' repo:acme/shop' }),
      reason: 'token_claims',
    },
    {
      name: 'with the sub of a ServiceAccount',
      claims: () => ({ sub: 'system:serviceaccount:shop:checkout' }),
      reason: 'token_claims',
    },
    {
      name: 'with a sub of the system, in capitals',
      claims: () => ({ sub: 'System:masters' }),
      reason: 'token_claims',
    },
    {
      name: 'that a key is bound to',
      claims: () => ({ cnf: { jkt: 'x' } }),
      reason: 'token_claims',
    },
    {
      name: 'that is a logout',
      claims: () => ({ events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }),
      reason: 'token_claims',
    },
    { name: 'without exp', claims: () => ({ exp: undefined }), reason: 'token_claims' },
    { name: 'with exp as a text', claims: () => ({ exp: '9999999999' }), reason: 'token_claims' },
    { name: 'without iat', claims: () => ({ iat: undefined }), reason: 'token_claims' },
    {
      name: 'that has expired',
      claims: () => ({ iat: now() - 700, nbf: now() - 700, exp: now() - 31 }),
      reason: 'token_expired',
    },
    {
      name: 'that expired within the leeway',
      claims: () => ({ iat: now() - 700, nbf: now() - 700, exp: now() - 20 }),
      reason: 'accepted',
    },
    {
      name: 'that begins later',
      claims: () => ({ nbf: now() + 60 }),
      reason: 'token_not_yet_valid',
    },
    {
      name: 'as old as the entry allows',
      claims: () => ({ iat: now() - 86_400, nbf: 0, exp: now() + 900 }),
      reason: 'accepted',
    },
    {
      name: 'older than the entry allows',
      claims: () => ({ iat: now() - 86_440, nbf: 0, exp: now() + 900 }),
      reason: 'token_expired',
    },
    { name: 'without aud', claims: () => ({ aud: undefined }), reason: 'token_audience' },
    { name: 'with an empty aud', claims: () => ({ aud: '' }), reason: 'token_audience' },
    { name: 'with no audience in aud', claims: () => ({ aud: [] }), reason: 'token_audience' },
    {
      name: 'of another issuer by a slash',
      claims: () => ({ iss: `${issuer.issuer}/` }),
      reason: 'token_issuer',
    },
    {
      name: 'of another issuer by a user',
      claims: () => ({ iss: issuer.issuer.replace('//', '//x@') }),
      reason: 'token_issuer',
    },
    {
      name: 'of issuers in a list',
      claims: () => ({ iss: [issuer.issuer] }),
      reason: 'token_issuer',
    },
    {
      name: 'with an issuer of a cluster, under its own key',
      claims: () => ({ iss: cluster.issuer }),
      reason: 'token_signature',
    },
    { name: 'without typ', claims: () => ({}), header: {}, reason: 'accepted' },
    {
      name: 'that is an access token',
      claims: () => ({}),
      header: { typ: 'at+jwt' },
      reason: 'token_malformed',
    },
    {
      name: 'that is a logout by its typ',
      claims: () => ({}),
      header: { typ: 'logout+jwt' },
      reason: 'token_malformed',
    },
    {
      name: 'with keys of its own',
      claims: () => ({}),
      header: { jku: 'https://evil.test' },
      reason: 'token_malformed',
    },
    { name: 'nested too deep', claims: () => ({ deep: nest(40) }), reason: 'token_malformed' },
  ];
  for (const { name, claims, header, reason } of rows) {
    it(`${reason === 'accepted' ? 'accepts' : 'refuses'} a token ${name}: ${reason}`, async () => {
      expect(await create().judge(token(claims(), header))).to.equal(reason);
    });
  }

  it('refuses an algorithm that the entry does not list, even of a published key', async () => {
    const other = createSigningKey('ES384');
    issuer.publish([issuer.key.jwk, other.jwk]);
    const claims = toClaims(issuer.issuer);
    expect(await create().judge(mint({ key: other, claims }))).to.equal('token_signature');
    const takes = create({ algorithms: ['ES384'] });
    expect(await takes.judge(mint({ key: other, claims }))).to.equal('accepted');
  });

  it('says of a refused token which entry it is of, and its subject as soon as that is known', async () => {
    const refusal = await create().refuse(token({ iat: 0, nbf: 0 }));
    expect(refusal.facts).to.deep.include({
      issuerName: 'github',
      issuer: issuer.issuer,
      identity: { kind: 'oidc', issuer: 'github', subject: 'repo:acme/shop:ref:refs/heads/main' },
    });
    expect(refusal.facts).to.not.have.property('cluster');
  });

  it('refuses both where an issuer and a cluster have the same key', async () => {
    cluster.publish([cluster.key.jwk, issuer.key.jwk]);
    const verifier = create();
    await Promise.all(verifier.keys.clusters.map((one) => one.refresh()));
    const refusal = await verifier.refuse(token());
    expect(refusal.reason).to.equal('keys_unavailable');
    expect(refusal.detail).to.contain('here').and.to.contain('github');
    expect(await verifier.judge(cluster.token())).to.equal('accepted');
  });

  describe('discovery', () => {
    const elsewhere: readonly { name: string; document: (at: string, other: string) => Claims }[] =
      [
        {
          name: 'another host',
          document: (at, other) => ({ issuer: at, jwks_uri: `${other}${JWKS_PATH}` }),
        },
        {
          name: 'the metadata service of a cloud',
          document: (at) => ({ issuer: at, jwks_uri: 'http://169.254.169.254/latest' }),
        },
        { name: 'a file', document: (at) => ({ issuer: at, jwks_uri: 'file:///etc/passwd' }) },
        {
          name: 'a user before another host',
          document: (at, other) => ({ issuer: at, jwks_uri: `${at}@${new URL(other).host}/keys` }),
        },
      ];
    for (const { name, document } of elsewhere) {
      it(`is never followed to ${name}`, async () => {
        issuer.discovery = document(issuer.issuer, cluster.issuer);
        const verifier = create();
        expect(await verifier.judge(token())).to.equal('keys_unavailable');
        expect(issuer.requests).to.deep.equal([DISCOVERY_PATH]);
        expect(cluster.requests).to.deep.equal([]);
      });
    }

    it('is followed to a host that the entry lists, and to no other port of it', async () => {
      issuer.discovery = { issuer: issuer.issuer, jwks_uri: `${cluster.issuer}${JWKS_PATH}` };
      cluster.publish([issuer.key.jwk]);
      const { host } = new URL(cluster.issuer);
      const keys = { from: 'discovery', url: issuer.issuer } as const;
      const listed = createTestVerifier([
        toOidcIssuer(issuer, { keys: { ...keys, jwksHosts: [host] } }),
      ]);
      expect(await listed.judge(token())).to.equal('accepted');
      const near = createTestVerifier([
        toOidcIssuer(issuer, { keys: { ...keys, jwksHosts: ['127.0.0.1'] } }),
      ]);
      expect(await near.judge(token())).to.equal('keys_unavailable');
      verifiers.push(listed, near);
    });

    const documents: readonly { name: string; document: (at: string) => Claims }[] = [
      {
        name: 'another issuer',
        document: (at) => ({ issuer: 'https://evil.test', jwks_uri: `${at}${JWKS_PATH}` }),
      },
      {
        name: 'its issuer with a slash',
        document: (at) => ({ issuer: `${at}/`, jwks_uri: `${at}${JWKS_PATH}` }),
      },
      { name: 'no issuer', document: (at) => ({ jwks_uri: `${at}${JWKS_PATH}` }) },
      { name: 'no keys', document: (at) => ({ issuer: at }) },
    ];
    for (const { name, document } of documents) {
      it(`counts for nothing where the document names ${name}; no word of it is logged`, async () => {
        issuer.discovery = { ...document(issuer.issuer), note: 'words-of-the-other-side' };
        const verifier = create();
        expect(await verifier.judge(token())).to.equal('keys_unavailable');
        expect(issuer.requests).to.deep.equal([DISCOVERY_PATH]);
        expect(JSON.stringify(verifier.lines)).to.not.match(/words-of-the-other-side|evil\.test/);
      });
    }

    it('is not redirected', async () => {
      issuer.setMode({ status: 302, headers: { Location: `${cluster.issuer}${DISCOVERY_PATH}` } });
      expect(await create().judge(token())).to.equal('keys_unavailable');
      expect(cluster.requests).to.deep.equal([]);
    });
  });

  describe('keys', () => {
    const minutes = (count: number) => count * 60_000;
    // Fresh for the time of the test: the clock of the verifier moves on.
    const longToken = () => token({ exp: now() + 86_400 });

    it('accepts the first token after a rotation by one fetch', async () => {
      const verifier = create();
      expect(await verifier.judge(longToken())).to.equal('accepted');
      const before = issuer.requests.length;
      issuer.rotate();
      await verifier.clock.advance(10_000);
      expect(await verifier.judge(longToken())).to.equal('accepted');
      // Discovery and the keys: one round.
      expect(issuer.requests.slice(before)).to.deep.equal([DISCOVERY_PATH, JWKS_PATH]);
    });

    it('fetches once per cooldown for 10,000 random kids, and keeps the good keys', async () => {
      const verifier = create();
      expect(await verifier.judge(longToken())).to.equal('accepted');
      await verifier.clock.advance(10_000);
      const [, payload = ''] = longToken().split('.');
      for (let at = 0; at < 10_000; at++) {
        const header = Buffer.from(`{"alg":"RS256","kid":"random-${at}"}`).toString('base64url');
        const forged = `${header}.${payload}.${'A'.repeat(342)}`;
        const verdict = await verifier
          .verifyAny(forged)
          .catch((error: { reason: string }) => error.reason);
        expect(verdict).to.equal('token_signature');
      }
      expect(issuer.requests.filter((path) => path === JWKS_PATH)).to.have.length(2);
      expect(await verifier.judge(longToken())).to.equal('accepted');
    });

    it('serves stale keys until their bound while the issuer is down, then cannot decide', async () => {
      const verifier = create();
      expect(await verifier.judge(longToken())).to.equal('accepted');
      issuer.setMode({ status: 500 });
      await verifier.clock.advance(minutes(60));
      expect(await verifier.judge(longToken())).to.equal('accepted');
      await verifier.clock.advance(1);
      expect(await verifier.judge(longToken())).to.equal('keys_unavailable');
      issuer.setMode('up');
      await verifier.clock.advance(10_000);
      expect(await verifier.judge(longToken())).to.equal('accepted');
    });
  });
});

function nest(depth: number): unknown {
  let value: unknown = 'x';
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}
