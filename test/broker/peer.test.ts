// Whose address a request has: the connection's, unless a trusted proxy says otherwise; and which addresses are one source.
import { expect } from 'chai';
import { findPeer, parseNetworks, toSource } from '../../broker/peer.ts';

const proxies = parseNetworks(['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']);
const ask = (remoteAddress: string | undefined, forwarded?: string, trusted = proxies) =>
  findPeer(
    {
      socket: { remoteAddress } as never,
      headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    },
    trusted,
  );

describe('the peer of a request', () => {
  const rows: readonly {
    title: string;
    from: string | undefined;
    forwarded?: string;
    is: string;
  }[] = [
    { title: 'who connects', from: '203.0.113.5', is: '203.0.113.5' },
    {
      title: 'an IPv4 address as such on a socket of IPv6',
      from: '::ffff:203.0.113.5',
      is: '203.0.113.5',
    },
    { title: 'an address without its zone', from: 'fe80::1%eth0', is: 'fe80::1' },
    { title: 'nobody once the connection is gone', from: undefined, is: '' },
    {
      title: 'who connects, whatever it says of others',
      from: '203.0.113.5',
      forwarded: '198.51.100.1',
      is: '203.0.113.5',
    },
    { title: 'the proxy itself, where it says nothing', from: '10.1.2.3', is: '10.1.2.3' },
    {
      title: 'whom a trusted proxy names',
      from: '10.1.2.3',
      forwarded: '198.51.100.1',
      is: '198.51.100.1',
    },
    {
      title: 'whom a trusted proxy names, on IPv6',
      from: '2001:db8::9',
      forwarded: '2001:4860::1',
      is: '2001:4860::1',
    },
    {
      title: 'whom one trusted address names',
      from: '192.0.2.7',
      forwarded: '198.51.100.1',
      is: '198.51.100.1',
    },
    {
      title: 'not whom its neighbour names',
      from: '192.0.2.8',
      forwarded: '198.51.100.1',
      is: '192.0.2.8',
    },
    {
      title: 'the last that no trusted proxy is: what stands before it is its own word',
      from: '10.1.2.3',
      forwarded: '127.0.0.1, 198.51.100.1, 10.9.9.9',
      is: '198.51.100.1',
    },
    {
      title: 'the outermost proxy, where all are trusted',
      from: '10.1.2.3',
      forwarded: '10.8.8.8, 10.9.9.9',
      is: '10.8.8.8',
    },
    {
      title: 'the proxy that was told nonsense',
      from: '10.1.2.3',
      forwarded: '198.51.100.1, unknown',
      is: '10.1.2.3',
    },
    {
      title: 'an address with a port',
      from: '10.1.2.3',
      forwarded: '198.51.100.1:4711',
      is: '198.51.100.1',
    },
    {
      title: 'an IPv6 address with a port',
      from: '10.1.2.3',
      forwarded: '[2001:4860::1]:4711',
      is: '2001:4860::1',
    },
    {
      title: 'one of the nearest of very many',
      from: '10.1.2.3',
      forwarded: Array.from({ length: 5000 }, () => '10.9.9.9').join(','),
      is: '10.9.9.9',
    },
  ];
  for (const { title, from, forwarded, is } of rows)
    it(`is ${title}`, () => expect(ask(from, forwarded)).to.equal(is));

  it('is who connects where no proxy is trusted', () => {
    expect(ask('10.1.2.3', '198.51.100.1', parseNetworks([]))).to.equal('10.1.2.3');
  });
});

describe('networks', () => {
  for (const text of [
    '10.0.0.0/33',
    '2001:db8::/129',
    '10.0.0',
    'proxy.example',
    '10.0.0.0/8/8',
    '10.0.0.0/',
    'fe80::1%eth0',
    '',
  ])
    it(`are not ${text || 'empty'}, and the place is told`, () =>
      expect(() => parseNetworks(['10.0.0.0/8', text])).to.throw(/^item 2 is no address/));
});

describe('a source', () => {
  for (const [address, source] of [
    ['203.0.113.5', '203.0.113.5'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:1:2:ffff::', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['fe80::1', 'fe80:0:0:0::/64'],
    ['1:2:3::8', '1:2:3:0::/64'],
  ] as const)
    it(`of ${address} is ${source}`, () => expect(toSource(address)).to.equal(source));
});
