// A whole broker whose cluster asks for reviews: what callers get, what audit and metrics say, and in which order things are
// decided. How reviews work in detail is in identity/review.test.ts.
import { expect } from 'chai';
import { parseClusters } from '../../broker/identity/clusters.ts';
import {
  type FakeApiServer,
  startApiServer,
  toRejection,
  toReview,
} from '../support/api-server.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { type Answer, startTestBroker, type TestBroker } from './harness.ts';

const OWN = '(namespace shop, ServiceAccount checkout, audience payments)';

describe('a broker that asks for reviews', () => {
  let issuer: FakeIssuer;
  let server: FakeApiServer;
  let broker: TestBroker;
  before(async () => {
    issuer = await startIssuer();
  });
  beforeEach(async () => {
    server = await startApiServer();
  });
  afterEach(async () => {
    await broker.stop();
    await server.close();
  });
  after(() => issuer.close());

  async function start(more: object = {}): Promise<void> {
    const { url, caFile, tokenFile } = server;
    const cluster = {
      name: 'local',
      kind: 'kubernetes',
      issuer: issuer.issuer,
      validation: 'hybrid',
      keys: { url: issuer.jwksUrl },
      review: { url, caFile, tokenFile },
      ...more,
    };
    broker = await startTestBroker('reviews', {
      fake: issuer,
      clusters: parseClusters(JSON.stringify({ clusters: [cluster] }), { file: '/clusters.yaml' }),
    });
  }
  const exchange = (token = issuer.token(), more: object = {}): Promise<Answer> =>
    broker.exchange({ subject_token: token, ...more });
  const readMetric = async (line: string) => {
    const text = await broker.running.broker.metrics.registry.metrics();
    const found = text.split('\n').find((one) => one.startsWith(`coatcheck_broker_${line} `));
    return found === undefined ? undefined : Number(found.slice(found.lastIndexOf(' ')));
  };

  it('gives a token after a good review, and records how it was validated', async () => {
    await start();
    const token = issuer.token();
    expect((await exchange(token)).status).to.equal(200);
    expect(broker.audit.at(-1)).to.include({ validation: 'hybrid', review: 'fresh' });
    expect((await exchange(token)).status).to.equal(200);
    expect(broker.audit.at(-1)).to.include({ validation: 'hybrid', review: 'cached' });
    expect(await readMetric('token_reviews_total{cluster="local",outcome="accepted"}')).to.equal(1);
    expect(await readMetric('token_reviews_spared_total{cluster="local",by="cached"}')).to.equal(1);
    expect(await readMetric('token_reviews_in_flight{cluster="local"}')).to.equal(0);
    expect(await readMetric('token_review_duration_seconds_count{cluster="local"}')).to.equal(1);
  });

  it('tells the caller of a dead pod that the cluster does not accept its token', async () => {
    await start();
    server.answer = (asked) => ({ body: toRejection(asked) });
    const answer = await exchange();
    expect(answer.status).to.equal(400);
    expect(answer.body).to.include({
      error: 'invalid_request',
      error_description: `the API server of the cluster does not accept the subject token ${OWN}`,
      reason: 'token_refused',
    });
    expect(broker.audit.at(-1)).to.include({
      outcome: 'deny',
      reason: 'review_refused',
      role: 'payments-checkout',
      validation: 'hybrid',
      review: 'not_asked',
    });
    server.answer = (asked) => ({ body: toReview(asked) });
    expect((await exchange()).status).to.equal(200);
  });

  it('cannot be told apart by callers: a no, and a yes about somebody else', async () => {
    await start();
    const ask = async () => {
      const { body, status } = await exchange();
      return { ...body, correlation_id: '', status };
    };
    server.answer = (asked) => ({ body: toRejection(asked) });
    const refused = await ask();
    server.answer = (asked) => ({ body: toReview(asked, { user: { username: 'jane' } }) });
    expect(await ask()).to.deep.equal(refused);
    expect(broker.audit.at(-1)).to.include({ reason: 'review_mismatch' });
    expect(broker.audit.at(-1)?.failed?.got).to.equal('jane');
    expect(broker.log.at(-1)).to.include({ level: 'error', reason: 'review_mismatch' });
  });

  it('refuses a yes with empty audiences', async () => {
    await start();
    server.answer = (asked) => ({ body: toReview(asked, { audiences: [] }) });
    const answer = await exchange();
    expect(answer.status).to.equal(400);
    expect(answer.body.reason).to.equal('token_audience');
    server.answer = (asked) => ({ body: toReview(asked, { audiences: ['payments'] }) });
    expect((await exchange()).status).to.equal(200);
  });

  const ASKED: readonly { title: string; token?: object; more?: object; status?: number }[] = [
    { title: 'no role fits', token: { serviceAccount: 'stranger' } },
    { title: 'the role has no such scope', more: { scope: 'payments:admin' } },
    { title: 'the audience is not in the token', more: { audience: 'ledger' } },
    { title: 'it has expired', token: { issuedAt: 1_000_000 } },
    { title: 'it is bound to no pod', token: { pod: null } },
    { title: 'everything fits, for once', status: 200 },
  ];
  for (const { title, token, more, status } of ASKED) {
    it(`asks ${status ? 'once' : 'nobody'} about a token where ${title}`, async () => {
      await start();
      expect((await exchange(issuer.token(token), more)).status).to.equal(status ?? 400);
      expect(server.reviews).to.have.length(status ? 1 : 0);
    });
  }

  it('answers 503 where its own credential is refused, and heals with the file', async () => {
    await start();
    server.rotateCredential();
    const answer = await exchange();
    expect(answer.status).to.equal(503);
    expect(answer.body).to.include({ error: 'temporarily_unavailable', reason: 'unavailable' });
    expect(answer.headers.get('retry-after')).to.match(/^\d+$/);
    expect(answer.text).to.not.contain('checkout');
    expect(broker.audit.at(-1)).to.include({ outcome: 'failure', reason: 'kube_unavailable' });
    expect(
      await readMetric('token_reviews_total{cluster="local",outcome="credential_refused"}'),
    ).to.equal(1);
    server.writeCredential();
    expect((await exchange()).status).to.equal(200);
  });

  it('answers 503 while the API server is away, and after a good review not with `recent`', async () => {
    await start({ onReviewUnavailable: 'recent' });
    server.answer = () => ({ status: 503 });
    expect((await exchange()).status).to.equal(503);
    server.answer = (asked) => ({ body: toReview(asked) });
    expect((await exchange()).status).to.equal(200);
    server.answer = () => ({ status: 503 });
    expect((await exchange()).status).to.equal(200);
    expect(broker.audit.at(-1)).to.include({ outcome: 'allow', review: 'recent' });
  });

  it('answers 429 with Retry-After to whom it has no turn for', async () => {
    await start({ maxConcurrentReviews: 1, reviewQueueSeconds: 0 });
    await exchange();
    server.hold();
    const first = exchange();
    while (server.open === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const answer = await exchange();
    expect(answer.status).to.equal(429);
    expect(answer.body).to.include({
      error: 'temporarily_unavailable',
      reason: 'too_many_requests',
    });
    expect(answer.headers.get('retry-after')).to.match(/^\d+$/);
    expect(broker.audit.at(-1)).to.include({ outcome: 'failure', reason: 'too_many_requests' });
    server.release();
    expect((await first).status).to.equal(200);
  });

  it('forgets what it knew of a pod whose death is reported', async () => {
    await start();
    const token = issuer.token({ pod: { name: 'web-0', uid: 'pod-1' } });
    await exchange(token);
    server.answer = (asked) => ({ body: toRejection(asked) });
    expect((await exchange(token)).status, 'cached').to.equal(200);
    broker.running.broker.evict('local', { podUid: 'pod-1' });
    expect((await exchange(token)).status).to.equal(400);
  });

  describe('without keys', () => {
    const KEYLESS = { validation: 'review', keys: undefined };

    it('is ready at once and gives a token after a good review', async () => {
      await start(KEYLESS);
      expect(broker.running.broker.findObstacles()).to.deep.equal([]);
      expect((await exchange()).status).to.equal(200);
      expect(broker.audit.at(-1)).to.include({
        validation: 'review',
        review: 'fresh',
        namespace: 'shop',
        pod: 'checkout-5d9c7b8f4-x2x4z',
      });
    });
    it('tells and records nothing of a token that is not vouched for', async () => {
      await start(KEYLESS);
      server.answer = (asked) => ({ body: toRejection(asked) });
      for (const parts of [{}, { serviceAccount: 'stranger' }, { namespace: 'secret-team' }]) {
        const answer = await exchange(issuer.token(parts));
        expect(answer.body).to.deep.include({
          error_description: 'the API server of the cluster does not accept the subject token',
          reason: 'token_refused',
        });
        expect(broker.audit.at(-1)).to.not.have.any.keys('namespace', 'pod', 'role', 'tried');
      }
    });
  });
});
