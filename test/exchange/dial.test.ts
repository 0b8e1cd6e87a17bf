// Which way a request goes, name or fallback address, with a transport in the test's hands.
import { expect } from 'chai';
import { createDialer } from '../../exchange/dial.ts';
import type { TransportRequest } from '../../exchange/transport.ts';

const URL_OF_BROKER = new URL('https://broker.example.io/oauth2/token');
const ADDRESS = { host: '192.0.2.7', port: 8443 };
const REQUEST = { headers: {}, body: '', ca: undefined, maxBytes: 1 };
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

function setup(
  fail: (request: TransportRequest) => string | undefined,
  { url = URL_OF_BROKER, fallback = ADDRESS } = {},
) {
  const ways: ('name' | 'address')[] = [];
  const dial = createDialer({
    url,
    fallback,
    tryTimeoutMs: 5_000,
    log: quiet,
    transport: async (request) => {
      ways.push(request.address ? 'address' : 'name');
      const code = fail(request);
      if (code !== undefined) throw Object.assign(new Error('failed'), { code });
      return { status: 200, header: () => undefined, body: '', isTooLong: false };
    },
  });
  const signal = new AbortController().signal;
  return { ways, dial: () => dial({ ...REQUEST, signal }) };
}

describe('the dialer', () => {
  it('goes the other way after a failure of the connection, and stays on the way that works', async () => {
    const { ways, dial } = setup(({ address }) => (address ? undefined : 'ECONNREFUSED'));
    for (let i = 0; i < 4; i++) await dial();
    expect(ways).to.deep.equal(['name', 'address', 'address', 'address']);
  });

  for (const together of [2, 3, 8]) {
    it(`goes the other way where ${together} audiences fail at the same time`, async () => {
      const { ways, dial } = setup(({ address }) => (address ? undefined : 'ETIMEDOUT'));
      const all = () => Promise.all(Array.from({ length: together }, dial));
      expect((await all()).every(({ ok }) => !ok)).to.equal(true);
      expect((await all()).every(({ ok }) => ok)).to.equal(true);
      expect(ways.slice(together)).to.deep.equal(Array<string>(together).fill('address'));
    });
  }

  for (const [url, port, expected] of [
    ['https://broker.example.io/oauth2/token', 0, 443],
    ['https://broker.example.io:8443/oauth2/token', 0, 8443],
    ['https://broker.example.io:8443/oauth2/token', 443, 443],
    ['http://localhost/oauth2/token', 0, 80],
  ] as const) {
    it(`dials port ${expected} for ${url} where the address has ${port || 'none'}`, async () => {
      const dialled: unknown[] = [];
      const { dial } = setup(
        ({ address }) => {
          if (!address) return 'ENOTFOUND';
          dialled.push(address);
          return undefined;
        },
        { url: new URL(url), fallback: { host: '192.0.2.7', port } },
      );
      expect((await dial()).ok).to.equal(true);
      expect(dialled).to.deep.equal([{ host: '192.0.2.7', port: expected }]);
    });
  }

  it('dials the address at once where the name cannot be resolved, and asks for the name again next time', async () => {
    const { ways, dial } = setup(({ address }) => (address ? undefined : 'ENOTFOUND'));
    expect((await dial()).ok).to.equal(true);
    expect((await dial()).ok).to.equal(true);
    expect(ways).to.deep.equal(['name', 'address', 'name', 'address']);
  });
});
