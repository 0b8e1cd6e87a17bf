// The encoding of X.509: node-forge's ASN.1, with the keys and signatures of node:crypto (node-forge knows no EC keys,
// node:crypto issues no certificates; together they do).
import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto';
import forge from 'node-forge';

const OID_ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';
const { asn1 } = forge;
const OID_SUBJECT_KEY_IDENTIFIER = '2.5.29.14';
const OID_AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';

export function toAuthorityExtensions(keyIdentifier: string | undefined, pathLength = 0): object[] {
  return [
    { name: 'basicConstraints', cA: true, pathLenConstraint: pathLength, critical: true },
    { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ...(keyIdentifier === undefined
      ? []
      : [{ id: OID_SUBJECT_KEY_IDENTIFIER, value: asn1.toDer(octets(keyIdentifier)).getBytes() }]),
  ];
}

/** RFC 5280 §4.2.1.1 wants it in all that a CA signs, and strict verifiers (Python's default) insist. */
export function toIssuerExtensions(keyIdentifier: string | undefined): object[] {
  if (keyIdentifier === undefined) return [];
  const { CONTEXT_SPECIFIC } = asn1.Class;
  const tagged = asn1.create(CONTEXT_SPECIFIC, 0 as forge.asn1.Type, false, keyIdentifier);
  return [{ id: OID_AUTHORITY_KEY_IDENTIFIER, value: asn1.toDer(sequence([tagged])).getBytes() }];
}

/** RFC 7093 §2, method 1: 160 bits of SHA-256 over the public key. */
export function toKeyIdentifier(publicKey: KeyObject): string {
  const spki = parseDer(publicKey.export({ type: 'spki', format: 'der' }) as Buffer);
  const bits = (spki.value as forge.asn1.Asn1[])[1]?.value as string;
  const point = Buffer.from(bits.slice(1), 'binary');
  return createHash('sha256').update(point).digest().subarray(0, 20).toString('binary');
}

export interface Authority {
  readonly subject: forge.pki.CertificateField[];
  /** As its own certificate states it; bytes as characters. */
  readonly keyIdentifier: string | undefined;
}

/** What a CA's name and key are called in what it signs. @param pem its certificate */
export function readAuthority(pem: string): Authority {
  // forge cannot read an EC certificate as a whole, but its parts are plain ASN.1: tbsCertificate's sixth element is the
  // subject, the one tagged 3 has the extensions.
  const body = forge.pem.decode(pem)[0]?.body;
  if (body === undefined) throw new TypeError('the authority is no PEM certificate');
  const certificate = asn1.fromDer(body);
  const tbs = (certificate.value as forge.asn1.Asn1[])[0]?.value as forge.asn1.Asn1[];
  const subject = tbs[5] as forge.asn1.Asn1;
  // Typed as returning a list of fields; the declaration of RDNAttributesAsArray is missing from @types/node-forge.
  const { RDNAttributesAsArray } = forge.pki as unknown as {
    RDNAttributesAsArray(rdn: forge.asn1.Asn1): forge.pki.CertificateField[];
  };
  const extensions = tbs.find(
    ({ tagClass, type }) =>
      tagClass === asn1.Class.CONTEXT_SPECIFIC && type === (3 as forge.asn1.Type),
  );
  return {
    subject: RDNAttributesAsArray(subject),
    keyIdentifier: extensions && findKeyIdentifier(extensions),
  };
}

function findKeyIdentifier(extensions: forge.asn1.Asn1): string | undefined {
  const [list] = extensions.value as forge.asn1.Asn1[];
  for (const { value } of (list?.value ?? []) as forge.asn1.Asn1[]) {
    const [id, ...rest] = value as forge.asn1.Asn1[];
    if (asn1.derToOid(id?.value as string) !== OID_SUBJECT_KEY_IDENTIFIER) continue;
    return asn1.fromDer(rest.at(-1)?.value as string).value as string;
  }
  return undefined;
}

function parseDer(der: Buffer): forge.asn1.Asn1 {
  return asn1.fromDer(der.toString('binary'));
}

function octets(value: string): forge.asn1.Asn1 {
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, value);
}

export interface Build {
  subject: forge.pki.CertificateField[];
  issuer: forge.pki.CertificateField[];
  notBefore: Date;
  notAfter: Date;
  extensions: object[];
  publicKey: KeyObject;
  signingKey: KeyObject | string;
}

/** @returns PEM of the certificate, signed */
export function signCertificate(options: Build): string {
  const certificate = forge.pki.createCertificate();
  // A positive number of 127 bits: RFC 5280 §4.1.2.2 allows 20 octets and forbids negative ones.
  const serial = randomBytes(16);
  // Positive, and without a leading zero byte: that would be no DER (X.690 §8.3.2), which OpenSSL refuses.
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
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
  parts[6] = parseDer(publicKey.export({ type: 'spki', format: 'der' }) as Buffer);
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
