// Rate limits at a whole broker: who pays for what, who is served all the same, and what a flood writes. Every limit beside
// what just does not reach it.
import { expect } from 'chai';
import { parseNetworks } from '../../broker/peer.ts';
import { PATH_INTROSPECT, PATH_REVOKE, PATH_TOKEN } from '../../common/protocol/oauth.ts';
import { createFakeClock } from '../support/clock.ts';
import { startIssuer } from '../support/issuer.ts';
import { noteToken } from '../support/tokens.ts';
import { type Answer, startTestBroker, type TestBroker } from './harness.ts';

/** With one a second, ten at once. */
const BURST = 10;
let broker: TestBroker;

const metric = async (name: string, labels: string): Promise<number> => {
  const text = await broker.running.broker.metrics.registry.metrics();
  const line = text.split('\n').find((one) => one.startsWith(`coatcheck_broker_${name}{${labels}`));
  return Number(line?.split(' ').at(-1) ?? 0);
};
const delayed = () => metric('limited_requests_total', 'limit="source_delayed"');
const exchange = (token: string, headers: Readonly<Record<string, string>> = {}) =>
  broker.exchange({ subject_token: token, audience: 'payments' }, headers);
const good = (pod = 'web-0') => noteToken(broker.issuer.token({ pod: { name: pod, uid: pod } }));

describe('an address that proves nothing', () => {
  afterEach(() => broker.stop());
  const start = async (more: object = {}) => {
    broker = await startTestBroker('rate-limits', {
      sourceRefusalsPerSecond: 1,
      // Stands still: nothing comes back.
      clock: createFakeClock(Date.now()),
      ...more,
    });
  };
  const form = (path: string, body: Record<string, string>) => () =>
    broker.request(path, { method: 'POST', body: new URLSearchParams(body) });
  const bearer = { headers: { Authorization: 'Bearer nothing' } };

  const paid: readonly { title: string; ask: () => Promise<Answer> }[] = [
    { title: 'a malformed token', ask: () => exchange('not.a.token') },
    { title: 'a forged signature', ask: () => exchange(`${good().slice(0, -8)}AAAAAAAA`) },
    {
      title: 'an expired token',
      ask: () => exchange(broker.issuer.token({ issuedAt: 1_000_000 })),
    },
    {
      title: 'a form that is none',
      ask: () => broker.request(PATH_TOKEN, { method: 'POST', body: '%' }),
    },
    { title: 'another grant', ask: form(PATH_TOKEN, { grant_type: 'password' }) },
    { title: 'an introspection by nobody', ask: form(PATH_INTROSPECT, { token: 'x' }) },
    {
      title: 'an introspection with wrong credentials',
      ask: form(PATH_INTROSPECT, { token: 'x', client_id: 'a', client_secret: 'b' }),
    },
    { title: 'a revocation of what is no token', ask: form(PATH_REVOKE, { token: 'guess' }) },
    {
      title: 'a revocation with wrong credentials',
      ask: form(PATH_REVOKE, { token: 'x', client_id: 'a', client_secret: 'b' }),
    },
    { title: 'a bad bearer at the admin API', ask: () => broker.request('/api/v1/whoami', bearer) },
    {
      title: 'a path of the admin API that is none',
      ask: () => broker.request('/api/v1/none', bearer),
    },
    {
      title: 'a method that the path has not',
      ask: () => broker.request('/api/v1/whoami', { method: 'PUT' }),
    },
  ];
  for (const { title, ask } of paid) {
    it(`pays for ${title}, and is told the same beyond its share`, async () => {
      await start();
      const first = await ask();
      for (let i = 1; i < BURST; i += 1) await ask();
      expect(await delayed(), 'within its share').to.equal(0);
      const beyond = await ask();
      expect(await delayed()).to.equal(1);
      expect([beyond.status, beyond.body.reason]).to.deep.equal([first.status, first.body.reason]);
    });
  }

  const free: readonly { title: string; ask: (i: number) => Promise<Answer> }[] = [
    { title: 'an exchange', ask: () => exchange(good()) },
    {
      title: 'an exchange that no role allows',
      ask: () => exchange(broker.issuer.token({ serviceAccount: 'stranger' })),
    },
    {
      title: 'a scope it has not',
      ask: () => broker.exchange({ subject_token: good(), audience: 'payments', scope: 'all' }),
    },
    { title: 'metadata', ask: () => broker.request('/oauth2/jwks') },
    { title: 'a path that is none', ask: () => broker.request('/none') },
  ];
  for (const { title, ask } of free) {
    it(`pays nothing for ${title}`, async () => {
      await start();
      for (let i = 0; i < BURST * 2; i += 1) await ask(i);
      await exchange(good());
      expect(await delayed()).to.equal(0);
    });
  }

  it('pays nothing while the broker cannot decide', async () => {
    const fake = await startIssuer();
    fake.setMode({ status: 500 });
    await start({ fake });
    for (let i = 0; i <= BURST; i += 1) expect((await exchange(good())).status).to.equal(503);
    expect(await delayed()).to.equal(0);
    await fake.close();
  });

  it('fills neither log nor audit with what the broker cannot decide either', async () => {
    const fake = await startIssuer();
    fake.setMode({ status: 500 });
    await start({ fake });
    for (let i = 0; i < 40; i += 1) await exchange(`${good().slice(0, -8)}AAAAAAAA`);
    const failed = broker.audit.filter(({ reason }) => reason === 'keys_unavailable');
    expect(failed, 'ten of this second').to.have.length(10);
    expect(await metric('unrecorded_refusals_total', 'reason="keys_unavailable"')).to.equal(30);
    expect(
      await metric(
        'decisions_total',
        'dialect="oauth",outcome="failure",reason="keys_unavailable"',
      ),
    ).to.equal(40);
    await fake.close();
  });

  it('is served good tokens all the same, many at once', async () => {
    await start();
    for (let i = 0; i < BURST * 3; i += 1) await exchange('junk');
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => exchange(good(`p${i}`))),
    );
    expect(answers.map(({ status }) => status)).to.deep.equal(
      Array.from({ length: 100 }, () => 200),
    );
    expect(await delayed()).to.be.at.least(100);
  });

  it('fills neither log nor audit, and what is missing there is counted', async () => {
    await start();
    for (let i = 0; i < 100; i += 1) await exchange('junk');
    const refused = broker.audit.filter(({ reason }) => reason === 'token_malformed');
    // Its share, and then ten of this second.
    expect(refused).to.have.length(BURST - 1 + 10);
    expect(broker.log.filter(({ msg }) => msg === 'request refused')).to.have.length(
      refused.length,
    );
    const counted = await metric('unrecorded_refusals_total', 'reason="token_malformed"');
    expect(counted).to.equal(100 - refused.length);
    expect(
      await metric('decisions_total', 'dialect="oauth",outcome="deny",reason="token_malformed"'),
    ).to.equal(100);
    const told = broker.log.filter(({ unrecorded }) => unrecorded !== undefined);
    expect(told).to.have.length(1);
    expect(told[0]).to.include({ source: '127.0.0.1', level: 'warn' });
    await exchange(good());
    expect(broker.audit.at(-1), 'what is given out is always recorded').to.include({
      outcome: 'allow',
    });
  });

  it('gets its share back with time', async () => {
    const clock = createFakeClock(Date.now());
    await start({ clock });
    for (let i = 0; i < BURST; i += 1) await exchange('junk');
    await exchange('junk');
    expect(await delayed()).to.equal(1);
    await clock.advance(BURST * 1000 + 1000);
    await exchange('junk');
    expect(await delayed()).to.equal(1);
  });

  it('is another one behind a proxy that is trusted, and the same behind any other', async () => {
    const from = (address: string) => ({ 'X-Forwarded-For': address });
    await start({ trustedProxies: parseNetworks(['127.0.0.0/8']) });
    for (let i = 0; i <= BURST; i += 1) await exchange('junk', from('203.0.113.5'));
    expect(await delayed()).to.equal(1);
    await exchange('junk', from('203.0.113.6'));
    expect(await delayed(), 'another address').to.equal(1);
    await broker.stop();
    await start({ trustedProxies: parseNetworks(['10.0.0.0/8']) });
    for (let i = 0; i <= BURST; i += 1) await exchange('junk', from(`203.0.113.${i}`));
    expect(await delayed()).to.equal(1);
  });

  it('does not pay where the limit is off', async () => {
    await start({ sourceRefusalsPerSecond: 0 });
    for (let i = 0; i < BURST * 3; i += 1) await exchange('junk');
    expect(await delayed()).to.equal(0);
    expect(broker.audit).to.have.length(BURST * 3);
  });
});

describe('an identity that asks too often', () => {
  afterEach(() => broker.stop());
  const start = async (identityRequestsPerSecond: number, clock = createFakeClock(Date.now())) => {
    broker = await startTestBroker('identity-limit', { identityRequestsPerSecond, clock });
    return clock;
  };

  it('is told when to come again; another pod of the ServiceAccount is served', async () => {
    const clock = await start(1);
    for (let i = 0; i < BURST; i += 1) expect((await exchange(good('loop'))).status).to.equal(200);
    const answer = await exchange(good('loop'));
    expect(answer.status).to.equal(429);
    expect(answer.body).to.include({
      error: 'temporarily_unavailable',
      reason: 'too_many_requests',
    });
    expect(answer.headers.get('retry-after')).to.equal('1');
    expect(await metric('limited_requests_total', 'limit="identity"')).to.equal(1);
    expect(broker.audit.at(-1)).to.include({
      outcome: 'failure',
      reason: 'too_many_requests',
      podUid: 'loop',
    });
    expect((await exchange(good('other'))).status).to.equal(200);
    await clock.advance(1000);
    expect((await exchange(good('loop'))).status).to.equal(200);
  });
  it('pays for what no role allows, too', async () => {
    await start(1);
    const stranger = () =>
      exchange(broker.issuer.token({ serviceAccount: 'stranger', pod: { name: 'x', uid: 'x' } }));
    for (let i = 0; i < BURST; i += 1) expect((await stranger()).status).to.equal(400);
    expect((await stranger()).status).to.equal(429);
  });
  it('is its ServiceAccount where the token names no pod', async () => {
    await start(1);
    const ask = (uid: string) => {
      const kubernetes = { namespace: 'shop', serviceaccount: { name: 'checkout', uid } };
      const claims = { 'kubernetes.io': kubernetes };
      const token = broker.issuer.token({ pod: null, audiences: ['batch'], claims });
      return broker.exchange({ subject_token: noteToken(token), audience: 'batch' });
    };
    for (let i = 0; i < BURST; i += 1) expect((await ask('one')).status).to.equal(200);
    expect((await ask('one')).status).to.equal(429);
    expect((await ask('two')).status).to.equal(200);
  });
  it('writes down ten refusals a second and counts the others', async () => {
    await start(1);
    for (let i = 0; i < 60; i += 1) await exchange(good('loop'));
    const refused = broker.audit.filter(({ reason }) => reason === 'too_many_requests');
    expect(refused).to.have.length(10);
    expect(await metric('unrecorded_refusals_total', 'reason="too_many_requests"')).to.equal(40);
  });
  it('may go on where the limit is off', async () => {
    await start(0);
    for (let i = 0; i < BURST * 2; i += 1) await exchange(good('loop'));
    expect((await exchange(good('loop'))).status).to.equal(200);
  });
});
