// A broker of the tests: a real HTTPS server whose answers each test scripts, and which remembers what it was asked.
import { randomBytes } from 'node:crypto';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import {
  type IssuedCertificate,
  issueAuthority,
  issueCertificate,
} from '../../common/certificates.ts';
import { noteToken } from '../support/tokens.ts';

const DAY_MS = 86_400_000;
const now = Date.now();
const validity = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + DAY_MS) };

export const authority = issueAuthority({ commonName: 'Test CA', ...validity });
export const otherAuthority = issueAuthority({ commonName: 'Other CA', ...validity });
export const expiredAuthority = issueAuthority({
  commonName: 'Expired CA',
  notBefore: validity.notBefore,
  notAfter: new Date(now - 60_000),
});

/** A server certificate; by default for this machine, by `authority`, valid today. */
export function serverCertificate({
  names = ['localhost', '127.0.0.1'],
  by = authority,
  isExpired = false,
}: {
  names?: readonly string[];
  by?: IssuedCertificate;
  isExpired?: boolean;
} = {}): IssuedCertificate {
  const notAfter = isExpired ? new Date(now - 60_000) : validity.notAfter;
  return issueCertificate(
    { commonName: 'broker', names, notBefore: validity.notBefore, notAfter },
    by,
  );
}

export interface Asked {
  /** 1 for the first request of all. */
  readonly count: number;
  readonly atMs: number;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly form: URLSearchParams;
  readonly serverName: string | undefined;
}

export interface Answer {
  status?: number;
  headers?: Record<string, string>;
  /** An object is sent as JSON, a string as it is. */
  body?: object | string;
  /** cut: half an answer, then the connection ends. silent: never an answer. */
  fault?: 'cut' | 'silent';
}

export interface FakeBroker {
  readonly url: string;
  readonly port: number;
  readonly asked: Asked[];
  readonly server: Server;
  answer: (asked: Asked) => Answer;
  close(): Promise<void>;
}

export interface FakeBrokerOptions {
  certificate?: IssuedCertificate;
  /** Plain HTTP where true. */
  isPlain?: boolean;
  tls?: ServerOptions;
  port?: number;
  answer?: (asked: Asked) => Answer;
}

export async function startFakeBroker(options: FakeBrokerOptions = {}): Promise<FakeBroker> {
  const asked: Asked[] = [];
  const broker = { answer: options.answer ?? (() => issue()) };
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    readBody(request).then(
      (text) => {
        const one: Asked = {
          count: asked.length + 1,
          atMs: Date.now(),
          path: request.url ?? '',
          headers: request.headers,
          form: new URLSearchParams(text),
          serverName: (request.socket as TLSSocket).servername || undefined,
        };
        asked.push(one);
        send(response, broker.answer(one));
      },
      () => response.destroy(),
    );
  };
  const { certificate, key } = options.certificate ?? serverCertificate();
  const server: Server = options.isPlain
    ? createHttpServer(handle)
    : createServer({ cert: certificate, key, ...options.tls }, handle);
  // A client that refuses our certificate is what some tests want.
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(broker, {
    url: `${options.isPlain ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    asked,
    server,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}

function send(
  response: ServerResponse,
  { status = 200, headers = {}, body = '', fault }: Answer,
): void {
  if (fault === 'silent') return;
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const type = typeof body === 'string' ? 'text/plain' : 'application/json';
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  });
  if (fault === 'cut') {
    response.write(text.slice(0, text.length / 2), () => response.destroy());
    return;
  }
  response.end(text);
}

/** Every token the fakes made in this process; none may appear in anything an exchange says. */
export const madeTokens = new Set<string>();

/** A string with the shape of a signed JWT and nothing true in it. */
export function fakeJwt(claims: object, padding = 0): string {
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const signature = randomBytes(48 + padding).toString('base64url');
  const token = `${encode({ alg: 'ES256', kid: 'test' })}.${encode(claims)}.${signature}`;
  madeTokens.add(token);
  return noteToken(token);
}

/** A good answer; `change` overrides members. */
export function issue(change: Record<string, unknown> = {}, padding = 0): Answer {
  return {
    headers: { 'Cache-Control': 'no-store' },
    body: {
      access_token: fakeJwt({ jti: randomBytes(8).toString('hex') }, padding),
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'Bearer',
      expires_in: 300,
      scope: 'read write',
      ...change,
    },
  };
}

/** A refusal as the broker words it. */
export function refuse(
  reason: string,
  { status = 400, error = 'invalid_request', text = 'refused by the test' } = {},
): Answer {
  return {
    status,
    body: { error, error_description: text, reason, correlation_id: 'corr-0123456789' },
  };
}
