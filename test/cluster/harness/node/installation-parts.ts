// What an installation of the product needs beside the chart: the Secrets that docs/install.md makes with openssl, and
// values for one node.
import { generateKeyPairSync } from 'node:crypto';
import { issueAuthority, issueCertificate } from '../../../../common/certificates.ts';
import type { NodeFacts } from '../cluster.ts';

export type Part = 'webhook' | 'broker';

const DAY_MS = 24 * 60 * 60 * 1000;

export interface InstallationSecrets {
  /** PEM. */
  readonly ca: string;
  readonly manifests: readonly object[];
}

/** Certificates of webhook and broker, and the key that signs client tokens. */
export function createSecrets(options: {
  release: string;
  namespace: string;
  now: number;
}): InstallationSecrets {
  const { release, namespace, now } = options;
  const validity = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + 7 * DAY_MS) };
  const authority = issueAuthority({ commonName: 'installation', ...validity });
  const toSecret = (name: string, type: string, stringData: object) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name: `${release}-${name}` },
    type,
    stringData,
  });
  const toTls = (part: Part) => {
    const names = [`${release}-${part}.${namespace}.svc`];
    const request = { commonName: `${release}-${part}`, names, ...validity };
    const { certificate, key } = issueCertificate(request, authority);
    return toSecret(`${part}-tls`, 'kubernetes.io/tls', { 'tls.crt': certificate, 'tls.key': key });
  };
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signingKey = privateKey.export({ type: 'pkcs8', format: 'pem' });
  return {
    ca: authority.certificate,
    manifests: [
      toTls('webhook'),
      toTls('broker'),
      toSecret('signing-keys', 'Opaque', { '2026-11.pem': signingKey }),
    ],
  };
}

/** The images on the node, this cluster's issuer, and no pauses for the sake of other nodes: there are none. */
export function toUsualValues(
  node: NodeFacts,
  { ca, namespaceLabels }: { ca: string; namespaceLabels: object },
): object {
  return {
    image: toImage(node, 'coatcheck'),
    exchange: { image: toImage(node, 'coatcheck-exchange') },
    // Of our own, so that suites that are about something else start sooner (node-install is about the usual way).
    certificates: { mode: 'provided' },
    caBundle: ca,
    webhook: {
      replicas: 1,
      preStopSeconds: 0,
      namespaceSelector: { matchLabels: namespaceLabels },
    },
    broker: { preStopSeconds: 0, tokenRoles: { enabled: false }, store: { type: 'none' } },
    // Only where a suite is about deaths: it would be two more processes of each installation.
    controller: { enabled: false },
    // The cluster has room for one CRD, and for many installations; suites of its own show it (token-roles).
    crds: { install: false },
    cluster: { name: 'main', issuers: ['https://kubernetes.default.svc.cluster.local'] },
  };
}

function toImage(node: NodeFacts, name: string): object {
  const reference = node.images[name] ?? '';
  const [, repository = '', tag = ''] = /^(.*):([^:]*)$/.exec(reference) ?? [];
  return { repository, tag, pullPolicy: 'Never' };
}
