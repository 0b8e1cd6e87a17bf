// Loaded before every suite: no test may leave the machine, and an unhandled rejection fails the run.
import net from 'node:net';

const connect = net.Socket.prototype.connect;
const LOCAL = /^(127\.\d+\.\d+\.\d+|::1|localhost|::ffff:127\.\d+\.\d+\.\d+)$/;

// Cluster suites talk to addresses of the namespace they made; everything else stays on loopback.
if (process.env.COATCHECK_TEST_NETWORK !== 'namespace') {
  net.Socket.prototype.connect = function guarded(this: net.Socket, ...args: unknown[]) {
    const first = (Array.isArray(args[0]) ? args[0][0] : args[0]) as
      | { host?: string; path?: string }
      | undefined;
    const host = first?.host;
    if (host !== undefined && first?.path === undefined && !LOCAL.test(host)) {
      throw new Error(`a test tried to connect to ${host}; only loopback is allowed`);
    }
    return connect.apply(this, args as unknown as Parameters<typeof connect>);
  } as typeof connect;
}
