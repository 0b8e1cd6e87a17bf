// The cluster's certificates and keys, as files: one CA, the API server's certificate, client certificates for an
// administrator and the controller-manager, and the RSA pair that signs ServiceAccount tokens (kubeadm's choice, too).
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import {
  type IssuedCertificate,
  issueAuthority,
  issueCertificate,
} from '../../../common/certificates.ts';

export interface ClusterPki {
  readonly caFile: string;
  readonly serverCertificateFile: string;
  readonly serverKeyFile: string;
  readonly serviceAccountPublicKeyFile: string;
  readonly serviceAccountKeyFile: string;
  readonly ca: IssuedCertificate;
  /** PEM pair of a client of the API server. */
  readonly issueClient: (
    commonName: string,
    organizations?: readonly string[],
  ) => IssuedCertificate;
  /** PEM pair of a server, signed by the same CA. */
  readonly issueServer: (names: readonly string[]) => IssuedCertificate;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Writes everything below `folder`, which must exist. `addresses` are what clients call the API server. */
export function createPki(folder: string, addresses: readonly string[], now: number): ClusterPki {
  const validity = { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + 7 * DAY_MS) };
  const ca = issueAuthority({ commonName: 'cluster-tier-ca', ...validity });
  const authority = { certificate: ca.certificate, key: ca.key };
  const server = issueCertificate(
    { commonName: 'kube-apiserver', names: addresses, ...validity },
    authority,
  );
  const serviceAccounts = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const write = (name: string, content: string) => {
    const file = path.join(folder, name);
    writeFileSync(file, content, { mode: 0o600 });
    return file;
  };
  return {
    ca,
    caFile: write('ca.crt', ca.certificate),
    serverCertificateFile: write('apiserver.crt', server.certificate),
    serverKeyFile: write('apiserver.key', server.key),
    serviceAccountPublicKeyFile: write('sa.pub', serviceAccounts.publicKey),
    serviceAccountKeyFile: write('sa.key', serviceAccounts.privateKey),
    issueClient: (commonName, organizations = []) =>
      issueCertificate(
        { commonName, organizations, names: [], usage: 'client', ...validity },
        authority,
      ),
    issueServer: (names) =>
      issueCertificate({ commonName: names[0] ?? '', names, ...validity }, authority),
  };
}
