// JWTs of our own, as somebody shows them: signed by a key that is published now, by us, of a type we issue. Nothing of
// the deny list here (live.ts). What was verified once is remembered for as long as its key is published.
import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { Identity } from '../identity/identity.ts';
import type { KeySet, KeySource, SigningAlgorithm } from './keys.ts';

/** Claims of a verified JWT, taken apart. Times are seconds since the epoch and were not compared with any clock. */
export interface VerifiedJwt {
  readonly claims: Readonly<Record<string, unknown>>;
  readonly identity: Identity;
  readonly subject: string;
  readonly audience: string;
  readonly scopes: readonly string[];
  readonly policies: readonly string[];
  readonly issuedAt: number;
  readonly notBefore: number;
  readonly expiresAt: number;
  readonly tokenId: string;
}

export interface JwtVerifierDeps {
  readonly keys: KeySource;
  /** Our own issuer first, then those we had before. */
  readonly issuers: readonly string[];
  /** Bound on what is remembered, about 2 KiB each. */
  readonly maxVerified?: number;
}

export interface JwtVerifier {
  /** The token's content if it is one of ours; undefined for every other text. Never throws. */
  find(text: string): VerifiedJwt | undefined;
  /** How many are remembered. */
  size(): number;
}

/** More than the tokens of a large installation that are used within minutes; 16 MiB. */
const MAX_VERIFIED = 8192;
const MAX_TOKEN_LENGTH = 16 * 1024;
const TYPES: readonly unknown[] = ['at+jwt', 'JWT'];
const P256_SIGNATURE_BYTES = 64;

interface VerifyingKey {
  readonly algorithm: SigningAlgorithm;
  readonly key: KeyObject;
}
interface Remembered {
  readonly jwt: VerifiedJwt;
  readonly kid: string;
}

export function createJwtVerifier(deps: JwtVerifierDeps): JwtVerifier {
  const { issuers, maxVerified = MAX_VERIFIED } = deps;
  // A Map keeps the order of insertion: the first is the one used least recently.
  const remembered = new Map<string, Remembered>();
  let from: KeySet | undefined;
  let verifying: ReadonlyMap<string, VerifyingKey> = new Map();

  function findKey(kid: unknown): VerifyingKey | undefined {
    const set = deps.keys.current();
    if (set !== from) {
      from = set;
      verifying = new Map(
        set.published.map(({ kid: name, algorithm, publicJwk }) => [
          name,
          { algorithm, key: createPublicKey({ key: publicJwk, format: 'jwk' }) },
        ]),
      );
    }
    return typeof kid === 'string' ? verifying.get(kid) : undefined;
  }

  function remember(hash: string, one: Remembered): void {
    remembered.set(hash, one);
    if (remembered.size <= maxVerified) return;
    const [oldest] = remembered.keys();
    if (oldest !== undefined) remembered.delete(oldest);
  }

  function verifyAnew(text: string): Remembered | undefined {
    const [header, payload, signature, more] = text.split('.', 4);
    if (!header || !payload || !signature || more !== undefined) return undefined;
    const { alg, kid, typ } = findObject(header) ?? {};
    const key = findKey(kid);
    if (!key || key.algorithm !== alg || !TYPES.includes(typ)) return undefined;
    if (!isSigned(key, `${header}.${payload}`, signature)) return undefined;
    const claims = findObject(payload);
    const jwt = claims && findContent(claims, issuers);
    return jwt && { jwt, kid: kid as string };
  }

  return {
    find: (text) => {
      if (text.length > MAX_TOKEN_LENGTH || !text.startsWith('eyJ')) return undefined;
      const hash = createHash('sha256').update(text).digest('base64url');
      const known = remembered.get(hash);
      if (known) remembered.delete(hash);
      // A key that is published no more, for whatever reason, proves nothing any more, remembered or not.
      const one = known && findKey(known.kid) ? known : verifyAnew(text);
      if (one) remember(hash, one);
      return one?.jwt;
    },
    size: () => remembered.size,
  };
}

function isSigned({ algorithm, key }: VerifyingKey, input: string, signature: string): boolean {
  const bytes = Buffer.from(signature, 'base64url');
  // Node's decoder skips what it does not know: one token would have many spellings.
  if (bytes.toString('base64url') !== signature) return false;
  const data = Buffer.from(input);
  if (algorithm === 'EdDSA') return verify(null, data, key, bytes);
  if (algorithm === 'RS256') return verify('sha256', data, key, bytes);
  if (bytes.length !== P256_SIGNATURE_BYTES) return false;
  return verify('sha256', data, { key, dsaEncoding: 'ieee-p1363' }, bytes);
}

function findObject(segment: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined;
  } catch {
    return undefined;
  }
}

/** Signed by us, the claims are those of issue.ts; a key of ours that signed anything else makes no client token of it. */
function findContent(
  claims: Readonly<Record<string, unknown>>,
  issuers: readonly string[],
): VerifiedJwt | undefined {
  const { iss, sub, aud, iat, nbf, exp, jti, scope, policies } = claims;
  if (!issuers.some((issuer) => issuer === iss)) return undefined;
  const texts = [sub, aud, jti, scope];
  const isWhole =
    texts.every((one) => typeof one === 'string') && [iat, nbf, exp].every(Number.isSafeInteger);
  if (!isWhole || !isTexts(policies)) return undefined;
  const identity = findIdentity(sub as string, claims);
  return (
    identity && {
      claims,
      identity,
      subject: sub as string,
      audience: aud as string,
      scopes: (scope as string).split(' ').filter((one) => one !== ''),
      policies,
      issuedAt: iat as number,
      notBefore: nbf as number,
      expiresAt: exp as number,
      tokenId: jti as string,
    }
  );
}

/** `sub` read back (toSubject in identity.ts); a workload's names and uids come from `kubernetes.io`. */
function findIdentity(
  sub: string,
  { cluster, 'kubernetes.io': kubernetes }: Readonly<Record<string, unknown>>,
): Identity | undefined {
  const [, kind, first = '', rest] = /^(k8s|oidc|client|user):([^:]+)(?::(.+))?$/s.exec(sub) ?? [];
  if (kind === 'client') return rest === undefined ? { kind, id: first } : undefined;
  if (kind === undefined || rest === undefined) return undefined;
  if (kind === 'oidc') return { kind, issuer: first, subject: rest };
  if (kind === 'user') return { kind, provider: first, subject: rest, groups: [] };
  if (cluster !== first || typeof kubernetes !== 'object' || kubernetes === null) return undefined;
  const { namespace, serviceaccount, pod, node } = kubernetes as KubernetesClaim;
  return {
    kind: 'workload',
    cluster: first,
    namespace,
    serviceAccount: serviceaccount.name,
    serviceAccountUid: serviceaccount.uid,
    ...(pod && { pod }),
    ...(node && { node }),
  };
}

/** As issue.ts writes it. */
interface KubernetesClaim {
  readonly namespace: string;
  readonly serviceaccount: { readonly name: string; readonly uid: string };
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly node?: { readonly name: string; readonly uid?: string };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}
