// Issues X.509 certificates: ECDSA P-256 by node:crypto, encoded with node-forge's ASN.1 (node-forge knows no EC keys,
// node:crypto issues no certificates; together they do). For `coatcheck dev`, tests, and the controller.
import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { isIP } from 'node:net';
import forge from 'node-forge';

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

const OID_ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const { asn1 } = forge;

/** A new self-signed CA: may sign leaves, not further CAs. */
export function issueAuthority(request: {
  commonName: string;
  notBefore: Date;
  notAfter: Date;
}): IssuedCertificate {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certificate = build({
    subject: [{ name: 'commonName', value: request.commonName }],
    issuer: [{ name: 'commonName', value: request.commonName }],
    ...request,
    extensions: [
      { name: 'basicConstraints', cA: true, pathLenConstraint: 0, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
    publicKey: createPublicKey(privateKey),
    signingKey: privateKey,
  });
  return { certificate, key: toPem(privateKey) };
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
  const certificate = build({
    subject: [...organizations, { name: 'commonName', value: request.commonName }],
    issuer: readCommonName(authority.certificate),
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
    ],
    publicKey: createPublicKey(privateKey),
    signingKey: authority.key,
  });
  return { certificate, key: toPem(privateKey) };
}

function toAltName(name: string): object {
  return isIP(name) ? { type: 7, ip: name } : { type: 2, value: name };
}

function toPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** The subject of a CA of ours: only a common name (see {@link issueAuthority}). */
function readCommonName(pem: string): forge.pki.CertificateField[] {
  // forge cannot read an EC certificate as a whole, but its subject is plain ASN.1: tbsCertificate's sixth element.
  const body = forge.pem.decode(pem)[0]?.body;
  if (body === undefined) throw new TypeError('the authority is no PEM certificate');
  const certificate = asn1.fromDer(body);
  const tbs = (certificate.value as forge.asn1.Asn1[])[0]?.value as forge.asn1.Asn1[];
  const subject = tbs[5] as forge.asn1.Asn1;
  // Typed as returning a list of fields; the declaration of RDNAttributesAsArray is missing from @types/node-forge.
  const { RDNAttributesAsArray } = forge.pki as unknown as {
    RDNAttributesAsArray(rdn: forge.asn1.Asn1): forge.pki.CertificateField[];
  };
  return RDNAttributesAsArray(subject);
}

interface Build {
  subject: forge.pki.CertificateField[];
  issuer: forge.pki.CertificateField[];
  notBefore: Date;
  notAfter: Date;
  extensions: object[];
  publicKey: KeyObject;
  signingKey: KeyObject | string;
}

function build(options: Build): string {
  const certificate = forge.pki.createCertificate();
  // A positive number of 127 bits: RFC 5280 §4.1.2.2 allows 20 octets and forbids negative ones.
  const serial = randomBytes(16);
  serial[0] = (serial[0] ?? 0) & 0x7f;
  certificate.serialNumber = serial.toString('hex');
  certificate.validity.notBefore = options.notBefore;
  certificate.validity.notAfter = options.notAfter;
  certificate.setSubject(options.subject);
  certificate.setIssuer(options.issuer);
  certificate.setExtensions(options.extensions);
  // forge asks for the algorithm and an RSA key here; both are put right in the ASN.1 below.
  Object.assign(certificate, {
    signatureOid: OID_ECDSA_WITH_SHA256,
    siginfo: { algorithmOid: OID_ECDSA_WITH_SHA256 },
  });
  const tbs = getTbs(certificate, options.publicKey);
  const signature = sign(
    'sha256',
    Buffer.from(asn1.toDer(tbs).getBytes(), 'binary'),
    options.signingKey,
  );
  const der = asn1.toDer(
    sequence([
      tbs,
      algorithm(),
      asn1.create(
        asn1.Class.UNIVERSAL,
        asn1.Type.BITSTRING,
        false,
        `\0${signature.toString('binary')}`,
      ),
    ]),
  );
  return forge.pem.encode({ type: 'CERTIFICATE', body: der.getBytes() }).replaceAll('\r\n', '\n');
}

function getTbs(certificate: forge.pki.Certificate, publicKey: KeyObject): forge.asn1.Asn1 {
  certificate.publicKey = placeholderKey();
  const { getTBSCertificate } = forge.pki as unknown as {
    getTBSCertificate(certificate: forge.pki.Certificate): forge.asn1.Asn1;
  };
  const tbs = getTBSCertificate(certificate);
  const parts = tbs.value as forge.asn1.Asn1[];
  // version, serial, signature algorithm, issuer, validity, subject, subjectPublicKeyInfo, …
  parts[2] = algorithm();
  parts[6] = asn1.fromDer(
    (publicKey.export({ type: 'spki', format: 'der' }) as Buffer).toString('binary'),
  );
  return tbs;
}

function sequence(value: forge.asn1.Asn1[]): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, value);
}

function algorithm(): forge.asn1.Asn1 {
  const oid = asn1.oidToDer(OID_ECDSA_WITH_SHA256).getBytes();
  return sequence([asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OID, false, oid)]);
}

/** getTBSCertificate insists on an RSA public key; any number will do, it is replaced at once. */
function placeholderKey(): forge.pki.rsa.PublicKey {
  const one = new forge.jsbn.BigInteger('1');
  return forge.pki.rsa.setPublicKey(one, one);
}
