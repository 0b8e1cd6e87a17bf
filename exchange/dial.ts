// Which way a request goes: by the broker's name, or to the fallback address where the name cannot be resolved. The
// certificate must have the name of the URL either way, so no address can ever be wrong in a way that matters.
import { isIP } from 'node:net';
import type { ListenAddress } from '../common/settings.ts';
import { type Failure, toNetworkFailure } from './failure.ts';
import type { Log } from './log.ts';
import type { Transport, TransportAnswer, TransportRequest } from './transport.ts';

export interface DialerOptions {
  transport: Transport;
  url: URL;
  fallback: ListenAddress | undefined;
  tryTimeoutMs: number;
  log: Log;
}

export type Dialed = { ok: true; answer: TransportAnswer } | { ok: false; failure: Failure };
export type Dialer = (
  request: Pick<TransportRequest, 'headers' | 'body' | 'ca' | 'signal' | 'maxBytes'>,
) => Promise<Dialed>;

export function createDialer({
  transport,
  url,
  fallback,
  tryTimeoutMs,
  log,
}: DialerOptions): Dialer {
  const isName = isIP(url.hostname.replace(/^\[|\]$/g, '')) === 0;
  const address = isName && fallback ? withPort(fallback, url) : undefined;
  // A resolver that hangs, or a wildcard that leads elsewhere, looks like a broker that does not answer: after such a
  // failure the next try goes the other way.
  let isByAddress = false;
  const send = (request: Parameters<Dialer>[0], to: ListenAddress | undefined) =>
    dialOnce(transport, { ...request, url, address: to }, tryTimeoutMs);
  return async (request) => {
    const wasByAddress = isByAddress;
    const first = await send(request, wasByAddress ? address : undefined);
    if (first.ok || !address || request.signal.aborted) return first;
    if (first.failure.code !== 'dns') {
      // From how this try went: two that fail together must not turn it back.
      isByAddress = !wasByAddress;
      return first;
    }
    log.warn("the broker's name could not be resolved; dialling the fallback address", {
      host: url.hostname,
      address: address.host,
      port: address.port,
    });
    return send(request, address);
  };
}

/** The port is 0 where none was given, and then that of the URL. */
function withPort({ host, port }: ListenAddress, url: URL): ListenAddress {
  if (port !== 0) return { host, port };
  return { host, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) };
}

async function dialOnce(
  transport: Transport,
  request: TransportRequest,
  timeoutMs: number,
): Promise<Dialed> {
  const controller = new AbortController();
  let isTimeout = false;
  const abort = () => controller.abort(request.signal.reason);
  const timer = setTimeout(() => {
    isTimeout = true;
    controller.abort(new Error('timeout'));
  }, timeoutMs);
  request.signal.addEventListener('abort', abort, { once: true });
  try {
    request.signal.throwIfAborted();
    // Raced, so that the deadline holds even where a runtime would not let go of a request.
    const answer = await Promise.race([
      transport({ ...request, signal: controller.signal }),
      rejectOnAbort(controller.signal),
    ]);
    return { ok: true, answer };
  } catch (error) {
    return { ok: false, failure: toNetworkFailure(error, isTimeout || request.signal.aborted) };
  } finally {
    clearTimeout(timer);
    request.signal.removeEventListener('abort', abort);
  }
}

function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}
