// What a suite may ask of the harness that started its cluster: one line of HTTP over a Unix socket in the work folder.
// Only what no API of Kubernetes can do to itself.
import { createServer, request, type Server } from 'node:http';
import path from 'node:path';

/** What the harness does on demand. */
export interface Control {
  /** Restarts the API server with a new key for ServiceAccount tokens; old tokens stay valid. */
  rotateSigningKey(): Promise<void>;
  /** Restarts the API server with the newest key alone: tokens of the others are not good any more. */
  dropOldSigningKeys(): Promise<void>;
  /** Away for some seconds, then the same again. */
  restartApiServer(): Promise<void>;
  /** One more cluster, see second.ts; where it runs already nothing happens. Not everywhere. */
  startSecondCluster?(): Promise<void>;
}

type Order = keyof Control;

const ORDERS: readonly Order[] = [
  'rotateSigningKey',
  'dropOldSigningKeys',
  'restartApiServer',
  'startSecondCluster',
];

export function toControlSocket(workFolder: string): string {
  // Relative: a Unix socket's path holds 108 characters.
  return path.relative(process.cwd(), path.join(workFolder, 'control.sock'));
}

/** Listens until the process ends. */
export function serveControl(control: Control, socket: string): Promise<Server> {
  const server = createServer((incoming, answer) => {
    const order = ORDERS.find((one) => incoming.url === `/${one}`);
    const obey = order && control[order];
    (obey ? obey() : Promise.reject(new Error('no such order here'))).then(
      () => answer.writeHead(204).end(),
      (error: Error) => answer.writeHead(500).end(error.message),
    );
  });
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socket, () => resolve(server));
  });
}

/** Resolves when it is done. @throws Error with the harness's words. */
export function sendOrder(order: Order, socket: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath: socket, method: 'POST', path: `/${order}` }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      answer.once('error', reject);
      answer.once('end', () =>
        answer.statusCode === 204 ? resolve() : reject(new Error(`${order}: ${text}`)),
      );
    });
    sent.once('error', reject);
    sent.end();
  });
}
