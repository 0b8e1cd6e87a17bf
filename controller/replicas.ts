// Which replicas the broker has: every address behind a headless Service, asked of the DNS each time; no right in the cluster
// needed. Without such a name there is one place to tell: the host of the broker's URL, whatever stands behind it.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { ListenAddress } from '../common/settings.ts';

/** Every replica of this moment. Rejects with the system's Error where the name cannot be resolved. */
export type FindReplicas = () => Promise<readonly ListenAddress[]>;

export function createReplicaFinder(brokerUrl: string, service?: ListenAddress): FindReplicas {
  if (service) return () => resolveAll(service);
  // By name, so that each new connection is made as DNS and balancer wish at that moment.
  const target = toTarget(brokerUrl);
  return () => Promise.resolve([target]);
}

function toTarget(brokerUrl: string): ListenAddress {
  const { hostname, port, protocol } = new URL(brokerUrl);
  const usual = protocol === 'https:' ? 443 : 80;
  return { host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? usual : Number(port) };
}

async function resolveAll({ host, port }: ListenAddress): Promise<readonly ListenAddress[]> {
  if (isIP(host) !== 0) return [{ host, port }];
  // By the system's resolver: Service names need its search domains.
  const found = await lookup(host, { all: true });
  return [...new Set(found.map(({ address }) => address))].map((address) => ({
    host: address,
    port,
  }));
}
