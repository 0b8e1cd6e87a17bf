// Requests over kept-alive connections, cheap enough to load two brokers from a test. What cannot be answered (the process
// was killed, the port is closed) is `undefined`, never an exception: in these suites it is what is waited for.
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http';

export interface Answer {
  readonly status: number;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
  readonly headers: IncomingHttpHeaders;
}

export interface Send {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  readonly headers?: OutgoingHttpHeaders;
  readonly form?: Readonly<Record<string, string>>;
  readonly json?: unknown;
}

export interface Connections {
  /** Undefined where no whole answer came. */
  send(what: Send): Promise<Answer | undefined>;
  close(): void;
}

/** @param localAddress where the requests come from */
export function openConnections(url: string, localAddress?: string): Connections {
  const agent = new Agent({ keepAlive: true, ...(localAddress !== undefined && { localAddress }) });
  const { hostname: host, port } = new URL(url);
  return {
    close: () => agent.destroy(),
    send: ({ method = 'POST', path, headers = {}, form, json }) =>
      new Promise((resolve) => {
        const body = toBody(form, json);
        const sent = request({
          agent,
          host,
          port,
          method,
          path,
          headers: {
            ...(form && { 'Content-Type': 'application/x-www-form-urlencoded' }),
            ...(json !== undefined && { 'Content-Type': 'application/json' }),
            ...(body !== undefined && { 'Content-Length': Buffer.byteLength(body) }),
            ...headers,
          },
        });
        sent.on('error', () => resolve(undefined));
        sent.on('response', (response) => {
          let text = '';
          response.setEncoding('utf8').on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('error', () => resolve(undefined));
          response.on('close', () =>
            resolve(
              response.complete
                ? {
                    status: response.statusCode ?? 0,
                    text,
                    body: toObject(text),
                    headers: response.headers,
                  }
                : undefined,
            ),
          );
        });
        sent.end(body);
      }),
  };
}

function toBody(form: Send['form'], json: unknown): string | undefined {
  if (form) return new URLSearchParams(form).toString();
  return json === undefined ? undefined : JSON.stringify(json);
}

function toObject(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
