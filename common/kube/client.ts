// A small client of one API server, with the process's own credential. The token file is read for every request and the
// CA file too, so that what was rotated on the disk is used at once; connections are kept. No redirect is followed.
import {
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { readCa, readToken } from './credential.ts';
import { KubeError } from './error.ts';

export interface KubeClientOptions {
  /** `https://…`, or `http` on loopback; whoever reads it from a configuration has checked that. */
  readonly url: string;
  /** PEM; the only roots believed. */
  readonly caFile: string;
  readonly tokenFile: string;
  readonly maxConnections?: number;
  /** For the whole of one try. */
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
  /** The CA file has another content than at the last request: the server behind the address may be another one. */
  readonly onCaChanged?: () => void;
}

export interface KubeClient {
  /**
   * Sends an object as JSON, which may be done twice: after 401 with the token as it then stands on the disk, and where
   * a kept connection broke. Only for requests that may be repeated.
   * @param within for everything together, in milliseconds; absent: the client's timeout for each try
   * @returns the body of a 200 or 201
   * @throws KubeError
   */
  post(path: string, body: object, within?: number): Promise<string>;
  /**
   * @param reading what to `Accept` (JSON unless set); a bound on the answer instead of the client's; who wants its time
   * @returns the body of a 200
   * @throws KubeError
   */
  get(path: string, reading?: KubeReading): Promise<string>;
  /**
   * Merges into an object (RFC 7386); may be done twice, as `post`.
   * @returns the body of a 200
   * @throws KubeError
   */
  patch(path: string, body: object): Promise<string>;
  /**
   * Replaces an object: with `metadata.resourceVersion` only where it is still that one (409 otherwise). May be done twice,
   * as `post`.
   * @returns the body of a 200
   * @throws KubeError
   */
  put(path: string, body: object): Promise<string>;
  /**
   * States the fields that are ours (server-side apply), never taking over what others own. May be done twice.
   * @returns the body of a 200: the whole object
   * @throws KubeError; with status 409 `owners` says whose the fields are
   */
  apply(path: string, body: object, fieldManager: string): Promise<string>;
  /**
   * An answer that goes on (a watch): resolves with its head; the client's timeout bounds that alone. A connection that
   * died without a word ends with an error within half a minute. Destroy it to end it.
   * @throws KubeError
   */
  open(path: string, reading?: Pick<KubeReading, 'accept'>): Promise<IncomingMessage>;
  /** Closes kept connections. */
  close(): void;
}

export interface KubeReading {
  readonly accept?: string;
  readonly maxBytes?: number;
  /** Is told the server's time of day with the answer, milliseconds since the epoch; not where the answer has none. */
  readonly onDate?: (time: number) => void;
}

export const KUBE_TIMEOUT_MS = 5000;
const MAX_BYTES = 256 * 1024;
// Below what API servers and balancers keep idle connections for, so that we are the side that closes.
const IDLE_MS = 30_000;
const KEEP_ALIVE_MS = 15_000;
const JSON_TYPE = 'application/json';
const MERGE_PATCH_TYPE = 'application/merge-patch+json';
// JSON is YAML; Kubernetes ≥ 1.32 knows a JSON type of its own for it, older ones do not.
const APPLY_TYPE = 'application/apply-patch+yaml';
const MAX_REFUSAL_BYTES = 64 * 1024;
const CONFLICT = 409;

interface Agents {
  readonly ca: string;
  readonly agent: HttpAgent;
}

export function createKubeClient(options: KubeClientOptions): KubeClient {
  const { url, caFile, tokenFile, maxConnections = 32, onCaChanged } = options;
  const base = url.replace(/\/+$/, '');
  const isHttps = base.startsWith('https:');
  const pool = { keepAlive: true, maxSockets: maxConnections, timeout: IDLE_MS };
  let made: Agents | undefined;

  function getAgent(ca: string): HttpAgent {
    if (made?.ca === ca) return made.agent;
    const before = made;
    const agent = isHttps
      ? new HttpsAgent({ ...pool, ca, minVersion: 'TLSv1.2' })
      : new HttpAgent(pool);
    made = { ca, agent };
    if (!before) return agent;
    // Requests in flight end on their connections; idle ones were verified with a CA that is no longer believed.
    for (const socket of Object.values(before.agent.freeSockets).flat()) socket?.destroy();
    onCaChanged?.();
    return agent;
  }

  async function tryOnce<T>(request: KubeRequest, read: ReadAnswer<T>): Promise<T> {
    const [token, ca] = await Promise.all([
      readToken(tokenFile),
      isHttps ? readCa(caFile) : Promise.resolve(''),
    ]);
    const own = options.timeoutMs ?? KUBE_TIMEOUT_MS;
    const leftMs = (request.endsAt ?? Number.POSITIVE_INFINITY) - performance.now();
    const timeoutMs = Math.max(1, Math.floor(Math.min(own, leftMs)));
    const sending = { ...request, url: base + request.path, agent: getAgent(ca), token, timeoutMs };
    try {
      return await send(sending, read);
    } catch (error) {
      if (!(error instanceof BrokenConnection)) throw error;
      return await send(sending, read).catch((again: unknown) => {
        throw again instanceof BrokenConnection ? again.failure : again;
      });
    }
  }

  async function ask<T>(request: KubeRequest, read: ReadAnswer<T>): Promise<T> {
    try {
      return await tryOnce(request, read);
    } catch (error) {
      if (!(error instanceof KubeError) || error.kind !== 'unauthorized') throw error;
      // The kubelet may have replaced the file between our reading and the API server's.
      return tryOnce(request, read);
    }
  }

  const toText = (maxBytes = options.maxBytes ?? MAX_BYTES) => createTextReader(maxBytes);
  return {
    post: (path, body, within) => {
      const text = JSON.stringify(body);
      const endsAt = within === undefined ? undefined : performance.now() + within;
      return ask({ method: 'POST', path, text, type: JSON_TYPE, endsAt }, toText());
    },
    get: (path, { accept, maxBytes, onDate } = {}) =>
      ask({ method: 'GET', path, ...(accept && { accept }) }, tellDate(toText(maxBytes), onDate)),
    patch: (path, body) =>
      ask({ method: 'PATCH', path, text: JSON.stringify(body), type: MERGE_PATCH_TYPE }, toText()),
    put: (path, body) =>
      ask({ method: 'PUT', path, text: JSON.stringify(body), type: JSON_TYPE }, toText()),
    apply: (path, body, fieldManager) => {
      const query = `?fieldManager=${encodeURIComponent(fieldManager)}`;
      const text = JSON.stringify(body);
      return ask(
        { method: 'PATCH', path: path + query, text, type: APPLY_TYPE, namesOwners: true },
        toText(),
      );
    },
    open: (path, { accept } = {}) =>
      ask({ method: 'GET', path, ...(accept && { accept }) }, openAnswer),
    close: () => made?.agent.destroy(),
  };
}

/** A kept connection that the other side had closed already: the request never arrived. */
class BrokenConnection extends Error {
  readonly failure: KubeError;

  constructor(failure: KubeError) {
    super(failure.message);
    this.failure = failure;
  }
}

interface KubeRequest {
  readonly method: 'GET' | 'PATCH' | 'POST' | 'PUT';
  readonly path: string;
  readonly accept?: string;
  readonly text?: string;
  /** Media type of the text. */
  readonly type?: string;
  /** By `performance.now()`, for all tries together. */
  readonly endsAt?: number | undefined;
  /** A conflict is asked whose the fields are. */
  readonly namesOwners?: boolean;
}

interface Sending extends KubeRequest {
  readonly url: string;
  readonly agent: HttpAgent;
  readonly token: string;
  readonly timeoutMs: number;
}

/** Takes what it wants of a good answer; `fail` says what became of one that broke off. */
type ReadAnswer<T> = (
  response: IncomingMessage,
  settle: { resolve: (value: T) => void; fail: (error: Error) => void },
) => void;

function send<T>(sending: Sending, read: ReadAnswer<T>): Promise<T> {
  const { url, agent, method, text, timeoutMs } = sending;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  const ask = url.startsWith('https:') ? httpsRequest : httpRequest;
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  const { signal } = timeout;
  const request = ask(url, { agent, signal, method, headers: toHeaders(sending) });
  const fail = (error: NodeJS.ErrnoException) => {
    clearTimeout(timer);
    if (error instanceof KubeError) {
      reject(error);
      request.destroy();
      return;
    }
    const failure = signal.aborted
      ? new KubeError('unavailable', `no answer within ${timeoutMs} ms`)
      : new KubeError('unavailable', 'the connection failed', { cause: error });
    const isBroken = request.reusedSocket && error.code === 'ECONNRESET' && !signal.aborted;
    reject(isBroken ? new BrokenConnection(failure) : failure);
  };
  request.on('error', fail);
  request.on('response', (response) => {
    response.once('close', () => clearTimeout(timer));
    const refusal = findRefusal(response);
    if (refusal && sending.namesOwners === true && refusal.status === CONFLICT) {
      const named = (owners: readonly string[]) =>
        fail(new KubeError(refusal.kind, refusal.message, { status: CONFLICT, owners }));
      createTextReader(MAX_REFUSAL_BYTES)(response, {
        resolve: (body) => named(findOwners(body)),
        fail: () => named([]),
      });
      return;
    }
    if (refusal) {
      // Read to its end, so that the connection can be kept; the timeout bounds it.
      response.on('error', () => undefined).resume();
      reject(refusal);
      return;
    }
    const settle = {
      resolve: (value: T) => {
        clearTimeout(timer);
        resolve(value);
      },
      fail,
    };
    read(response, settle);
  });
  request.end(text);
  return promise;
}

function toHeaders({ accept = JSON_TYPE, token, text, type }: Sending): OutgoingHttpHeaders {
  return {
    Accept: accept,
    Authorization: `Bearer ${token}`,
    ...(text !== undefined && { 'Content-Type': type, 'Content-Length': Buffer.byteLength(text) }),
  };
}

function createTextReader(maxBytes: number): ReadAnswer<string> {
  return (response, { resolve, fail }) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else fail(new KubeError('unavailable', `answered more than ${maxBytes} bytes`));
    });
    response.on('error', fail);
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
  };
}

function tellDate<T>(read: ReadAnswer<T>, onDate: KubeReading['onDate']): ReadAnswer<T> {
  if (!onDate) return read;
  return (response, settle) => {
    const time = Date.parse(response.headers.date ?? '');
    if (!Number.isNaN(time)) onDate(time);
    read(response, settle);
  };
}

const openAnswer: ReadAnswer<IncomingMessage> = (response, { resolve }) => {
  // Linux then asks ten times, a second apart: whoever was unplugged is noticed.
  response.socket.setKeepAlive(true, KEEP_ALIVE_MS);
  resolve(response);
};

/** `conflict with "kubectl-edit" using admissionregistration.k8s.io/v1`: the name in each cause of a Status. */
function findOwners(text: string): readonly string[] {
  try {
    const { details } = Object(JSON.parse(text)) as { details?: unknown };
    const { causes } = Object(details) as { causes?: unknown };
    const owners = (Array.isArray(causes) ? causes : []).flatMap((cause: unknown) => {
      const { message } = Object(cause) as { message?: unknown };
      return /^conflict with "([\w.:@/-]{1,128})"/.exec(String(message))?.[1] ?? [];
    });
    return [...new Set(owners)].slice(0, 8);
  } catch {
    return [];
  }
}

function findRefusal({ statusCode = 0, headers }: IncomingMessage): KubeError | undefined {
  if (statusCode === 200 || statusCode === 201) return undefined;
  const text = `answered ${statusCode}`;
  const seconds = headers['retry-after'] ?? '';
  const wait = /^\d{1,6}$/.test(seconds) && { retryAfterSeconds: Number(seconds) };
  const status = { status: statusCode, ...wait };
  if (statusCode === 401) return new KubeError('unauthorized', text, status);
  if (statusCode === 403) return new KubeError('forbidden', text, status);
  return new KubeError('unavailable', text, status);
}
