// How many connections are open at once: each takes memory before anybody has proved anything, with TLS some 50 KiB. One
// address has half of them at most, so that it cannot keep the others out.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { findPeer, type Networks, toSource } from './peer.ts';

export interface ConnectionLimits {
  /** Of all listeners together; 0: no limit. */
  readonly max: number;
  /** They connect for many others. */
  readonly proxies?: Networks | undefined;
  readonly onRefused: () => void;
}

/** @returns what watches a listener; whoever comes beyond the limit is hung up on before a handshake */
export function createConnectionLimit(limits: ConnectionLimits): (server: Server) => void {
  const { max, proxies, onRefused } = limits;
  const maxPerSource = Math.max(1, Math.floor(max / 2));
  const open = new Map<string, number>();
  let total = 0;

  function add(source: string, change: 1 | -1): void {
    const count = (open.get(source) ?? 0) + change;
    total += change;
    if (count === 0) open.delete(source);
    else open.set(source, count);
  }

  function onConnection(socket: Socket): void {
    const address = findPeer({ socket, headers: {} }, undefined);
    const source = toSource(address);
    const isProxy = proxies?.has(address) ?? false;
    if (total >= max || (!isProxy && (open.get(source) ?? 0) >= maxPerSource)) {
      onRefused();
      socket.destroy();
      return;
    }
    add(source, 1);
    socket.once('close', () => add(source, -1));
  }

  return (server) => {
    if (max > 0) server.on('connection', onConnection);
  };
}
