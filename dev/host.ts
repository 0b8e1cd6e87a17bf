// The check of the Host header on the dev server. Without it any web page could have its own name resolve to 127.0.0.1
// and talk to this server as to its own origin (DNS rebinding); a browser always sends the name it believes in.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import type { ListenAddress } from '../common/settings.ts';

const LOOPBACK_V4 = /^127(\.\d{1,3}){3}$/;

/** Whether a listen address can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || LOOPBACK_V4.test(host);
}

/**
 * Whether a Host header names this server: a loopback name, or the address it listens on. On all addresses of the
 * machine (`0.0.0.0`, `::`) any IP address will do: rebinding needs a name.
 */
export function isOwnHost(header: string | undefined, listen: ListenAddress): boolean {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec(header ?? '');
  const host = (match?.[1] ?? match?.[2] ?? '').toLowerCase();
  if (host === '') return false;
  if (isLoopback(host) || host === listen.host.toLowerCase()) return true;
  return ['0.0.0.0', '::'].includes(listen.host) && isIP(host) !== 0;
}

/** Lets requests through whose Host is this server; the rest get 421 (RFC 9110 §15.5.20) and nothing is done. */
export function withHostCheck(listen: ListenAddress, next: RequestListener): RequestListener {
  return (request: IncomingMessage, response: ServerResponse & { req: IncomingMessage }) => {
    if (isOwnHost(request.headers.host, listen)) return next(request, response);
    request.resume();
    const body = `${JSON.stringify({
      error: 'misdirected_request',
      error_description: 'coatcheck dev answers to localhost and to its listen address only',
    })}\n`;
    response.writeHead(421, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
    });
    response.end(body);
  };
}
