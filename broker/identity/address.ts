// Which addresses of the clusters table may be asked at all.
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

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}
