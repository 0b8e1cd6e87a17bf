// An API server as far as certificates go: one Secret with versions, and one registration that is applied to by fields with
// owners. Plain HTTP on loopback.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { noteToken } from '../../support/tokens.ts';

export interface SecretObject {
  metadata: {
    name: string;
    uid: string;
    resourceVersion: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  };
  data?: Record<string, string>;
  [field: string]: unknown;
}

export interface CertificateApi {
  readonly url: string;
  readonly tokenFile: string;
  readonly folder: string;
  secret: SecretObject | undefined;
  /** Base64 as it stands in the registration, and who owns it. */
  caBundle: { value: string; owner: string } | undefined;
  /** Without the registration. */
  hasRegistration: boolean;
  readonly requests: string[];
  readonly applied: { query: string; type: string | undefined; body: object }[];
  /** Before a request is served; a status is answered instead. */
  before: ((request: string) => number | undefined) | undefined;
  /** Its time of day, as each answer says it; undefined: no answer says one. */
  time: (() => number) | undefined;
  /** As another writer would: with a version of its own. */
  edit(change: (secret: SecretObject) => void): void;
  text(key: string): string;
  close(): Promise<void>;
}

const SECRET = '/api/v1/namespaces/auth/secrets/c-certificates';
const REGISTRATION =
  '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/c-webhook';

export async function startCertificateApi(): Promise<CertificateApi> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-certificates-'));
  const tokenFile = path.join(folder, 'token');
  writeFileSync(tokenFile, noteToken('api-server-token-of-the-keeper'));
  let version = 10;
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const api: CertificateApi = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokenFile,
    folder,
    secret: {
      metadata: {
        name: 'c-certificates',
        uid: 'uid-of-the-secret',
        resourceVersion: '10',
        labels: { app: 'c' },
        annotations: { 'helm.sh/resource-policy': 'keep' },
      },
      type: 'Opaque',
    },
    caBundle: undefined,
    hasRegistration: true,
    requests: [],
    applied: [],
    before: undefined,
    time: undefined,
    edit: (change) => {
      if (!api.secret) throw new Error('there is no Secret');
      change(api.secret);
      version += 1;
      api.secret.metadata.resourceVersion = String(version);
    },
    text: (key) => Buffer.from(api.secret?.data?.[key] ?? '', 'base64').toString(),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const { method = '' } = request;
    const { pathname, search } = new URL(request.url ?? '', 'http://x');
    api.requests.push(`${method} ${pathname}`);
    const body = (text === '' ? {} : JSON.parse(text)) as SecretObject;
    const instead = api.before?.(`${method} ${pathname}`);
    const [status, answer] =
      instead === undefined ? act({ method, pathname, search, body, request }) : [instead, {}];
    response.sendDate = false;
    if (api.time) response.setHeader('Date', new Date(api.time()).toUTCString());
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(answer));
  }

  function act(around: {
    method: string;
    pathname: string;
    search: string;
    body: SecretObject;
    request: IncomingMessage;
  }): [number, unknown] {
    const { method, pathname, search, body, request } = around;
    if (pathname === REGISTRATION && method === 'PATCH') {
      api.applied.push({ query: search, type: request.headers['content-type'], body });
      return apply(body);
    }
    if (pathname !== SECRET || !api.secret) return [404, {}];
    if (method === 'GET') return [200, api.secret];
    if (method !== 'PUT') return [405, {}];
    if (body.metadata.resourceVersion !== api.secret.metadata.resourceVersion) return [409, {}];
    version += 1;
    api.secret = { ...body, metadata: { ...body.metadata, resourceVersion: String(version) } };
    return [200, api.secret];
  }

  function apply(body: object): [number, unknown] {
    // It would have to be made, which is another right.
    if (!api.hasRegistration) return [403, {}];
    const [webhook] = (body as { webhooks: { clientConfig: { caBundle: string } }[] }).webhooks;
    const value = webhook?.clientConfig.caBundle ?? '';
    const owner = api.caBundle?.owner ?? 'coatcheck-controller';
    if (owner !== 'coatcheck-controller' && value !== api.caBundle?.value) {
      const message = `conflict with "${owner}" using admissionregistration.k8s.io/v1: .webhooks`;
      return [409, { kind: 'Status', details: { causes: [{ message }] } }];
    }
    api.caBundle = { value, owner };
    return [200, body];
  }
  return api;
}
