// One kept-alive HTTP/1.1 connection that sends a prepared request and waits for the whole answer. Written on the bare
// socket: Node's own client costs more than the servers under test, and the load has one core.
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

export interface Target {
  host: string;
  port: number;
  /** PEM of the CA for TLS; plain HTTP without. */
  ca?: string;
  /** The name to verify; the certificates of the benchmark carry it. */
  serverName?: string;
  /** Plain HTTP only. */
  localAddress?: string;
}

export interface Connection {
  /** Resolves to the status once the answer is complete. One at a time. */
  send(request: Buffer): Promise<number>;
  close(): void;
}

/** @throws Error where the connection, or its certificate, cannot be had. */
export async function openConnection(target: Target): Promise<Connection> {
  const socket = await openSocket(target);
  socket.setNoDelay(true);
  let pending: { resolve: (status: number) => void; reject: (error: Error) => void } | undefined;
  let received = '';
  const fail = (error: Error): void => {
    pending?.reject(error);
    pending = undefined;
  };
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    received += chunk;
    const status = findStatus(received);
    if (status === undefined) return;
    received = '';
    const { resolve } = pending ?? {};
    pending = undefined;
    resolve?.(status);
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('the server closed the connection')));
  return {
    send: (request) =>
      new Promise((resolve, reject) => {
        pending = { resolve, reject };
        socket.write(request);
      }),
    close: () => {
      pending = undefined;
      socket.destroy();
    },
  };
}

function openSocket({ host, port, ca, serverName, localAddress }: Target): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket =
      ca === undefined
        ? connectTcp({ host, port, ...(localAddress !== undefined && { localAddress }) }, () =>
            resolve(socket),
          )
        : connectTls({ host, port, ca, servername: serverName ?? host }, () => resolve(socket));
    socket.once('error', reject);
  });
}

/** The status of a complete answer, undefined while some of it is missing. */
export function findStatus(answer: string): number | undefined {
  const end = answer.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const head = answer.slice(0, end);
  const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
  const isComplete =
    length === undefined
      ? answer.endsWith('\r\n0\r\n\r\n')
      : answer.length >= end + 4 + Number(length);
  return isComplete ? Number(head.slice(9, 12)) : undefined;
}
