// A Secret that is planned again and again, in a time that a test moves; and clients that verify what would be served.

import { X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, connect as dial } from 'node:tls';
import { type Plan, type Policy, planCertificates } from '../../../controller/certificates/plan.ts';

export const HOUR_MS = 60 * 60 * 1000;
export const DAY_MS = 24 * HOUR_MS;
export const YEAR_MS = 365 * DAY_MS;

export const POLICY: Policy = {
  name: 'coatcheck test',
  leaves: [
    { part: 'webhook', names: ['c-webhook.auth.svc'] },
    { part: 'broker', names: ['c-broker.auth.svc', 'c-broker.auth'] },
  ],
  caLifetimeMs: 10 * YEAR_MS,
  leafLifetimeMs: 90 * DAY_MS,
  publishMs: DAY_MS,
};

export interface World {
  now: number;
  policy: Policy;
  data: Record<string, string | undefined>;
  isAsked: boolean;
  isInjected: boolean;
  /** Plans once and writes what is planned, as a controller does. */
  step(): Plan;
}

export function createWorld(policy: Policy = POLICY): World {
  const world: World = {
    now: Date.parse('2026-11-23T00:00:00Z'),
    policy,
    data: {},
    isAsked: false,
    isInjected: true,
    step: () => {
      const { now, isInjected } = world;
      const moment = { now, isInjected, isRotationAsked: world.isAsked };
      const plan = planCertificates(world.data, moment, world.policy);
      world.data = { ...world.data, ...plan.data };
      if (plan.isRotationTaken) world.isAsked = false;
      return plan;
    },
  };
  return world;
}

export function kindsOf({ notes }: Plan): readonly string[] {
  return notes.map((note) => ('reason' in note ? `${note.kind}:${note.reason}` : note.kind));
}

export function splitPem(text = ''): readonly X509Certificate[] {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

/** Whether a client that trusts exactly this bundle believes this chain now. RFC 5280 §6, as far as our chains go. */
export function verifies(bundle: string, chain: string, now: number): boolean {
  const roots = splitPem(bundle);
  const [leaf, ...others] = splitPem(chain);
  if (!leaf || leaf.ca) return false;
  const isNow = (one: X509Certificate) =>
    one.validFromDate.getTime() <= now && now < one.validToDate.getTime();
  const signs = (issuer: X509Certificate, one: X509Certificate) =>
    issuer.ca && isNow(issuer) && one.checkIssued(issuer) && one.verify(issuer.publicKey);
  const reaches = (one: X509Certificate, depth: number): boolean =>
    roots.some((root) => signs(root, one)) ||
    (depth < 8 && others.some((next) => signs(next, one) && reaches(next, depth + 1)));
  return isNow(leaf) && reaches(leaf, 0);
}

/** Whether OpenSSL, as Node has it, believes the chain over a real connection. Its time is the real one. */
export async function connects(
  bundle: string,
  { chain, key, name }: { chain: string; key: string; name: string },
): Promise<boolean> {
  const server = createServer({ cert: chain, key, minVersion: 'TLSv1.2' }, (socket) =>
    socket.end(),
  );
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const isBelieved = await new Promise<boolean>((resolve) => {
    const socket = dial({ host: '127.0.0.1', port, servername: name, ca: bundle }, () => {
      resolve(socket.authorized);
      socket.destroy();
    });
    socket.on('error', () => resolve(false));
  });
  await new Promise((resolve) => server.close(resolve));
  return isBelieved;
}
