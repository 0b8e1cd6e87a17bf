// A small client of one API server: POST with the process's own credential. The token file is read for every request and
// the CA file too, so that what was rotated on the disk is used at once; connections are kept. No redirect is followed.
import { readFile } from 'node:fs/promises';
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';

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

/**
 * `unauthorized`, `forbidden` (the API server refuses our credential) and `unreadable` (there is none on the disk) are
 * the operator's to mend; `unavailable` is everything else. Quotes nothing that was sent or answered.
 */
export class KubeError extends Error {
  readonly kind: 'unauthorized' | 'forbidden' | 'unreadable' | 'unavailable';

  constructor(kind: KubeError['kind'], message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = 'KubeError';
    this.kind = kind;
  }
}

export interface KubeClient {
  /**
   * Sends an object as JSON, which may be done twice: after 401 with the token as it then stands on the disk, and where
   * a kept connection broke. Only for requests that may be repeated.
   * @returns the body of a 200 or 201
   * @throws KubeError
   */
  post(path: string, body: object): Promise<string>;
  /** Closes kept connections. */
  close(): void;
}

export const KUBE_TIMEOUT_MS = 5000;
const MAX_BYTES = 256 * 1024;
// Below what API servers and balancers keep idle connections for, so that we are the side that closes.
const IDLE_MS = 30_000;
const CERTIFICATE = '-----BEGIN CERTIFICATE-----';

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

  async function sendOnce(path: string, text: string): Promise<string> {
    const [token, ca] = await Promise.all([
      readToken(tokenFile),
      isHttps ? readCa(caFile) : Promise.resolve(''),
    ]);
    const sending = { ...options, url: base + path, agent: getAgent(ca), token, text };
    try {
      return await send(sending);
    } catch (error) {
      if (!(error instanceof BrokenConnection)) throw error;
      return await send(sending).catch((again: unknown) => {
        throw again instanceof BrokenConnection ? again.failure : again;
      });
    }
  }

  return {
    post: async (path, body) => {
      const text = JSON.stringify(body);
      try {
        return await sendOnce(path, text);
      } catch (error) {
        if (!(error instanceof KubeError) || error.kind !== 'unauthorized') throw error;
        // The kubelet may have replaced the file between our reading and the API server's.
        return sendOnce(path, text);
      }
    },
    close: () => made?.agent.destroy(),
  };
}

async function readToken(file: string): Promise<string> {
  const token = (await read(file, 'token')).trim();
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new KubeError('unreadable', 'the token file holds no token');
  return token;
}

async function readCa(file: string): Promise<string> {
  const ca = await read(file, 'CA');
  // Node takes an empty CA for "no opinion" and falls back to the public roots.
  if (!ca.includes(CERTIFICATE))
    throw new KubeError('unreadable', 'the CA file holds no certificate');
  return ca;
}

async function read(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new KubeError('unreadable', `the ${what} file cannot be read (${code})`, { cause });
  }
}

/** A kept connection that the other side had closed already: the request never arrived. */
class BrokenConnection extends Error {
  readonly failure: KubeError;

  constructor(failure: KubeError) {
    super(failure.message);
    this.failure = failure;
  }
}

interface Sending extends Pick<KubeClientOptions, 'timeoutMs' | 'maxBytes'> {
  readonly url: string;
  readonly agent: HttpAgent;
  readonly token: string;
  readonly text: string;
}

function send({
  url,
  agent,
  token,
  text,
  timeoutMs = KUBE_TIMEOUT_MS,
  maxBytes = MAX_BYTES,
}: Sending): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const ask = url.startsWith('https:') ? httpsRequest : httpRequest;
  const signal = AbortSignal.timeout(timeoutMs);
  const request = ask(url, {
    agent,
    signal,
    method: 'POST',
    headers: {
      Accept: 'application/json',
      Authorization: `Bearer ${token}`,
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(text),
    },
  });
  const fail = (error: NodeJS.ErrnoException) => {
    const failure = signal.aborted
      ? new KubeError('unavailable', `no answer within ${timeoutMs} ms`)
      : new KubeError('unavailable', 'the connection failed', { cause: error });
    const isBroken = request.reusedSocket && error.code === 'ECONNRESET' && !signal.aborted;
    reject(isBroken ? new BrokenConnection(failure) : failure);
  };
  request.on('error', fail);
  request.on('response', (response) => {
    const refusal = findRefusal(response);
    if (refusal) {
      // Read to its end, so that the connection can be kept; the timeout bounds it.
      response.on('error', () => undefined).resume();
      reject(refusal);
      return;
    }
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else {
        reject(new KubeError('unavailable', `answered more than ${maxBytes} bytes`));
        request.destroy();
      }
    });
    response.on('error', fail);
    response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')));
  });
  request.end(text);
  return promise;
}

function findRefusal({ statusCode = 0 }: IncomingMessage): KubeError | undefined {
  if (statusCode === 200 || statusCode === 201) return undefined;
  const text = `answered ${statusCode}`;
  if (statusCode === 401) return new KubeError('unauthorized', text);
  if (statusCode === 403) return new KubeError('forbidden', text);
  return new KubeError('unavailable', text);
}
