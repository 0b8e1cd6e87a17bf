// Traces of a real broker process, sent to a real receiver (OTLP over HTTP, JSON): which spans there are, whose children
// they are, what they hold; and that nothing of it is loaded where nobody asks.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { generateSigningKey } from '../../broker/tokens/keys.ts';
import { isTracingAsked, NO_TRACING, traceCalls } from '../../common/tracing.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';
import { ROLES, toForm } from './harness.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const CLI = path.join(ROOT, 'cli/main.ts');

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}
interface OtlpSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly kind: number;
  readonly status: { readonly code?: number };
  readonly attributes: readonly Attribute[];
}
interface Batch {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

/** Keeps what it is sent; answers as a collector does. */
async function startReceiver() {
  const bodies: string[] = [];
  const paths: string[] = [];
  const server: Server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      bodies.push(text);
      paths.push(request.url ?? '');
      response.writeHead(200, { 'Content-Type': 'application/json' }).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const batches = () => bodies.map((body) => JSON.parse(body) as Batch);
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    paths,
    spans: () =>
      batches().flatMap(({ resourceSpans }) =>
        resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
      ),
    resource: () => toObject(batches()[0]?.resourceSpans[0]?.resource.attributes ?? []),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

const toObject = (attributes: readonly Attribute[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));

describe('traces', function () {
  this.timeout(30_000);
  let folder: string;
  let issuer: FakeIssuer;
  let receiver: Awaited<ReturnType<typeof startReceiver>>;
  const children: ChildProcess[] = [];
  const at = (name: string) => path.join(folder, name);

  before(async () => {
    issuer = await startIssuer();
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-traces-'));
    mkdirSync(at('keys'));
    const key = generateSigningKey().privateKey.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(at('keys/1.pem'), key);
    writeFileSync(at('roles.yaml'), ROLES);
    const clusters = [
      { name: 'local', kind: 'kubernetes', issuer: issuer.issuer, keys: { url: issuer.jwksUrl } },
    ];
    writeFileSync(at('clusters.yaml'), JSON.stringify({ clusters }));
  });
  beforeEach(async () => {
    receiver = await startReceiver();
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await receiver.close();
  });
  after(async () => {
    await issuer.close();
    rmSync(folder, { recursive: true });
  });

  /** A broker process; resolves once it listens. */
  async function start(environment: Readonly<Record<string, string>>, program = CLI) {
    const flags = {
      issuer: 'https://broker.example',
      'clusters-file': at('clusters.yaml'),
      'signing-keys-dir': at('keys'),
      listen: '127.0.0.1:0',
      'operations-listen': '127.0.0.1:0',
    };
    const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn(process.execPath, [program, 'broker', ...args, '--insecure-plain-http'], {
      env: {
        PATH: process.env.PATH ?? '',
        COATCHECK_ROLES_PATH: at('roles.yaml'),
        ...environment,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    let output = '';
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        const found = /"url":"([^"]+)"/.exec(output)?.[1];
        if (found !== undefined) resolve(found);
      });
      child.once('exit', () => reject(new Error(output)));
    });
    return {
      url,
      output: () => output,
      stop: async () => {
        child.kill('SIGTERM');
        const code = await exited;
        keep('traced broker', output);
        keep('spans', receiver.bodies.join('\n'));
        return code;
      },
    };
  }

  const exchange = async (url: string, token: string, headers: Record<string, string> = {}) => {
    const body = toForm({ subject_token: token });
    const response = await fetch(`${url}/oauth2/token`, { method: 'POST', body, headers });
    const answer = (await response.json()) as { access_token?: string };
    if (answer.access_token !== undefined) noteToken(answer.access_token);
    return { id: response.headers.get('x-request-id'), status: response.status };
  };
  const PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

  it('have a span for each request and its steps, below the caller’s, without a token', async () => {
    const broker = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test%20one',
    });
    const token = issuer.token();
    const allowed = await exchange(broker.url, token, { traceparent: PARENT });
    const refused = await exchange(broker.url, issuer.token({ namespace: 'other' }));
    const nowhere = await fetch(`${broker.url}/${token}`);
    expect([allowed.status, refused.status, nowhere.status]).to.deep.equal([200, 400, 404]);
    expect(await broker.stop()).to.equal(0);
    expect(new Set(receiver.paths)).to.deep.equal(new Set(['/v1/traces']));
    expect(receiver.resource()).to.include({
      'service.name': 'coatcheck-broker',
      'deployment.environment.name': 'test one',
    });
    expect(receiver.resource()).to.not.have.any.keys('process.command_args', 'process.owner');
    const spans = receiver.spans();
    const servers = spans.filter(({ kind }) => kind === 2);
    expect(servers.map(({ name }) => name)).to.deep.equal([
      'POST /oauth2/token',
      'POST /oauth2/token',
      'GET other',
    ]);
    const [first, second] = servers;
    expect(first).to.include({
      traceId: '0af7651916cd43dd8448eb211c80319c',
      parentSpanId: 'b7ad6b7169203331',
    });
    expect(toObject(first?.attributes ?? [])).to.deep.equal({
      'http.request.method': 'POST',
      'http.route': '/oauth2/token',
      'http.response.status_code': 200,
      'coatcheck.correlation_id': allowed.id,
    });
    const steps = (server: OtlpSpan | undefined) =>
      spans.filter(({ parentSpanId }) => parentSpanId === server?.spanId).map(({ name }) => name);
    expect(steps(first)).to.deep.equal(['validate', 'sign']);
    expect(steps(second)).to.deep.equal(['validate']);
    expect(second?.parentSpanId ?? '').to.equal('');
    const text = receiver.bodies.join('');
    expect(text).to.not.contain(token.slice(0, 40));
    expect(text).to.not.contain('eyJ');
  });

  it('say by its reason what failed in a step, and keep its words', async () => {
    const broker = await start({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces`,
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
      OTEL_SERVICE_NAME: 'door',
    });
    await exchange(broker.url, issuer.token({ issuer: 'https://elsewhere.example' }));
    await broker.stop();
    expect(receiver.resource()['service.name']).to.equal('door');
    const validate = receiver.spans().find(({ name }) => name === 'validate');
    expect(validate?.status.code).to.equal(2);
    expect(toObject(validate?.attributes ?? [])).to.deep.equal({ 'error.type': 'token_issuer' });
    expect(receiver.bodies.join('')).to.not.contain('elsewhere');
  });

  it('have the calls of the store below the request that makes them', async () => {
    const role = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: kept }
spec: { audience: kept, subjects: [{ namespace: shop, serviceAccount: checkout }], token: { type: opaque } }
`;
    writeFileSync(at('kept.yaml'), role);
    const broker = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      COATCHECK_STORE: `sqlite:${at('store.db')}`,
      COATCHECK_ROLES_PATH: at('kept.yaml'),
    });
    const { status } = await exchange(broker.url, issuer.token({ audiences: ['kept'] }));
    expect(status, broker.output()).to.equal(200);
    await broker.stop();
    const spans = receiver.spans();
    const insert = spans.find(({ name }) => name === 'store.tokens insert');
    const parent = spans.find(({ spanId }) => spanId === insert?.parentSpanId);
    expect(parent?.name).to.equal('POST /oauth2/token');
    expect(receiver.bodies.join('')).to.not.contain('cc_');
  });

  it('are in what ships, away from the checkout', async () => {
    const args = [path.join(ROOT, 'scripts/build.ts'), 'server'];
    execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
    cpSync(path.join(ROOT, 'dist/server'), at('server'), { recursive: true });
    const broker = await start(
      { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' },
      at('server/coatcheck.mjs'),
    );
    await exchange(broker.url, issuer.token());
    expect(await broker.stop(), broker.output()).to.equal(0);
    expect(receiver.spans().map(({ name }) => name)).to.have.members([
      'validate',
      'sign',
      'POST /oauth2/token',
    ]);
  });

  it('do not keep a broker from ending while nobody takes them', async () => {
    const broker = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:9',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    });
    await exchange(broker.url, issuer.token());
    const before = Date.now();
    expect(await broker.stop()).to.equal(0);
    expect(Date.now() - before).to.be.lessThan(8000);
  });

  for (const [name, environment] of [
    ['nothing is asked', {}],
    ['they are disabled', { OTEL_SDK_DISABLED: 'true' }],
    ['the exporter is none', { OTEL_TRACES_EXPORTER: 'none' }],
  ] as const) {
    it(`are not sent where ${name}`, async () => {
      const endpoint =
        name === 'nothing is asked' ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url };
      const broker = await start({ ...endpoint, ...environment });
      expect((await exchange(broker.url, issuer.token())).status).to.equal(200);
      await broker.stop();
      expect(receiver.paths).to.deep.equal([]);
    });
  }

  const asked: readonly (readonly [Record<string, string>, boolean])[] = [
    [{}, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c' }, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://c' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, true],
    [{ OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c' }, false],
    [{ OTEL_SDK_DISABLED: 'TRUE', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c' }, false],
    [{ OTEL_SDK_DISABLED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c' }, true],
    [{ OTEL_SERVICE_NAME: 'x' }, false],
  ];
  for (const [environment, isAsked] of asked) {
    it(`are ${isAsked ? '' : 'not '}asked for by ${JSON.stringify(environment)}`, () => {
      expect(isTracingAsked(environment)).to.equal(isAsked);
    });
  }

  it('cost a call where they are off', () => {
    const target = { add: (a: number) => a + 1 };
    expect(traceCalls(NO_TRACING, 'x', target)).to.equal(target);
    expect(NO_TRACING.step('x', () => 7)).to.equal(7);
  });
});
