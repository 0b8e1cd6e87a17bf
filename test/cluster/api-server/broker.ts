// The broker of this suite: a process that believes the cluster under test, by that API server's own public keys, and
// reads roles from a folder.
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import path from 'node:path';
import type { Cluster } from '../harness/cluster.ts';
import type { TestNamespace } from '../harness/namespace.ts';
import { createServingFiles } from '../harness/pki.ts';
import { findFreePorts } from '../harness/ports.ts';
import { type Product, startProduct } from '../harness/product.ts';
import { requestToken } from '../harness/service-account-token.ts';

const NAME = 'coatcheck-broker.coatcheck.svc';
/** The broker's ServiceAccount, in its namespace. */
export const BROKER_ACCOUNT = 'coatcheck-broker';

export interface Broker {
  readonly process: Product;
  /** What it was started with, for another process in its place. */
  readonly flags: Readonly<Record<string, string>>;
  /** Its URL and issuer; the name in it exists nowhere. */
  readonly url: string;
  /** Where it really is: what pods dial when the name cannot be resolved. */
  readonly address: string;
  readonly caFile: string;
  /** Writes or replaces a file of roles; the broker takes it in its own time. */
  writeRoles(name: string, roles: readonly object[]): void;
  /** Replaces its own credential for the API server, as the kubelet does in a pod. */
  writeCredential(text: string): void;
  /** A new credential of its ServiceAccount. */
  requestCredential(): Promise<string>;
  /** One HTTPS request to it, its name verified. */
  send(path: string, form?: Readonly<Record<string, string>>): Promise<BrokerAnswer>;
}

export interface BrokerAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
  readonly text: string;
}

export interface BrokerOptions {
  cluster: Cluster;
  /** Where the broker's own ServiceAccount is made. */
  namespace: TestNamespace;
  /** An existing folder for its files. */
  folder: string;
  roles: readonly object[];
  /** Over the fields of its entry in the clusters table, where the API server is; `undefined` takes one away. */
  entry?: (apiServer: ApiServerFields) => object;
  /** Further settings of the process, by the names of their flags. */
  flags?: (apiServer: ApiServerFields) => Readonly<Record<string, string>>;
}

export interface ApiServerFields {
  readonly url: string;
  readonly caFile: string;
  readonly tokenFile: string;
}

/** Starts the broker; resolves when it has the cluster's keys and the roles. */
export async function startBroker({
  cluster,
  namespace,
  folder,
  roles,
  entry = () => ({}),
  flags: more = () => ({}),
}: BrokerOptions): Promise<Broker> {
  const at = (name: string) => path.join(folder, name);
  const [port = 0] = await findFreePorts(1);
  const url = `https://${NAME}:${port}`;
  for (const name of ['broker-tls', 'roles', 'keys']) mkdirSync(at(name));
  const tls = createServingFiles(at('broker-tls'), [NAME], Date.now());
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  writeFileSync(at('keys/1.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }), {
    mode: 0o600,
  });
  const writeRoles = (name: string, documents: readonly object[]) =>
    writeFileSync(
      at(`roles/${name}.yaml`),
      documents.map((role) => JSON.stringify(role)).join('\n---\n'),
    );
  writeRoles('roles', roles);
  await namespace.addServiceAccount(BROKER_ACCOUNT);
  // Any ServiceAccount may read the issuer's keys (system:service-account-issuer-discovery): no rights are granted here.
  const requestCredential = () =>
    requestToken(cluster, {
      namespace: namespace.name,
      serviceAccount: BROKER_ACCOUNT,
      expirationSeconds: 3600,
    });
  const writeCredential = (text: string) => writeFileSync(at('broker.token'), text);
  writeCredential(await requestCredential());
  const clusters = await toClusters(cluster, { tokenFile: at('broker.token'), entry });
  writeFileSync(at('clusters.yaml'), JSON.stringify(clusters));
  const { server, caFile: serverCaFile } = cluster.facts;
  const flags = {
    issuer: url,
    listen: `127.0.0.1:${port}`,
    'tls-cert-file': tls.certificateFile,
    'tls-key-file': tls.keyFile,
    'clusters-file': at('clusters.yaml'),
    'roles-path': at('roles'),
    'signing-keys-dir': at('keys'),
    ...more({ url: server, caFile: serverCaFile, tokenFile: at('broker.token') }),
  };
  const process = await startProduct('broker', flags);
  return {
    process,
    flags,
    url,
    address: `127.0.0.1:${port}`,
    caFile: tls.caFile,
    writeRoles,
    writeCredential,
    requestCredential,
    send: (path, form) => send({ port, ca: tls.ca, path, form }),
  };
}

async function toClusters(
  cluster: Cluster,
  { tokenFile, entry }: { tokenFile: string; entry: NonNullable<BrokerOptions['entry']> },
): Promise<object> {
  const { body } = await cluster.request('GET', '/.well-known/openid-configuration');
  const { server, caFile } = cluster.facts;
  const apiServer = { url: server, caFile, tokenFile };
  return {
    clusters: [
      {
        name: 'under-test',
        kind: 'kubernetes',
        issuer: body.issuer,
        validation: 'offline',
        keys: { apiServer },
        ...entry(apiServer),
      },
    ],
  };
}

interface Sending {
  port: number;
  ca: string;
  path: string;
  form: Readonly<Record<string, string>> | undefined;
}

function send({ port, ca, path, form }: Sending): Promise<BrokerAnswer> {
  const body = form && new URLSearchParams(form).toString();
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        path,
        ca,
        servername: NAME,
        agent: false,
        method: body === undefined ? 'GET' : 'POST',
        headers: body === undefined ? {} : { 'Content-Type': 'application/x-www-form-urlencoded' },
      },
      (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        answer.once('error', reject);
        answer.once('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            body: JSON.parse(text) as BrokerAnswer['body'],
            text,
          }),
        );
      },
    );
    sent.once('error', reject);
    sent.end(body);
  });
}
