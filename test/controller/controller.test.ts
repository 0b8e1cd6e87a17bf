import { expect } from 'chai';
import { type FakeApiServer, startApiServer, toAccount, toPod } from './api-server.ts';
import { BROKER_NAME, type FakeBroker, startBroker } from './fake-broker.ts';
import { authority, CONTROL_TOKEN, type StartedController, start, until } from './harness.ts';

describe('the controller', () => {
  let api: FakeApiServer;
  let broker: FakeBroker;
  let controllers: StartedController[] = [];
  const run = async (more: Partial<Parameters<typeof start>[0]> = {}) => {
    const one = await start({ api, brokers: `127.0.0.1:${broker.port}`, ...more });
    controllers.push(one);
    return one;
  };
  const untilTold = async () => {
    await until(() => broker.sets().length > 0, 'a complete set');
    await until(
      () => api.countWatches('pods') > 0 && api.countWatches('serviceaccounts') > 0,
      'watches',
    );
  };
  beforeEach(async () => {
    api = await startApiServer();
    broker = await startBroker(authority);
    controllers = [];
    for (const name of ['web', 'api']) api.put('pods', toPod(name));
    api.put('pods', toPod('done', 'Succeeded'));
    api.put('serviceaccounts', toAccount('default'));
  });
  afterEach(async () => {
    await Promise.all(controllers.map((one) => one.stop()));
    await broker.close();
    await api.close();
  });

  it('says at once who lives, with its own token, and not who is over', async () => {
    const before = Date.now();
    await run();
    await untilTold();
    const [first] = broker.told;
    expect(first).to.deep.include({
      method: 'PUT',
      path: '/api/v1/clusters/main/live',
      authorization: `Bearer ${CONTROL_TOKEN}`,
    });
    expect(first?.body.pods).to.have.members(['uid-web', 'uid-api']);
    expect(first?.body.serviceAccounts).to.eql(['uid-default']);
    expect(Date.parse(first?.body.takenAt ?? '')).to.be.within(before, Date.now());
  });
  it('lists everything after the time that the set names', async () => {
    let listedAt = 0;
    api.intercept = (request) => {
      if (request.includes('fieldSelector')) listedAt = Date.now();
      return undefined;
    };
    await run();
    await untilTold();
    expect(Date.parse(broker.sets()[0]?.takenAt ?? '')).to.be.at.most(listedAt);
  });
  it('tells of a removed pod within a moment, and of nobody else', async () => {
    await run();
    await untilTold();
    const from = performance.now();
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 0, 'the death');
    expect(performance.now() - from).to.be.below(1000);
    expect(broker.deadUids()).to.eql(['uid-web']);
  });
  it('tells of a pod that is over, and not of one that is told to end', async () => {
    await run();
    await untilTold();
    const metadata = { ...toPod('web').metadata, deletionTimestamp: '2026-11-22T12:00:00Z' };
    api.put('pods', toPod('web', 'Running', { metadata }));
    api.put('pods', toPod('api', 'Failed'));
    await until(() => broker.deadUids().length > 0, 'the death');
    expect(broker.deadUids()).to.eql(['uid-api']);
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 1, 'the other death');
    expect(broker.deadUids()).to.eql(['uid-api', 'uid-web']);
  });
  it('tells of a ServiceAccount whose name another one has', async () => {
    await run();
    await untilTold();
    api.delete('serviceaccounts', 'shop/default');
    api.put('serviceaccounts', toAccount('default', 'uid-new'));
    await until(() => broker.told.some(({ body }) => body.dead), 'the death');
    const [death] = broker.told.flatMap(({ body }) => body.dead ?? []);
    expect(death).to.deep.include({ kind: 'ServiceAccount', uid: 'uid-default' });
  });
  it('sends a thousand deaths of a moment in few requests', async () => {
    for (let i = 0; i < 1000; i++) api.put('pods', toPod(`job-${i}`));
    await run();
    await untilTold();
    const before = broker.told.length;
    for (let i = 0; i < 1000; i++) api.delete('pods', `shop/job-${i}`);
    await until(() => broker.deadUids().length >= 1000, 'all deaths');
    expect(new Set(broker.deadUids()).size).to.equal(1000);
    expect(broker.told.length - before).to.be.below(30);
  });
  it('finds who died while its watch was away', async () => {
    await run();
    await untilTold();
    api.intercept = (request) => (request.includes('/pods') ? 503 : undefined);
    api.compact();
    api.delete('pods', 'shop/web');
    api.compact();
    api.intercept = undefined;
    await until(() => broker.deadUids().includes('uid-web'), 'the death');
    expect(broker.deadUids()).to.eql(['uid-web']);
  });
  it('goes on telling a broker that does not answer, until it does', async () => {
    const controller = await run();
    await untilTold();
    broker.status = 503;
    api.delete('pods', 'shop/web');
    await until(() => controller.logs().includes('the broker was not told'), 'the warning');
    expect(broker.deadUids()).to.eql([]);
    broker.status = undefined;
    await until(() => broker.deadUids().includes('uid-web'), 'the death');
    expect(await controller.metrics()).to.match(
      /push_failures_total\{broker="[^"]+",reason="503"\} \d/,
    );
  });
  it('names the reason of a broker that refuses it', async () => {
    broker.status = 403;
    const controller = await run();
    await until(() => controller.logs().includes('the broker was not told'), 'the warning');
    expect(controller.logs()).to.include('"reason":"bearer_forbidden"');
    expect(controller.logs()).to.not.include(CONTROL_TOKEN);
  });
  it('does not repeat a set that is older than what the broker knows', async () => {
    broker.status = 409;
    const controller = await run();
    await until(() => broker.countRequests() > 0, 'the set');
    broker.status = undefined;
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 0, 'the death');
    expect(broker.sets()).to.eql([]);
    expect(await controller.metrics()).to.include('reason="409"} 1');
  });
  it('tells a broker that starts again everything: who lives, and who died meanwhile', async () => {
    await run();
    await untilTold();
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 0, 'the death');
    broker.restart();
    await until(() => broker.sets().length > 0 && broker.deadUids().length > 0, 'everything');
    expect(broker.sets()[0]?.pods).to.eql(['uid-api']);
    expect(broker.deadUids()).to.eql(['uid-web']);
  });
  it('does not show its token to whoever has another name', async () => {
    const port = broker.port;
    await broker.close();
    broker = await startBroker(authority, { port, name: 'somebody.else.svc' });
    const controller = await run();
    await until(() => controller.logs().includes('the broker was not told'), 'the warning');
    expect(broker.countRequests()).to.equal(0);
    expect(BROKER_NAME).to.not.equal('somebody.else.svc');
  });
  it('is ready once everything is listed, and tells nobody anything before', async () => {
    api.intercept = (request) => (request.includes('/serviceaccounts') ? 403 : undefined);
    const controller = await run();
    await until(() => controller.logs().includes('cannot watch'), 'the warning');
    const notReady = await fetch(`${controller.operationsUrl}/readyz`);
    expect([notReady.status, await notReady.text()]).to.eql([
      503,
      'ServiceAccounts are not listed yet\n',
    ]);
    expect((await fetch(`${controller.operationsUrl}/livez`)).status).to.equal(200);
    expect(broker.countRequests()).to.equal(0);
    api.intercept = undefined;
    await untilTold();
    expect((await fetch(`${controller.operationsUrl}/readyz`)).status).to.equal(200);
  });
  it('does not report a cluster without pods: that is a mistake, and would end every token', async () => {
    for (const name of ['web', 'api']) api.delete('pods', `shop/${name}`);
    const controller = await run();
    await until(() => controller.logs().includes('could be listed'), 'the warning');
    expect(broker.sets()).to.eql([]);
  });
  it('leaves the word to the one who holds the Lease; the other takes over at once', async () => {
    const first = await run();
    await untilTold();
    const second = await run({ name: 'b' });
    await until(async () => (await fetch(`${second.operationsUrl}/readyz`)).ok, 'b to be ready');
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 0, 'the death');
    expect([first.isLeading(), second.isLeading()]).to.eql([true, false]);
    expect(await second.metrics()).to.match(/^coatcheck_controller_leader 0$/m);
    expect(await second.metrics()).to.match(/^coatcheck_controller_pods 2$/m);
    await first.stop();
    broker.told.length = 0;
    await until(() => second.isLeading() && broker.sets().length > 0, 'b to act');
    // What the first may not have brought to its end is told again.
    expect(broker.deadUids()).to.eql(['uid-web']);
    expect(broker.sets()[0]?.pods).to.eql(['uid-api']);
  }).timeout(15_000);
  it('tells its operators how it does', async () => {
    const controller = await run();
    await untilTold();
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 0, 'the death');
    await until(async () => (await controller.metrics()).includes('push_seconds_count 1'), 'count');
    const text = await controller.metrics();
    for (const line of [
      /^coatcheck_controller_leader 1$/m,
      /^coatcheck_controller_pods 2$/m,
      /^coatcheck_controller_service_accounts 1$/m,
      /^coatcheck_controller_deaths_total\{kind="Pod"\} 1$/m,
      /^coatcheck_controller_live_sets_total\{broker="127.0.0.1:\d+"\} 1$/m,
      /^coatcheck_controller_watching\{collection="pods"\} 1$/m,
      /^coatcheck_controller_queued_deaths 0$/m,
      /^coatcheck_controller_live_set_age_seconds 0?\.?\d/m,
    ])
      expect(text).to.match(line);
  });
});
