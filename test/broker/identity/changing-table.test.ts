// A table that changes under requests: what goes on, what ends at once, and that nothing is left running for an entry that
// is gone.
import { expect } from 'chai';
import { createClusterKeys } from '../../../broker/identity/cluster-keys.ts';
import type { Cluster } from '../../../broker/identity/clusters.ts';
import { parseKeySet } from '../../../broker/identity/key-set.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeApiServer, startApiServer, toReviewSettings } from '../../support/api-server.ts';
import { createFakeClock } from '../../support/clock.ts';
import { type FakeIssuer, startIssuer } from '../../support/issuer.ts';
import {
  createSigningKey,
  mint,
  type SigningKey,
  serviceAccountClaims,
} from '../../support/minting.ts';
import { createTestValidator, type TestValidator } from '../../support/reviewing.ts';
import {
  createTestVerifier,
  type TestVerifier,
  toCluster,
  toOidcIssuer,
} from '../../support/verifying.ts';

const SHARED = 'https://shared.test';
const MINUTE = 60_000;

function readSet(...keys: readonly SigningKey[]) {
  const parsed = parseKeySet({ keys: keys.map(({ jwk }) => jwk) }, ['ES256']);
  if (!parsed.ok) throw new Error('no key set');
  return parsed;
}

const toPushed = (issuer: FakeIssuer, key: SigningKey, more: object = {}): Cluster =>
  toCluster(issuer, {
    name: 'edge',
    own: false,
    issuers: [SHARED],
    keys: { from: 'pushed', first: readSet(key).jwks },
    ...more,
  });

const tokenOf = (key: SigningKey) =>
  mint({ key, claims: serviceAccountClaims({ issuer: SHARED, audiences: ['payments'] }) });

describe('a changing table', () => {
  let here: FakeIssuer;
  let there: FakeIssuer;
  beforeEach(async () => {
    [here, there] = await Promise.all([startIssuer(), startIssuer()]);
  });
  afterEach(() => Promise.all([here.close(), there.close()]));

  const own = (more: object = {}) => toCluster(here, more);
  const other = (more: object = {}) => toCluster(there, { name: 'there', own: false, ...more });

  async function start(...clusters: readonly Cluster[]): Promise<TestVerifier> {
    const verifier = createTestVerifier(clusters);
    await verifier.keys.start();
    return verifier;
  }

  it('believes an entry from the moment it is added, and nobody before', async () => {
    const verifier = await start(own());
    const token = there.token();
    expect(await verifier.judge(token)).to.equal('token_issuer');
    verifier.update([own(), other()]);
    expect(await verifier.judge(token)).to.equal('accepted');
    await verifier.keys.stop();
  });

  it('refuses the tokens of an entry that is removed', async () => {
    const table = [own(), other()];
    const verifier = await start(...table);
    expect(await verifier.judge(there.token())).to.equal('accepted');
    verifier.update(table.slice(0, 1));
    expect(await verifier.judge(there.token())).to.equal('token_issuer');
    expect(verifier.keys.clusters.map(({ name }) => name)).to.deep.equal(['here']);
    await verifier.keys.stop();
  });

  it('leaves one loop for an entry, however often it changed, and none for one that went', async () => {
    const clock = createFakeClock();
    const loads: string[] = [];
    const text = JSON.stringify({ keys: [createSigningKey('ES256').jwk] });
    const toLoad =
      ({ name }: Cluster) =>
      () => {
        loads.push(name);
        return Promise.resolve(text);
      };
    const log = createLogger({
      level: 'error',
      process: 'test',
      stream: { write: () => undefined },
    });
    const keys = createClusterKeys({ clusters: [own(), other()], clock, log, toLoad });
    const countLoads = async () => {
      loads.length = 0;
      await clock.advance(60 * MINUTE);
      return Object.fromEntries(
        ['here', 'there'].map((name) => [name, loads.filter((one) => one === name).length]),
      );
    };
    await keys.start();
    for (let i = 1; i <= 10; i++) keys.update([own(), other({ maxStalenessSeconds: 3600 + i })]);
    await clock.advance(MINUTE);
    expect(await countLoads()).to.deep.equal({ here: 12, there: 12 });
    keys.update([own()]);
    await clock.advance(MINUTE);
    expect(await countLoads()).to.deep.equal({ here: 12, there: 0 });
    await keys.stop();
    expect(await countLoads()).to.deep.equal({ here: 0, there: 0 });
  });

  it('tells nothing of a fetch that ends after its entry went', async () => {
    const verifier = await start(own());
    there.setMode('hang');
    verifier.update([own(), other()]);
    verifier.update([own()]);
    const told = verifier.events.length;
    there.setMode('up');
    await there.close();
    await verifier.clock.advance(MINUTE);
    expect(verifier.events.slice(told).some((event) => event.cluster === 'there')).to.equal(false);
    await verifier.keys.stop();
  });

  it('goes on with the keys it has where only the pace or the issuers of an entry change', async () => {
    const verifier = await start(own(), other());
    there.setMode({ status: 500 });
    verifier.update([own(), other({ refreshSeconds: 60, issuers: [there.issuer, SHARED] })]);
    expect(await verifier.judge(there.token())).to.equal('accepted');
    await verifier.keys.stop();
  });

  it('believes no key from before where they come from elsewhere', async () => {
    const verifier = await start(own(), other());
    const token = there.token();
    verifier.update([own(), other({ keys: { from: 'url', url: here.jwksUrl } })]);
    expect(await verifier.judge(token)).to.equal('token_signature');
    await verifier.keys.stop();
  });

  it('lets no algorithm go on that an entry has no more', async () => {
    const verifier = await start(own(), other());
    expect(await verifier.judge(there.token())).to.equal('accepted');
    verifier.update([own(), other({ algorithms: ['RS256'] })]);
    expect(await verifier.judge(there.token())).to.equal('token_signature');
    await verifier.keys.stop();
  });

  describe('with pushed keys', () => {
    const first = createSigningKey('ES256', 'first');
    const second = createSigningKey('ES256', 'second');

    it('serves the first ones, then those that were pushed alone', async () => {
      const verifier = await start(own(), toPushed(here, first));
      expect(await verifier.judge(tokenOf(first))).to.equal('accepted');
      const loadedAt = verifier.clock.now();
      verifier.keys.replacePushed('edge', { keys: readSet(second).keys, loadedAt });
      expect(await verifier.judge(tokenOf(second))).to.equal('accepted');
      expect(await verifier.judge(tokenOf(first))).to.equal('token_signature');
      await verifier.keys.stop();
    });

    it('serves them until they are too old, then cannot decide, and says so again and again', async () => {
      const verifier = await start(own(), toPushed(here, first, { maxStalenessSeconds: 600 }));
      await verifier.clock.advance(10 * MINUTE);
      expect(await verifier.judge(tokenOf(first))).to.equal('accepted');
      await verifier.clock.advance(1000);
      expect(await verifier.judge(tokenOf(first))).to.equal('keys_unavailable');
      await verifier.clock.advance(10 * MINUTE);
      const failed = verifier.events.filter(
        ({ kind, cluster }) => kind === 'failed' && cluster === 'edge',
      );
      expect(failed.length).to.be.within(1, 3);
      expect(verifier.lines.map(({ msg }) => msg)).to.include(
        "the cluster's controller pushes no keys: those it pushed are too old to be used",
      );
      const loadedAt = verifier.clock.now();
      verifier.keys.replacePushed('edge', { keys: readSet(first).keys, loadedAt });
      expect(await verifier.judge(tokenOf(first))).to.equal('accepted');
      await verifier.keys.stop();
    });

    it('keeps what was pushed where another part of the entry changes, and drops it with another first set', async () => {
      const verifier = await start(own(), toPushed(here, first));
      const loadedAt = verifier.clock.now();
      verifier.keys.replacePushed('edge', { keys: readSet(second).keys, loadedAt });
      verifier.update([own(), toPushed(here, first, { maxStalenessSeconds: 60 })]);
      expect(await verifier.judge(tokenOf(second))).to.equal('accepted');
      expect(await verifier.judge(tokenOf(first))).to.equal('token_signature');
      const third = createSigningKey('ES256', 'third');
      verifier.update([own(), toPushed(here, third)]);
      expect(await verifier.judge(tokenOf(second))).to.equal('token_signature');
      expect(await verifier.judge(tokenOf(third))).to.equal('accepted');
      await verifier.keys.stop();
    });

    it('lets no registered cluster stop one of the file by having its key, but does stop one of its kind', async () => {
      const registered = { isRegistered: true };
      const edge = toPushed(here, first);
      const thief = toPushed(here, first, { name: 'thief', ...registered });
      const verifier = await start(own(), edge, thief);
      expect((await verifier.verify(tokenOf(first))).identity.cluster).to.equal('edge');
      expect(verifier.keys.findHolder('thief', readSet(first).keys)).to.equal('edge');
      expect(verifier.keys.findHolder('edge', readSet(first).keys)).to.equal('thief');
      verifier.update([own(), toPushed(here, first, registered), thief]);
      expect(await verifier.judge(tokenOf(first))).to.equal('keys_unavailable');
      verifier.update([own(), toPushed(here, first, registered)]);
      expect(await verifier.judge(tokenOf(first))).to.equal('accepted');
      await verifier.keys.stop();
    });
  });
});

describe('a table that changes while a token is checked', () => {
  let issuer: FakeIssuer;
  let server: FakeApiServer;
  let validator: TestValidator;
  beforeEach(async () => {
    [issuer, server] = await Promise.all([startIssuer(), startApiServer()]);
  });
  afterEach(async () => {
    server.release();
    await validator.close();
    await Promise.all([issuer.close(), server.close()]);
  });

  const hybrid = (more: object = {}): Cluster =>
    toCluster(issuer, { validation: 'hybrid', review: toReviewSettings(server), ...more });

  async function untilAsked(): Promise<void> {
    while (server.open === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  const changes: readonly { title: string; to: () => readonly Cluster[]; reason: RegExp }[] = [
    { title: 'removed', to: () => [], reason: /token_issuer|kube_unavailable/ },
    {
      title: 'changed',
      to: () => [hybrid({ controller: { namespace: 'a', serviceAccount: 'b' } })],
      reason: /keys_unavailable|kube_unavailable/,
    },
  ];
  for (const { title, to, reason } of changes) {
    it(`gives nothing out for an entry that was ${title} before the API server answered`, async () => {
      validator = createTestValidator([hybrid()]);
      const token = issuer.token();
      server.hold();
      const judged = validator.judge(token);
      await untilAsked();
      validator.update(to());
      server.release();
      expect(await judged).to.match(reason);
    });
  }

  it('gives nothing out for an OIDC issuer that went between the check and its end', async () => {
    validator = createTestValidator([
      hybrid(),
      toOidcIssuer(issuer, { issuers: ['https://ci.test'] }),
    ]);
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: 'https://ci.test',
      sub: 'job',
      aud: 'payments',
      iat: now,
      exp: now + 300,
    };
    issuer.discovery.issuer = 'https://ci.test';
    const proof = await validator.validate(mint({ key: issuer.key, claims }), 'payments');
    expect(await proof.confirm('payments')).to.deep.equal({ mode: 'offline' });
    validator.update([hybrid()]);
    const refused = await proof.confirm('payments').catch((error: { reason: string }) => error);
    expect(refused).to.include({ reason: 'token_issuer' });
  });

  it('keeps good reviews of entries that did not change, and forgets those of one that did', async () => {
    const kept = hybrid();
    validator = createTestValidator([kept]);
    const token = issuer.token();
    expect(await validator.judge(token)).to.equal('fresh');
    validator.update([
      kept,
      toCluster(issuer, { name: 'new', own: false, issuers: ['https://b.test'] }),
    ]);
    expect(await validator.judge(token)).to.equal('cached');
    validator.update([hybrid({ maxStalenessSeconds: 7200 })]);
    expect(await validator.judge(token)).to.equal('fresh');
  });
});
