// Missed pods from the API server's list to Events and evictions: the controller's own parts before an API server that is a
// server. Seconds take a twentieth of their time.
import { expect } from 'chai';
import { type Clock, systemClock } from '../../common/clock.ts';
import { createKubeClient, type KubeClient } from '../../common/kube/client.ts';
import { createCollection } from '../../common/kube/collection.ts';
import { createLogger } from '../../common/log.ts';
import { createEventRecorder } from '../../controller/events.ts';
import { createMetrics } from '../../controller/metrics.ts';
import { createCoverage } from '../../controller/missed.ts';
import { createMissedMetrics } from '../../controller/missed-metrics.ts';
import { createMissedWatch, type MissedWatchOptions } from '../../controller/missed-watch.ts';
import { createPodTrimmer, type TrackedPod } from '../../controller/pods.ts';
import { keep } from '../support/tokens.ts';
import { type FakeApiServer, type StoredObject, startApiServer, toAccount } from './api-server.ts';
import { type FakeBroker, startBroker } from './fake-broker.ts';
import { authority, type StartedController, start, until } from './harness.ts';

const fastClock: Clock = {
  now: () => Date.now(),
  sleep: (ms, signal) => systemClock.sleep(ms >= 1000 ? ms / 20 : ms, signal),
};

const ANNOTATIONS = { 'auth.example.io/audience': 'payments' };
const BOTH = [{ name: 'coatcheck-identity' }, { name: 'coatcheck-tokens' }];

interface Made {
  readonly owner?: string;
  readonly kind?: string;
  readonly namespace?: string;
  readonly annotations?: object;
  readonly volumes?: readonly object[];
  readonly isReady?: boolean;
}

function toPod(name: string, made: Made = {}): StoredObject {
  const { owner, kind = 'ReplicaSet', namespace = 'shop', annotations = ANNOTATIONS } = made;
  const apiVersion = kind === 'Job' ? 'batch/v1' : 'apps/v1';
  const ownerReferences = owner
    ? [{ apiVersion, kind, name: owner, uid: `uid-${owner}`, controller: true }]
    : [];
  const status = made.isReady ? 'True' : 'False';
  return {
    metadata: { name, namespace, uid: `uid-${name}`, annotations, ownerReferences } as object &
      StoredObject['metadata'],
    spec: { volumes: made.volumes ?? [] },
    status: { phase: 'Running', conditions: [{ type: 'Ready', status }] },
  };
}

describe('missed pods', () => {
  let api: FakeApiServer;
  let client: KubeClient;
  let text: string;
  let stopping: AbortController;
  let ending: (() => Promise<void>)[];
  let metrics: ReturnType<typeof createMetrics>;
  const log = createLogger({
    level: 'debug',
    process: 'controller',
    stream: { write: (line: string) => (text += line) },
  });

  /** As main.ts wires it; `isLeading` false: another replica acts. */
  const watch = async (
    more: Partial<MissedWatchOptions['settings']> = {},
    { isLeading = true } = {},
  ) => {
    metrics = createMetrics();
    const missedMetrics = createMissedMetrics(metrics.registry);
    const around = { client, clock: fastClock, log };
    const events = createEventRecorder({
      ...around,
      wallClock: fastClock,
      instance: 'a',
      onOutcome: missedMetrics.countEvent,
    });
    const missed = createMissedWatch({
      ...around,
      events,
      metrics: missedMetrics,
      settings: {
        prefix: 'auth.example.io/',
        excludeNamespaces: ['kube-system'],
        missedNamespaces: [],
        evictMissed: false,
        evictionsPerMinute: 600,
        ...more,
      },
    });
    const pods = createCollection<TrackedPod>({
      ...around,
      path: '/api/v1/pods',
      toItem: createPodTrimmer('auth.example.io/'),
      onItem: missed.apply,
    });
    pods.start();
    await pods.settled();
    missed.begin(pods.items.values());
    await until(() => api.countWatches('pods') > 0, 'the watch');
    const leading = isLeading
      ? Promise.all([events.lead(stopping.signal), missed.lead(stopping.signal)])
      : undefined;
    ending.push(async () => {
      await leading;
      await pods.stop();
    });
  };
  const readMetric = async (name: string) => {
    const lines = (await metrics.registry.metrics()).split('\n');
    const line = lines.find((one) => one.startsWith(`coatcheck_controller_${name} `));
    return Number(line?.split(' ').at(-1));
  };
  const untilMetric = (name: string, value: number) =>
    until(async () => (await readMetric(name)) === value, `${name} ${value}`);
  const findEvents = (reason: string) =>
    api.events
      .filter((one) => one.reason === reason)
      .map(({ regarding, note }) => {
        const { kind, name, namespace } = regarding as Record<string, string>;
        return { about: `${kind} ${namespace}/${name}`, note: String(note) };
      });
  const listAbout = (reason: string) => findEvents(reason).map(({ about }) => about);
  const listEvicted = () =>
    api.evictions.map(({ path }) => /pods\/(.*)\/eviction$/.exec(path)?.[1]);
  /** A ReplicaSet's manners: another pod for one that was evicted. */
  const replaceWith = (name: string, made: Made) => {
    api.onEviction = () => {
      queueMicrotask(() => api.put('pods', toPod(name, made)));
      return undefined;
    };
  };

  beforeEach(async () => {
    api = await startApiServer();
    const { url, caFile, tokenFile } = api;
    client = createKubeClient({ url, caFile, tokenFile });
    text = '';
    stopping = new AbortController();
    ending = [];
  });
  afterEach(async () => {
    stopping.abort();
    await Promise.all(ending.map((end) => end()));
    client.close();
    await api.close();
    keep('missed.log', text);
    keep('missed-events.json', JSON.stringify(api.events));
  });

  it('are counted and told of, on the pod and on its owner, with what to do', async () => {
    api.put('pods', toPod('web-1', { owner: 'web' }));
    api.put('pods', toPod('fine', { owner: 'web', volumes: BOTH }));
    api.put('pods', toPod('bare'));
    api.put('pods', toPod('system', { namespace: 'kube-system' }));
    const misspelt = { 'auth.example.io/audence': 'payments' };
    api.put('pods', toPod('misspelt', { annotations: misspelt }));
    await watch();
    await until(() => api.events.length >= 4, 'Events');
    expect(await readMetric('missed_pods')).to.equal(3);
    const said = findEvents('MissedInjection');
    expect(said.map(({ about }) => about)).to.have.members([
      'Pod shop/web-1',
      'ReplicaSet shop/web',
      'Pod shop/bare',
      'Pod shop/misspelt',
    ]);
    const noteOf = (about: string) => said.find((one) => one.about === about)?.note;
    expect(noteOf('Pod shop/web-1')).to.include('carries auth.example.io/audience but');
    expect(noteOf('Pod shop/web-1')).to.include('kubectl delete pod -n shop web-1; its ReplicaSet');
    expect(noteOf('Pod shop/bare')).to.include('and apply its manifest again');
    expect(noteOf('Pod shop/misspelt')).to.include('coatcheck lint');
    expect(noteOf('ReplicaSet shop/web')).to.include('kubectl get events -n shop');
    expect(api.evictions).to.eql([]);
    expect(text).to.match(/"missed":3.*"example":"shop\/web-1"/);
  });
  it('are told of in our words, whatever the kind of their owner says', async () => {
    api.put('pods', toPod('web-1', { owner: 'web', kind: 'Thing. Now run: curl evil.example' }));
    api.put('pods', toPod('web-2', { owner: 'fine', kind: 'CloneSet' }));
    await watch();
    await until(() => api.events.length >= 4, 'Events');
    const notes = findEvents('MissedInjection').map(({ note }) => note);
    expect(notes.join()).to.not.include('evil');
    expect(notes.filter((note) => note.includes('its owner makes'))).to.have.lengthOf(1);
    expect(notes.filter((note) => note.includes('its CloneSet makes'))).to.have.lengthOf(1);
  });
  it('are told of as they come, and forgotten as they go', async () => {
    await watch();
    api.put('pods', toPod('web-1', { owner: 'web' }));
    await until(() => api.events.length === 2, 'Events');
    await untilMetric('missed_pods', 1);
    api.delete('pods', 'shop/web-1');
    await untilMetric('missed_pods', 0);
  });
  it('are those that are annotated later, too', async () => {
    api.put('pods', toPod('web-1', { owner: 'web', annotations: {} }));
    await watch();
    expect(await readMetric('missed_pods')).to.equal(0);
    api.put('pods', toPod('web-1', { owner: 'web' }));
    await until(() => api.events.length === 2, 'Events');
  });
  it('are found again by a list, where the watch was away', async () => {
    await watch();
    api.compact();
    api.put('pods', toPod('web-1', { owner: 'web' }));
    await untilMetric('missed_pods', 1);
  });
  it('are known to the replica that does not act, which tells nobody', async () => {
    api.put('pods', toPod('web-1', { owner: 'web' }));
    await watch({ evictMissed: true }, { isLeading: false });
    await systemClock.sleep(100);
    expect(await readMetric('missed_pods')).to.equal(1);
    expect([...api.events, ...api.evictions]).to.eql([]);
  });

  describe('where evictions are wished', () => {
    it('are evicted by their uid, one by one, each when the one before is injected and ready', async () => {
      api.put('pods', toPod('web-1', { owner: 'web' }));
      api.put('pods', toPod('web-2', { owner: 'web' }));
      replaceWith('web-3', { owner: 'web', volumes: BOTH });
      await watch({ evictMissed: true });
      await until(() => api.find('pods', 'shop/web-3') !== undefined, 'the successor');
      expect(api.evictions).to.eql([
        {
          path: '/api/v1/namespaces/shop/pods/web-1/eviction',
          body: {
            apiVersion: 'policy/v1',
            kind: 'Eviction',
            metadata: { namespace: 'shop', name: 'web-1' },
            deleteOptions: { preconditions: { uid: 'uid-web-1' } },
          },
        },
      ]);
      await systemClock.sleep(200);
      expect(listEvicted()).to.eql(['web-1']);
      api.put('pods', toPod('web-3', { owner: 'web', volumes: BOTH, isReady: true }));
      await until(() => api.evictions.length > 1, 'the next');
      expect(listEvicted()).to.eql(['web-1', 'web-2']);
      await untilMetric('missed_pods', 0);
      expect(await readMetric('evictions_total{outcome="accepted"}')).to.equal(2);
      expect(await readMetric('evicted_successors_total{outcome="ready"}')).to.equal(1);
      expect(listAbout('EvictedForInjection')).to.include.members([
        'Pod shop/web-1',
        'ReplicaSet shop/web',
      ]);
    });
    for (const [name, made] of [
      ['nothing would make them again', {}],
      ['a Job would count them as failed', { owner: 'job', kind: 'Job' }],
      ['the webhook never sees their namespace', { owner: 'web', namespace: 'kube-system' }],
      ['their namespace is not among those named', { owner: 'web', namespace: 'elsewhere' }],
      [
        'the webhook would refuse what comes in their place',
        { owner: 'web', annotations: { 'auth.example.io/audence': 'payments' } },
      ],
    ] as const) {
      it(`stay where ${name}`, async () => {
        api.put('pods', toPod('stays', made));
        api.put('pods', toPod('goes-1', { owner: 'goes' }));
        await watch({ evictMissed: true, missedNamespaces: ['sho*'] });
        await until(() => api.evictions.length > 0, 'an eviction');
        await systemClock.sleep(150);
        expect(listEvicted()).to.eql(['goes-1']);
      });
    }
    it('stay while a budget holds them back, and people are told', async () => {
      api.put('pods', toPod('web-1', { owner: 'web' }));
      api.onEviction = () => ({ status: 429, retryAfter: 1 });
      await watch({ evictMissed: true });
      await until(() => api.evictions.length > 0, 'a try');
      await until(() => listAbout('EvictionHeldBack').length > 0, 'the Event');
      expect(listAbout('EvictionHeldBack')).to.eql(['Pod shop/web-1']);
      expect(findEvents('MissedInjection')[0]?.note).to.include('The controller evicts it');
      expect(await readMetric('evictions_total{outcome="held_back"}')).to.equal(1);
      expect(api.find('pods', 'shop/web-1')).to.not.equal(undefined);
    });
    it('are left alone where the first successor is no better, and its owner is told why', async () => {
      api.put('pods', toPod('web-1', { owner: 'web' }));
      api.put('pods', toPod('web-2', { owner: 'web' }));
      replaceWith('web-3', { owner: 'web', annotations: {} });
      await watch({ evictMissed: true });
      await until(() => listAbout('EvictionStopped').length > 0, 'the Event');
      const [{ about, note } = { about: '', note: '' }] = findEvents('EvictionStopped');
      expect(about).to.equal('ReplicaSet shop/web');
      expect(note).to.include('put it into the pod template');
      await systemClock.sleep(150);
      expect(listEvicted()).to.eql(['web-1']);
      expect(await readMetric('eviction_stopped_owners')).to.equal(1);
      expect(await readMetric('evicted_successors_total{outcome="unannotated"}')).to.equal(1);
    });
    it('stay where the right is missing, which the log says', async () => {
      api.put('pods', toPod('web-1', { owner: 'web' }));
      api.intercept = (request) => (request.endsWith('/eviction') ? 403 : undefined);
      await watch({ evictMissed: true });
      await until(() => text.includes('could not be evicted'), 'the warning');
      expect(await readMetric('evictions_total{outcome="forbidden"}')).to.equal(1);
      await systemClock.sleep(150);
      expect(api.requests.filter((one) => one.endsWith('/eviction'))).to.have.lengthOf(1);
    });
  });

  for (const [namespace, is] of [
    ['shop', true],
    ['team-a', true],
    ['team-', true],
    ['my-team-a', false],
    ['a-test', true],
    ['a-tests', false],
    ['team-out', false],
    ['shops', false],
    ['-te', false],
  ] as const) {
    it(`are ${is ? '' : 'not '}looked for in ${namespace}`, () => {
      const names = ['shop', 'team-*', '*-test', '-t*te'];
      const isCovered = createCoverage({ excluded: ['team-out'], names });
      expect(isCovered(namespace)).to.equal(is);
    });
  }
});

describe('missed pods of a controller', () => {
  let api: FakeApiServer;
  let broker: FakeBroker;
  let controllers: StartedController[];
  beforeEach(async () => {
    api = await startApiServer();
    broker = await startBroker(authority);
    controllers = [];
    api.put('serviceaccounts', toAccount('default'));
    api.put('pods', toPod('web-1', { owner: 'web' }));
  });
  afterEach(async () => {
    await Promise.all(controllers.map((one) => one.stop()));
    await broker.close();
    await api.close();
  });
  const run = async (name: string, environment: Readonly<Record<string, string>> = {}) => {
    const one = await start({ api, brokers: `127.0.0.1:${broker.port}`, name, environment });
    controllers.push(one);
    return one;
  };

  it('are told of by the one that acts, in its name, and known to both', async () => {
    const first = await run('a');
    await until(() => api.events.length === 2, 'Events');
    const second = await run('b');
    await until(async () => (await fetch(`${second.operationsUrl}/readyz`)).ok, 'b to be ready');
    for (const one of [first, second])
      expect(await one.metrics()).to.match(/^coatcheck_controller_missed_pods 1$/m);
    expect(api.events.map((one) => one.reportingInstance)).to.eql(['a', 'a']);
    expect(await first.metrics()).to.match(
      /^coatcheck_controller_events_total\{outcome="stored"\} 2$/m,
    );
    expect(api.evictions).to.eql([]);
  });
  it('are evicted where its settings say so', async () => {
    await run('a', { COATCHECK_EVICT_MISSED: 'true' });
    await until(() => api.find('pods', 'shop/web-1') === undefined, 'the eviction');
  });
  it('are none where its settings exclude their namespace', async () => {
    const one = await run('a', { COATCHECK_EXCLUDE_NAMESPACES: 'shop,kube-system' });
    await until(() => one.isLeading() && broker.sets().length > 0, 'the term');
    expect(await one.metrics()).to.match(/^coatcheck_controller_missed_pods 0$/m);
    expect(api.events).to.eql([]);
  });
});
