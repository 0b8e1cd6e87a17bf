// Public keys that may have signed a subject token: read from a JWKS (RFC 7517), each bound to the algorithms it may
// be used with, and checked with node:crypto (docs/decisions/0004). A key decides the algorithm's family, the token
// never does.
import {
  constants,
  createHash,
  createPublicKey,
  createVerify,
  type KeyObject,
  verify,
} from 'node:crypto';

export const SIGNING_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

export interface VerificationKey {
  readonly kid: string | undefined;
  readonly algorithms: readonly SigningAlgorithm[];
  /** SHA-256 of the SubjectPublicKeyInfo: the same key has the same one, whatever its kid. */
  readonly thumbprint: string;
  readonly key: KeyObject;
}

export interface ParsedKeys {
  readonly keys: readonly VerificationKey[];
  /** Members of the set that are not used, and why; names no key material. */
  readonly ignored: readonly string[];
}

export const MAX_KID_LENGTH = 256;
const MAX_KEYS = 100;
// Below 2048 bits RSA is weak; above 8192 one verification takes a millisecond, which is a lever for floods.
const RSA_BITS = { min: 2048, max: 8192 } as const;
const RSA_ALGORITHMS: readonly SigningAlgorithm[] = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
];
const CURVES: Readonly<Record<string, SigningAlgorithm>> = {
  'P-256': 'ES256',
  'P-384': 'ES384',
  'P-521': 'ES512',
  Ed25519: 'EdDSA',
};
// Private members of RFC 7518 §6: a published private key is nobody's proof any more.
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/**
 * Reads a JWK Set. Keys that cannot have signed a token are ignored, each with a reason.
 * @throws Error if the text is not a JWK Set at all; the message quotes nothing of it.
 */
export function parseJwks(text: string): ParsedKeys {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error('the key set is not JSON');
  }
  const members = isObject(document) ? document.keys : undefined;
  if (!Array.isArray(members)) throw new Error('the key set has no list "keys"');
  if (members.length > MAX_KEYS) throw new Error(`the key set has more than ${MAX_KEYS} keys`);
  const keys = new Map<string, VerificationKey>();
  const ignored: string[] = [];
  members.forEach((member: unknown, index) => {
    const parsed = parseKey(member);
    if (typeof parsed === 'string') ignored.push(`keys[${index}]: ${parsed}`);
    else keys.set(`${parsed.thumbprint} ${parsed.kid ?? ''}`, parsed);
  });
  return { keys: [...keys.values()], ignored };
}

/** The key, or why it is not used; the reason quotes nothing of it. */
export function parseKey(jwk: unknown): VerificationKey | string {
  if (!isObject(jwk)) return 'is not an object';
  const misuse = findMisuse(jwk);
  if (misuse !== undefined) return misuse;
  const family = toFamily(jwk);
  if (family.length === 0) return 'has a type that signs no token';
  const algorithms = jwk.alg === undefined ? family : family.filter((one) => one === jwk.alg);
  if (algorithms.length === 0) return 'its alg does not fit its type';
  const key = findPublicKey(jwk);
  if (!key) return 'is not a valid public key';
  const bits = key.asymmetricKeyDetails?.modulusLength ?? RSA_BITS.min;
  if (bits < RSA_BITS.min || bits > RSA_BITS.max) {
    return `its modulus is not between ${RSA_BITS.min} and ${RSA_BITS.max} bits`;
  }
  const der = key.export({ type: 'spki', format: 'der' });
  const thumbprint = createHash('sha256').update(der).digest('hex');
  return { kid: jwk.kid as string | undefined, algorithms, thumbprint, key };
}

function findMisuse({
  kid,
  use,
  key_ops: uses,
  ...rest
}: Record<string, unknown>): string | undefined {
  if (kid !== undefined && (typeof kid !== 'string' || kid.length > MAX_KID_LENGTH)) {
    return 'its kid is not a short text';
  }
  if (PRIVATE_MEMBERS.some((name) => name in rest))
    return 'holds private or symmetric key material';
  if (use !== undefined && use !== 'sig') return 'is not for signatures';
  const isForVerification = uses === undefined || (Array.isArray(uses) && uses.includes('verify'));
  return isForVerification ? undefined : 'is not for verification';
}

function toFamily(jwk: Record<string, unknown>): readonly SigningAlgorithm[] {
  if (jwk.kty === 'RSA') return RSA_ALGORITHMS;
  const isCurve = jwk.kty === 'EC' || jwk.kty === 'OKP';
  const algorithm = isCurve && typeof jwk.crv === 'string' ? CURVES[jwk.crv] : undefined;
  const fits = algorithm !== undefined && (algorithm === 'EdDSA') === (jwk.kty === 'OKP');
  return fits ? [algorithm] : [];
}

function findPublicKey(jwk: Record<string, unknown>): KeyObject | undefined {
  try {
    return createPublicKey({ key: jwk as never, format: 'jwk' });
  } catch {
    return undefined;
  }
}

// RFC 7518 §3.4 and RFC 8032: r and s side by side. Node throws for other lengths instead of saying no.
const SIGNATURE_BYTES: Readonly<Partial<Record<SigningAlgorithm, number>>> = {
  ES256: 64,
  ES384: 96,
  ES512: 132,
  EdDSA: 64,
};
// RFC 7518 §3.5: the salt is as long as the hash.
const PSS = {
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
};

/** Whether `signature` is `key`'s over the signing input (RFC 7515 §5.2), by `algorithm`, which must be the key's. */
export function isSignedBy(
  { key }: VerificationKey,
  algorithm: SigningAlgorithm,
  { input, signature }: { input: string; signature: Buffer },
): boolean {
  const bytes = SIGNATURE_BYTES[algorithm];
  if (bytes !== undefined && signature.length !== bytes) return false;
  if (algorithm === 'EdDSA') return verify(null, Buffer.from(input), key, signature);
  // RFC 8017 §8.1.2 and §8.2.2: as long as the modulus. OpenSSL lets PSS do without a leading zero.
  const modulusBits = key.asymmetricKeyDetails?.modulusLength;
  if (modulusBits !== undefined && signature.length !== Math.ceil(modulusBits / 8)) return false;
  const verifier = createVerify(`sha${algorithm.slice(2)}`).update(input);
  // The key alone: an object around it costs Node 17 µs, half as much as RSA itself.
  if (algorithm.startsWith('RS')) return verifier.verify(key, signature);
  if (algorithm.startsWith('PS')) return verifier.verify({ key, ...PSS }, signature);
  return verifier.verify({ key, dsaEncoding: 'ieee-p1363' }, signature);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
