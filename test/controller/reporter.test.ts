// Several replicas of the broker, each with its own answers; what lives is what the test says.
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { systemClock } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import type { ListenAddress } from '../../common/settings.ts';
import { createBrokerClient } from '../../controller/broker-client.ts';
import { MAX_QUEUED } from '../../controller/broker-link.ts';
import type { Census } from '../../controller/census.ts';
import { createMetrics } from '../../controller/metrics.ts';
import { createReplicaFinder } from '../../controller/replicas.ts';
import { createReporter, type Reporter, type ReporterOptions } from '../../controller/reporter.ts';
import { readControllerSettings } from '../../controller/settings.ts';
import { keep, noteToken } from '../support/tokens.ts';
import { BROKER_NAME, type FakeBroker, startBroker } from './fake-broker.ts';
import { authority, CONTROL_TOKEN, until } from './harness.ts';

/** Naps of seconds take a twentieth of their time. */
const fastClock: ReporterOptions['clock'] = {
  now: () => Date.now(),
  sleep: (ms, signal) => systemClock.sleep(ms >= 1000 ? ms / 20 : ms, signal),
};

describe('reports to several replicas', () => {
  const living = new Set(['a', 'b', 'c']);
  const metrics = createMetrics();
  let brokers: FakeBroker[];
  let replicas: readonly ListenAddress[];
  let reporter: Reporter;
  let stopping: AbortController;
  let running: Promise<void>;
  let taken: number;
  let text: string;

  const takeCensus = async (): Promise<Census> => {
    taken += 1;
    const pods = new Set(living);
    const serviceAccounts = new Set(['default']);
    const strike: Census['strike'] = ({ uid }) => pods.delete(uid);
    return { takenAt: Date.now(), pods, serviceAccounts, strike };
  };
  beforeEach(async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-reporter-'));
    const tokenFile = path.join(folder, 'token');
    const caFile = path.join(folder, 'ca.crt');
    writeFileSync(tokenFile, noteToken(CONTROL_TOKEN));
    writeFileSync(caFile, authority.certificate);
    brokers = [await startBroker(authority), await startBroker(authority)];
    replicas = brokers.map(({ port }) => ({ host: '127.0.0.1', port }));
    stopping = new AbortController();
    taken = 0;
    text = '';
    const write = (line: string) => {
      text += line;
    };
    const url = `https://${BROKER_NAME}`;
    reporter = createReporter({
      findReplicas: async () => replicas,
      createClient: (address) =>
        createBrokerClient({ url, address, cluster: 'main', caFile, tokenFile }),
      takeCensus,
      liveSetSeconds: 3600,
      metrics,
      clock: fastClock,
      random: () => 0,
      log: createLogger({ level: 'debug', process: 'controller', stream: { write } }),
    });
    running = reporter.lead(stopping.signal);
    await until(() => brokers.every((one) => one.sets().length > 0), 'a set at each');
  });
  afterEach(async () => {
    stopping.abort();
    await running;
    await Promise.all(brokers.map((one) => one.close()));
    keep('reporter.log', text);
  });
  const get = (index: number) => brokers[index] as FakeBroker;

  it('reach each, also where another does not answer', async () => {
    get(0).status = 503;
    reporter.report('Pod', ['a']);
    await until(() => get(1).deadUids().length > 0, 'the death at the second');
    expect(get(0).deadUids()).to.eql([]);
    expect(await metrics.registry.metrics()).to.match(/push_seconds_count 0/);
    get(0).status = undefined;
    await until(() => get(0).deadUids().length > 0, 'the death at the first');
    await until(
      async () => /push_seconds_count 1/.test(await metrics.registry.metrics()),
      'the time until both knew',
    );
  });
  it('begin for a new replica with who lives and who died', async () => {
    reporter.report('Pod', ['a']);
    await until(() => brokers.every((one) => one.deadUids().length > 0), 'the death');
    const late = await startBroker(authority);
    brokers.push(late);
    replicas = [...replicas, { host: '127.0.0.1', port: late.port }];
    await until(() => late.sets().length > 0, 'a set');
    expect(late.deadUids()).to.eql(['a']);
    expect(late.sets()[0]?.pods).to.eql(['b', 'c']);
  });
  it('end for a replica that is not found any more, which nobody waits for then', async () => {
    get(0).status = 503;
    reporter.report('Pod', ['a']);
    await until(() => reporter.countQueued() === 1 && get(1).deadUids().length > 0, 'the death');
    replicas = replicas.slice(1);
    await until(() => reporter.countQueued() === 0, 'the replica to be forgotten');
    const before = get(0).countRequests();
    reporter.report('Pod', ['b']);
    await until(() => get(1).deadUids().includes('b'), 'the other death');
    expect(get(0).countRequests()).to.equal(before);
    const names = await metrics.registry.metrics();
    expect(names).to.not.include(`127.0.0.1:${get(0).port}`);
  });
  it('are bounded: what one cannot be told for long, a complete set says instead', async () => {
    get(0).status = 503;
    const uids = Array.from({ length: MAX_QUEUED + 1 }, (_, i) => `uid-${i}`);
    const before = taken;
    reporter.report('Pod', uids);
    expect(reporter.countQueued()).to.be.at.most(MAX_QUEUED);
    expect(text).to.include('too many deaths are waiting');
    await until(() => taken > before, 'another set');
    get(0).status = undefined;
    const sets = get(0).sets().length;
    await until(() => get(0).sets().length > sets, 'the set at the first');
  });
  it('end at once when another controller acts', async () => {
    stopping.abort();
    await running;
    const before = brokers.map((one) => one.countRequests());
    reporter.report('Pod', ['a']);
    await systemClock.sleep(100);
    expect(brokers.map((one) => one.countRequests())).to.eql(before);
  });
});

describe('the replicas of the broker', () => {
  const URL_OF_BROKER = 'https://broker.example.com/x';
  it('are every address behind the Service', async () => {
    const find = createReplicaFinder(URL_OF_BROKER, { host: 'localhost', port: 2 });
    const found = await find();
    expect(found).to.deep.include({ host: '127.0.0.1', port: 2 });
    expect(new Set(found.map(({ host }) => host)).size).to.equal(found.length);
  });
  it('are the one address that stands there instead of a name', async () => {
    const find = createReplicaFinder(URL_OF_BROKER, { host: '127.0.0.1', port: 1 });
    expect(await find()).to.eql([{ host: '127.0.0.1', port: 1 }]);
  });
  for (const [url, host, port] of [
    [URL_OF_BROKER, 'broker.example.com', 443],
    ['https://broker.example.com:8443', 'broker.example.com', 8443],
    ['http://localhost', 'localhost', 80],
    ['http://[::1]:8080', '::1', 8080],
  ] as const)
    it(`are without a Service one place, however many addresses its name has: ${url}`, async () => {
      expect(await createReplicaFinder(url)()).to.eql([{ host, port }]);
    });
});

describe('the settings of the controller', () => {
  const fine = { COATCHECK_BROKER_URL: 'https://b.ns.svc', COATCHECK_NAMESPACE: 'auth' };
  const ROWS = [
    [
      'a plain broker elsewhere',
      { COATCHECK_BROKER_URL: 'http://b.ns.svc' },
      'COATCHECK_BROKER_URL must be https',
    ],
    [
      'a plain API server elsewhere',
      { COATCHECK_API_SERVER_URL: 'http://k.svc' },
      'COATCHECK_API_SERVER_URL must be https',
    ],
    [
      'replicas without a port',
      { COATCHECK_BROKERS_SERVICE: 'b.ns.svc' },
      'COATCHECK_BROKERS_SERVICE must be',
    ],
    ['replicas without a name', { COATCHECK_BROKERS_SERVICE: ':8443' }, 'must be name:port'],
    ['sets every second', { COATCHECK_LIVE_SET_SECONDS: '1' }, 'from 30 to 3600'],
    ['no namespace', { COATCHECK_NAMESPACE: '' }, 'COATCHECK_NAMESPACE'],
    ['two stars', { COATCHECK_MISSED_NAMESPACES: 'a,*-b-*' }, 'with one * at most'],
    ['exclusions by pattern', { COATCHECK_EXCLUDE_NAMESPACES: 'kube-*' }, 'a name of a namespace'],
    ['evictions without pause', { COATCHECK_EVICTIONS_PER_MINUTE: '601' }, 'from 1 to 600'],
  ] as const;
  for (const [what, wrong, says] of ROWS) {
    it(`refuse ${what}`, () => {
      expect(() => readControllerSettings({ environment: { ...fine, ...wrong } })).to.throw(says);
    });
  }
  it('take a broker on loopback without TLS', () => {
    const environment = { ...fine, COATCHECK_BROKER_URL: 'http://127.0.0.1:8080' };
    expect(readControllerSettings({ environment }).brokersService).to.equal(undefined);
  });
});
