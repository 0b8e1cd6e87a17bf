// A way to a server that can be cut: TCP passed on until `cut`, when every connection breaks and no new one is taken.

import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

export interface Proxy {
  /** The given URL by way of the proxy. */
  readonly url: string;
  cut(): Promise<void>;
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** @param target a URL with host and port */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname: host, port } = new URL(target);
  const open = new Set<Socket>();
  let server: Server | undefined;
  let ownPort = 0;

  async function listen(): Promise<void> {
    const next = createServer((near) => {
      const far = connect({ host, port: Number(port) });
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        open.add(one);
        one.setNoDelay(true);
        one.on('error', () => undefined);
        one.on('close', () => {
          open.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    await new Promise<void>((resolve) => next.listen(ownPort, '127.0.0.1', resolve));
    ownPort = (next.address() as AddressInfo).port;
    server = next;
  }

  async function cut(): Promise<void> {
    const closing = server;
    server = undefined;
    for (const one of open) one.resetAndDestroy();
    if (closing) await new Promise((resolve) => closing.close(resolve));
  }

  await listen();
  const url = new URL(target);
  url.port = String(ownPort);
  return { url: url.href, cut, restore: listen, close: cut };
}
