// The death of a pod and of a ServiceAccount, reported over HTTP, at every door: exchange in each validation mode,
// introspection, renewal, the admin API; then over a restart, on another replica, and without a store.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { parseClusters } from '../../broker/identity/clusters.ts';
import type { StartOptions } from '../../broker/main.ts';
import { StoreError } from '../../broker/store/store.ts';
import { fixedKeys, generateSigningKey } from '../../broker/tokens/keys.ts';
import { newOpaqueToken } from '../../broker/tokens/opaque.ts';
import { type FakeApiServer, startApiServer, toReview } from '../support/api-server.ts';
import { createFakeClock } from '../support/clock.ts';
import { type FakeIssuer, type ServiceAccountToken, startIssuer } from '../support/issuer.ts';
import { noteToken } from '../support/tokens.ts';
import { type Answer, startTestBroker, type TestBroker } from './harness.ts';
import { BACKENDS, type Database, waitUntil } from './store/backends.ts';
import { SQLITE, startTokenBroker, type TokenBroker, toBasic } from './token-harness.ts';

const CONTROLLER = { namespace: 'coatcheck', serviceAccount: 'controller' };
const POD = { name: 'checkout-1', uid: 'pod-uid-1' };
const OTHER = { name: 'checkout-2', uid: 'pod-uid-2' };
const SA_UID = '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70';
const MODES = ['offline', 'hybrid', 'review'] as const;

type Report =
  | { readonly dead: readonly object[] }
  | {
      readonly takenAt: string;
      readonly pods: readonly string[];
      readonly serviceAccounts: readonly string[];
    };

const died = (uid: string, kind = 'Pod'): Report => ({
  dead: [{ kind, uid, at: new Date().toISOString() }],
});
const living = (
  pods: readonly string[],
  serviceAccounts: readonly string[] = [SA_UID],
): Report => ({
  takenAt: new Date().toISOString(),
  pods,
  serviceAccounts,
});

/** As the controller of the cluster; its own pod is not among those of the tests. */
function report(broker: TestBroker, body: Report): Promise<Answer> {
  const token = broker.issuer.token({ ...CONTROLLER, pod: null, audiences: ['coatcheck-control'] });
  return broker.request('/api/v1/clusters/local/live', {
    method: 'dead' in body ? 'PATCH' : 'PUT',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

async function tell(broker: TestBroker, body: Report): Promise<void> {
  const answer = await report(broker, body);
  expect(answer.status, answer.text).to.equal(200);
}

function toClusters(
  fake: FakeIssuer,
  mode: (typeof MODES)[number] = 'offline',
  server?: FakeApiServer,
): Pick<StartOptions, 'clusters'> {
  const cluster = {
    name: 'local',
    kind: 'kubernetes',
    issuer: fake.issuer,
    validation: mode,
    controller: CONTROLLER,
    ...(mode !== 'review' && { keys: { url: fake.jwksUrl } }),
    ...(server && {
      review: { url: server.url, caFile: server.caFile, tokenFile: server.tokenFile },
    }),
  };
  return {
    clusters: parseClusters(JSON.stringify({ clusters: [cluster] }), { file: '/clusters.yaml' }),
  };
}

/** Issued so long ago that a set of now says something about it. */
const old = (change: Partial<ServiceAccountToken> = {}) => ({
  pod: POD,
  issuedAt: Math.floor(Date.now() / 1000) - 60,
  ...change,
});

for (const mode of MODES) {
  describe(`the dead, where validation is ${mode}`, () => {
    let fake: FakeIssuer;
    let server: FakeApiServer;
    let broker: TestBroker;
    beforeEach(async () => {
      fake = await startIssuer();
      server = await startApiServer();
      const reviewed = mode === 'offline' ? undefined : server;
      broker = await startTestBroker(`liveness ${mode}`, {
        fake,
        ...toClusters(fake, mode, reviewed),
      });
    });
    afterEach(async () => {
      await broker.stop();
      await server.close();
      await fake.close();
    });
    const exchange = (workload: Partial<ServiceAccountToken> = { pod: POD }) =>
      broker.exchange({ subject_token: fake.token(workload) });
    const expectDead = async (asked: Promise<Answer>) => {
      const answer = await asked;
      expect([answer.status, answer.body.reason]).to.deep.equal([400, 'token_refused']);
      expect(broker.audit.at(-1)).to.include({ outcome: 'deny', reason: 'subject_dead' });
    };
    const expectAlive = async (asked: Promise<Answer>) =>
      expect((await asked).status).to.equal(200);

    it('get nothing once their pod was reported, and the API server is not asked', async () => {
      const token = fake.token({ pod: POD });
      await expectAlive(broker.exchange({ subject_token: token }));
      await tell(broker, died(POD.uid));
      const before = server.reviews.length;
      // The very token of the good answer that is in the cache, and another one.
      await expectDead(broker.exchange({ subject_token: token }));
      await expectDead(exchange());
      expect(server.reviews).to.have.length(before);
      await expectAlive(exchange({ pod: OTHER }));
    });

    it('get nothing once their ServiceAccount was reported, bound to a pod or not', async () => {
      await tell(broker, died(SA_UID, 'ServiceAccount'));
      await expectDead(exchange());
      await expectDead(
        broker.exchange({ subject_token: fake.token({ pod: null, audiences: ['batch'] }) }),
      );
      const renewedAccount = {
        'kubernetes.io': {
          namespace: 'shop',
          serviceaccount: { name: 'checkout', uid: 'another' },
          pod: POD,
        },
      };
      await expectAlive(broker.exchange({ subject_token: fake.token({ claims: renewedAccount }) }));
    });

    it('are those that a set lacks which was taken after their token was issued', async () => {
      await tell(broker, living([OTHER.uid]));
      await expectDead(exchange(old()));
      await expectAlive(exchange(old({ pod: OTHER })));
      // Issued within the skew: the pod may have come after the list.
      await expectAlive(exchange(old({ issuedAt: Math.floor(Date.now() / 1000) - 20 })));
    });

    it('are told apart from those who are only refused: the record says why', async () => {
      await tell(broker, died(POD.uid));
      await exchange();
      const record = broker.audit.at(-1) as unknown as Readonly<Record<string, unknown>>;
      expect(String(record.detail)).to.include('Pod was reported dead');
      if (mode === 'review') expect(record.podUid).to.equal(undefined);
      else expect(record.podUid).to.equal(POD.uid);
    });

    if (mode !== 'offline')
      it('get nothing where the death is reported while the API server is asked', async () => {
        server.hold();
        const waiting = exchange();
        await waitUntil('the review is asked', () => server.open > 0);
        // Not by HTTP: the controller's own token would wait for its review.
        await broker.running.broker.deaths.reportDead('local', [
          { kind: 'Pod', uid: POD.uid, diedAt: Date.now() },
        ]);
        server.release();
        await expectDead(waiting);
        server.answer = (asked) => ({ body: toReview(asked) });
        await expectAlive(exchange({ pod: OTHER }));
      });
  });
}

describe('tokens of the dead', () => {
  let fake: FakeIssuer;
  let tokens: TokenBroker;
  let root: string;
  beforeEach(async () => {
    fake = await startIssuer();
    const { token } = newOpaqueToken(randomBytes);
    root = noteToken(token.reveal());
    tokens = await startTokenBroker('liveness tokens', {
      fake,
      ...toClusters(fake),
      bootstrap: { token, ttlSeconds: 600 },
    });
  });
  afterEach(async () => {
    await tokens.stop();
    await fake.close();
  });
  const isActive = async (token: string) => (await tokens.introspect(token)).body.active;
  const admin = (method: string, path: string, token = root) =>
    tokens.broker.request(path, { method, headers: { authorization: `Bearer ${token}` } });

  for (const [audience, what] of [
    ['payments', 'a JWT'],
    ['vault', 'an opaque token'],
  ] as const) {
    it(`are not active: ${what} of a pod that died, and not of one beside it`, async () => {
      const [dead, alive] = [
        await tokens.obtain(audience, { pod: POD }),
        await tokens.obtain(audience, { pod: OTHER }),
      ];
      expect([await isActive(dead), await isActive(alive)]).to.deep.equal([true, true]);
      await tell(tokens.broker, died(POD.uid));
      expect([await isActive(dead), await isActive(alive)]).to.deep.equal([false, true]);
    });

    it(`are not active: ${what} of a ServiceAccount that died`, async () => {
      const dead = await tokens.obtain(audience, { pod: POD });
      await tell(tokens.broker, died('another-account', 'ServiceAccount'));
      expect(await isActive(dead)).to.equal(true);
      await tell(tokens.broker, died(SA_UID, 'ServiceAccount'));
      expect(await isActive(dead)).to.equal(false);
    });

    it(`are not active: ${what} of a pod that was in one set and is not in the next`, async () => {
      const dead = await tokens.obtain(audience, { pod: POD });
      await tell(tokens.broker, living([POD.uid, OTHER.uid]));
      expect(await isActive(dead)).to.equal(true);
      await tell(tokens.broker, living([OTHER.uid]));
      expect(await isActive(dead)).to.equal(false);
    });
  }

  it('are not active: an opaque token by when its subject token was issued', async () => {
    const dead = await tokens.obtain('vault', old());
    const young = await tokens.obtain('vault', { pod: POD });
    await tell(tokens.broker, living([OTHER.uid]));
    expect([await isActive(dead), await isActive(young)]).to.deep.equal([false, true]);
  });

  it('are not renewed', async () => {
    const accessorOf = (token: string) => token.slice(3, 27);
    const token = await tokens.obtain('vault', { pod: POD });
    const renewal = `/api/v1/tokens/${accessorOf(token)}/renew`;
    expect((await admin('POST', renewal)).status).to.equal(200);
    await tell(tokens.broker, died(SA_UID, 'ServiceAccount'));
    expect((await admin('POST', renewal)).status).to.equal(409);
    expect(
      tokens.broker.audit.find((record) => (record.reason as string) === 'subject_dead'),
    ).to.include({ action: 'renew', outcome: 'deny' });
  });

  it('of a pod are taken out of the store, those of others stay', async () => {
    await tokens.obtain('vault', { pod: POD });
    await tokens.obtain('vault', { pod: OTHER });
    await tell(tokens.broker, died(POD.uid));
    const list = async () =>
      (await tokens.store.tokens.list({ kind: 'client' }, { limit: 10 })).items;
    await waitUntil('they are gone', async () => (await list()).length === 1);
    expect((await list())[0]?.podUid).to.equal(OTHER.uid);
  });

  it('open nothing at the broker, whether ServiceAccount tokens or our own', async () => {
    const account = fake.token({ pod: POD, audiences: ['coatcheck-control'] });
    const own = await tokens.obtain('payments', { pod: POD });
    const statuses = async () => [
      (await admin('GET', '/api/v1/whoami', account)).status,
      (await admin('GET', '/api/v1/whoami', own)).status,
    ];
    expect(await statuses()).to.deep.equal([200, 200]);
    await tell(tokens.broker, died(POD.uid));
    expect(await statuses()).to.deep.equal([401, 401]);
  });

  it('that nobody bound to a cluster are not touched: static ones', async () => {
    await tell(tokens.broker, living(['nobody'], ['nobody']));
    expect((await admin('GET', '/api/v1/whoami')).status).to.equal(200);
  });
});

describe('what is known of the dead', () => {
  let fake: FakeIssuer;
  beforeEach(async () => {
    fake = await startIssuer();
  });
  afterEach(() => fake.close());
  const judge = async (broker: TestBroker, pod = POD) =>
    (await broker.exchange({ subject_token: fake.token({ pod }) })).status;

  it('outlives a restart with sqlite, reported or seen by two sets', async () => {
    const database = await SQLITE.create();
    const first = await startTokenBroker('liveness first', { database, fake, ...toClusters(fake) });
    await tell(first.broker, living([POD.uid, OTHER.uid, 'c']));
    await tell(first.broker, living([OTHER.uid, 'c']));
    await tell(first.broker, died('c'));
    await first.stop();
    const second = await startTokenBroker('liveness second', {
      database,
      fake,
      ...toClusters(fake),
    });
    expect(await judge(second.broker)).to.equal(400);
    expect(await judge(second.broker, { name: 'c', uid: 'c' })).to.equal(400);
    expect(await judge(second.broker, OTHER)).to.equal(200);
    await second.stop();
    await database.close();
  });

  it('holds without a store, until the process ends', async () => {
    const first = await startTestBroker('liveness none', { fake, ...toClusters(fake) });
    expect(await judge(first)).to.equal(200);
    await tell(first, died(POD.uid));
    expect([await judge(first), await judge(first, OTHER)]).to.deep.equal([400, 200]);
    await first.stop();
    const second = await startTestBroker('liveness none again', { fake, ...toClusters(fake) });
    expect(await judge(second)).to.equal(200);
    await tell(second, living([OTHER.uid]));
    const absent = fake.token(old());
    expect((await second.exchange({ subject_token: absent })).status).to.equal(400);
    await second.stop();
  });

  it('holds here although the store is away, and is stored with the next report', async () => {
    const database = await SQLITE.create();
    const tokens = await startTokenBroker('liveness away', { database, fake, ...toClusters(fake) });
    const { add } = tokens.store.deaths;
    const writable = tokens.store.deaths as { add: typeof add };
    writable.add = () => Promise.reject(new StoreError('unavailable', 'it is away'));
    expect((await report(tokens.broker, died(POD.uid))).status).to.equal(503);
    expect(await judge(tokens.broker)).to.equal(400);
    writable.add = add;
    await tell(tokens.broker, died('somebody-else'));
    const stored = await tokens.store.deaths.findMany('local', [POD.uid, 'somebody-else']);
    expect(stored).to.have.length(2);
    await tokens.stop();
    await database.close();
  });

  it('is an alarm where a cluster that reported is silent, in log and metric, and not before', async () => {
    const clock = createFakeClock(Date.now());
    const broker = await startTestBroker('liveness alarm', {
      fake,
      clock,
      ...toClusters(fake),
      liveReportAlarmSeconds: 600,
    });
    const age = async () =>
      /^coatcheck_broker_live_report_age_seconds\{cluster="local"\} (.+)$/m.exec(
        await broker.running.broker.metrics.registry.metrics(),
      )?.[1];
    const warnings = () =>
      broker.log.filter(({ msg }) => String(msg).includes('does not report who lives')).length;
    const live = { takenAt: clock.now(), pods: ['a'], serviceAccounts: ['b'] };
    await clock.advance(3_600_000);
    expect([await age(), warnings()]).to.deep.equal([undefined, 0]);
    await broker.running.broker.deaths.reportLive('local', live);
    await clock.advance(600_000);
    expect([await age(), warnings()]).to.deep.equal(['600', 0]);
    await clock.advance(60_000);
    expect([await age(), warnings()]).to.deep.equal(['660', 1]);
    await broker.running.broker.deaths.reportLive('local', { ...live, takenAt: clock.now() });
    await clock.advance(60_000);
    expect([await age(), warnings()]).to.deep.equal(['60', 1]);
    expect(broker.log.some(({ msg }) => String(msg).includes('reports again'))).to.equal(true);
    await broker.stop();
  });
});

const postgres = BACKENDS.find(({ kind }) => kind === 'postgres');

(postgres?.lack === undefined ? describe : describe.skip)(
  'the dead, with two brokers on one PostgreSQL',
  () => {
    let database: Database;
    let fake: FakeIssuer;
    let a: TokenBroker;
    let b: TokenBroker;
    before(async function () {
      this.timeout(60_000);
      if (!postgres) throw new Error('no PostgreSQL');
      database = await postgres.create();
      fake = await startIssuer();
      const shared = {
        database,
        fake,
        issuer: 'https://broker.example',
        keys: fixedKeys(generateSigningKey()),
        ...toClusters(fake),
      };
      a = await startTokenBroker('liveness-a', shared);
      b = await startTokenBroker('liveness-b', shared);
    });
    after(async () => {
      await a.stop();
      await b.stop();
      await database.close();
      await fake.close();
    });

    for (const audience of ['payments', 'vault'] as const) {
      it(`are dead on the other one too, at once (${audience})`, async () => {
        const times: number[] = [];
        const isActiveOnB = async (token: string) =>
          (await b.introspect(token, toBasic(b.clients.gateway))).body.active === true;
        for (let i = 0; i < 10; i++) {
          const pod = { name: `pod-${i}`, uid: `${audience}-uid-${i}` };
          const token = await a.obtain(audience, { pod });
          expect(await isActiveOnB(token)).to.equal(true);
          await tell(a.broker, died(pod.uid));
          const startedAt = performance.now();
          await waitUntil('B knows', async () => !(await isActiveOnB(token)));
          times.push(performance.now() - startedAt);
          const again = await b.broker.exchange({ subject_token: fake.token({ pod }) });
          expect(again.body.reason).to.equal('token_refused');
        }
        times.sort((x, y) => x - y);
        console.log(
          `      reported to A, refused by B (${audience}): median ${times[5]?.toFixed(1)} ms, worst ${times.at(-1)?.toFixed(1)} ms`,
        );
        expect(await isActiveOnB(await a.obtain(audience, { pod: OTHER }))).to.equal(true);
      });
    }
  },
);
