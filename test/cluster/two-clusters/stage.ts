// One broker with a store, beside two API servers with the same issuer: `a` is its own cluster, whose keys it reads; `b` it
// never reaches, and knows by what its API is told.
import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import path from 'node:path';
import { keep, noteToken } from '../../support/tokens.ts';
import { openCluster } from '../harness/cluster.ts';
import { createServingFiles } from '../harness/pki.ts';
import { findFreePorts } from '../harness/ports.ts';
import { type Product, startProduct, toProductEnvironment } from '../harness/product.ts';
import { openSecondCluster } from '../harness/second.ts';
import { CONTROLLER, createMember, type Member, type Names } from './member.ts';

export interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Sending {
  readonly method: string;
  readonly path: string;
  /** An object as JSON, parameters as a form. */
  readonly body?: object | URLSearchParams;
  readonly bearer?: string;
}

export interface TwoClusters {
  readonly a: Member;
  readonly b: Member;
  readonly names: Names;
  send(sending: Sending): Promise<Answer>;
  /** As the administrator. */
  admin(method: string, path: string, body?: object): Promise<Answer>;
  exchange(subjectToken: string, audience: string): Promise<Answer>;
  /** What it tells the receiver of both audiences about a client token. */
  isActive(token: string): Promise<boolean>;
  /** The entry of `b` with the keys it has now. */
  registerB(): Promise<Answer>;
  /** The same as a person does it, by the commands of docs/clusters.md. @throws Error with the command's words */
  registerBByCommand(): Promise<void>;
  /** The controller of `a` is told the address, that of `b` the URL and nothing else. */
  startController(member: Member, flags?: Readonly<Record<string, string>>): Promise<void>;
  restartBroker(): Promise<void>;
  clear(): Promise<void>;
}

/** For everybody's ServiceAccounts `checkout`, and each for one cluster. */
const AUDIENCES = { payments: 'a', ledger: 'b' } as const;

export async function setTwoClusters(): Promise<TwoClusters> {
  const first = openCluster();
  const second = await openSecondCluster(first);
  const id = randomBytes(4).toString('hex');
  const folder = path.join(first.facts.workFolder, `two-clusters-${id}`);
  const at = (file: string) => path.join(folder, file);
  for (const one of ['', 'tls', 'keys', 'roles']) mkdirSync(at(one));
  const names = { namespace: `coatcheck-test-shop-${id}`, home: `coatcheck-test-home-${id}` };
  const a = await createMember(first, { name: 'a', names, folder: at('a') });
  const b = await createMember(second, { name: 'b', names, folder: at('b') });
  const { body: discovery } = await first.request('GET', '/.well-known/openid-configuration');
  const issuer = String(discovery.issuer);
  const controller = { namespace: names.home, serviceAccount: CONTROLLER };

  const [port = 0] = await findFreePorts(1);
  const url = `https://localhost:${port}`;
  const tls = createServingFiles(at('tls'), ['localhost'], Date.now());
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const write = (file: string, text: string) => writeFileSync(at(file), text, { mode: 0o600 });
  write('keys/1.pem', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  for (const [audience, cluster] of Object.entries(AUDIENCES))
    write(`roles/${audience}.yaml`, JSON.stringify(toRole({ audience, cluster, names })));
  const receiver = { identity: `k8s:a:${names.home}:receiver`, audiences: Object.keys(AUDIENCES) };
  write('receivers.yaml', JSON.stringify({ receivers: [receiver] }));
  const root = noteToken(randomBytes(32).toString('hex'));
  write('bootstrap.token', root);
  const apiServer = {
    url: first.facts.server,
    caFile: first.facts.caFile,
    tokenFile: at('a/api.token'),
  };
  const own = { name: 'a', own: true, kind: 'kubernetes', issuer, keys: { apiServer }, controller };
  write('clusters.yaml', JSON.stringify({ clusters: [own] }));
  const start = () =>
    startProduct('broker', {
      issuer: url,
      listen: `127.0.0.1:${port}`,
      'tls-cert-file': tls.certificateFile,
      'tls-key-file': tls.keyFile,
      'clusters-file': at('clusters.yaml'),
      'roles-path': at('roles'),
      'receivers-file': at('receivers.yaml'),
      'signing-keys-dir': at('keys'),
      'bootstrap-token-file': at('bootstrap.token'),
      store: `sqlite:${at('store.db')}`,
    });
  let broker: Product = await start();
  const receiverToken = await a.requestControl('receiver');
  const toEntryOfB = () => ({ kind: 'kubernetes', issuer, controller });
  const send = (sending: Sending) => sendTo({ port, ca: tls.ca, ...sending });
  const admin: TwoClusters['admin'] = (method, where, body) =>
    send({ method, path: `/api/v1${where}`, bearer: root, ...(body && { body }) });
  return {
    ...{ a, b, names, send, admin },
    exchange: async (subjectToken, audience) => {
      const answer = await send({
        method: 'POST',
        path: '/oauth2/token',
        body: new URLSearchParams({
          grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
          subject_token: subjectToken,
          subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
          audience,
        }),
      });
      if (answer.status === 200) noteToken(String(answer.body.access_token));
      return answer;
    },
    isActive: async (token) => {
      const body = new URLSearchParams({ token });
      const asked = { method: 'POST', path: '/oauth2/introspect', body, bearer: receiverToken };
      const answer = await send(asked);
      if (answer.status !== 200) throw new Error(`introspection: ${answer.status}`);
      return answer.body.active === true;
    },
    registerB: async () => {
      const jwks = await b.readKeys();
      return admin('PUT', '/clusters/b', { ...toEntryOfB(), keys: { pushed: { jwks } } });
    },
    registerBByCommand: async () => {
      const { stdout } = await b.cluster.kubectl(['get', '--raw', '/openid/v1/jwks']);
      write('b.jwks', stdout);
      write('b.yaml', JSON.stringify({ name: 'b', ...toEntryOfB() }));
      const files = ['-f', at('b.yaml'), '--jwks-file', at('b.jwks')];
      const to = ['--server', url, '--token-file', at('bootstrap.token'), '--ca-file', tls.caFile];
      const { code, stderr } = await runCommand(['cluster', 'apply', ...files, ...to]);
      if (code !== 0) throw new Error(`coatcheck cluster apply: ${stderr}`);
    },
    startController: (member, flags = {}) =>
      member.startController({
        'broker-url': url,
        'broker-ca-file': tls.caFile,
        ...(member === a && { 'brokers-service': `127.0.0.1:${port}` }),
        ...flags,
      }),
    restartBroker: async () => {
      await broker.stop();
      broker = await start();
    },
    clear: async () => {
      await Promise.all([a.stopController(), b.stopController()]);
      await broker.stop();
    },
  };
}

function toRole({
  audience,
  cluster,
  names: { namespace },
}: {
  audience: string;
  cluster: string;
  names: Names;
}): object {
  return {
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name: audience },
    spec: {
      audience,
      subjects: [{ cluster, namespace, serviceAccount: 'checkout' }],
      token: { ttl: '10m' },
    },
  };
}

const CLI = path.join(import.meta.dirname, '../../../cli/main.ts');

function runCommand(args: readonly string[]): Promise<{ code: number; stderr: string }> {
  const env = toProductEnvironment(process.env);
  return new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { env }, (error, stdout, stderr) => {
      keep('two-clusters-command.txt', stdout + stderr);
      resolve({ code: error ? 1 : 0, stderr });
    });
  });
}

/** One HTTPS request to the broker, its name verified. */
function sendTo({
  port,
  ca,
  method,
  path: where,
  body,
  bearer,
}: Sending & { port: number; ca: string }): Promise<Answer> {
  const isForm = body instanceof URLSearchParams;
  const text = body && (isForm ? body.toString() : JSON.stringify(body));
  const type = isForm ? 'application/x-www-form-urlencoded' : 'application/json';
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        ...{ host: '127.0.0.1', port, path: where, method, ca, agent: false },
        servername: 'localhost',
        headers: {
          ...(text !== undefined && { 'Content-Type': type }),
          ...(bearer !== undefined && { Authorization: `Bearer ${bearer}` }),
        },
      },
      (answer) => {
        let said = '';
        answer.on('data', (chunk: Buffer) => {
          said += chunk.toString();
        });
        answer.once('error', reject);
        answer.once('end', () => {
          const { statusCode: status = 0 } = answer;
          if (status >= 300) keep('two-clusters-answer.json', said);
          resolve({ status, body: said === '' ? {} : (JSON.parse(said) as Answer['body']) });
        });
      },
    );
    sent.once('error', reject);
    sent.end(text);
  });
}
