// The webhook over real TLS: whatever is sent is answered, certificates change without a lost request, stopping is graceful.
import { mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import type http from 'node:http';
import https from 'node:https';
import os from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import { systemClock } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { readFiles, watchFiles } from '../../webhook/files.ts';
import { type RunningWebhook, startWebhook } from '../../webhook/main.ts';
import { createMetrics } from '../../webhook/metrics.ts';
import { readWebhookSettings } from '../../webhook/settings.ts';
import { keep } from '../support/tokens.ts';

const validity = { notBefore: new Date('2020-01-01'), notAfter: new Date('2120-01-01') };
const authority = issueAuthority({ commonName: 'test', ...validity });
const issue = (commonName: string, usage: 'server' | 'client' = 'server') =>
  issueCertificate(
    { commonName, names: ['127.0.0.1', 'localhost'], usage, ...validity },
    authority,
  );

const POD = {
  metadata: { annotations: { 'auth.example.io/audience': 'payments' } },
  spec: { containers: [{ name: 'app', image: 'registry.example.io/app:1' }] },
};
const toReview = (object: unknown = POD) =>
  JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: { uid: 'u-1', operation: 'CREATE', namespace: 'shop', object },
  });

interface Reply {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: a parsed answer.
  json: any;
}

interface Sent extends https.RequestOptions {
  body?: string | Buffer;
}

function send(url: string, { body, ...options }: Sent = {}): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const given = {
      method: 'POST',
      ca: authority.certificate,
      headers: { 'content-type': 'application/json' },
      ...options,
    };
    const request = https.request(url, given, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: text.startsWith('{') ? JSON.parse(text) : undefined,
        });
      });
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

describe('the webhook over TLS', () => {
  let folder: string;
  let webhook: RunningWebhook;
  let mutate: string;
  const lines: string[] = [];

  const writePair = async (name: string): Promise<void> => {
    const { certificate, key } = issue(name);
    await writeFile(path.join(folder, 'tls.crt'), certificate);
    await writeFile(path.join(folder, 'tls.key'), key);
  };
  const start = (more: readonly string[] = []): Promise<RunningWebhook> =>
    startWebhook({
      settings: readWebhookSettings({
        args: [
          '--listen=127.0.0.1:0',
          '--operations-listen=127.0.0.1:0',
          `--tls-cert-file=${folder}/tls.crt`,
          `--tls-key-file=${folder}/tls.key`,
          '--broker-url=https://broker.example.io',
          '--image=registry.example.io/exchange:1',
          '--reload-seconds=3600',
          '--drain-seconds=5',
          ...more,
        ],
      }),
      log: createLogger({
        level: 'debug',
        process: 'webhook',
        stream: { write: (line) => lines.push(line) },
      }),
      clock: systemClock,
    });

  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'webhook-'));
    await writePair('first');
    webhook = await start();
    mutate = `${webhook.url}/mutate`;
  });
  afterEach(async () => {
    await webhook.stop();
    await rm(folder, { recursive: true });
  });
  after(() => keep('webhook-server.log', lines.join('')));

  it('injects, and takes the query that the API server appends', async () => {
    const reply = await send(`${mutate}?timeout=5s`, { body: toReview() });
    expect(reply.status).to.equal(200);
    expect(reply.headers['content-type']).to.equal('application/json');
    expect(reply.json.response).to.include({ uid: 'u-1', allowed: true, patchType: 'JSONPatch' });
  });

  for (const uid of ['u-é', 'u-語-😀']) {
    it(`answers ${uid} in UTF-8, as every other text`, async () => {
      const reply = await send(mutate, { body: toReview().replace('u-1', uid) });
      expect(reply.json.response).to.include({ uid, allowed: true });
    });
  }

  it('answers a review of 3 MB, as large as the API server makes them', async () => {
    const object = {
      ...POD,
      metadata: { annotations: { ...POD.metadata.annotations, big: 'x'.repeat(3_000_000) } },
    };
    const reply = await send(mutate, { body: toReview(object) });
    expect([reply.status, reply.json.response.allowed]).to.deep.equal([200, true]);
  });

  for (const chunked of [false, true]) {
    it(`answers 10 MB ${chunked ? 'in chunks' : 'of known length'} with 413, after which the connection still serves`, async () => {
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      const body = 'x'.repeat(10_000_000);
      const headers = {
        'content-type': 'application/json',
        ...(chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': body.length }),
      };
      const reply = await send(mutate, { body, headers, agent });
      expect(reply.status).to.equal(413);
      expect(reply.json).to.include({ kind: 'Status', code: 413 });
      expect((await send(mutate, { body: toReview(), agent })).status).to.equal(200);
      agent.destroy();
    });
  }

  const refused: { name: string; path?: string; options: Sent; status: number }[] = [
    { name: 'garbage', options: { body: 'not json' }, status: 400 },
    { name: 'an empty body', options: { body: '' }, status: 400 },
    {
      name: 'another version',
      options: { body: toReview().replace('k8s.io/v1', 'k8s.io/v1beta1') },
      status: 400,
    },
    { name: 'GET', options: { method: 'GET' }, status: 405 },
    { name: 'PUT with a body', options: { method: 'PUT', body: toReview() }, status: 405 },
    { name: 'another path', path: '/', options: { body: toReview() }, status: 404 },
    { name: 'a path below', path: '/mutate/x', options: { body: toReview() }, status: 404 },
    {
      name: 'an absolute target',
      path: '//evil.example.io/mutate',
      options: { body: toReview() },
      status: 404,
    },
    {
      name: 'a form',
      options: { body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      status: 415,
    },
    { name: 'no content type', options: { body: toReview(), headers: {} }, status: 415 },
    {
      name: 'a compressed body',
      options: {
        body: 'x',
        headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      },
      status: 415,
    },
  ];
  for (const { name, path: target = '/mutate', options, status } of refused) {
    it(`answers ${name} with ${status} and a Status, never with a redirect`, async () => {
      const reply = await send(`${webhook.url}${target}`, options);
      expect(reply.status).to.equal(status);
      expect(reply.json).to.include({ apiVersion: 'v1', kind: 'Status', code: status });
      expect(reply.headers).to.not.have.property('location');
      keep(`webhook-${status}.json`, reply.text);
    });
  }

  it('survives callers that go away in the middle of a body', async () => {
    await new Promise<void>((resolve) => {
      const request = https.request(mutate, {
        method: 'POST',
        ca: authority.certificate,
        headers: { 'content-type': 'application/json', 'content-length': 1000 },
      });
      request.on('error', () => resolve());
      request.write('{', () => request.destroy());
      request.on('close', () => resolve());
    });
    expect((await send(mutate, { body: toReview() })).status).to.equal(200);
  });

  it('counts what it did, with labels from a closed list', async () => {
    await send(mutate, { body: toReview() });
    await send(mutate, {
      body: toReview({ ...POD, metadata: { annotations: { 'auth.example.io/evil': 'x' } } }),
    });
    await send(mutate, { body: 'x' });
    const text = await fetch(`${webhook.operationsUrl}/metrics`).then((reply) => reply.text());
    expect(text).to.include('coatcheck_webhook_requests_total{outcome="injected"} 1');
    expect(text).to.include('coatcheck_webhook_requests_total{outcome="denied"} 1');
    expect(text).to.include('coatcheck_webhook_requests_total{outcome="bad_review"} 1');
    expect(text).to.include('coatcheck_webhook_requests_total{outcome="failed"} 0');
    expect(text).to.include('coatcheck_webhook_requests_in_flight 0');
    expect(text).to.match(/coatcheck_webhook_certificate_not_after_seconds 4733510400/);
    expect(text).to.not.include('evil');
  });

  describe('when its certificate changes', () => {
    // A new pair is seen by who connects anew; TLS 1.1 is refused before and after.
    const subject = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tls.connect({ ...address(), ca: authority.certificate }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.on('error', reject);
      });
    const old = (): Promise<string> =>
      new Promise((resolve) => {
        const socket = tls.connect(
          {
            ...address(),
            ca: authority.certificate,
            minVersion: 'TLSv1',
            maxVersion: 'TLSv1.1',
            ciphers: 'DEFAULT@SECLEVEL=0',
          },
          () => {
            resolve('connected');
            socket.destroy();
          },
        );
        socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      });
    const address = () => ({
      host: '127.0.0.1',
      port: Number(new URL(webhook.url).port),
      servername: 'localhost',
    });

    it('serves the new one, keeps open connections and the TLS floor', async () => {
      const agent = new https.Agent({ keepAlive: true, maxSockets: 1 });
      let connections = 0;
      agent.on('keylog', () => undefined);
      const counted = Object.assign(agent, {
        createConnection: (options: tls.ConnectionOptions) => {
          connections += 1;
          return tls.connect({ ...options, ca: authority.certificate });
        },
      });
      expect((await send(mutate, { body: toReview(), agent: counted })).status).to.equal(200);
      expect([await subject(), await old()]).to.deep.equal([
        'first',
        'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
      ]);
      await writePair('second');
      await webhook.files.check();
      expect([await subject(), await old()]).to.deep.equal([
        'second',
        'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
      ]);
      expect((await send(mutate, { body: toReview(), agent: counted })).status).to.equal(200);
      expect(connections).to.equal(1);
      agent.destroy();
    });

    it('keeps the last good pair while a certificate and its key do not fit', async () => {
      const before = lines.length;
      await writeFile(path.join(folder, 'tls.crt'), issue('half').certificate);
      await webhook.files.check();
      await webhook.files.check();
      expect(await subject()).to.equal('first');
      // Said once; counted at each look, or an alert would see one step and forget it.
      const told = lines.slice(before).filter((line) => line.includes('but cannot be used'));
      expect(told).to.have.lengthOf(1);
      const text = await fetch(`${webhook.operationsUrl}/metrics`).then((reply) => reply.text());
      const refused = /reloads_total\{file="certificate",result="refused"\} (\d+)/.exec(text);
      expect(Number(refused?.[1])).to.be.at.least(2);
      await writePair('whole');
      await webhook.files.check();
      expect(await subject()).to.equal('whole');
    });

    it('follows the symlink swap of a mounted Secret', async () => {
      await webhook.stop();
      const mount = async (name: string): Promise<void> => {
        const { certificate, key } = issue(name);
        const data = await mkdtemp(path.join(folder, '..data-'));
        await writeFile(path.join(data, 'crt'), certificate);
        await writeFile(path.join(data, 'key'), key);
        await symlink(data, path.join(folder, '..next'));
        await rename(path.join(folder, '..next'), path.join(folder, '..data'));
      };
      await mount('mounted');
      await rm(path.join(folder, 'tls.crt'));
      await rm(path.join(folder, 'tls.key'));
      await symlink('..data/crt', path.join(folder, 'tls.crt'));
      await symlink('..data/key', path.join(folder, 'tls.key'));
      webhook = await start();
      expect(await subject()).to.equal('mounted');
      await mount('swapped');
      await webhook.files.check();
      expect(await subject()).to.equal('swapped');
    });
  });

  it('injects the new CA of the broker after its file changed', async () => {
    await webhook.stop();
    const file = path.join(folder, 'ca.crt');
    await writeFile(file, authority.certificate);
    webhook = await start([`--broker-ca-file=${file}`]);
    const injectedCa = async (): Promise<string> => {
      const reply = await send(`${webhook.url}/mutate`, { body: toReview() });
      const operations = JSON.parse(Buffer.from(reply.json.response.patch, 'base64').toString());
      const added = operations.find((one: { path: string }) => one.path === '/spec/initContainers');
      return added.value[0].env.find((one: { name: string }) => one.name === 'COATCHECK_BROKER_CA')
        .value;
    };
    expect(await injectedCa()).to.equal(`${authority.certificate.trim()}\n`);
    const next = issueAuthority({ commonName: 'next', ...validity }).certificate;
    await writeFile(file, `${authority.certificate}${next}`);
    await webhook.files.check();
    expect(await injectedCa()).to.equal(`${authority.certificate.trim()}\n${next.trim()}\n`);
  });

  it('takes a new certificate also while the file of the broker’s CA is broken, and the other way round', async () => {
    await webhook.stop();
    const file = path.join(folder, 'ca.crt');
    await writeFile(file, authority.certificate);
    webhook = await start([`--broker-ca-file=${file}`]);
    const subject = () =>
      new Promise<string>((resolve, reject) => {
        const { hostname, port } = new URL(webhook.url);
        const socket = tls.connect({
          host: hostname,
          port: Number(port),
          ca: authority.certificate,
        });
        socket.once('secureConnect', () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        });
        socket.once('error', reject);
      });
    const ca = async (): Promise<string> => {
      const reply = await send(`${webhook.url}/mutate`, { body: toReview() });
      return Buffer.from(reply.json.response.patch, 'base64').toString();
    };
    const before = lines.length;
    await writeFile(file, 'cut off');
    await writePair('second');
    await webhook.files.check();
    await webhook.files.check();
    expect(await subject()).to.equal('second');
    expect(await ca()).to.include(authority.certificate.slice(30, 80));
    const said = lines.slice(before).filter((line) => line.includes('cannot be used'));
    expect(said).to.have.lengthOf(1);
    expect(said[0]).to.include('COATCHECK_BROKER_CA_FILE must hold PEM certificates');
    const next = issueAuthority({ commonName: 'next', ...validity }).certificate;
    await writeFile(file, next);
    await writeFile(path.join(folder, 'tls.key'), 'cut off');
    await webhook.files.check();
    expect(await subject()).to.equal('second');
    expect(await ca()).to.include(next.slice(30, 80));
  });

  it('goes on looking at its files after the listener has refused what they hold', async () => {
    const settings = readWebhookSettings({
      args: [
        `--tls-cert-file=${folder}/tls.crt`,
        `--tls-key-file=${folder}/tls.key`,
        '--broker-url=https://broker.example.io',
        '--image=registry.example.io/exchange:1',
      ],
    });
    const taken: string[] = [];
    const watch = watchFiles({
      settings,
      initial: await readFiles(settings),
      metrics: createMetrics(),
      log: createLogger({
        level: 'debug',
        process: 'webhook',
        stream: { write: (line) => lines.push(line) },
      }),
      clock: systemClock,
      onChange: ({ cert }) => {
        taken.push(cert);
        if (taken.length <= 3) throw new Error('ee key too small');
      },
    });
    const before = lines.length;
    await writePair('second');
    for (let i = 0; i < 5; i++) await watch.check();
    watch.stop();
    expect(taken).to.have.lengthOf(4);
    // Once, and not with each look.
    const told = lines.slice(before).filter((line) => line.includes('ee key too small'));
    expect(told).to.have.lengthOf(1);
  });

  it('turns callers without a certificate away where the operator asks for one', async () => {
    await webhook.stop();
    const file = path.join(folder, 'clients.crt');
    await writeFile(file, authority.certificate);
    webhook = await start([`--client-ca-file=${file}`]);
    mutate = `${webhook.url}/mutate`;
    const stranger = issueAuthority({ commonName: 'stranger', ...validity });
    const forged = issueCertificate(
      { commonName: 'kube-apiserver', names: [], usage: 'client', ...validity },
      stranger,
    );
    const known = issue('kube-apiserver', 'client');
    const ask = (client?: { certificate: string; key: string }) =>
      send(mutate, {
        body: toReview(),
        agent: false,
        ...(client && { cert: client.certificate, key: client.key }),
      }).then(
        ({ status }) => status,
        () => 'turned away',
      );
    expect([await ask(), await ask(forged), await ask(known)]).to.deep.equal([
      'turned away',
      'turned away',
      200,
    ]);
    await writePair('second');
    await webhook.files.check();
    expect([await ask(), await ask(forged), await ask(known)]).to.deep.equal([
      'turned away',
      'turned away',
      200,
    ]);
    // Authorities are rotated too: first both are known, then only the next one.
    await writeFile(file, `${authority.certificate}${stranger.certificate}`);
    await webhook.files.check();
    expect([await ask(), await ask(forged), await ask(known)]).to.deep.equal([
      'turned away',
      200,
      200,
    ]);
    await writeFile(file, stranger.certificate);
    await webhook.files.check();
    expect([await ask(), await ask(forged), await ask(known)]).to.deep.equal([
      'turned away',
      200,
      'turned away',
    ]);
  });

  it('ends the request in flight before it stops, and is not ready meanwhile', async () => {
    const body = toReview();
    const reply = new Promise<number>((resolve, reject) => {
      const request = https.request(
        mutate,
        {
          method: 'POST',
          ca: authority.certificate,
          headers: { 'content-type': 'application/json', 'content-length': body.length },
        },
        (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        },
      );
      request.on('error', reject);
      request.write(body.slice(0, 10), () => {
        // The server has seen the beginning once it counts it.
        void untilInFlight().then(async () => {
          const stopping = webhook.stop();
          const ready = await fetch(`${webhook.operationsUrl}/readyz`);
          expect(ready.status).to.equal(503);
          request.end(body.slice(10));
          await stopping;
        }, reject);
      });
    });
    const untilInFlight = async (): Promise<void> => {
      for (;;) {
        const text = await fetch(`${webhook.operationsUrl}/metrics`).then((one) => one.text());
        if (text.includes('requests_in_flight 1')) return;
      }
    };
    expect(await reply).to.equal(200);
  });
});
