// Labels of namespaces for selectors: none before all were read, right after each change, and not believed for ever.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import {
  createNamespaceLabels,
  LABELS_STALE_MS,
  type WatchedNamespaceLabels,
} from '../../../broker/kube/namespace-labels.ts';
import { systemClock } from '../../../common/clock.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeCollection, startCollection } from '../../support/kube-collection.ts';

describe('labels of namespaces', () => {
  let server: FakeCollection;
  let client: KubeClient;
  let labels: WatchedNamespaceLabels;
  let now: number;
  let lines: string[];
  beforeEach(async () => {
    server = await startCollection('/api/v1/namespaces');
    server.put('shop', { metadata: { labels: { tier: 'web' } } });
    server.put('bare', {});
    client = createKubeClient(server);
    now = 0;
    lines = [];
    labels = createNamespaceLabels({
      client,
      clock: {
        now: () => now,
        sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 5), signal),
      },
      log: createLogger({
        level: 'info',
        process: 'test',
        stream: { write: (line: string) => lines.push(line) },
      }),
    });
  });
  afterEach(async () => {
    await labels.stop();
    client.close();
    await server.close();
  });
  const until = async (isTrue: () => boolean) => {
    const deadline = performance.now() + 3000;
    while (!isTrue()) {
      if (performance.now() > deadline) throw new Error('gave up waiting');
      await sleep(5);
    }
  };

  it('are known after the start, and asked for as metadata alone', async () => {
    expect([labels.isReady(), labels.find('shop'), labels.problems()]).to.deep.equal([
      false,
      undefined,
      [],
    ]);
    expect(server.requests).to.deep.equal([]);
    await labels.start();
    expect(labels.isReady()).to.equal(true);
    expect({ ...labels.find('shop') }).to.deep.equal({ tier: 'web' });
    expect({ ...labels.find('bare') }).to.deep.equal({});
    expect(labels.find('nowhere')).to.equal(undefined);
    expect(server.requests[0]).to.include({ method: 'GET', url: '/api/v1/namespaces?limit=250' });
    expect(server.requests[0]?.accept).to.include('PartialObjectMetadataList');
  });
  it('follow every change', async () => {
    await labels.start();
    server.put('shop', { metadata: { labels: { tier: 'batch' } } });
    await until(() => labels.find('shop')?.tier === 'batch');
    server.delete('shop');
    await until(() => labels.find('shop') === undefined);
  });
  it('know no label that nobody gave', async () => {
    await labels.start();
    for (const name of ['constructor', '__proto__', 'toString'])
      expect(labels.find('bare')?.[name]).to.equal(undefined);
  });
  it('are not ready without the right, and say so', async () => {
    server.status = 403;
    await labels.start();
    expect(labels.isReady()).to.equal(false);
    expect(labels.problems()).to.deep.equal([
      'namespaceSelector fits nobody: namespaces cannot be read: answered 403 (the broker needs the right to list and watch them)',
    ]);
  });
  it('are believed for a quarter of an hour while the API server is away, and not longer', async () => {
    await labels.start();
    await until(() => server.watches === 1);
    await server.goAway();
    await until(() => lines.some((line) => line.includes('cannot watch')));
    now += LABELS_STALE_MS;
    expect({ ...labels.find('shop') }).to.deep.equal({ tier: 'web' });
    now += 1;
    expect([labels.isReady(), labels.find('shop')]).to.deep.equal([false, undefined]);
    expect(labels.problems()[0]).to.include('namespaceSelector fits nobody');
    await server.comeBack();
    await until(() => labels.isReady());
    expect({ ...labels.find('shop') }).to.deep.equal({ tier: 'web' });
  });
});
