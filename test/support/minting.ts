// Tokens as a cluster signs them, and as nobody should: every part of a minted token can be replaced. Each token is
// noted for the leak scan.
import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto';
import { noteToken } from './tokens.ts';

export type Claims = Readonly<Record<string, unknown>>;
export type Algorithm = 'RS256' | 'RS384' | 'PS256' | 'ES256' | 'ES384' | 'ES512' | 'EdDSA';

export interface SigningKey {
  readonly kid: string;
  readonly alg: Algorithm;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** As it stands in a JWKS. */
  readonly jwk: Readonly<Record<string, unknown>>;
}

/** A new key pair. RS256 takes a tenth of a second, ES256 none. */
export function createSigningKey(alg: Algorithm = 'RS256', kid: string = randomUUID()): SigningKey {
  const { privateKey, publicKey } = generatePair(alg);
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
  return { kid, alg, privateKey, publicKey, jwk };
}

function generatePair(alg: Algorithm): { privateKey: KeyObject; publicKey: KeyObject } {
  if (alg === 'EdDSA') return generateKeyPairSync('ed25519');
  if (!alg.startsWith('ES')) return generateKeyPairSync('rsa', { modulusLength: 2048 });
  const curves: Readonly<Record<string, string>> = {
    ES256: 'P-256',
    ES384: 'P-384',
    ES512: 'P-521',
  };
  return generateKeyPairSync('ec', { namedCurve: curves[alg] ?? 'P-256' });
}

export interface MintOptions {
  key: SigningKey;
  /** An object, or the payload's exact text. */
  claims: Claims | string;
  /** Over `{ alg, kid }` of the key; `undefined` takes a parameter away. Or the header's exact text. */
  header?: Claims | string;
  /** Makes the signature instead of the key. */
  sign?: (input: string) => Buffer;
  /** The last word on the segments; they are joined by dots. */
  edit?: (segments: readonly [string, string, string]) => readonly string[];
}

/** Makes a compact JWS of whatever it is given. */
export function mint({
  key,
  claims,
  header = {},
  sign: signWith,
  edit = (segments) => segments,
}: MintOptions): string {
  const head =
    typeof header === 'string' ? header : JSON.stringify({ alg: key.alg, kid: key.kid, ...header });
  const payload = typeof claims === 'string' ? claims : JSON.stringify(claims);
  const input = `${encode(head)}.${encode(payload)}`;
  const signature = signWith ? signWith(input) : signInput(key, input);
  const [first = '', second = ''] = input.split('.');
  return noteToken(edit([first, second, encode(signature)]).join('.'));
}

/** The signature of RFC 7518 over a signing input. */
export function signInput({ alg, privateKey }: SigningKey, input: string): Buffer {
  const data = Buffer.from(input);
  if (alg === 'EdDSA') return sign(null, data, privateKey);
  const hash = `sha${alg.slice(2)}`;
  if (alg.startsWith('PS'))
    return sign(hash, data, { key: privateKey, padding: 6, saltLength: Number(alg.slice(2)) / 8 });
  return sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
}

export function encode(data: string | Buffer): string {
  return Buffer.from(data).toString('base64url');
}

export interface ServiceAccountToken {
  issuer: string;
  namespace?: string;
  serviceAccount?: string;
  /** Null: a token that is bound to no pod. */
  pod?: { name: string; uid: string } | null;
  node?: { name: string; uid: string } | null;
  audiences?: readonly string[];
  /** Seconds since the epoch. */
  issuedAt?: number;
  lifetimeSeconds?: number;
}

/** Claims as the API server writes them into a projected token. */
export function serviceAccountClaims(token: ServiceAccountToken): Claims {
  const {
    issuer,
    namespace = 'shop',
    serviceAccount = 'checkout',
    audiences = ['payments'],
  } = token;
  const { issuedAt = Math.floor(Date.now() / 1000), lifetimeSeconds = 3600 } = token;
  const {
    pod = { name: 'checkout-5d9c7b8f4-x2x4z', uid: '6c1f8c0e-7b0a-4f6e-9a52-0d8a3c1b2e01' },
  } = token;
  const { node = pod && { name: 'node-1', uid: '0a5d2f4b-1c3e-4d6f-8b7a-9e0f1a2b3c4d' } } = token;
  return {
    aud: audiences,
    exp: issuedAt + lifetimeSeconds,
    iat: issuedAt,
    iss: issuer,
    jti: randomUUID(),
    'kubernetes.io': {
      namespace,
      ...(node && { node }),
      ...(pod && { pod }),
      serviceaccount: { name: serviceAccount, uid: '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70' },
    },
    nbf: issuedAt,
    sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
  };
}
