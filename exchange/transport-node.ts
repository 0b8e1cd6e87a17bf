// The transport on Node: node:https, because fetch there costs 60 ms more at the start of a process.
import type { IncomingMessage } from 'node:http';
import type { RequestOptions } from 'node:https';
import type { TransportAnswer, TransportRequest } from './transport.ts';

/** See Transport. */
export async function postByHttps(request: TransportRequest): Promise<TransportAnswer> {
  const { url, address } = request;
  const { request: send } =
    url.protocol === 'https:' ? await import('node:https') : await import('node:http');
  const options: RequestOptions = {
    method: 'POST',
    headers: {
      ...request.headers,
      Host: url.host,
      'Content-Length': Buffer.byteLength(request.body),
    },
    // An agent of its own: no kept connection that an older CA verified, and no proxy from the environment.
    agent: false,
    signal: request.signal,
    minVersion: 'TLSv1.2',
    // Said aloud because NODE_TLS_REJECT_UNAUTHORIZED=0 would otherwise decide it.
    rejectUnauthorized: true,
    ...(request.ca !== undefined && { ca: request.ca }),
    // tls verifies the certificate against `servername` where there is one, not against the address dialled.
    ...(address && { hostname: address.host, port: address.port, servername: url.hostname }),
  };
  return new Promise((resolve, reject) => {
    const outgoing = send(url, options, (response) => {
      read(response, request.maxBytes).then(resolve, reject);
    });
    // Not once: a second error (reset, then aborted) without a listener would end the process.
    outgoing.on('error', reject);
    outgoing.end(request.body);
  });
}

async function read(response: IncomingMessage, maxBytes: number): Promise<TransportAnswer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) break;
    chunks.push(chunk);
  }
  const header = (name: string) => {
    const value = response.headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  return {
    status: response.statusCode ?? 0,
    header,
    body: Buffer.concat(chunks).toString('utf8'),
    isTooLong: length > maxBytes,
  };
}
