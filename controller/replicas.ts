// Which replicas the broker has: every address behind one name, asked of the DNS each time; no right in the cluster needed.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { ListenAddress } from '../common/settings.ts';

/** Where to look: the headless Service where there is one, else whatever the broker's URL leads to. */
export function toReplicaName(brokerUrl: string, service?: ListenAddress): ListenAddress {
  if (service) return service;
  const { hostname, port, protocol } = new URL(brokerUrl);
  const usual = protocol === 'https:' ? 443 : 80;
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? usual : Number(port) };
}

/** @throws Error of the system where the name cannot be resolved */
export async function findReplicas({
  host,
  port,
}: ListenAddress): Promise<readonly ListenAddress[]> {
  if (isIP(host) !== 0) return [{ host, port }];
  // By the system's resolver: Service names need its search domains.
  const found = await lookup(host, { all: true });
  return [...new Set(found.map(({ address }) => address))].map((address) => ({
    host: address,
    port,
  }));
}
