// Issues X.509 certificates with ECDSA P-256: authorities, leaves, and an authority's name and key signed by another one.
// For `coatcheck dev`, tests, and the controller.
import { createPublicKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import {
  readAuthority,
  signCertificate,
  toAuthorityExtensions,
  toIssuerExtensions,
  toKeyIdentifier,
} from './x509.ts';

export interface IssuedCertificate {
  /** PEM. */
  readonly certificate: string;
  /** PKCS#8 PEM. */
  readonly key: string;
}

export interface CertificateRequest {
  commonName: string;
  /** DNS names and IP addresses. */
  names: readonly string[];
  notBefore: Date;
  notAfter: Date;
  usage?: 'server' | 'client';
  /** Subject organisations; Kubernetes reads groups from them. */
  organizations?: readonly string[];
}

export interface AuthorityRequest {
  commonName: string;
  notBefore: Date;
  notAfter: Date;
  /** How many further CAs may stand between it and a leaf; 0, none, unless set. */
  pathLength?: number;
}

/** A new self-signed CA. */
export function issueAuthority(request: AuthorityRequest): IssuedCertificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const publicKey = createPublicKey(privateKey);
  const certificate = signCertificate({
    subject: [{ name: 'commonName', value: request.commonName }],
    issuer: [{ name: 'commonName', value: request.commonName }],
    ...request,
    extensions: toAuthorityExtensions(toKeyIdentifier(publicKey), request.pathLength),
    publicKey,
    signingKey: privateKey,
  });
  return { certificate, key: toPem(privateKey) };
}

/**
 * The key and the name of one CA, signed by another: whoever trusts `signer` alone verifies with it what `authority` signed.
 * @returns PEM
 */
export function crossSign(
  authority: string,
  signer: { certificate: string; key: KeyObject | string },
  request: { notBefore: Date; notAfter: Date; pathLength: number },
): string {
  const subject = readAuthority(authority);
  const issuer = readAuthority(signer.certificate);
  return signCertificate({
    subject: subject.subject,
    issuer: issuer.subject,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    extensions: [
      ...toAuthorityExtensions(subject.keyIdentifier, request.pathLength),
      ...toIssuerExtensions(issuer.keyIdentifier),
    ],
    publicKey: new X509Certificate(authority).publicKey,
    signingKey: signer.key,
  });
}

/** A leaf for `request.names`, signed by `authority`. */
export function issueCertificate(
  request: CertificateRequest,
  authority: { certificate: string; key: KeyObject | string },
): IssuedCertificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const organizations = (request.organizations ?? []).map((value) => ({
    name: 'organizationName',
    value,
  }));
  const issuer = readAuthority(authority.certificate);
  const certificate = signCertificate({
    subject: [...organizations, { name: 'commonName', value: request.commonName }],
    issuer: issuer.subject,
    notBefore: request.notBefore,
    notAfter: request.notAfter,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      {
        name: 'extKeyUsage',
        serverAuth: request.usage !== 'client',
        clientAuth: request.usage === 'client',
      },
      ...(request.names.length > 0
        ? [{ name: 'subjectAltName', altNames: request.names.map(toAltName) }]
        : []),
      ...toIssuerExtensions(issuer.keyIdentifier),
    ],
    publicKey: createPublicKey(privateKey),
    signingKey: authority.key,
  });
  return { certificate, key: toPem(privateKey) };
}

function toAltName(name: string): object {
  if (isIP(name) === 0) return { type: 2, value: name };
  // Written out as URLs have it: node-forge makes 14 bytes of an address whose `::` stands for one group.
  const ip = isIP(name) === 6 ? new URL(`http://[${name}]`).hostname.slice(1, -1) : name;
  return { type: 7, ip };
}

function toPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}
