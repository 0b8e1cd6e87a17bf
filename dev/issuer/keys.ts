// The local issuer's one signing key: RSA-2048, made anew at every start, never written anywhere. Signs and verifies
// ServiceAccount tokens as kube-apiserver does.
import {
  createHash,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';

export interface IssuerKey {
  readonly kid: string;
  /** The JWKS document of `/openid/v1/jwks`. */
  readonly jwks: { readonly keys: readonly JsonWebKey[] };
  /** A compact JWS over `claims`. */
  sign(claims: object): string;
  /** Whether `token` (three segments) carries this key's signature. */
  isSigned(token: string): boolean;
}

export function createIssuerKey(): IssuerKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = toKeyId(publicKey);
  // Kubernetes writes no `typ`; a verifier that insists on one must fail here as it would there.
  const header = Buffer.from(JSON.stringify({ alg: 'RS256', kid })).toString('base64url');
  return {
    kid,
    jwks: {
      keys: [{ use: 'sig', kty: 'RSA', kid, alg: 'RS256', ...publicKey.export({ format: 'jwk' }) }],
    },
    sign(claims) {
      const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
      return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
    },
    isSigned(token) {
      const end = token.lastIndexOf('.');
      const signature = Buffer.from(token.slice(end + 1), 'base64url');
      return verify('sha256', Buffer.from(token.slice(0, end)), publicKey, signature);
    },
  };
}

/** As kube-apiserver derives it: base64url of the SHA-256 of the SubjectPublicKeyInfo in DER. */
function toKeyId(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('base64url');
}
