// The recorder of Events before an API server that is a server; time is the test's.
import { expect } from 'chai';
import { createKubeClient, type KubeClient } from '../../common/kube/client.ts';
import { createLogger } from '../../common/log.ts';
import {
  createEventRecorder,
  type EventOutcome,
  type EventRecorder,
  MAX_QUEUED_EVENTS,
  type ObjectEvent,
  REPEAT_MS,
} from '../../controller/events.ts';
import { createFakeClock, type FakeClock } from '../support/clock.ts';
import { keep } from '../support/tokens.ts';
import { type FakeApiServer, startApiServer } from './api-server.ts';
import { until } from './harness.ts';

function toEvent(name: string, more: Partial<ObjectEvent> = {}): ObjectEvent {
  return {
    regarding: { apiVersion: 'v1', kind: 'Pod', name, namespace: 'shop', uid: `uid-${name}` },
    type: 'Warning',
    reason: 'MissedInjection',
    action: 'Inspecting',
    note: 'was admitted without injection',
    ...more,
  };
}

describe('the recorder of Events', () => {
  let api: FakeApiServer;
  let client: KubeClient;
  let clock: FakeClock;
  let outcomes: EventOutcome[];
  let text: string;
  let stopping: AbortController;
  let running: Promise<void>;
  const create = () =>
    createEventRecorder({
      client,
      instance: `coatcheck-controller-${'x'.repeat(200)}`,
      onOutcome: (outcome) => outcomes.push(outcome),
      clock,
      wallClock: { now: () => Date.UTC(2026, 10, 23, 1, 2, 3, 45) },
      log: createLogger({
        level: 'debug',
        process: 'controller',
        stream: { write: (line: string) => (text += line) },
      }),
    });
  const lead = (recorder: EventRecorder) => {
    running = recorder.lead(stopping.signal);
    return recorder;
  };
  const untilOutcomes = (count: number) =>
    until(() => outcomes.length >= count, `${count} outcomes`);
  beforeEach(async () => {
    api = await startApiServer();
    const { url, caFile, tokenFile } = api;
    client = createKubeClient({ url, caFile, tokenFile });
    clock = createFakeClock();
    outcomes = [];
    text = '';
    stopping = new AbortController();
    running = Promise.resolve();
  });
  afterEach(async () => {
    stopping.abort();
    await running;
    client.close();
    await api.close();
    keep('events.log', text);
  });

  it('writes all that events.k8s.io asks for, in the namespace of the object', async () => {
    expect(lead(create()).record(toEvent('web-1'))).to.equal(true);
    await untilOutcomes(1);
    const [event] = api.events;
    expect(event).to.deep.include({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      eventTime: '2026-11-23T01:02:03.045000Z',
      reportingController: 'coatcheck-controller',
      action: 'Inspecting',
      reason: 'MissedInjection',
      type: 'Warning',
      note: 'was admitted without injection',
      regarding: {
        apiVersion: 'v1',
        kind: 'Pod',
        name: 'web-1',
        namespace: 'shop',
        uid: 'uid-web-1',
      },
    });
    expect(event?.reportingInstance).to.have.lengthOf(128);
    expect(event?.metadata)
      .to.have.property('name')
      .that.matches(/^web-1\.[0-9a-f]{16}$/);
    expect(event?.metadata).to.have.property('namespace', 'shop');
    expect(api.requests).to.eql(['POST /apis/events.k8s.io/v1/namespaces/shop/events']);
  });
  it('writes about an object of the cluster in default', async () => {
    const regarding = { apiVersion: 'v1', kind: 'Node', name: 'n', uid: 'u' };
    lead(create()).record(toEvent('n', { regarding }));
    await untilOutcomes(1);
    expect(api.events[0]?.metadata).to.have.property('namespace', 'default');
  });
  it('cuts what is too long for the API server', async () => {
    const name = `${'a'.repeat(199)}.${'b'.repeat(50)}`;
    lead(create()).record(toEvent(name, { note: 'n'.repeat(2000) }));
    await untilOutcomes(1);
    const [event] = api.events;
    expect(event?.note).to.have.lengthOf(1024);
    expect(event?.metadata)
      .to.have.property('name')
      .that.matches(/^a{199}\.[0-9a-f]{16}$/);
  });
  it('says the same about the same object once in six hours', async () => {
    const recorder = lead(create());
    for (let i = 0; i < 3; i++) expect(recorder.record(toEvent('web-1'))).to.equal(true);
    recorder.record(toEvent('web-1', { note: 'something else' }));
    recorder.record(toEvent('web-2'));
    await untilOutcomes(3);
    expect(api.events).to.have.lengthOf(3);
    // API servers have forgotten by then.
    api.events.length = 0;
    await clock.advance(REPEAT_MS - 1);
    recorder.record(toEvent('web-1'));
    await clock.advance(1);
    expect(api.events).to.have.lengthOf(0);
    recorder.record(toEvent('web-1'));
    await untilOutcomes(4);
    expect(api.events).to.have.lengthOf(1);
  });
  it('does not repeat after a restart what the API server still has', async () => {
    lead(create()).record(toEvent('web-1'));
    await untilOutcomes(1);
    stopping.abort();
    await running;
    stopping = new AbortController();
    lead(create()).record(toEvent('web-1'));
    await untilOutcomes(2);
    expect(outcomes).to.eql(['stored', 'known']);
    expect(api.events).to.have.lengthOf(1);
  });
  it('writes nothing while another replica acts, nor what was queued then', async () => {
    const recorder = create();
    expect(recorder.record(toEvent('web-1'))).to.equal(false);
    lead(recorder);
    await clock.advance(1000);
    expect(api.requests).to.eql([]);
    expect(recorder.record(toEvent('web-1'))).to.equal(true);
    await untilOutcomes(1);
  });
  it('holds a bounded number, and says so; what was not sent may be said in the next term', async () => {
    api.intercept = () => 503;
    const recorder = lead(create());
    let taken = 0;
    // The first one is out of the queue.
    recorder.record(toEvent('first'));
    await until(() => api.requests.length > 0, 'a request');
    while (taken < 2 * MAX_QUEUED_EVENTS && recorder.record(toEvent(`web-${taken}`))) taken += 1;
    expect(taken).to.equal(MAX_QUEUED_EVENTS);
    expect(outcomes).to.eql(['dropped']);
    stopping.abort();
    await running;
    api.intercept = undefined;
    stopping = new AbortController();
    lead(recorder);
    for (const name of ['first', 'web-0']) recorder.record(toEvent(name));
    await untilOutcomes(3);
    expect(outcomes).to.eql(['dropped', 'stored', 'stored']);
  });
  it('sends twenty-five at once and then five in a second', async () => {
    const recorder = lead(create());
    for (let i = 0; i < 40; i++) recorder.record(toEvent(`web-${i}`));
    await untilOutcomes(26);
    expect(api.events).to.have.lengthOf(26);
    for (let i = 27; i < 32; i++) {
      await clock.advance(199);
      expect(api.events).to.have.lengthOf(i - 1);
      await clock.advance(1);
      await untilOutcomes(i);
      expect(api.events).to.have.lengthOf(i);
    }
  });
  for (const status of [400, 403, 404, 422]) {
    it(`gives up at once where the API server answers ${status}, and goes on with the next`, async () => {
      api.intercept = () => status;
      const recorder = lead(create());
      recorder.record(toEvent('web-1'));
      recorder.record(toEvent('web-2'));
      await untilOutcomes(2);
      expect(outcomes).to.eql(['refused', 'refused']);
      expect(api.requests).to.have.lengthOf(2);
      expect(text.match(/an Event could not be written/g)).to.have.lengthOf(1);
    });
  }
  it('tries again where the API server is away, and after the third time says that it could not', async () => {
    api.intercept = () => 503;
    const recorder = lead(create());
    recorder.record(toEvent('web-1'));
    for (let tries = 1; tries < 3; tries++) {
      await until(() => api.requests.length >= tries, 'a try');
      // The answer is on its way.
      await until(() => clock.advance(5000).then(() => api.requests.length > tries), 'the next');
    }
    await untilOutcomes(1);
    expect(outcomes).to.eql(['failed']);
    api.intercept = undefined;
    recorder.record(toEvent('web-1'));
    await untilOutcomes(2);
    expect(outcomes).to.eql(['failed', 'stored']);
  });
});
