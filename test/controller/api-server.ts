// An API server as far as the controller goes: pods, ServiceAccounts and Leases; lists in pages, watches, field selectors
// of phases, and conflicts of resourceVersion. Plain HTTP on loopback.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { noteToken } from '../support/tokens.ts';

export interface StoredObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
  };
  readonly [field: string]: unknown;
}

export type Plural = 'pods' | 'serviceaccounts' | 'leases';

export interface FakeApiServer {
  readonly url: string;
  readonly tokenFile: string;
  readonly caFile: string;
  /** Method and path with query of every request. */
  readonly requests: string[];
  /** Open watches of the collection. */
  countWatches(plural: Plural): number;
  put(plural: Plural, object: StoredObject): void;
  delete(plural: Plural, key: string): void;
  find(plural: Plural, key: string): StoredObject | undefined;
  /** Watches end, and their version is too old: everybody lists anew. */
  compact(): void;
  /** What it publishes as its keys. */
  jwks: unknown;
  /** Stored Events of events.k8s.io, as they were sent. */
  readonly events: Record<string, unknown>[];
  /** What was evicted: path and body of the requests. */
  readonly evictions: { readonly path: string; readonly body: Record<string, unknown> }[];
  /** Status of the answer to an eviction, and its Retry-After; undefined: the pod goes. */
  onEviction: ((key: string) => { status: number; retryAfter?: number } | undefined) | undefined;
  /** What is answered instead, until cleared; undefined lets a request pass. */
  intercept: ((request: string) => number | 'silence' | undefined) | undefined;
  close(): Promise<void>;
}

interface Watch {
  readonly plural: Plural;
  readonly response: ServerResponse;
}

export async function startApiServer(): Promise<FakeApiServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-controller-'));
  const tokenFile = path.join(folder, 'token');
  writeFileSync(tokenFile, noteToken('api-server-token-of-the-controller'));
  const collections: Record<Plural, Map<string, StoredObject>> = {
    pods: new Map(),
    serviceaccounts: new Map(),
    leases: new Map(),
  };
  const history: { plural: Plural; type: string; object: StoredObject; version: number }[] = [];
  const watches = new Set<Watch>();
  let version = 100;
  let compactedAt = 0;

  function tell(type: 'ADDED' | 'MODIFIED' | 'DELETED', plural: Plural, given: StoredObject) {
    version += 1;
    const metadata = { ...given.metadata, resourceVersion: String(version) };
    const object = { ...given, metadata };
    const key = toKey(object);
    if (type === 'DELETED') collections[plural].delete(key);
    else collections[plural].set(key, object);
    history.push({ plural, type, object, version });
    for (const watch of watches)
      if (watch.plural === plural) watch.response.write(`${JSON.stringify({ type, object })}\n`);
    return object;
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    const { method = '', url = '' } = request;
    fake.requests.push(`${method} ${url}`);
    const answer = (status: number, body: unknown) => {
      response.writeHead(status, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    const instead = fake.intercept?.(`${method} ${url}`);
    if (instead === 'silence') return;
    if (instead !== undefined) return answer(instead, {});
    const { pathname } = new URL(url, 'http://x');
    if (pathname.includes('/apis/events.k8s.io/')) return answer(...answerEvent(text));
    if (pathname.endsWith('/eviction')) return answerEviction(pathname, text, response);
    if (pathname === '/openid/v1/jwks') return answer(...answerKeys(request.headers.accept));
    return serveCollection(request, { url, text, response, answer });
  }

  /** As a real one (1.34): its own type, or 406. */
  function answerKeys(accept = ''): [number, unknown] {
    return accept.includes('application/jwk-set+json') ? [200, fake.jwks] : [406, {}];
  }

  function serveCollection(
    { method = '' }: IncomingMessage,
    around: { url: string; text: string; response: ServerResponse; answer: Answer },
  ): void {
    const { url, text, response, answer } = around;
    const { pathname, searchParams } = new URL(url, 'http://x');
    const plural = (['pods', 'serviceaccounts', 'leases'] as const).find((one) =>
      pathname.split('/').includes(one),
    );
    if (!plural) answer(404, {});
    else if (plural === 'leases') answer(...answerLease(method, pathname, text));
    else if (searchParams.get('watch') === '1')
      watch(plural, response, Number(searchParams.get('resourceVersion')));
    else list(plural, searchParams, answer);
  }

  /** A name can be taken once. */
  function answerEvent(text: string): [number, unknown] {
    const event = JSON.parse(text) as StoredObject;
    const isKnown = fake.events.some((one) => toKey(one as StoredObject) === toKey(event));
    if (isKnown) return [409, {}];
    fake.events.push(event);
    return [201, event];
  }

  /** With the precondition of the uid; a pod goes at once. */
  function answerEviction(pathname: string, text: string, response: ServerResponse): void {
    const [, namespace = '', name = ''] = /namespaces\/([^/]+)\/pods\/([^/]+)/.exec(pathname) ?? [];
    const body = JSON.parse(text) as { deleteOptions?: { preconditions?: { uid?: string } } };
    const key = `${namespace}/${name}`;
    const pod = collections.pods.get(key);
    const isOther = pod?.metadata.uid !== body.deleteOptions?.preconditions?.uid;
    const missing = pod ? 409 : 404;
    const instead = isOther ? { status: missing } : fake.onEviction?.(key);
    fake.evictions.push({ path: pathname, body });
    const retryAfter = instead && 'retryAfter' in instead && String(instead.retryAfter);
    response.writeHead(instead?.status ?? 201, {
      ...(retryAfter && { 'Retry-After': retryAfter }),
    });
    response.end('{}');
    if (pod && !instead) tell('DELETED', 'pods', pod);
  }

  type Answer = (status: number, body: unknown) => void;

  /** Status and body. */
  function answerLease(method: string, pathname: string, text: string): [number, unknown] {
    const body = (text === '' ? {} : JSON.parse(text)) as StoredObject;
    const [, namespace = '', name] = /namespaces\/([^/]+)\/leases(?:\/(.+))?$/.exec(pathname) ?? [];
    const before = collections.leases.get(`${namespace}/${name ?? body.metadata.name}`);
    if (method === 'POST') return before ? [409, {}] : [201, tell('ADDED', 'leases', body)];
    if (!before) return [404, {}];
    if (method === 'GET') return [200, before];
    if (body.metadata.resourceVersion !== before.metadata.resourceVersion) return [409, {}];
    const spec = { ...(before.spec as object), ...(body.spec as object) };
    return [200, tell('MODIFIED', 'leases', { ...before, spec })];
  }

  function list(plural: Plural, query: URLSearchParams, answer: Answer): void {
    const isAlive = ({ status }: StoredObject) =>
      !['Succeeded', 'Failed'].includes(String(Object(status).phase));
    const all = [...collections[plural].values()].filter(
      (one) => query.get('fieldSelector') === null || isAlive(one),
    );
    const from = Number(query.get('continue') ?? 0);
    const to = from + Number(query.get('limit') ?? all.length);
    const more = to < all.length && { continue: String(to) };
    answer(200, {
      kind: 'List',
      metadata: { resourceVersion: String(version), ...more },
      items: all.slice(from, to),
    });
  }

  function watch(plural: Plural, response: ServerResponse, from: number): void {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.flushHeaders();
    if (from < compactedAt) {
      const object = { kind: 'Status', metadata: {}, code: 410, reason: 'Expired' };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    for (const one of history)
      if (one.plural === plural && one.version > from)
        response.write(`${JSON.stringify({ type: one.type, object: one.object })}\n`);
    const mine = { plural, response };
    watches.add(mine);
    response.on('close', () => watches.delete(mine));
  }

  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const fake: FakeApiServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tokenFile,
    caFile: path.join(folder, 'ca.crt'),
    requests: [],
    countWatches: (plural) => [...watches].filter((one) => one.plural === plural).length,
    put: (plural, object) => {
      const isKnown = collections[plural].has(toKey(object));
      tell(isKnown ? 'MODIFIED' : 'ADDED', plural, object);
    },
    delete: (plural, key) => {
      const object = collections[plural].get(key);
      if (object) tell('DELETED', plural, object);
    },
    find: (plural, key) => collections[plural].get(key),
    compact: () => {
      version += 1;
      compactedAt = version;
      for (const { response } of watches) response.end();
      watches.clear();
    },
    jwks: undefined,
    events: [],
    evictions: [],
    onEviction: undefined,
    intercept: undefined,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
  return fake;
}

export function toPod(name: string, phase = 'Running', rest: object = {}): StoredObject {
  const metadata = { name, namespace: 'shop', uid: `uid-${name}` };
  return { metadata, spec: { serviceAccountName: 'default' }, status: { phase }, ...rest };
}

export function toAccount(name: string, uid = `uid-${name}`): StoredObject {
  return { metadata: { name, namespace: 'shop', uid } };
}

function toKey({ metadata: { namespace = '', name } }: StoredObject): string {
  return `${namespace}/${name}`;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
