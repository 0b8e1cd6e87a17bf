// One replica of a broker as far as reports go: TLS with the broker's name, our token, and what it was told in order.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type IssuedCertificate, issueCertificate } from '../../common/certificates.ts';

export interface Told {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: {
    readonly dead?: readonly { kind: string; uid: string; at: string }[];
    readonly takenAt?: string;
    readonly pods?: readonly string[];
    readonly serviceAccounts?: readonly string[];
    readonly keys?: readonly Readonly<Record<string, string>>[];
  };
}

export interface FakeBroker {
  readonly port: number;
  /** What was acknowledged. */
  readonly told: Told[];
  /** Requests of whatever answer. */
  countRequests(): number;
  /** uids of all PATCHes so far. */
  deadUids(): readonly string[];
  sets(): readonly Told['body'][];
  /** Key sets so far, as they were sent. */
  keys(): readonly Told[];
  /** What is answered instead of yes, until cleared. */
  status: number | undefined;
  /** The same for some requests alone. */
  refuse:
    | ((request: { path: string; authorization: string | undefined }) => number | undefined)
    | undefined;
  /** As a process that ends and starts again: connections break, nothing is remembered. */
  restart(): void;
  close(): Promise<void>;
}

export const BROKER_NAME = 'broker.product.svc';

/** @param host an address of loopback, one for each replica */
export async function startBroker(
  authority: IssuedCertificate,
  { host = '127.0.0.1', port = 0, name = BROKER_NAME } = {},
): Promise<FakeBroker> {
  const validity = { notBefore: new Date('2026-01-01'), notAfter: new Date('2099-01-01') };
  const { certificate, key } = issueCertificate(
    { commonName: 'broker', names: [name], ...validity },
    authority,
  );
  const sockets = new Set<Socket>();
  let requests = 0;
  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    requests += 1;
    response.setHeader('Content-Type', 'application/json');
    const { method = '', url = '', headers } = request;
    const { authorization } = headers;
    const status = fake.status ?? fake.refuse?.({ path: url, authorization });
    if (status !== undefined) {
      response.writeHead(status);
      response.end(JSON.stringify({ error: 'no', reason: 'bearer_forbidden' }));
      return;
    }
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Told['body'];
    fake.told.push({ method, path: url, authorization, body });
    response.end('{}');
  }
  const server = createServer(
    { cert: certificate, key },
    (request, response) => void serve(request, response),
  );
  server.on('secureConnection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(port, host, resolve));
  const fake: FakeBroker = {
    port: (server.address() as AddressInfo).port,
    told: [],
    countRequests: () => requests,
    deadUids: () => fake.told.flatMap(({ body }) => (body.dead ?? []).map(({ uid }) => uid)),
    sets: () => fake.told.filter(({ body }) => body.takenAt !== undefined).map(({ body }) => body),
    keys: () => fake.told.filter(({ path }) => path.endsWith('/keys')),
    status: undefined,
    refuse: undefined,
    restart: () => {
      fake.told.length = 0;
      for (const socket of sockets) socket.destroy();
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  return fake;
}
