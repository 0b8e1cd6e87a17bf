// The keys of this cluster on their way to the broker: the pusher by itself under a clock that stands still, and within the
// controller, before an API server and a broker on loopback.
import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Registry } from 'prom-client';
import { type Clock, systemClock } from '../../common/clock.ts';
import { createKubeClient } from '../../common/kube/client.ts';
import { KubeError } from '../../common/kube/error.ts';
import { createLogger } from '../../common/log.ts';
import { BrokerRefusal } from '../../controller/broker-client.ts';
import type { ObjectEvent } from '../../controller/events.ts';
import { createKeyPusher, type KeyPusher, type KeysOutcome } from '../../controller/keys.ts';
import { openKeyPusher } from '../../controller/keys-setup.ts';
import { readControllerSettings } from '../../controller/settings.ts';
import { createFakeClock, type FakeClock } from '../support/clock.ts';
import { createSigningKey, mint } from '../support/minting.ts';
import { keep } from '../support/tokens.ts';
import { type FakeApiServer, startApiServer, toAccount, toPod } from './api-server.ts';
import { BROKER_NAME, type FakeBroker, startBroker } from './fake-broker.ts';
import { authority, CONTROL_TOKEN, type StartedController, start, until } from './harness.ts';

const toJwk = (kid: string) => ({ kty: 'EC', kid, crv: 'P-256', x: 'AA', y: 'BB' });
const MINUTE_MS = 60_000;

describe('the pusher of keys', () => {
  let clock: FakeClock;
  let kids: readonly string[];
  let trouble: Error | undefined;
  /** What the broker says to a token; nothing: yes. */
  let refuse: (token: string) => Error | undefined;
  let ownTokens: readonly string[];
  let told: { kids: readonly (string | undefined)[]; token: string }[];
  let reads: number;
  let outcomes: KeysOutcome[];
  let connections: number;
  let troubles: string[];
  let text: string;
  let pusher: KeyPusher;
  let stopping: AbortController;
  let running: Promise<void>;

  beforeEach(() => {
    clock = createFakeClock();
    kids = ['one'];
    trouble = undefined;
    refuse = () => undefined;
    ownTokens = ['newest'];
    told = [];
    reads = 0;
    outcomes = [];
    connections = 0;
    troubles = [];
    text = '';
    stopping = new AbortController();
    const write = (line: string) => {
      text += line;
    };
    pusher = createKeyPusher({
      readKeys: async () => {
        reads += 1;
        if (trouble) throw trouble;
        return JSON.stringify({ keys: kids.map(toJwk) });
      },
      connect: async () => {
        connections += 1;
        return {
          tellKeys: async (keys, { token }) => {
            const refusal = refuse(token);
            if (refusal) throw refusal;
            told.push({ kids: keys.map(({ kid }) => kid), token });
          },
          close: () => {
            connections -= 1;
          },
        };
      },
      tokens: { remember: async () => undefined, list: () => ownTokens },
      everySeconds: 60,
      onPush: (outcome) => outcomes.push(outcome),
      onTrouble: async (reason) => {
        troubles.push(reason);
      },
      clock,
      random: () => 0.5,
      log: createLogger({ level: 'debug', process: 'controller', stream: { write } }),
    });
    running = pusher.lead(stopping.signal);
  });
  afterEach(async () => {
    stopping.abort();
    await running;
    keep('key-pusher.log', text);
    expect(connections).to.equal(0);
  });

  it('tells the keys at once, and what changed within a minute', async () => {
    await clock.advance(0);
    expect(told).to.eql([{ kids: ['one'], token: 'newest' }]);
    kids = ['one', 'two'];
    await clock.advance(MINUTE_MS);
    expect(told.slice(1)).to.eql([{ kids: ['one', 'two'], token: 'newest' }]);
  });
  it('asks every minute, and tells the same again only after half an hour', async () => {
    await clock.advance(25 * MINUTE_MS);
    expect([told.length, reads]).to.eql([1, 26]);
    await clock.advance(5 * MINUTE_MS);
    expect(told.map((one) => one.kids)).to.eql([['one'], ['one']]);
    expect(outcomes).to.eql(['accepted', 'accepted']);
  });
  it('tells everything anew in the next term: others may have told something since', async () => {
    await clock.advance(MINUTE_MS);
    stopping.abort();
    await running;
    await clock.advance(MINUTE_MS);
    expect(told).to.have.lengthOf(1);
    stopping = new AbortController();
    running = pusher.lead(stopping.signal);
    await clock.advance(0);
    expect(told).to.have.lengthOf(2);
  });
  it('takes an earlier token where the broker does not know the key of the newest', async () => {
    ownTokens = ['newest', 'earlier', 'oldest'];
    refuse = (token) => (token === 'newest' ? new BrokerRefusal(401, 'bearer_invalid') : undefined);
    await clock.advance(0);
    expect(told).to.eql([{ kids: ['one'], token: 'earlier' }]);
    expect(outcomes).to.eql(['accepted']);
  });
  it('does not try earlier tokens where the broker knows us and says no', async () => {
    ownTokens = ['newest', 'earlier'];
    refuse = (token) =>
      token === 'newest' ? new BrokerRefusal(403, 'bearer_forbidden') : undefined;
    await clock.advance(0);
    expect([told, outcomes]).to.eql([[], ['refused']]);
  });
  for (const [name, error, outcome] of [
    ['a refusal', new BrokerRefusal(409, 'key_conflict'), 'refused'],
    ['a token it does not believe', new BrokerRefusal(401, 'bearer_invalid'), 'refused'],
    ['a broker that is overloaded', new BrokerRefusal(429, 'too_many_requests'), 'unavailable'],
    ['a broker without its store', new BrokerRefusal(503, 'unavailable'), 'unavailable'],
    ['a broker that is away', new Error('connect ECONNREFUSED'), 'unavailable'],
  ] as const)
    it(`goes on after ${name}, more and more slowly, until it is told`, async () => {
      refuse = () => error;
      await clock.advance(10 * MINUTE_MS);
      const tries = outcomes.length;
      expect(tries).to.be.within(10, 30);
      expect(new Set(outcomes)).to.eql(new Set([outcome]));
      expect(text).to.include("the broker was not told this cluster's keys");
      refuse = () => undefined;
      await clock.advance(MINUTE_MS);
      expect(told).to.have.lengthOf(1);
      expect(outcomes.slice(tries)).to.eql(['accepted']);
    });
  it('says as an error that it is refused for minutes, and not that the broker is away', async () => {
    refuse = () => new Error('connect ECONNREFUSED');
    await clock.advance(10 * MINUTE_MS);
    expect(text).to.not.include('"level":"error"');
    refuse = () => new BrokerRefusal(401, 'bearer_invalid');
    await clock.advance(4 * MINUTE_MS);
    expect(text).to.not.include('"level":"error"');
    expect(troubles).to.eql([]);
    await clock.advance(3 * MINUTE_MS);
    expect(new Set(troubles)).to.eql(new Set(['bearer_invalid']));
    expect(text).to.match(/"level":"error".*"reason":"bearer_invalid".*see its entry/);
  });
  it('says as an error, too, that nothing was taken for an hour, for whatever reason', async () => {
    refuse = () => new BrokerRefusal(503, 'unavailable');
    await clock.advance(59 * MINUTE_MS);
    expect([text.includes('"level":"error"'), troubles]).to.eql([false, []]);
    await clock.advance(3 * MINUTE_MS);
    expect(text).to.match(/"level":"error".*"reason":"unavailable".*for an hour/);
    expect(new Set(troubles)).to.eql(new Set(['unavailable']));
    const before = troubles.length;
    refuse = () => undefined;
    await clock.advance(MINUTE_MS);
    refuse = () => new BrokerRefusal(503, 'unavailable');
    kids = ['two'];
    await clock.advance(50 * MINUTE_MS);
    expect(troubles).to.have.lengthOf(before);
  });
  it('does not tell what the API server did not say', async () => {
    trouble = new KubeError('forbidden', 'answered 403', { status: 403 });
    await clock.advance(MINUTE_MS);
    expect(told).to.eql([]);
    expect(new Set(outcomes)).to.eql(new Set(['unread']));
    trouble = undefined;
    await clock.advance(MINUTE_MS);
    expect(told).to.have.lengthOf(1);
  });
  it('looks at once where the broker does not believe us, though not more than once a second', async () => {
    await clock.advance(2000);
    kids = ['two'];
    pusher.hurry();
    await clock.advance(0);
    expect(told.map((one) => one.kids)).to.eql([['one'], ['two']]);
    const before = reads;
    for (let i = 0; i < 10; i++) {
      pusher.hurry();
      await clock.advance(100);
    }
    expect(reads - before).to.be.within(1, 2);
  });
  it('repeats itself then, where the broker forgot what it was told', async () => {
    await clock.advance(30_000);
    pusher.hurry();
    await clock.advance(0);
    expect(told).to.have.lengthOf(1);
    await clock.advance(2 * MINUTE_MS);
    pusher.hurry();
    await clock.advance(1000);
    expect(told).to.have.lengthOf(2);
  });
});

/** Naps of seconds take a twentieth of their time. */
const fastClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => systemClock.sleep(ms >= 1000 ? ms / 20 : ms, signal),
};

describe('the keys that a controller pushes', () => {
  let api: FakeApiServer;
  let broker: FakeBroker;
  let controller: StartedController | undefined;
  const on = { COATCHECK_PUSH_KEYS: 'true', COATCHECK_KEYS_SECONDS: '1' };
  const run = async (environment: Readonly<Record<string, string>> = on) => {
    controller = await start({
      api,
      brokers: `127.0.0.1:${broker.port}`,
      clock: fastClock,
      environment,
    });
    return controller;
  };
  const untilKeys = (count: number) => until(() => broker.keys().length >= count, 'the keys');
  beforeEach(async () => {
    api = await startApiServer();
    api.jwks = { keys: [{ ...toJwk('one'), d: 'private' }] };
    api.put('pods', toPod('web'));
    api.put('serviceaccounts', toAccount('default'));
    broker = await startBroker(authority);
  });
  afterEach(async () => {
    await controller?.stop();
    controller = undefined;
    await broker.close();
    await api.close();
  });

  it('go where they belong, with our token, and follow the API server', async () => {
    const { metrics } = await run();
    await untilKeys(1);
    const [first] = broker.keys();
    expect(first).to.eql({
      method: 'PUT',
      path: '/api/v1/clusters/main/keys',
      authorization: `Bearer ${CONTROL_TOKEN}`,
      body: { keys: [toJwk('one')] },
    });
    api.jwks = { keys: [toJwk('one'), toJwk('two')] };
    await untilKeys(2);
    expect(broker.keys()[1]?.body.keys).to.eql([toJwk('one'), toJwk('two')]);
    const counted = 'key_pushes_total{outcome="accepted"} 2';
    await until(async () => (await metrics()).includes(counted), 'the count');
    const text = await metrics();
    expect(text).to.include('key_pushes_total{outcome="refused"} 0');
    const at = Number(/keys_pushed_timestamp_seconds (\d+)/.exec(text)?.[1]);
    expect(at * 1000).to.be.within(Date.now() - 10_000, Date.now());
  });
  it('go by the token before, once the new one is under a key that the broker does not know', async () => {
    const key = createSigningKey();
    const exp = Math.floor(Date.now() / 1000) + 600;
    const [earlier, next] = ['1', '2'].map((jti) => mint({ key, claims: { exp, jti } }));
    const tokenFile = `${api.caFile}.control`;
    writeFileSync(tokenFile, earlier ?? '');
    const { logs } = await run({ ...on, COATCHECK_TOKEN_FILE: tokenFile });
    await untilKeys(1);
    broker.refuse = ({ authorization }) => (authorization === `Bearer ${next}` ? 401 : undefined);
    writeFileSync(tokenFile, next ?? '');
    api.jwks = { keys: [toJwk('two')] };
    await untilKeys(2);
    expect(broker.keys()[1]).to.deep.include({ authorization: `Bearer ${earlier}` });
    await until(() => logs().includes('by an earlier token of ours'), 'the word of it');
    // What the broker knows now it believes.
    broker.refuse = undefined;
    api.jwks = { keys: [toJwk('two'), toJwk('three')] };
    await untilKeys(3);
    expect(broker.keys()[2]).to.deep.include({ authorization: `Bearer ${next}` });
  });
  it('are looked at again as soon as a report is not believed', async () => {
    await run({ ...on, COATCHECK_KEYS_SECONDS: '600' });
    await untilKeys(1);
    await until(() => broker.sets().length > 0, 'a complete set');
    api.jwks = { keys: [toJwk('two')] };
    broker.refuse = ({ path }) => (path.endsWith('/live') ? 401 : undefined);
    api.delete('pods', 'shop/web');
    await untilKeys(2);
    expect(broker.keys()[1]?.body.keys).to.eql([toJwk('two')]);
  });
  it('stay with the API server unless it is wished', async () => {
    const { metrics } = await run({});
    await until(() => broker.sets().length > 0, 'a complete set');
    await systemClock.sleep(100);
    expect(broker.keys()).to.eql([]);
    expect(api.requests.join()).to.not.include('jwks');
    expect(await metrics()).to.not.include('key');
  });
  it('reach, with all reports, a broker that has a URL and nothing else', async () => {
    await broker.close();
    broker = await startBroker(authority, { name: 'localhost' });
    controller = await start({
      api,
      clock: fastClock,
      environment: { ...on, COATCHECK_BROKER_URL: `https://localhost:${broker.port}` },
    });
    await untilKeys(1);
    await until(() => broker.sets().length > 0, 'a complete set');
    api.delete('pods', 'shop/web');
    await until(() => broker.deadUids().length > 0, 'the death');
    expect(await controller.metrics()).to.include(
      `live_sets_total{broker="localhost:${broker.port}"}`,
    );
  });
});

describe('a broker that refuses keys for long', () => {
  /** A minute is a tenth of a second. */
  const hastyClock: Clock = {
    now: () => Date.UTC(2026, 10, 22) + performance.now() * 600,
    sleep: (ms, signal) => systemClock.sleep(ms / 600, signal),
  };
  let api: FakeApiServer;
  let broker: FakeBroker;
  let said: ObjectEvent[];
  let stopping: AbortController;
  let running: Promise<void> | undefined;
  let text: string;
  beforeEach(async () => {
    api = await startApiServer();
    api.jwks = { keys: [toJwk('one')] };
    api.put('leases', { metadata: { name: 'ours', namespace: 'product', uid: 'uid-lease' } });
    broker = await startBroker(authority);
    said = [];
    text = '';
    stopping = new AbortController();
    const write = (line: string) => {
      text += line;
    };
    const settings = readControllerSettings({
      environment: {
        COATCHECK_BROKER_URL: `https://${BROKER_NAME}`,
        COATCHECK_BROKER_CA_FILE: api.caFile,
        COATCHECK_TOKEN_FILE: api.tokenFile,
        COATCHECK_NAMESPACE: 'product',
        COATCHECK_LEASE_NAME: 'ours',
        COATCHECK_CLUSTER: 'edge',
        COATCHECK_PUSH_KEYS: 'true',
      },
    });
    writeFileSync(api.caFile, authority.certificate);
    const pusher = openKeyPusher({
      settings,
      client: createKubeClient(api),
      findReplicas: async () => [{ host: '127.0.0.1', port: broker.port }],
      events: { record: (event) => said.push(event) > 0 },
      registry: new Registry(),
      clock: hastyClock,
      random: () => 0.5,
      log: createLogger({ level: 'debug', process: 'controller', stream: { write } }),
    });
    running = pusher?.lead(stopping.signal);
  });
  afterEach(async () => {
    stopping.abort();
    await running;
    keep('key-refusals.log', text);
    await broker.close();
    await api.close();
  });

  it('is told of by an Event on the Lease', async () => {
    broker.status = 403;
    await until(() => said.length > 0, 'the Event');
    const { regarding, note, ...rest } = said[0] as ObjectEvent;
    expect(regarding).to.eql({
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      name: 'ours',
      namespace: 'product',
      uid: 'uid-lease',
    });
    expect(rest).to.eql({ type: 'Warning', reason: 'KeysNotPushed', action: 'PushingKeys' });
    expect(note).to.include('of the cluster edge (bearer_forbidden)');
  });
  it('is something else than one that is away', async () => {
    broker.status = 503;
    await systemClock.sleep(800);
    expect(broker.countRequests()).to.be.above(5);
    expect(said).to.eql([]);
  });
  it('is still told of in the log where the Lease cannot be read', async () => {
    broker.status = 403;
    api.delete('leases', 'product/ours');
    await until(() => text.includes('"level":"error"'), 'the error');
    broker.status = undefined;
    await until(() => broker.keys().length > 0, 'the keys');
    expect(said).to.eql([]);
  });
});
