// Keys under attack and under failure: floods of unknown kids, rotation, an issuer that is down, a key that two
// clusters have, one cluster's token at another's role, a credential that the API server refuses.
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { resolveRole } from '../../broker/roles/resolve.ts';
import { indexRoles } from '../../broker/roles/role-index.ts';
import { createSigningKey, type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { toRole } from '../support/roles.ts';
import { createTestVerifier, toCluster } from '../support/verifying.ts';

describe('attack: keys', () => {
  let issuer: FakeIssuer;
  let other: FakeIssuer;
  beforeEach(async () => {
    issuer = await startIssuer();
    other = await startIssuer();
  });
  afterEach(() => Promise.all([issuer.close(), other.close()]));
  const longToken = () => issuer.token({ lifetimeSeconds: 86_400 });

  it('fetches once per cooldown for 10,000 random kids, and keeps the old keys', async () => {
    const verifier = createTestVerifier([toCluster(issuer)]);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    expect(issuer.requests).to.have.length(1);
    await verifier.clock.advance(10_000);
    const key = createSigningKey('ES256');
    const [, payload = ''] = issuer.token().split('.');
    for (let batch = 0; batch < 100; batch++) {
      const verdicts = await Promise.all(
        Array.from({ length: 100 }, (_, at) => {
          const header = JSON.stringify({ alg: 'ES256', kid: `random-${batch}-${at}` });
          const token = `${Buffer.from(header).toString('base64url')}.${payload}.${'A'.repeat(86)}`;
          return verifier.verify(token).catch((error: { reason: string }) => error.reason);
        }),
      );
      expect(new Set(verdicts)).to.deep.equal(new Set(['token_signature']));
    }
    expect(issuer.requests).to.have.length(2);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    await verifier.clock.advance(9_999);
    expect(await verifier.judge(issuer.token({ mint: { key } }))).to.equal('token_signature');
    expect(issuer.requests).to.have.length(2);
    await verifier.clock.advance(1);
    expect(await verifier.judge(issuer.token({ mint: { key } }))).to.equal('token_signature');
    expect(issuer.requests).to.have.length(3);
  });

  it('accepts the first token after a rotation by one fetch, and the old key’s while it is published', async () => {
    const verifier = createTestVerifier([toCluster(issuer)]);
    const old = longToken();
    expect(await verifier.judge(old)).to.equal('accepted');
    issuer.rotate();
    await verifier.clock.advance(10_000);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    expect(issuer.requests).to.have.length(2);
    expect(await verifier.judge(old)).to.equal('accepted');
    issuer.rotate({ forget: true });
    await verifier.clock.advance(10_000);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    expect(await verifier.judge(old)).to.equal('token_signature');
    expect(issuer.requests).to.have.length(3);
  });

  it('joins all callers to one fetch', async () => {
    const verifier = createTestVerifier([toCluster(issuer)]);
    const verdicts = await Promise.all(
      Array.from({ length: 20 }, () => verifier.judge(longToken())),
    );
    expect(new Set(verdicts)).to.deep.equal(new Set(['accepted']));
    expect(issuer.requests).to.have.length(1);
  });

  it('spends no fetch on a bad signature under a known kid', async () => {
    const verifier = createTestVerifier([toCluster(issuer)]);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    await verifier.clock.advance(60_000);
    const key = createSigningKey('ES256', issuer.key.kid);
    expect(await verifier.judge(issuer.token({ lifetimeSeconds: 86_400, mint: { key } }))).to.equal(
      'token_signature',
    );
    expect(issuer.requests).to.have.length(1);
  });

  it('uses stale keys until their bound while the issuer is down, then cannot decide', async () => {
    const verifier = createTestVerifier([toCluster(issuer, { maxStalenessSeconds: 3600 })]);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    issuer.setMode({ status: 500 });
    await verifier.clock.advance(3_600_000);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    await verifier.clock.advance(1);
    expect(await verifier.judge(longToken())).to.equal('keys_unavailable');
    issuer.setMode('up');
    await verifier.clock.advance(10_000);
    expect(await verifier.judge(longToken())).to.equal('accepted');
  });

  it('cannot decide about an unknown kid while the issuer is down: the key may be new', async () => {
    const verifier = createTestVerifier([toCluster(issuer)]);
    expect(await verifier.judge(longToken())).to.equal('accepted');
    issuer.setMode({ status: 503 });
    issuer.rotate();
    await verifier.clock.advance(10_000);
    expect(await verifier.judge(longToken())).to.equal('keys_unavailable');
  });

  const useless: readonly { title: string; mode: Parameters<FakeIssuer['setMode']>[0] }[] = [
    { title: 'an error page', mode: { status: 500, body: '<html>' } },
    { title: 'a redirect', mode: { status: 302, headers: { Location: 'https://evil.test/keys' } } },
    { title: 'text that is not JSON', mode: { status: 200, body: 'keys' } },
    { title: 'JSON that is no key set', mode: { status: 200, body: '[]' } },
    { title: 'an empty key set', mode: { status: 200, body: '{"keys":[]}' } },
    {
      title: 'more than the size limit',
      mode: { status: 200, body: `{"keys":[],"x":"${'x'.repeat(300_000)}"}` },
    },
  ];
  for (const { title, mode } of useless) {
    it(`keeps good keys when the issuer answers ${title}`, async () => {
      const verifier = createTestVerifier([toCluster(issuer)]);
      expect(await verifier.judge(longToken())).to.equal('accepted');
      issuer.setMode(mode);
      await verifier.clock.advance(10_000);
      const key = createSigningKey('ES256');
      expect(await verifier.judge(issuer.token({ mint: { key } }))).to.equal('keys_unavailable');
      expect(await verifier.judge(longToken())).to.equal('accepted');
    });
    it(`cannot decide when the issuer never answered anything but ${title}`, async () => {
      issuer.setMode(mode);
      const verifier = createTestVerifier([toCluster(issuer)]);
      expect(await verifier.judge(longToken())).to.equal('keys_unavailable');
      expect(verifier.events).to.deep.equal([{ kind: 'failed', cluster: 'here' }]);
    });
  }

  it('refuses a token whose key two clusters have, in both, and raises the alarm once', async () => {
    other.publish([other.key.jwk, { ...issuer.key.jwk, kid: 'under-another-name' }]);
    const clusters = [toCluster(issuer), toCluster(other, { name: 'there', own: false })];
    const verifier = createTestVerifier(clusters);
    const refresh = () => Promise.all(verifier.keys.clusters.map((cluster) => cluster.refresh()));
    await refresh();
    const refusal = await verifier.refuse(longToken());
    expect(refusal.reason).to.equal('keys_unavailable');
    expect(refusal.detail).to.contain('here').and.contain('there');
    const shared = { key: { ...issuer.key, kid: 'under-another-name' } };
    expect(await verifier.judge(other.token({ mint: shared }))).to.equal('keys_unavailable');
    expect(await verifier.judge(other.token())).to.equal('accepted');
    await verifier.clock.advance(10_000);
    await refresh();
    expect(verifier.lines.filter((line) => line.level === 'error')).to.have.length(1);
    // Counted with every fetch: of a single step the alert on the counter would see nothing.
    const counted = verifier.events.filter(({ kind }) => kind === 'shared_key');
    expect(counted).to.have.length.greaterThan(1);
    other.publish([other.key.jwk]);
    await verifier.clock.advance(10_000);
    await refresh();
    expect(await verifier.judge(longToken())).to.equal('accepted');
  });

  it('tells clusters with one issuer apart by the key, and keeps their roles apart', async () => {
    const iss = 'https://kubernetes.default.svc.cluster.local';
    const clusters = [
      toCluster(issuer, { issuers: [iss] }),
      toCluster(other, { name: 'staging', own: false, issuers: [iss] }),
    ];
    const verifier = createTestVerifier(clusters);
    const roles = indexRoles([
      toRole('own'),
      toRole('staging', {
        audience: 'ledger',
        subjects: [{ cluster: 'staging', namespace: 'shop', serviceAccount: 'checkout' }],
      }),
      toRole('any', {
        audience: 'logs',
        subjects: [{ cluster: '*', namespace: 'shop', serviceAccount: 'checkout' }],
      }),
    ]);
    const decide = async (from: FakeIssuer, audience: string) => {
      const subject = await verifier.verify(from.token({ audiences: [audience], claims: { iss } }));
      const resolution = resolveRole(roles, { subject, audience }, { ownCluster: 'here' });
      return `${subject.identity.cluster} ${resolution.ok ? resolution.role.name : resolution.reason}`;
    };
    expect(await decide(issuer, 'payments')).to.equal('here own');
    expect(await decide(other, 'payments')).to.equal('staging role_mismatch');
    expect(await decide(issuer, 'ledger')).to.equal('here role_mismatch');
    expect(await decide(other, 'ledger')).to.equal('staging staging');
    expect(await decide(issuer, 'logs')).to.equal('here any');
    expect(await decide(other, 'logs')).to.equal('staging any');
  });

  it('cannot decide about a token of a shared issuer while one of its clusters has no keys', async () => {
    const iss = 'https://kubernetes.default.svc.cluster.local';
    other.setMode({ status: 500 });
    const clusters = [
      toCluster(issuer, { issuers: [iss] }),
      toCluster(other, { name: 'staging', own: false, issuers: [iss] }),
    ];
    const verifier = createTestVerifier(clusters);
    expect(await verifier.judge(other.token({ claims: { iss } }))).to.equal('keys_unavailable');
    expect(await verifier.judge(issuer.token({ claims: { iss } }))).to.equal('accepted');
  });

  it('says that its own credential was refused, and uses the next one on the disk', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'coatcheck-'));
    try {
      const [caFile, tokenFile] = [path.join(folder, 'ca.crt'), path.join(folder, 'token')];
      await writeFile(caFile, '');
      await writeFile(tokenFile, 'test-bearer-outdated\n');
      await chmod(tokenFile, 0o600);
      const keys = { from: 'apiServer', url: issuer.issuer, caFile, tokenFile } as const;
      const verifier = createTestVerifier([toCluster(issuer, { keys })]);
      expect(await verifier.judge(longToken())).to.equal('kube_unavailable');
      expect(verifier.events).to.deep.equal([{ kind: 'credential_refused', cluster: 'here' }]);
      expect(verifier.lines.map((line) => line.level)).to.deep.equal(['error']);
      await writeFile(tokenFile, `${issuer.bearer}\n`);
      await verifier.clock.advance(10_000);
      expect(await verifier.judge(longToken())).to.equal('accepted');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
