// An API server as far as one collection goes: list in pages, watch by resourceVersion, merge patches of the status.
// Plain HTTP on loopback; it can go away, forget its history, end watches, and refuse.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { noteToken } from './tokens.ts';

export interface FakeObject {
  metadata: {
    name: string;
    resourceVersion?: string;
    generation?: number;
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

export interface FakeCollection {
  readonly url: string;
  readonly caFile: string;
  readonly tokenFile: string;
  readonly path: string;
  /** Method and path with query of every request with the right credential, and what it accepts. */
  readonly requests: { method: string; url: string; accept: string }[];
  /** Bodies of patches, with the name of what they were for. */
  readonly patches: { name: string; body: Record<string, unknown> }[];
  readonly watches: number;
  /** Adds or replaces; every change of anything but `status` is another generation. */
  put(name: string, rest: object): void;
  delete(name: string): void;
  find(name: string): FakeObject | undefined;
  bookmark(): void;
  /** What the next requests are answered with instead, until cleared; a function may look at the path. */
  status: number | ((url: string) => number | undefined) | undefined;
  /** Watches from before now get 410, in an event. */
  compact(): void;
  /** Ends all watches as the server does after `timeoutSeconds`. */
  endWatches(): void;
  /** Sends this text to all watches. */
  sendToWatches(text: string): void;
  rotateCredential(): void;
  writeCredential(): void;
  /** The port is closed, as if the process had gone; what is stored stays. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  close(): Promise<void>;
}

/** Starts on a free port of loopback, with nothing in it. */
export async function startCollection(collectionPath: string): Promise<FakeCollection> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-collection-'));
  const tokenFile = path.join(folder, 'token');
  const newBearer = () => noteToken(`test-watcher-${randomBytes(16).toString('hex')}`);
  let bearer = newBearer();
  writeFileSync(tokenFile, bearer);
  const objects = new Map<string, FakeObject>();
  const history: { type: string; object: FakeObject }[] = [];
  const watches = new Set<ServerResponse>();
  let version = 100;
  let compactedAt = 0;
  let server = createServer();

  function store(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: FakeObject): void {
    version += 1;
    const { metadata, ...rest } = object;
    const stored = { ...rest, metadata: { ...metadata, resourceVersion: String(version) } };
    if (type === 'DELETED') objects.delete(metadata.name);
    else objects.set(metadata.name, stored);
    history.push({ type, object: stored });
    send(JSON.stringify({ type, object: stored }));
  }
  const send = (line: string) => {
    for (const watch of watches) watch.write(`${line}\n`);
  };

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = await readBody(request);
    const answer = (status: number, body: unknown) =>
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    if (request.headers.authorization !== `Bearer ${bearer}`) {
      answer(401, {});
      return;
    }
    const { method = '', url = '' } = request;
    fake.requests.push({ method, url, accept: request.headers.accept ?? '' });
    const status = typeof fake.status === 'function' ? fake.status(url) : fake.status;
    if (status !== undefined) answer(status, {});
    else if (method === 'PATCH') patch(url, text, answer);
    else {
      const query = new URL(url, 'http://x').searchParams;
      if (query.get('watch') === '1') watch(response, Number(query.get('resourceVersion')));
      else list(query, answer);
    }
  }

  function list(query: URLSearchParams, answer: (status: number, body: unknown) => void): void {
    const all = [...objects.values()].toSorted((a, b) =>
      a.metadata.name < b.metadata.name ? -1 : 1,
    );
    const from = Number(query.get('continue') ?? 0);
    const to = from + Number(query.get('limit') ?? all.length);
    const metadata = {
      resourceVersion: String(version),
      ...(to < all.length && { continue: String(to) }),
    };
    answer(200, { kind: 'List', metadata, items: all.slice(from, to) });
  }

  function watch(response: ServerResponse, from: number): void {
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.flushHeaders();
    if (from < compactedAt) {
      const object = { kind: 'Status', metadata: {}, code: 410, reason: 'Expired' };
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      return;
    }
    for (const event of history.filter((one) => Number(one.object.metadata.resourceVersion) > from))
      response.write(`${JSON.stringify(event)}\n`);
    watches.add(response);
    response.on('close', () => watches.delete(response));
  }

  function patch(url: string, text: string, answer: (status: number, body: unknown) => void): void {
    const name = decodeURIComponent(url.split('?')[0]?.split('/').at(-2) ?? '');
    const object = objects.get(name);
    const body = JSON.parse(text) as Record<string, unknown>;
    fake.patches.push({ name, body });
    if (!object) {
      answer(404, {});
      return;
    }
    const { resourceVersion: wanted } = Object(body.metadata) as { resourceVersion?: string };
    if (wanted !== undefined && wanted !== object.metadata.resourceVersion) {
      answer(409, {});
      return;
    }
    store('MODIFIED', { ...object, status: body.status });
    answer(200, objects.get(name));
  }

  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server = createServer((request, response) => void serve(request, response));
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  const stop = (one: Server) => {
    one.closeAllConnections();
    return new Promise<void>((resolve) => one.close(() => resolve()));
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const fake: FakeCollection = {
    url: `http://127.0.0.1:${port}`,
    caFile: path.join(folder, 'ca.crt'),
    tokenFile,
    path: collectionPath,
    requests: [],
    patches: [],
    get watches() {
      return watches.size;
    },
    put: (name, rest) => {
      const before = objects.get(name);
      const { metadata, ...fields } = rest as Partial<FakeObject>;
      const generation = (before?.metadata.generation ?? 0) + 1;
      const uid = before?.metadata.uid ?? randomBytes(8).toString('hex');
      store(before ? 'MODIFIED' : 'ADDED', {
        ...(before?.status !== undefined && { status: before.status }),
        ...fields,
        metadata: { uid, generation, ...metadata, name },
      });
    },
    delete: (name) => {
      const object = objects.get(name);
      if (object) store('DELETED', object);
    },
    find: (name) => objects.get(name),
    bookmark: () => {
      version += 1;
      const object = { kind: 'X', metadata: { resourceVersion: String(version) } };
      send(JSON.stringify({ type: 'BOOKMARK', object }));
    },
    status: undefined,
    compact: () => {
      version += 1;
      compactedAt = version;
    },
    endWatches: () => {
      for (const one of watches) one.end();
    },
    sendToWatches: send,
    rotateCredential: () => {
      bearer = newBearer();
    },
    writeCredential: () => writeFileSync(tokenFile, bearer),
    goAway: () => stop(server),
    comeBack: () => listen(port),
    close: async () => {
      await stop(server);
      rmSync(folder, { recursive: true });
    },
  };
  return fake;
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
