// The HTTP face: metadata, methods, paths, cross-origin rules, correlation ids. Nothing here depends on a token.
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { expect } from 'chai';
import { fixedKeys, generateSigningKey } from '../../broker/tokens/keys.ts';
import { keep } from '../support/tokens.ts';
import { startTestBroker, type TestBroker } from './harness.ts';

const METADATA = [
  '/oauth2/jwks',
  '/.well-known/oauth-authorization-server',
  '/.well-known/openid-configuration',
];

describe('broker server', () => {
  let broker: TestBroker;
  before(async () => {
    const keys = fixedKeys(
      generateSigningKey('ES256'),
      generateSigningKey('RS256'),
      generateSigningKey('EdDSA'),
      generateSigningKey('ES256'),
    );
    broker = await startTestBroker('server', { keys });
  });
  after(() => broker.stop());

  for (const path of METADATA) {
    it(`serves ${path} to every origin, cacheable, to GET and HEAD`, async () => {
      for (const method of ['GET', 'HEAD']) {
        const { status, headers } = await broker.request(path, {
          method,
          headers: { Origin: 'https://any.example' },
        });
        expect(status).to.equal(200);
        expect(headers.get('access-control-allow-origin')).to.equal('*');
        expect(headers.get('access-control-allow-credentials')).to.equal(null);
        expect(headers.get('cache-control')).to.equal('public, max-age=300');
        expect(headers.get('content-type')).to.match(/^application\/(jwk-set\+)?json$/);
      }
    });

    it(`answers a preflight for ${path}`, async () => {
      const { status, headers } = await broker.request(path, { method: 'OPTIONS' });
      expect(status).to.equal(204);
      expect(headers.get('access-control-allow-methods')).to.equal('GET, HEAD');
    });

    it(`refuses to POST to ${path}`, async () => {
      const { status, headers, body } = await broker.request(path, { method: 'POST' });
      expect(status).to.equal(405);
      expect(headers.get('allow')).to.equal('GET, HEAD, OPTIONS');
      expect(body).to.deep.include({ error: 'method_not_allowed', reason: 'method_not_allowed' });
    });
  }

  it('states in discovery exactly the algorithms of the JWKS', async () => {
    const { body: jwks } = await broker.request('/oauth2/jwks');
    const { body: discovery } = await broker.request('/.well-known/openid-configuration');
    const algorithms = new Set((jwks.keys as { alg: string }[]).map(({ alg }) => alg));
    expect(discovery.id_token_signing_alg_values_supported).to.have.members([...algorithms]);
    expect([...algorithms]).to.have.members(['ES256', 'RS256', 'EdDSA']);
  });

  it('publishes public members only', async () => {
    const { body } = await broker.request('/oauth2/jwks');
    for (const jwk of body.keys as object[])
      expect(jwk).not.to.have.any.keys('d', 'p', 'q', 'dp', 'dq', 'qi', 'k');
    expect(body.keys).to.have.length(4);
  });

  it('builds metadata from the issuer, whatever Host says', async () => {
    const text = await new Promise<string>((resolve, reject) => {
      const url = new URL('/.well-known/openid-configuration', broker.url);
      httpRequest(
        url,
        { headers: { Host: 'evil.example', 'X-Forwarded-Host': 'evil.example' } },
        (response) => {
          let all = '';
          response.on('data', (chunk: Buffer) => {
            all += chunk.toString();
          });
          response.on('end', () => resolve(all));
        },
      )
        .on('error', reject)
        .end();
    });
    expect(text).not.to.contain('evil');
    expect(JSON.parse(text)).to.deep.include({
      issuer: broker.url,
      jwks_uri: `${broker.url}/oauth2/jwks`,
      token_endpoint: `${broker.url}/oauth2/token`,
    });
  });

  for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS']) {
    it(`refuses ${method} on the token endpoint, without a word of CORS`, async () => {
      const { status, headers, body } = await broker.request('/oauth2/token', {
        method,
        headers: { Origin: 'https://any.example' },
      });
      expect(status).to.equal(405);
      expect(headers.get('allow')).to.equal('POST');
      expect(headers.get('access-control-allow-origin')).to.equal(null);
      expect(body.reason).to.equal('method_not_allowed');
    });
  }

  for (const path of [
    '/',
    '/oauth2',
    '/oauth2/token/',
    '/OAUTH2/TOKEN',
    '/%zz',
    '/oauth2/token%2f',
    '/v1/sys/health',
    '/metrics',
    '/readyz',
  ]) {
    it(`answers ${path} with a typed 404`, async () => {
      const { status, body, headers } = await broker.request(path, { method: 'POST' });
      expect(status).to.equal(404);
      expect(body).to.deep.include({ error: 'not_found', reason: 'not_found' });
      expect(headers.get('x-request-id')).to.equal(body.correlation_id);
    });
  }

  it("gives every answer a correlation id of its own, never the caller's", async () => {
    const headers = { 'X-Request-Id': 'chosen by the caller' };
    const ids = await Promise.all(
      [1, 2].map(async () =>
        (await broker.request('/nothing', { headers })).headers.get('x-request-id'),
      ),
    );
    expect(new Set(ids).size).to.equal(2);
    expect(ids).not.to.include('chosen by the caller');
  });

  it('logs what the caller sent as X-Request-Id, cleaned and shortened', async () => {
    const given = `a"b${'x'.repeat(100)}`;
    const answer = await broker.exchange({ subject_token: 'nonsense' }, { 'X-Request-Id': given });
    const line = broker.log.findLast(
      ({ correlationId }) => correlationId === answer.body.correlation_id,
    );
    expect(line?.callerRequestId).to.equal(`a?b${'x'.repeat(61)}`);
    expect(line?.reason).to.equal('token_malformed');
  });

  it('keeps the connection after a refusal that read the whole body', async () => {
    const { headers } = await broker.exchange({ subject_token: 'nonsense' });
    expect(headers.get('connection')).to.equal('keep-alive');
  });

  it('keeps the connection after a refusal of a request that has no body', async () => {
    for (const path of ['/nothing', '/oauth2/token'])
      expect((await broker.request(path)).headers.get('connection'), path).to.equal('keep-alive');
  });

  it('closes the connection where a body was not read: it would be the next request', async () => {
    const stowaway = 'GET /oauth2/jwks HTTP/1.1\r\nHost: x\r\n\r\n';
    const answer = await sendRaw(
      `POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: ${stowaway.length + 1}\r\n\r\n${stowaway}`,
    );
    expect(answer.match(/^HTTP\/1\.1 .*$/gm)).to.deep.equal(['HTTP/1.1 404 Not Found']);
    expect(answer).to.contain('\r\nConnection: close\r\n');
  });

  const targets: readonly { target: string; status: string }[] = [
    { target: 'http://elsewhere.example/oauth2/jwks', status: '200 OK' },
    { target: 'http://user@[::1/oauth2/jwks', status: '200 OK' },
    { target: 'http://[', status: '404 Not Found' },
    { target: 'http://[::1/nothing', status: '404 Not Found' },
    { target: 'http://elsewhere.example?/oauth2/jwks', status: '404 Not Found' },
    { target: 'https://elsewhere.example//oauth2/jwks', status: '404 Not Found' },
    { target: '//oauth2/jwks', status: '404 Not Found' },
    { target: '*', status: '404 Not Found' },
  ];
  for (const { target, status } of targets) {
    it(`answers the target ${target} by its path alone: ${status}`, async () => {
      const method = target === '*' ? 'OPTIONS' : 'GET';
      const answer = await sendRaw(
        `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
      );
      expect(answer.split('\r\n')[0]).to.equal(`HTTP/1.1 ${status}`);
    });
  }

  const ambiguous: readonly { name: string; headers: string }[] = [
    {
      name: 'both Content-Length and Transfer-Encoding',
      headers: 'Content-Length: 5\r\nTransfer-Encoding: chunked',
    },
    { name: 'two lengths', headers: 'Content-Length: 5\r\nContent-Length: 6' },
    { name: 'a blank before the colon', headers: 'Transfer-Encoding : chunked' },
    { name: 'an unknown coding last', headers: 'Transfer-Encoding: chunked, gzip' },
  ];
  for (const { name, headers } of ambiguous) {
    it(`refuses a request with ${name}, and ends the connection`, async () => {
      const answer = await sendRaw(
        `POST /oauth2/token HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n0\r\n\r\nGET /oauth2/jwks HTTP/1.1\r\nHost: x\r\n\r\n`,
      );
      expect(answer.match(/^HTTP\/1\.1 .*$/gm)).to.deep.equal(['HTTP/1.1 400 Bad Request']);
    });
  }

  for (const { name, head, chunks, answered } of [
    {
      name: 'in many chunks',
      head: 'Transfer-Encoding: chunked',
      chunks: 12,
      answered: 'grant_unsupported',
    },
    {
      name: 'of more than 64 KiB',
      head: `Content-Length: ${70 * 1024}`,
      chunks: 0,
      answered: 'body_invalid',
    },
  ]) {
    it(`reads a body ${name} to its end and answers ${answered}`, async () => {
      const body = chunks > 0 ? toChunks('grant_type=x', chunks) : 'a'.repeat(70 * 1024);
      const answer = await sendRaw(
        `POST /oauth2/token HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n${head}\r\n\r\n${body}`,
      );
      expect(answer).to.contain(`"reason":"${answered}"`);
    });
  }

  it('cuts a body that does not end', async () => {
    const { hostname, port } = new URL(broker.url);
    const socket = connect(Number(port), hostname);
    socket.on('error', () => undefined);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.write('POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n');
    const megabyte = Buffer.alloc(1024 * 1024, 'a');
    for (let sent = 0; sent < 12 && !socket.destroyed; sent++)
      await new Promise<void>((resolve) => socket.write(megabyte, () => resolve()));
    await closed;
    expect(broker.audit.at(-1)).to.include({ outcome: 'deny', reason: 'body_invalid' });
  });

  function toChunks(text: string, count: number): string {
    const size = Math.ceil(text.length / count);
    const parts = Array.from({ length: count }, (_, i) => text.slice(i * size, (i + 1) * size));
    return `${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`;
  }

  it('does not count a caller that went away as served', async () => {
    const { hostname, port } = new URL(broker.url);
    const socket = connect(Number(port), hostname);
    socket.write(
      'POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\ngrant_type=x',
    );
    const refusals = () => broker.audit.filter(({ reason }) => reason === 'body_invalid').length;
    const before = refusals();
    while (refusals() === before) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      socket.destroy();
    }
    const metrics = await (await fetch(`${broker.running.operationsUrl}/metrics`)).text();
    expect(metrics).to.match(
      /request_duration_seconds_count\{route="\/oauth2\/token",status="499"\} 1/,
    );
  });

  /** What comes back on a connection that the server ends. */
  function sendRaw(text: string): Promise<string> {
    const { hostname, port } = new URL(broker.url);
    const socket = connect(Number(port), hostname);
    socket.write(text);
    let answer = '';
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      socket.once('end', () => {
        socket.end();
        keep('broker server raw', answer);
        resolve(answer);
      });
    });
  }

  it('answers on its own port what belongs to operations', async () => {
    const get = async (path: string) => fetch(broker.running.operationsUrl + path);
    expect(await (await get('/livez')).text()).to.equal('ok\n');
    expect((await get('/readyz')).status).to.equal(200);
    const metrics = await (await get('/metrics')).text();
    expect(metrics).to.contain('coatcheck_broker_roles 7');
    expect(metrics).to.contain('coatcheck_broker_signing_keys 4');
    expect(metrics).to.match(
      /coatcheck_broker_decisions_total\{dialect="oauth",outcome="deny",reason="token_malformed"\} \d/,
    );
  });

  it('never makes a label of what a caller wrote', async () => {
    await broker.request('/very/special/path', { method: 'POST' });
    const metrics = await (await fetch(`${broker.running.operationsUrl}/metrics`)).text();
    expect(metrics).not.to.contain('special');
  });
});
