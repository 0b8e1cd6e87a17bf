// Which addresses of the clusters table may be asked at all.
import { BlockList, isIP } from 'node:net';
import { isPlainUrl } from '../../common/settings.ts';

/** Whether keys and reviews may be asked at this address: a plain https URL, or http where nothing leaves the machine. */
export function isKeyUrl(text: string): boolean {
  const url = isPlainUrl(text) ? URL.parse(text) : null;
  if (!url) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname));
}

/**
 * Whether an address that a document of `base` names may be asked: a key URL on the same host and port, or on one of
 * `hosts` (`host`, or `host:port`). Where keys are fetched is the operator's choice, never the other side's.
 */
export function isAllowedAddress(
  address: string,
  { base, hosts }: { base: string; hosts: readonly string[] },
): boolean {
  if (!isKeyUrl(address)) return false;
  const [to, from] = [new URL(address), new URL(base)];
  // A document that came over TLS cannot send us to where it is not.
  if (from.protocol === 'https:' && to.protocol !== 'https:') return false;
  return to.host === from.host || hosts.includes(to.host);
}

/**
 * Whether an entry that came through the API may name this address: any key URL where the operator allows private
 * addresses, else https to a host that is not plainly in a private network. What a name leads to is seen when it is asked.
 */
export function isRegisteredUrl(
  text: string,
  { allowsPrivate }: { readonly allowsPrivate: boolean },
): boolean {
  if (!isKeyUrl(text)) return false;
  const { protocol, hostname } = new URL(text);
  const host = hostname.replace(/^\[|\]$/g, '');
  return allowsPrivate || (protocol === 'https:' && isPublicHost(host));
}

function isPublicHost(host: string): boolean {
  if (isIP(host) !== 0) return isPublicAddress(host);
  return (
    host !== 'localhost' &&
    !/\.(localhost|local|internal|svc)\.?$/.test(host) &&
    /\.[a-z]/.test(host)
  );
}

/** Whether an IP address is one of the public internet: nothing of a private network, this machine, or a cloud's metadata. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return !NOT_PUBLIC.check(address, 'ipv4');
  // Only global unicast; addresses that carry an IPv4 address within it lead to that.
  return family === 6 && GLOBAL.check(address, 'ipv6') && !NOT_PUBLIC.check(address, 'ipv6');
}

// The special-purpose registries of IANA (RFC 6890).
const NOT_PUBLIC = toBlockList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
]);
const GLOBAL = toBlockList(['2000::/3']);

function toBlockList(ranges: readonly string[]): BlockList {
  const list = new BlockList();
  for (const range of ranges) {
    const [net = '', bits = ''] = range.split('/');
    list.addSubnet(net, Number(bits), net.includes(':') ? 'ipv6' : 'ipv4');
  }
  return list;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
