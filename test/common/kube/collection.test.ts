// A mirror of a collection: complete before it counts, right after every change, and still there while the API server is
// not. The same on a real API server: test/cluster/token-roles.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type Clock, systemClock } from '../../../common/clock.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import {
  type Collection,
  createCollection,
  type ItemChange,
} from '../../../common/kube/collection.ts';
import type { KubeObject } from '../../../common/kube/watch-stream.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeCollection, startCollection } from '../../support/kube-collection.ts';

const PATH = '/apis/auth.example.io/v1alpha1/tokenroles';

describe('collection', () => {
  let server: FakeCollection;
  let client: KubeClient;
  let collection: Collection<string>;
  let lines: string[];
  let changes: number;
  let waits: number[];
  /** Waits are noted, and short. */
  const clock: Clock = {
    now: systemClock.now,
    sleep: (ms, signal) => {
      waits.push(ms);
      return systemClock.sleep(Math.min(ms, 5), signal);
    },
  };
  beforeEach(async () => {
    server = await startCollection(PATH);
    [lines, changes, waits] = [[], 0, []];
    client = createKubeClient({ ...server, timeoutMs: 5000 });
  });
  afterEach(async () => {
    await collection?.stop();
    client.close();
    await server.close();
  });
  const start = async (
    more: {
      metadataOnly?: boolean;
      toItem?: (one: KubeObject) => string;
      onItem?: (change: ItemChange<string>) => void;
      onRelist?: () => void;
    } = {},
  ) => {
    const stream = { write: (line: string) => lines.push(line) };
    collection = createCollection({
      client,
      path: PATH,
      toItem: ({ value }) => String(value),
      onChange: () => {
        changes += 1;
      },
      clock,
      random: () => 1,
      log: createLogger({ level: 'info', process: 'test', stream }),
      ...more,
    });
    collection.start();
    await collection.settled();
  };
  const until = async (isTrue: () => boolean, what: string) => {
    const deadline = performance.now() + 8000;
    while (!isTrue()) {
      if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}`);
      await sleep(5);
    }
  };
  const untilItems = (expected: Record<string, string>) =>
    until(
      () => JSON.stringify(Object.fromEntries(collection.items)) === JSON.stringify(expected),
      JSON.stringify(expected),
    );
  const untilWatching = () => until(() => server.watches === 1, 'a watch');
  const lists = () => server.requests.filter(({ url }) => !url.includes('watch=1')).length;

  it('is loaded by one list, in pages, and then follows every change', async () => {
    for (let i = 0; i < 600; i++) server.put(`r${i}`, { value: i });
    await start();
    expect([collection.isLoaded(), collection.items.size, lists()]).to.deep.equal([true, 600, 3]);
    expect(collection.items.get('r599')).to.equal('599');
    server.put('new', { value: 'a' });
    await until(() => collection.items.get('new') === 'a', 'the new one');
    server.put('new', { value: 'b' });
    await until(() => collection.items.get('new') === 'b', 'its next value');
    server.delete('new');
    await until(() => !collection.items.has('new'), 'its end');
    expect([lists(), changes]).to.deep.equal([3, 4]);
  });
  it('asks for metadata alone where that is all it needs', async () => {
    await start({ metadataOnly: true });
    await untilWatching();
    expect(server.requests.map(({ accept }) => accept.replace(';g=meta.k8s.io;v=v1', ''))).to.eql([
      'application/json;as=PartialObjectMetadataList',
      'application/json;as=PartialObjectMetadata',
    ]);
  });
  it('goes on where the last watch ended, without a list, from the last bookmark', async () => {
    server.put('a', { value: 1 });
    await start();
    await untilWatching();
    server.bookmark();
    server.put('b', { value: 2 });
    await untilItems({ a: '1', b: '2' });
    server.bookmark();
    server.endWatches();
    await until(() => server.requests.length === 3, 'the next watch');
    expect(server.requests[2]?.url).to.include('resourceVersion=104');
    server.put('a', { value: 3 });
    await untilItems({ a: '3', b: '2' });
    expect(lists()).to.equal(1);
    expect(lines).to.deep.equal([]);
  });
  it('lists anew where its version is too old, and forgets what went meanwhile', async () => {
    server.put('a', { value: 1 });
    server.put('b', { value: 2 });
    await start();
    await untilWatching();
    await server.goAway();
    server.delete('a');
    server.put('c', { value: 3 });
    server.compact();
    await server.comeBack();
    await untilItems({ b: '2', c: '3' });
    expect(lists()).to.equal(2);
  });
  it('keeps what it knows while the server is away, says so once, and recovers', async () => {
    server.put('a', { value: 1 });
    await start();
    await untilWatching();
    await server.goAway();
    await until(() => waits.length >= 6, 'several tries');
    expect(Object.fromEntries(collection.items)).to.deep.equal({ a: '1' });
    expect(collection.isLoaded()).to.equal(true);
    expect(collection.findTrouble()?.error.kind).to.equal('unavailable');
    await server.comeBack();
    server.put('b', { value: 2 });
    await untilItems({ a: '1', b: '2' });
    await until(() => collection.findTrouble() === undefined, 'the end of the trouble');
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).to.deep.equal([
      'cannot watch; what is known stays in use',
      'watching again',
    ]);
  });
  it('waits longer from failure to failure, up to half a minute', async () => {
    server.status = 503;
    await start();
    await until(() => waits.length >= 9, 'nine tries');
    expect(waits.slice(0, 9)).to.deep.equal([
      500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
    ]);
    expect(collection.isLoaded()).to.equal(false);
    server.status = undefined;
    await until(() => collection.isLoaded(), 'the first list');
  });
  it('lives on where an object cannot be taken, and takes the next list', async () => {
    server.put('a', { value: 1 });
    const toItem = ({ value }: KubeObject) => {
      if (value === 'bad') throw new RangeError('nobody foresaw this');
      return String(value);
    };
    await start({ toItem });
    await untilWatching();
    server.put('b', { value: 'bad' });
    await until(() => collection.findTrouble() !== undefined, 'the trouble');
    expect(Object.fromEntries(collection.items)).to.deep.equal({ a: '1' });
    server.put('b', { value: 'good' });
    await untilItems({ a: '1', b: 'good' });
    await until(() => collection.findTrouble() === undefined, 'the end of the trouble');
    expect(lines.join('')).to.include('nobody foresaw this');
  });
  it('is not loaded by half a list', async () => {
    for (let i = 0; i < 300; i++) server.put(`r${i}`, { value: i });
    server.status = (url) => (url.includes('continue') ? 500 : undefined);
    await start();
    expect([collection.isLoaded(), collection.items.size, changes]).to.deep.equal([false, 0, 0]);
    server.status = undefined;
    await until(() => collection.isLoaded(), 'the first list');
    expect(collection.items.size).to.equal(300);
  });
  it('settles without being loaded where it may not read, and says why', async () => {
    server.status = 403;
    await start();
    expect(collection.isLoaded()).to.equal(false);
    expect(collection.findTrouble()?.error.kind).to.equal('forbidden');
  });
  it('does not ask without pause a server that ends each watch at once', async () => {
    await start();
    for (let i = 0; i < 3; i++) {
      await untilWatching();
      server.endWatches();
      await until(() => waits.length > i, 'a pause');
    }
    expect(waits.slice(0, 3)).to.deep.equal([500, 500, 500]);
  });
  it('opens its next watch with the credential that is on the disk then', async () => {
    await start();
    await untilWatching();
    server.rotateCredential();
    server.endWatches();
    await until(() => collection.findTrouble()?.error.kind === 'unauthorized', 'the refusal');
    server.writeCredential();
    server.put('a', { value: 1 });
    await untilItems({ a: '1' });
  });
  it('tells what came, changed and went, by events and by the difference of lists, but not of the first', async () => {
    server.put('kept', { value: 1 });
    server.put('gone', { value: 2 });
    const told: string[] = [];
    let relists = 0;
    await start({
      onItem: ({ before = '-', after = '-' }) => told.push(`${before}>${after}`),
      onRelist: () => {
        relists += 1;
      },
    });
    await untilWatching();
    expect([told, relists]).to.deep.equal([[], 0]);
    server.put('new', { value: 3 });
    server.put('new', { value: 4 });
    server.delete('new');
    await until(() => told.length === 3, 'three changes');
    expect(told.splice(0)).to.deep.equal(['->3', '3>4', '4>-']);
    await server.goAway();
    server.delete('gone');
    server.put('late', { value: 5 });
    server.compact();
    await server.comeBack();
    await until(() => told.includes('2>-'), 'the next list');
    expect(relists).to.equal(1);
    expect(told).to.include('->5').and.to.include('1>1');
  });
  it('lists anew when told to', async () => {
    await start();
    await untilWatching();
    collection.relist();
    await until(() => lists() === 2, 'a second list');
    server.put('a', { value: 1 });
    await untilItems({ a: '1' });
  });

  for (const [title, text] of [
    ['no JSON', 'soon'],
    ['no event', '{"type":"CHANGED","object":{"metadata":{}}}'],
    ['an event without an object', '{"type":"ADDED"}'],
    ['an error', '{"type":"ERROR","object":{"metadata":{},"code":500}}'],
    ['an endless event', 'x'.repeat(5 * 1024 * 1024)],
  ] as const) {
    it(`starts again after ${title} in its watch, with what it knew`, async () => {
      server.put('a', { value: 1 });
      await start();
      await untilWatching();
      server.sendToWatches(text);
      await until(() => waits.length === 1, 'a failure');
      expect(Object.fromEntries(collection.items)).to.deep.equal({ a: '1' });
      server.put('b', { value: 2 });
      await untilItems({ a: '1', b: '2' });
    });
  }
  it('stops while it watches, while it waits, and while it lists', async () => {
    await start();
    await untilWatching();
    await collection.stop();
    await until(() => server.watches === 0, 'the end of the watch');
    server.status = 500;
    await start();
    await collection.stop();
    const asked = server.requests.length;
    await sleep(30);
    expect(server.requests.length).to.equal(asked);
  });
});
