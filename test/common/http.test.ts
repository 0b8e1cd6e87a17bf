import http from 'node:http';
import net from 'node:net';
import tls from 'node:tls';
import { expect } from 'chai';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import { listen, listenOperations, type RunningServer } from '../../common/http.ts';

const LOCAL = { host: '127.0.0.1', port: 0 };
const notBefore = new Date('2026-01-01T00:00:00Z');
const notAfter = new Date('2099-01-01T00:00:00Z');

describe('a server of ours', () => {
  it('lets a request in flight end while it drains, and takes no new one', async () => {
    let finish: (() => void) | undefined;
    const arrived = Promise.withResolvers<void>();
    const server = await listen(
      (_req, res) => {
        finish = () => res.end('done');
        arrived.resolve();
      },
      { address: LOCAL },
    );
    const answer = fetch(server.url).then((res) => res.text());
    await arrived.promise;
    const drained = server.drain(5000);
    finish?.();
    expect(await answer).to.equal('done');
    await drained;
    expect(
      await fetch(server.url).then(
        () => 'answered',
        () => 'refused',
      ),
    ).to.equal('refused');
  });

  it('cuts what has not ended when the grace is over', async () => {
    const arrived = Promise.withResolvers<void>();
    const server = await listen(() => arrived.resolve(), { address: LOCAL });
    const answer = fetch(server.url).then(
      () => 'answered',
      () => 'cut',
    );
    await arrived.promise;
    await server.drain(50);
    expect(await answer).to.equal('cut');
  });

  it('ends kept-alive connections at once when it drains', async () => {
    const server = await listen((_req, res) => res.end('x'), { address: LOCAL });
    const agent = new http.Agent({ keepAlive: true });
    await new Promise<void>((resolve, reject) => {
      http.get(server.url, { agent }, (res) => res.resume().on('end', resolve)).on('error', reject);
    });
    await server.drain(5000);
    agent.destroy();
  });

  it('gives a client that dawdles over its request no more than its time', async () => {
    const server = await listen((req, res) => req.resume().on('end', () => res.end('x')), {
      address: LOCAL,
      limits: { headersTimeoutMs: 200, requestTimeoutMs: 400 },
    });
    const send = (text: string) => {
      const socket = net.connect(server.address.port, '127.0.0.1', () => socket.write(text));
      return new Promise<string>((resolve) => {
        let answer = '';
        socket.on('data', (chunk: Buffer) => {
          answer += chunk.toString();
        });
        socket.once('close', () => resolve(answer.split('\r\n')[0] ?? ''));
      });
    };
    const head = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n';
    expect(await Promise.all([send(head), send(`${head}\r\nhalf`)])).to.deep.equal([
      'HTTP/1.1 408 Request Timeout',
      'HTTP/1.1 408 Request Timeout',
    ]);
    await server.drain(0);
  }).timeout(8000);

  describe('with a certificate', () => {
    const authority = issueAuthority({ commonName: 'CA', notBefore, notAfter });
    const issue = (commonName: string) => {
      const { certificate, key } = issueCertificate(
        { commonName, names: ['127.0.0.1'], notBefore, notAfter },
        authority,
      );
      return { cert: certificate, key };
    };
    let server: RunningServer;
    before(async () => {
      server = await listen((_req, res) => res.end('x'), { address: LOCAL, tls: issue('first') });
    });
    after(() => server.drain(0));

    const handshake = (options: tls.ConnectionOptions = {}) =>
      new Promise<tls.TLSSocket>((resolve, reject) => {
        const socket = tls.connect(
          { port: server.address.port, host: '127.0.0.1', ca: authority.certificate, ...options },
          () => resolve(socket),
        );
        socket.once('error', reject);
      });
    const refuses = (options: tls.ConnectionOptions) =>
      handshake(options).then(
        (s) => {
          s.destroy();
          return false;
        },
        () => true,
      );
    const old = {
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    } as const;

    it('refuses TLS 1.1 and takes 1.2, also after the certificate was reloaded; open connections stay', async () => {
      expect(await refuses(old)).to.equal(true);
      const open = await handshake({ maxVersion: 'TLSv1.2' });
      expect(open.getPeerCertificate().subject.CN).to.equal('first');
      server.reloadCertificate(issue('second'));
      const next = await handshake({ maxVersion: 'TLSv1.2' });
      expect(next.getPeerCertificate().subject.CN).to.equal('second');
      expect(await refuses(old)).to.equal(true);
      const echoed = new Promise<string>((resolve) =>
        open.once('data', (data) => resolve(String(data))),
      );
      open.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      expect(await echoed).to.match(/^HTTP\/1.1 200/);
      open.destroy();
      next.destroy();
    });
  });
});

describe('the operations port', () => {
  const obstacles: string[] = ['roles are not loaded'];
  let server: RunningServer;
  before(async () => {
    server = await listenOperations({
      address: LOCAL,
      findObstacles: () => obstacles,
      renderMetrics: () => Promise.resolve({ contentType: 'text/plain', body: 'up 1\n' }),
    });
  });
  after(() => server.drain(0));

  it('is alive before it is ready, and says what is missing', async () => {
    expect((await fetch(`${server.url}/livez`)).status).to.equal(200);
    const notReady = await fetch(`${server.url}/readyz`);
    expect([notReady.status, await notReady.text()]).to.deep.equal([503, 'roles are not loaded\n']);
    obstacles.length = 0;
    expect((await fetch(`${server.url}/readyz?verbose`)).status).to.equal(200);
  });

  it('serves metrics, and nothing else', async () => {
    expect(await (await fetch(`${server.url}/metrics`)).text()).to.equal('up 1\n');
    expect((await fetch(`${server.url}/`)).status).to.equal(404);
    expect((await fetch(`${server.url}/livez`, { method: 'POST' })).status).to.equal(405);
  });
});
