// Requests to an API server with a person's credential: one answer for one request, whatever its status. It goes to the
// server of the kubeconfig and nowhere else; no redirect is followed.
import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { KubeAccess, KubeCredential } from './kubeconfig.ts';

export interface PersonRequest {
  readonly method?: 'GET' | 'POST';
  /** With its query. */
  readonly path: string;
  readonly accept?: string;
  readonly body?: object;
}

export interface PersonAnswer {
  readonly status: number;
  readonly text: string;
  /** The answer's `Date`, milliseconds since the epoch, whole seconds. */
  readonly date: number | undefined;
  /** Texts of the Warning headers. */
  readonly warnings: readonly string[];
}

export interface PersonClient {
  /** @throws the connection's error, or one with code ETIMEDOUT; a status is never an error */
  send(request: PersonRequest): Promise<PersonAnswer>;
  close(): void;
}

export interface PersonClientOptions {
  readonly access: KubeAccess;
  /** For the whole of one request. */
  readonly timeoutMs: number;
  readonly maxConnections?: number;
  readonly userAgent: string;
}

const MAX_BYTES = 64 * 1024 * 1024;

export function createPersonClient(options: PersonClientOptions): PersonClient {
  const { access, timeoutMs, maxConnections = 8, userAgent } = options;
  const { server, ca, serverName, isInsecure, credential } = access;
  const isHttps = server.startsWith('https:');
  const pool = { keepAlive: true, maxSockets: maxConnections };
  const agent = isHttps
    ? new HttpsAgent({
        ...pool,
        minVersion: 'TLSv1.2',
        rejectUnauthorized: !isInsecure,
        ...(ca !== undefined && { ca }),
        ...(serverName !== undefined && { servername: serverName }),
        ...(credential.certificate !== undefined &&
          credential.key && { cert: credential.certificate, key: credential.key.reveal() }),
      })
    : new HttpAgent(pool);
  const ask = isHttps ? httpsRequest : httpRequest;
  return {
    send: ({ method = 'GET', path, accept = 'application/json', body }) => {
      const { promise, resolve, reject } = Promise.withResolvers<PersonAnswer>();
      const signal = AbortSignal.timeout(timeoutMs);
      const text = body === undefined ? undefined : JSON.stringify(body);
      const fail = (error: Error) => reject(signal.aborted ? toTimeout(timeoutMs) : error);
      const request = ask(`${server}${path}`, {
        agent,
        method,
        signal,
        headers: {
          Accept: accept,
          'User-Agent': userAgent,
          ...toCredentialHeaders(credential),
          ...(text !== undefined && {
            'Content-Type': 'application/json',
            'Content-Length': Buffer.byteLength(text),
          }),
        },
      });
      request.on('error', fail);
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes <= MAX_BYTES) chunks.push(chunk);
          else request.destroy(new Error(`the answer is larger than ${MAX_BYTES} bytes`));
        });
        response.on('error', fail);
        response.on('end', () => {
          const date = Date.parse(response.headers.date ?? '');
          resolve({
            status: response.statusCode ?? 0,
            text: Buffer.concat(chunks).toString('utf8'),
            date: Number.isNaN(date) ? undefined : date,
            warnings: response.headersDistinct.warning ?? [],
          });
        });
      });
      request.end(text);
      return promise;
    },
    close: () => agent.destroy(),
  };
}

function toCredentialHeaders(credential: KubeCredential): Record<string, string | string[]> {
  const { token, basic, impersonation } = credential;
  const headers: Record<string, string | string[]> = {};
  if (token) headers.Authorization = `Bearer ${token.reveal()}`;
  else if (basic)
    headers.Authorization = `Basic ${Buffer.from(basic.reveal(), 'utf8').toString('base64')}`;
  for (const [name, value] of Object.entries(impersonation))
    headers[name] = typeof value === 'string' ? value : [...value];
  return headers;
}

function toTimeout(timeoutMs: number): NodeJS.ErrnoException {
  return Object.assign(new Error(`no answer within ${timeoutMs / 1000} s`), { code: 'ETIMEDOUT' });
}
