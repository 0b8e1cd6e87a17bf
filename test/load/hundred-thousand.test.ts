// A cluster of 100,000 pods and 20,000 ServiceAccounts, told by a real controller process to a real broker process while
// pods exchange tokens: what it costs both, and how long anybody waits meanwhile.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { waitUntil } from '../faults/traffic.ts';
import { noteToken, openKept } from '../support/tokens.ts';
import {
  CONTAINER_MIB,
  describeTimes,
  exchangeSteadily,
  type Load,
  readMemory,
  startLoad,
} from './load.ts';

const PODS = 100_000;
const ACCOUNTS = 20_000;
/** A list of everything, in pages, from JSON that stands ready. */
const PAGE = 500;
const CONTROLLER = { namespace: 'product', serviceAccount: 'coatcheck-controller' };

describe(`a cluster of ${PODS.toLocaleString('en')} pods`, function () {
  this.timeout(180_000);
  let load: Load;
  let cluster: { url: string; close(): Promise<void> };
  let controller: ChildProcess;
  let own: string;
  before(async () => {
    load = await startLoad('hundred-thousand', {
      entry: { controller: CONTROLLER, maxConcurrentReviews: 32 },
    });
    own = randomUUID();
    cluster = await startCluster(own);
  });
  after(async () => {
    controller?.kill('SIGKILL');
    await load.stop();
    await cluster.close();
  });

  it('is told whole, and exchanges go on meanwhile', async () => {
    const ROUTE = 'route="/api/v1/clusters/{name}/live",status="200"';
    const duration = 'coatcheck_broker_request_duration_seconds';
    const before = readMemory(load.broker.pid).now;
    const quiet = exchangeSteadily(load, '127.0.0.3', 2);
    await sleep(1000);
    await quiet.stop();
    const steady = exchangeSteadily(load, '127.0.0.2', 2);
    const startedAt = performance.now();
    controller = startController(own);
    let blocked = 0;
    await waitUntil('the set is known', async () => {
      // Often enough, and no load of its own.
      await sleep(100);
      blocked = Math.max(blocked, await load.metric('nodejs_eventloop_lag_max_seconds'));
      return (await load.metric(`${duration}_count{${ROUTE}`)) > 0;
    });
    const knownMs = performance.now() - startedAt;
    const ofController = readMemory(controller.pid ?? 0).peak;
    await steady.stop();
    const { now, peak } = readMemory(load.broker.pid);
    const seconds = await load.metric(`${duration}_sum{${ROUTE}`);
    console.log(
      `      the set was known ${(knownMs / 1000).toFixed(1)} s after the start of the controller; it took the broker ${(seconds * 1000).toFixed(0)} ms; longest standstill of its event loop ${(blocked * 1000).toFixed(0)} ms; ` +
        `exchanges before: ${describeTimes(quiet.times)}; while the set came: ${describeTimes(steady.times)} (${steady.times.length}); ` +
        `broker ${before.toFixed(0)} → ${now.toFixed(0)} MiB, at most ${peak.toFixed(0)}; controller at most ${ofController.toFixed(0)} MiB`,
    );
    const last = load.broker.log().findLast(({ action }) => action === 'replaceLive');
    expect(last).to.include({ pods: PODS, serviceAccounts: ACCOUNTS, died: 0 });
    expect([...quiet.refused, ...steady.refused]).to.deep.equal([]);
    expect(steady.times.length).to.be.above(50);
    expect(await load.metric('coatcheck_broker_live_pods{cluster="local"}')).to.equal(PODS);
    if (Number.isNaN(peak)) return;
    expect(peak).to.be.below(CONTAINER_MIB);
    expect(ofController).to.be.below(CONTAINER_MIB);
  });

  function startController(podUid: string): ChildProcess {
    const folder = path.dirname(load.broker.program);
    const write = (name: string, text: string) => {
      writeFileSync(path.join(folder, name), text);
      return path.join(folder, name);
    };
    const token = load.issuer.token({
      ...CONTROLLER,
      audiences: ['coatcheck-control'],
      pod: { name: 'coatcheck-controller-0', uid: podUid },
    });
    const output = openSync(openKept('hundred-thousand controller'), 'a');
    const child = spawn(process.execPath, [load.broker.program, 'controller'], {
      env: {
        NODE_OPTIONS: `--max-old-space-size=${CONTAINER_MIB / 2}`,
        COATCHECK_CLUSTER: 'local',
        COATCHECK_BROKER_URL: load.broker.url,
        COATCHECK_TOKEN_FILE: write('control-token', token),
        COATCHECK_API_SERVER_URL: cluster.url,
        COATCHECK_API_SERVER_TOKEN_FILE: write(
          'api-token',
          noteToken('token-of-the-hundred-thousand'),
        ),
        COATCHECK_API_SERVER_CA_FILE: write('unused-ca', ''),
        COATCHECK_NAMESPACE: CONTROLLER.namespace,
        COATCHECK_IDENTITY: 'a',
        COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
      },
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    return child;
  }
});

/** An API server with pods, ServiceAccounts and a Lease, in plain HTTP; nothing ever changes. */
async function startCluster(ownPod: string): Promise<{ url: string; close(): Promise<void> }> {
  const pods = toPages(PODS, (i) => toPod(i, i === 0 ? ownPod : randomUUID()));
  const accounts = toPages(ACCOUNTS, toAccount);
  let lease: object | undefined;
  let version = 1;
  const answerLease = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const text = Buffer.concat(chunks).toString();
    if (text !== '') {
      version += 1;
      const given = JSON.parse(text) as { metadata: object; spec: object };
      lease = { ...given, metadata: { ...given.metadata, resourceVersion: String(version) } };
    }
    response.writeHead(lease ? (request.method === 'POST' ? 201 : 200) : 404);
    response.end(JSON.stringify(lease ?? {}));
  };
  const server: Server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://x');
    if (pathname.includes('/leases')) return void answerLease(request, response);
    const pages = pathname.endsWith('/pods') ? pods : accounts;
    if (!/\/(pods|serviceaccounts)$/.test(pathname)) return void response.writeHead(404).end('{}');
    response.writeHead(200, { 'Content-Type': 'application/json' });
    if (searchParams.get('watch') === '1') return response.flushHeaders();
    response.end(pages[Number(searchParams.get('continue') ?? 0)]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function toPages(count: number, toItem: (i: number) => object): readonly string[] {
  return Array.from({ length: count / PAGE }, (_, page) => {
    const items = Array.from({ length: PAGE }, (_item, i) => toItem(page * PAGE + i));
    const isLast = page === count / PAGE - 1;
    const metadata = { resourceVersion: '7', ...(!isLast && { continue: String(page + 1) }) };
    return JSON.stringify({ kind: 'List', metadata, items });
  });
}

function toPod(i: number, uid: string): object {
  return {
    metadata: {
      name: `workload-${i % 5000}-7c9f8d6b5-${i.toString(36).padStart(5, '0')}`,
      namespace: `team-${i % 400}`,
      uid,
      labels: { app: `workload-${i % 5000}` },
      annotations: { 'auth.example.io/audience': 'payments' },
      ownerReferences: [
        {
          kind: 'ReplicaSet',
          name: `workload-${i % 5000}`,
          uid: `u-${i % 5000}`,
          controller: true,
        },
      ],
      managedFields: [{ manager: 'kubelet', fieldsV1: { 'f:status': 'y'.repeat(600) } }],
    },
    spec: {
      serviceAccountName: `sa-${i % 2000}`,
      volumes: [{ name: 'coatcheck-tokens' }, { name: 'kube-api-access' }],
      containers: [{ name: 'app', image: 'registry.example/app:1' }],
    },
    status: { phase: 'Running', podIP: '10.0.0.1' },
  };
}

function toAccount(i: number): object {
  // The first one is that of the tokens of this suite.
  const uid = i === 0 ? '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70' : randomUUID();
  return { metadata: { name: `sa-${i}`, namespace: `team-${i % 400}`, uid } };
}
