// Signing keys as the rest of the broker sees them, whatever keeps them: a folder today (key-folder.ts), the encrypted
// store later. A key knows its algorithm, its name (RFC 7638) and its public half; only the signer sees the private one.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';

export const SIGNING_ALGORITHMS = ['ES256', 'RS256', 'EdDSA'] as const;
export type SigningAlgorithm = (typeof SIGNING_ALGORITHMS)[number];

/** What stands in the JWKS (RFC 7517): public members only. */
export interface PublicJwk {
  readonly kty: string;
  readonly kid: string;
  readonly alg: SigningAlgorithm;
  readonly use: 'sig';
  readonly [member: string]: string;
}

export interface SigningKey {
  /** RFC 7638 thumbprint, SHA-256, base64url. */
  readonly kid: string;
  readonly algorithm: SigningAlgorithm;
  readonly privateKey: KeyObject;
  readonly publicJwk: PublicJwk;
}

/** All keys of one moment. The object is replaced, never changed: whoever holds it may cache by its identity. */
export interface KeySet {
  /** The key that signs now; it is one of {@link published}. */
  readonly signing: SigningKey;
  /** Every key that receivers must know: those that sign, will sign, or have signed tokens that still live. */
  readonly published: readonly SigningKey[];
}

export interface KeySource {
  /** @throws Error where no key has been loaded; a started broker always has one. */
  current(): KeySet;
}

const MIN_RSA_BITS = 2048;

/**
 * Reads a private key from PEM (PKCS#8, SEC 1, PKCS#1) or from a JWK.
 * @throws Error that says what is allowed, and nothing of the content.
 */
export function parseSigningKey(text: string): SigningKey {
  const key = toSigningKey(parsePrivateKey(text.trim()));
  checkHalves(key);
  return key;
}

/** A JWK states its public half beside the private one, and OpenSSL believes it: every token would be refused. */
function checkHalves({ privateKey, algorithm }: SigningKey): void {
  const hash = algorithm === 'EdDSA' ? null : 'sha256';
  const probe = Buffer.from('probe');
  if (!verify(hash, probe, createPublicKey(privateKey), sign(hash, probe, privateKey)))
    throw new Error('must hold a private key and the public key that belongs to it');
}

function parsePrivateKey(text: string): KeyObject {
  // The messages of OpenSSL and of the JSON parser may quote what they read; ours may not, so the cause is left out.
  try {
    if (text.startsWith('{'))
      return createPrivateKey({ key: JSON.parse(text) as JsonWebKey, format: 'jwk' });
    return createPrivateKey(text);
  } catch {
    throw new Error('must hold one unencrypted private key, as PEM or as JWK');
  }
}

/** @throws Error where the key is of a kind that no algorithm of ours uses. */
export function toSigningKey(privateKey: KeyObject): SigningKey {
  const algorithm = toAlgorithm(privateKey);
  const { d, p, q, dp, dq, qi, ...members } = createPublicKey(privateKey).export({
    format: 'jwk',
  }) as Record<string, string>;
  const kid = toThumbprint(members);
  return {
    kid,
    algorithm,
    privateKey,
    publicJwk: { kty: members.kty ?? '', ...members, kid, alg: algorithm, use: 'sig' },
  };
}

function toAlgorithm(key: KeyObject): SigningAlgorithm {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256';
  if (type === 'ed25519') return 'EdDSA';
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= MIN_RSA_BITS) return 'RS256';
  throw new Error(
    `must be an EC key on P-256, an Ed25519 key, or an RSA key of at least ${MIN_RSA_BITS} bits`,
  );
}

/** RFC 7638 §3: the required members alone, in lexical order, without blanks. */
function toThumbprint(jwk: Record<string, string>): string {
  const required: Record<string, readonly string[]> = {
    EC: ['crv', 'kty', 'x', 'y'],
    OKP: ['crv', 'kty', 'x'],
    RSA: ['e', 'kty', 'n'],
  };
  const names = required[jwk.kty ?? ''] ?? [];
  const canonical = JSON.stringify(Object.fromEntries(names.map((name) => [name, jwk[name]])));
  return createHash('sha256').update(canonical).digest('base64url');
}

/** A new key in memory, for `coatcheck dev` and tests. */
export function generateSigningKey(algorithm: SigningAlgorithm = 'ES256'): SigningKey {
  if (algorithm === 'RS256')
    return toSigningKey(generateKeyPairSync('rsa', { modulusLength: MIN_RSA_BITS }).privateKey);
  if (algorithm === 'EdDSA') return toSigningKey(generateKeyPairSync('ed25519').privateKey);
  return toSigningKey(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey);
}

/** Keys that never change: `coatcheck dev` and tests. The first one signs. */
export function fixedKeys(...keys: readonly [SigningKey, ...SigningKey[]]): KeySource {
  const set: KeySet = { signing: keys[0], published: keys };
  return { current: () => set };
}
