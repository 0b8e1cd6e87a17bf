// What every server of ours shares: limits against slow and large clients, TLS floor, graceful drain, and the
// operations port (/livez, /readyz, /metrics). Routes and errors belong to each server.
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { formatAddress, type ListenAddress } from './settings.ts';

export interface ServerLimits {
  /** Whole request, headers and body. */
  requestTimeoutMs: number;
  headersTimeoutMs: number;
  keepAliveTimeoutMs: number;
  maxHeaderBytes: number;
}

export const DEFAULT_LIMITS: ServerLimits = {
  requestTimeoutMs: 15_000,
  headersTimeoutMs: 10_000,
  // Longer than the 60 s most balancers keep an idle connection: the side that closes first must not be us.
  keepAliveTimeoutMs: 75_000,
  maxHeaderBytes: 32 * 1024,
};

const CHECK_MS = 1000;

export interface RunningServer {
  /** The address it really listens on (port 0 resolved). */
  readonly address: ListenAddress;
  /** `http://…` or `https://…` with that address; for tests and for the one line a process prints when it is ready. */
  readonly url: string;
  readonly server: Server;
  /** New handshakes use this certificate from now on; open connections are untouched. The TLS floor stays. */
  reloadCertificate(tls: ServerTls): void;
  /** Stops accepting, lets requests in flight end (at most `graceMs`), then closes what is left. */
  drain(graceMs: number): Promise<void>;
}

export interface ServerTls extends Pick<SecureContextOptions, 'cert' | 'key'> {
  /** PEM: callers must show a certificate that one of these signed. Whether they must is settled at the start. */
  clientCa?: string;
}

export interface ListenOptions {
  address: ListenAddress;
  tls?: ServerTls;
  limits?: Partial<ServerLimits>;
}

/** TLS settings that hold at start and after every reload. */
function tlsFloor({ cert, key, clientCa }: ServerTls): SecureContextOptions {
  return { cert, key, ...(clientCa !== undefined && { ca: clientCa }), minVersion: 'TLSv1.2' };
}

/**
 * Listens and resolves once connections are accepted.
 * @throws Error of the system (`EADDRINUSE`, …) where the address cannot be had.
 */
export async function listen(
  handler: RequestListener,
  { address, tls, limits: given }: ListenOptions,
): Promise<RunningServer> {
  const limits = { ...DEFAULT_LIMITS, ...given };
  const options = {
    maxHeaderSize: limits.maxHeaderBytes,
    noDelay: true,
    // Node looks for requests past their time every 30 s only, and would give a slow client as much again.
    connectionsCheckingInterval: CHECK_MS,
  };
  const callers = tls?.clientCa !== undefined && { requestCert: true, rejectUnauthorized: true };
  const secure = tls && createHttpsServer({ ...options, ...tlsFloor(tls), ...callers }, handler);
  const server: Server = secure ?? createHttpServer(options, handler);
  server.requestTimeout = limits.requestTimeoutMs;
  server.headersTimeout = limits.headersTimeoutMs;
  server.keepAliveTimeout = limits.keepAliveTimeoutMs;
  const sockets = trackSockets(server, secure ? 'secureConnection' : 'connection');
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Without a host Node takes `::`, and 0.0.0.0 where the node was booted without IPv6; `::` itself would fail there.
    const host = address.host === '::' ? {} : { host: address.host };
    server.listen({ port: address.port, ...host }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const bound = server.address() as AddressInfo;
  const real = { host: address.host, port: bound.port };
  return {
    address: real,
    url: `${tls ? 'https' : 'http'}://${formatAddress({ ...real, host: toDialable(real.host) })}`,
    server,
    reloadCertificate: (next) => secure?.setSecureContext(tlsFloor(next)),
    drain: (graceMs) => drain(server, sockets, graceMs),
  };
}

function toDialable(host: string): string {
  if (host === '::') return '::1';
  return host === '0.0.0.0' ? '127.0.0.1' : host;
}

function trackSockets(server: Server, event: 'connection' | 'secureConnection'): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on(event, (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

async function drain(server: Server, sockets: Set<Socket>, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  // A kept-alive connection would hold close() open: answers from now on end theirs, idle ones end now.
  server.prependListener('request', (_request, response) =>
    response.setHeader('Connection', 'close'),
  );
  server.closeIdleConnections();
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const force = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, graceMs);
  await closed;
  clearInterval(idle);
  clearTimeout(force);
}

export interface OperationsOptions {
  address: ListenAddress;
  /** What keeps the process from being ready, a short sentence each; empty when it is. */
  findObstacles: () => readonly string[];
  /** Prometheus text, with its content type. */
  renderMetrics: () => Promise<{ contentType: string; body: string }>;
}

/** Serves `/livez`, `/readyz` and `/metrics` on a port of their own, so that no ingress can reach them by accident. */
export function listenOperations(options: OperationsOptions): Promise<RunningServer> {
  return listen(
    (request, response) => {
      const path = (request.url ?? '/').split('?', 1)[0];
      const answer = (status: number, body: string, type = 'text/plain; charset=utf-8') => {
        response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' });
        response.end(request.method === 'HEAD' ? undefined : body);
      };
      if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, 'only GET\n');
      if (path === '/livez') return answer(200, 'ok\n');
      if (path === '/readyz') {
        const obstacles = options.findObstacles();
        return obstacles.length === 0
          ? answer(200, 'ok\n')
          : answer(503, `${obstacles.join('\n')}\n`);
      }
      if (path === '/metrics') {
        options.renderMetrics().then(
          ({ contentType, body }) => answer(200, body, contentType),
          () => answer(500, 'metrics could not be rendered\n'),
        );
        return undefined;
      }
      return answer(404, 'only /livez, /readyz and /metrics\n');
    },
    { address: options.address },
  );
}

/**
 * Whether a body was announced and not read to its end: it would be taken for the next request, so the connection must
 * close. A request without one is complete only after its handler ran.
 */
export function hasUnreadBody({ complete, headers }: IncomingMessage): boolean {
  const isAnnounced =
    headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
  return isAnnounced && !complete;
}
