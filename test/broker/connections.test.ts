// The bound on open connections, on real sockets: the last that fits, the first that does not, and room again.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { createConnectionLimit } from '../../broker/connections.ts';
import { parseNetworks } from '../../broker/peer.ts';

describe('open connections', () => {
  let server: Server;
  let sockets: Socket[];
  let refused: number;
  const listen = async (max: number, proxies: readonly string[] = []) => {
    server = createServer((_request, response) => response.end('ok'));
    createConnectionLimit({
      max,
      proxies: parseNetworks(proxies),
      onRefused: () => {
        refused += 1;
      },
    })(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  };
  beforeEach(() => {
    sockets = [];
    refused = 0;
  });
  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  /** Whether a request on a new connection is answered. */
  const open = async (localAddress = '127.0.0.1'): Promise<boolean> => {
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', localAddress });
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    return Promise.race([
      once(socket, 'data').then(() => true),
      once(socket, 'close').then(() => false),
    ]);
  };
  const openMany = async (count: number, from?: string) => {
    const all: boolean[] = [];
    for (let i = 0; i < count; i += 1) all.push(await open(from));
    return all;
  };

  it('of one address are half of all at most, and another one has the other half', async () => {
    await listen(6);
    expect(await openMany(4)).to.deep.equal([true, true, true, false]);
    expect(await openMany(4, '127.0.0.2')).to.deep.equal([true, true, true, false]);
    expect(await open('127.0.0.3'), 'all are taken').to.equal(false);
    expect(refused).to.equal(3);
  });
  it('make room when they end', async () => {
    await listen(2);
    expect(await openMany(2)).to.deep.equal([true, false]);
    const [first] = sockets;
    first?.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await open()).to.equal(true);
  });
  it('of a trusted proxy may be all', async () => {
    await listen(4, ['127.0.0.0/8']);
    expect(await openMany(5)).to.deep.equal([true, true, true, true, false]);
  });
  it('are not counted where there is no limit', async () => {
    await listen(0);
    expect(await openMany(4)).to.deep.equal([true, true, true, true]);
  });
});
