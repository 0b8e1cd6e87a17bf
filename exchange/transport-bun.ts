// The transport on Bun: its fetch, which is native and ready at the start. Bun takes a lot from the environment by
// itself; every such door is closed here by name, and test/exchange knocks on each.
import type { TransportAnswer, TransportRequest } from './transport.ts';

/** Bun's additions to RequestInit that are used here; its own type package would change the types of all of Node. */
interface BunRequestInit extends RequestInit {
  tls: { ca?: string; serverName?: string; rejectUnauthorized: boolean; minVersion: number };
  proxy: false;
  verbose: false;
  decompress: false;
}

const TLS_1_2 = 0x0303;

/** See Transport. */
export async function postByFetch(request: TransportRequest): Promise<TransportAnswer> {
  const { url, address } = request;
  const target = new URL(url);
  if (address) {
    target.hostname = address.host.includes(':') ? `[${address.host}]` : address.host;
    target.port = String(address.port);
  }
  const init: BunRequestInit = {
    method: 'POST',
    headers: { ...request.headers, Host: url.host, 'Accept-Encoding': 'identity' },
    body: request.body,
    redirect: 'manual',
    signal: request.signal,
    // A kept connection would have been verified by an older CA.
    keepalive: false,
    decompress: false,
    // HTTPS_PROXY must not choose where the token goes.
    proxy: false,
    // BUN_CONFIG_VERBOSE_FETCH would print the request, token included.
    verbose: false,
    tls: {
      minVersion: TLS_1_2,
      // Said aloud because NODE_TLS_REJECT_UNAUTHORIZED=0 would otherwise decide it.
      rejectUnauthorized: true,
      ...(request.ca !== undefined && { ca: request.ca }),
      // Both sent as SNI and what the certificate is verified against.
      ...(address && { serverName: url.hostname }),
    },
  };
  const response = await fetch(target, init);
  const { body, isTooLong } = await read(response, request.maxBytes);
  return {
    status: response.status,
    header: (name) => response.headers.get(name) ?? undefined,
    body,
    isTooLong,
  };
}

async function read(
  response: Response,
  maxBytes: number,
): Promise<{ body: string; isTooLong: boolean }> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > maxBytes) {
      await reader.cancel();
      return { body: '', isTooLong: true };
    }
    chunks.push(value);
  }
  return { body: Buffer.concat(chunks).toString('utf8'), isTooLong: false };
}
