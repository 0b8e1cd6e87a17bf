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
  readonly serviceAccounts: KeyPairFiles;
  /** Another pair that may sign ServiceAccount tokens. */
  readonly issueServiceAccountKey: () => KeyPairFiles;
  readonly ca: IssuedCertificate;
  /** PEM pair of a client of the API server. */
  readonly issueClient: (
    commonName: string,
    organizations?: readonly string[],
  ) => IssuedCertificate;
}

export interface KeyPairFiles {
  readonly publicKeyFile: string;
  readonly keyFile: string;
}

/** What a server of the product is started with. */
export interface ServingFiles {
  /** PEM of the CA, a file and its text. */
  readonly caFile: string;
  readonly ca: string;
  readonly certificateFile: string;
  readonly keyFile: string;
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** Writes everything below `folder`, which must exist. `addresses` are what clients call the API server. */
export function createPki(folder: string, addresses: readonly string[], now: number): ClusterPki {
  const validity = toValidity(now);
  const ca = issueAuthority({ commonName: 'cluster-tier-ca', ...validity });
  const server = issueCertificate(
    { commonName: 'kube-apiserver', names: addresses, ...validity },
    ca,
  );
  const write = (name: string, content: string) => writeSecret(folder, name, content);
  let count = 0;
  const issueServiceAccountKey = () => {
    count += 1;
    const pair = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    return {
      publicKeyFile: write(`sa-${count}.pub`, pair.publicKey),
      keyFile: write(`sa-${count}.key`, pair.privateKey),
    };
  };
  return {
    ca,
    caFile: write('ca.crt', ca.certificate),
    serverCertificateFile: write('apiserver.crt', server.certificate),
    serverKeyFile: write('apiserver.key', server.key),
    serviceAccounts: issueServiceAccountKey(),
    issueServiceAccountKey,
    issueClient: (commonName, organizations = []) =>
      issueCertificate({ commonName, organizations, names: [], usage: 'client', ...validity }, ca),
  };
}

/** A CA of its own and a certificate for `names` (DNS names, IP addresses), as files below `folder`, which must exist. */
export function createServingFiles(
  folder: string,
  names: readonly string[],
  now: number,
): ServingFiles {
  const validity = toValidity(now);
  const ca = issueAuthority({ commonName: 'product-ca', ...validity });
  const server = issueCertificate({ commonName: names[0] ?? '', names, ...validity }, ca);
  return {
    ca: ca.certificate,
    caFile: writeSecret(folder, 'ca.crt', ca.certificate),
    certificateFile: writeSecret(folder, 'tls.crt', server.certificate),
    keyFile: writeSecret(folder, 'tls.key', server.key),
  };
}

function toValidity(now: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(now - DAY_MS), notAfter: new Date(now + 7 * DAY_MS) };
}

function writeSecret(folder: string, name: string, content: string): string {
  const file = path.join(folder, name);
  writeFileSync(file, content, { mode: 0o600 });
  return file;
}
