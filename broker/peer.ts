// Who is at the other end of a request: the address of the connection, or what a proxy that the operator trusts says
// stands before it (X-Forwarded-For). Nobody else's word about addresses counts.
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP } from 'node:net';

/** Networks by which the operator names proxies (and other peers). */
export interface Networks {
  has(address: string): boolean;
}

/** Entries of X-Forwarded-For that are looked at: chains of proxies are short. */
const MAX_HOPS = 16;

/**
 * @param texts addresses, or networks as `10.0.0.0/8`
 * @throws Error that names the place of the first that is neither
 */
export function parseNetworks(texts: readonly string[]): Networks {
  const list = new BlockList();
  texts.forEach((text, index) => {
    const [address = '', prefix, ...rest] = text.split('/');
    const version = isIP(address);
    const widest = version === 4 ? 32 : 128;
    const bits = prefix === undefined ? widest : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
    if (version === 0 || rest.length > 0 || bits < 0 || bits > widest || address.includes('%'))
      throw new Error(`item ${index + 1} is no address and no network such as 10.0.0.0/8`);
    list.addSubnet(address, bits, version === 4 ? 'ipv4' : 'ipv6');
  });
  return {
    has: (address) => list.check(address, address.includes(':') ? 'ipv6' : 'ipv4'),
  };
}

/** The address that asks; IPv4 as such also where the socket is IPv6. Empty where the connection is gone. */
export function findPeer(
  { socket, headers }: Pick<IncomingMessage, 'socket' | 'headers'>,
  proxies: Networks | undefined,
): string {
  let peer = toPlainAddress(socket.remoteAddress ?? '');
  if (!proxies || peer === '' || !proxies.has(peer)) return peer;
  // Node joins repeated headers in their order; each proxy appends, so the last is what the nearest one saw.
  const hops = String(headers['x-forwarded-for'] ?? '').split(',');
  for (const hop of hops.slice(-MAX_HOPS).reverse()) {
    const address = toPlainAddress(withoutPort(hop.trim()));
    if (isIP(address) === 0) return peer;
    peer = address;
    if (!proxies.has(peer)) return peer;
  }
  return peer;
}

/** What is counted together: an IPv4 address, or the /64 of an IPv6 one, in which anybody has as many as they like. */
export function toSource(address: string): string {
  if (!address.includes(':')) return address;
  const [head = '', tail] = address.split('::');
  const groups = head.split(':').filter((group) => group !== '');
  const last = (tail ?? '').split(':').filter((group) => group !== '');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - groups.length - last.length);
  const all = [...groups, ...Array.from({ length: zeros }, () => '0'), ...last];
  const network = all.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16));
  return `${network.join(':')}::/64`;
}

/** `::ffff:10.0.0.1` is 10.0.0.1; the zone of a link-local address says nothing to others. */
function toPlainAddress(address: string): string {
  const [plain = ''] = address.split('%', 1);
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain);
  return mapped?.[1] ?? plain;
}

/** Some proxies write `192.0.2.1:4711` or `[2001:db8::1]:4711`. */
function withoutPort(text: string): string {
  const [, v6, v4] =
    /^(?:\[([0-9A-Fa-f:.]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)$/.exec(text) ?? [];
  return v6 ?? v4 ?? text;
}
