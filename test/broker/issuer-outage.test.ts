// An issuer that is down, seen from outside: keys serve until their bound, then callers get 503, the broker is not ready,
// and the metrics say since when; for clusters and OIDC issuers alike.
import { expect } from 'chai';
import { createFakeClock } from '../support/clock.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { toCluster, toOidcIssuer } from '../support/verifying.ts';
import { startTestBroker, type TestBroker } from './harness.ts';

const ROLE = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: both }
spec:
  audience: payments
  subjects: [{ namespace: shop, serviceAccount: checkout }, { issuer: github, subject: "repo:acme/shop" }]
`;

const kinds = [
  {
    name: 'a cluster',
    toEntry: (issuer: FakeIssuer) => toCluster(issuer, { maxStalenessSeconds: 3600 }),
    toToken: (issuer: FakeIssuer) => issuer.token({ lifetimeSeconds: 86_400 }),
    entry: 'here',
  },
  {
    name: 'an OIDC issuer',
    toEntry: (issuer: FakeIssuer) => toOidcIssuer(issuer, { maxStalenessSeconds: 3600 }),
    toToken: (issuer: FakeIssuer) =>
      issuer.token({ lifetimeSeconds: 86_400, claims: { sub: 'repo:acme/shop' } }),
    entry: 'github',
  },
];

for (const { name, toEntry, toToken, entry } of kinds) {
  describe(`${name} whose issuer is down`, () => {
    let issuer: FakeIssuer;
    let broker: TestBroker;
    let clock: ReturnType<typeof createFakeClock>;

    before(async () => {
      // Not before: tokens are minted at the real time.
      clock = createFakeClock(Date.now());
      issuer = await startIssuer();
      const clusters = [toEntry(issuer)];
      broker = await startTestBroker(name, { fake: issuer, clusters, clock, roles: ROLE });
    });
    after(async () => {
      await broker.stop();
      await issuer.close();
    });

    const exchange = () => broker.exchange({ subject_token: toToken(issuer) });
    const isReady = async () => (await fetch(`${broker.running.operationsUrl}/readyz`)).status;
    const readMetric = async (start: string) => {
      const text = await (await fetch(`${broker.running.operationsUrl}/metrics`)).text();
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(start))
          ?.split(' ')[1],
      );
    };
    const loadedAt = () =>
      readMetric(`coatcheck_broker_cluster_keys_loaded_timestamp_seconds{cluster="${entry}"}`);

    it('serves by the keys it has until their bound, then answers 503, and then serves again', async () => {
      const startedAt = Math.floor(clock.now() / 1000);
      expect([(await exchange()).status, await isReady()]).to.deep.equal([200, 200]);
      issuer.setMode({ status: 500 });
      await clock.advance(3_600_000);
      expect((await exchange()).status).to.equal(200);
      await clock.advance(1000);
      const refused = await exchange();
      expect(refused.status, refused.text).to.equal(503);
      expect(refused.body.reason).to.equal('unavailable');
      expect(broker.audit.at(-1)).to.include({ outcome: 'failure', reason: 'keys_unavailable' });
      expect(await isReady()).to.equal(503);
      expect(await loadedAt()).to.equal(startedAt);
      const failed = `coatcheck_broker_cluster_keys_events_total{cluster="${entry}",event="failed"}`;
      expect(await readMetric(failed)).to.be.at.least(1);
      issuer.setMode('up');
      await clock.advance(10_000);
      expect((await exchange()).status).to.equal(200);
      expect(await isReady()).to.equal(200);
      expect(await loadedAt()).to.be.greaterThan(startedAt + 3600);
    });
  });
}
