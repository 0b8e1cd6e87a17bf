// The broker's API for reports, at one replica: dialled by its address, verified by the broker's name, with our own
// ServiceAccount token as it is on the disk. One connection, kept; its end is told, because a process may have ended.
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { readCa, readToken } from '../common/kube/credential.ts';
import { PATH_ADMIN } from '../common/protocol/admin-api.ts';
import { formatAddress, type ListenAddress } from '../common/settings.ts';
import type { Census } from './census.ts';
import type { Death } from './deaths.ts';
import type { PublicJwk } from './keys-set.ts';

export interface KeysClient {
  /** By this token of ours. @throws BrokerRefusal, or an Error where there was no answer */
  tellKeys(
    keys: readonly PublicJwk[],
    around: { readonly token: string; readonly signal: AbortSignal },
  ): Promise<void>;
  close(): void;
}

export interface BrokerClient {
  /** `10.0.0.7:8443`. */
  readonly address: string;
  /** @throws BrokerRefusal, or an Error where there was no answer */
  tellDead(deaths: readonly Death[], signal: AbortSignal): Promise<void>;
  /** @throws BrokerRefusal, or an Error where there was no answer */
  tellLive(set: Census, signal: AbortSignal): Promise<void>;
  onConnectionLost(listener: () => void): void;
  close(): void;
}

export interface BrokerClientOptions {
  /** The broker's; its host is the name in the certificate. */
  readonly url: string;
  readonly address: ListenAddress;
  readonly cluster: string;
  /** The public authorities unless set. */
  readonly caFile: string | undefined;
  readonly tokenFile: string;
  /** The broker does not believe the token of a report. */
  readonly onUnauthorized?: () => void;
}

/** An answer that is no yes. */
export class BrokerRefusal extends Error {
  readonly status: number;
  /** The broker's own word for it (docs/errors.md). */
  readonly reason: string;

  constructor(status: number, reason: string) {
    super(`answered ${status}`);
    this.name = 'BrokerRefusal';
    this.status = status;
    this.reason = reason;
  }
}

const TIMEOUT_MS = { dead: 5000, live: 30_000, keys: 10_000 } as const;
const UNAUTHORIZED = 401;
const MAX_ANSWER_BYTES = 64 * 1024;

export function createBrokerClient(options: BrokerClientOptions): BrokerClient & KeysClient {
  const { url, address, cluster, caFile, tokenFile } = options;
  const base = new URL(url);
  const isHttps = base.protocol === 'https:';
  const pool = { keepAlive: true, maxSockets: 1 };
  const agent = isHttps ? new HttpsAgent({ ...pool, minVersion: 'TLSv1.2' }) : new HttpAgent(pool);
  const path = `${base.pathname.replace(/\/+$/, '')}${PATH_ADMIN}/clusters/${cluster}`;
  const known = new WeakSet<Socket>();
  let isClosed = false;
  let onLost = (): void => undefined;

  function watchSocket(socket: Socket): void {
    if (known.has(socket)) return;
    known.add(socket);
    socket.once('close', () => {
      if (!isClosed) onLost();
    });
  }

  async function send(
    method: 'PATCH' | 'PUT',
    body: object,
    around: { what?: 'keys' | 'live'; token?: string; signal: AbortSignal; timeoutMs: number },
  ): Promise<void> {
    const { what = 'live', token = await readToken(tokenFile) } = around;
    const ca = isHttps && caFile !== undefined ? await readCa(caFile) : undefined;
    const text = JSON.stringify(body);
    const signal = AbortSignal.any([around.signal, AbortSignal.timeout(around.timeoutMs)]);
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const request = (isHttps ? httpsRequest : httpRequest)({
      agent,
      host: address.host,
      port: address.port,
      path: `${path}/${what}`,
      method,
      signal,
      ...(isHttps && { servername: toServerName(base.hostname) }),
      ...(ca !== undefined && { ca }),
      headers: {
        Host: base.host,
        Authorization: `Bearer ${token}`,
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
      },
    });
    request.on('socket', watchSocket);
    request.on('error', reject);
    request.on('response', (response) => {
      if (response.statusCode === UNAUTHORIZED && what === 'live') options.onUnauthorized?.();
      readAnswer(response).then(resolve, reject);
    });
    request.end(text);
    await promise;
  }

  return {
    address: formatAddress(address),
    tellDead: (deaths, signal) => {
      const dead = deaths.map(({ kind, uid, at }) => ({ kind, uid, at: toTime(at) }));
      return send('PATCH', { dead }, { signal, timeoutMs: TIMEOUT_MS.dead });
    },
    tellLive: ({ takenAt, pods, serviceAccounts }, signal) => {
      const set = { pods: [...pods], serviceAccounts: [...serviceAccounts] };
      const body = { takenAt: toTime(takenAt), ...set };
      return send('PUT', body, { signal, timeoutMs: TIMEOUT_MS.live });
    },
    tellKeys: (keys, { token, signal }) =>
      send('PUT', { keys }, { what: 'keys', token, signal, timeoutMs: TIMEOUT_MS.keys }),
    onConnectionLost: (listener) => {
      onLost = listener;
    },
    close: () => {
      isClosed = true;
      agent.destroy();
    },
  };
}

/** An address has no SNI; the certificate is compared with it all the same. */
function toServerName(hostname: string): string {
  const host = hostname.replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? host : '';
}

function toTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}

async function readAnswer(response: IncomingMessage): Promise<void> {
  const { statusCode = 0 } = response;
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new Error(`answered more than ${MAX_ANSWER_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (statusCode >= 200 && statusCode < 300) return;
  throw new BrokerRefusal(statusCode, findReason(Buffer.concat(chunks).toString('utf8')));
}

/** A word as ours are; whatever else stands there is not for logs. */
function findReason(text: string): string {
  try {
    const { reason } = Object(JSON.parse(text)) as { reason?: unknown };
    return typeof reason === 'string' && /^[a-z_]{1,64}$/.test(reason) ? reason : 'none given';
  } catch {
    return 'none given';
  }
}
