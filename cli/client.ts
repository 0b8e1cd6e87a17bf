// The CLI's way to the broker's admin API: one request at a time, with the person's credential, to the server that was
// named and nowhere else. No redirect is followed, and no token goes over plain HTTP to another machine.
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { PATH_ADMIN } from '../common/protocol/admin-api.ts';
import type { Secret } from '../common/secret.ts';
import { toAnswerFailure, toConnectionFailure } from './failure.ts';

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Parts of the path below `/api/v1`; each is escaped. */
  readonly path: readonly string[];
  readonly query?: Query;
  readonly body?: unknown;
}

export interface ApiClient {
  /** @returns the JSON of the answer, undefined where there is none. @throws ApiFailure */
  send<T>(request: ApiRequest): Promise<T>;
}

export interface ApiClientOptions {
  /** Without a trailing slash. */
  readonly server: string;
  readonly credential: Secret;
  /** PEM; the system's roots otherwise. */
  readonly ca?: string;
  /** The certificate must carry this name; that of `server` otherwise. */
  readonly serverName?: string;
  readonly timeoutMs: number;
  /** What a refusal of rights says is missing. */
  readonly needs?: string;
}

// A thousand decisions with every rule tried are some MiB.
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** A client for one command. Nothing is sent before the first request. */
export function createApiClient(options: ApiClientOptions): ApiClient {
  return {
    send: async <T>(request: ApiRequest) => {
      const url = toUrl(options.server, request);
      const { status, text } = await send(url, request, options);
      const answer = parseJson(text);
      if (status >= 200 && status <= 299 && (answer !== undefined || text === ''))
        return answer as T;
      throw toAnswerFailure({ status, answer, url, needs: options.needs });
    },
  };
}

function toUrl(server: string, { path, query = {} }: ApiRequest): URL {
  const url = new URL(`${server}${PATH_ADMIN}/${path.map(encodeURIComponent).join('/')}`);
  for (const [name, value] of Object.entries(query))
    if (value !== undefined) url.searchParams.set(name, String(value));
  return url;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function send(url: URL, { method, body }: ApiRequest, options: ApiClientOptions): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const signal = AbortSignal.timeout(options.timeoutMs);
  const text = body === undefined ? undefined : JSON.stringify(body);
  const fail = (error: NodeJS.ErrnoException) =>
    reject(toConnectionFailure({ error, url, timeoutMs: signal.aborted ? options.timeoutMs : 0 }));
  const ask = url.protocol === 'https:' ? httpsRequest : httpRequest;
  const request = ask(url, {
    method,
    signal,
    agent: false,
    headers: {
      Accept: 'application/json',
      Authorization: `Bearer ${options.credential.reveal()}`,
      ...(text !== undefined && {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
      }),
    },
    ...(url.protocol === 'https:' && {
      minVersion: 'TLSv1.2' as const,
      ...(options.ca !== undefined && { ca: options.ca }),
      ...(options.serverName !== undefined && { servername: options.serverName }),
    }),
  });
  request.on('error', fail);
  request.on('response', (response) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_ANSWER_BYTES) chunks.push(chunk);
      else request.destroy(new Error(`the answer is larger than ${MAX_ANSWER_BYTES} bytes`));
    });
    response.on('error', fail);
    response.on('end', () =>
      resolve({
        status: response.statusCode ?? 0,
        text: Buffer.concat(chunks).toString('utf8'),
      }),
    );
  });
  request.end(text);
  return promise;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
