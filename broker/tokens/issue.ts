// The JWT client token: what an allowed decision becomes (RFC 9068, and `kubernetes.io` as Kubernetes writes it).
// No store is asked and nothing is remembered: a JWT exchange waits for no write.
import {
  type Identity,
  isWorkload,
  toSubject,
  type WorkloadIdentity,
} from '../identity/identity.ts';
import type { SigningKey } from './keys.ts';
import { signJwt } from './signer.ts';

/** Everything a token says; times in seconds since the epoch. */
export interface TokenContent {
  readonly issuer: string;
  readonly identity: Identity;
  readonly audience: string;
  readonly scopes: readonly string[];
  readonly policies: readonly string[];
  /** The role's extra claims; they never override ours. */
  readonly claims: Readonly<Record<string, unknown>>;
  readonly jwtType: 'at+jwt' | 'JWT';
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly tokenId: string;
}

/** @returns the signed token; the only place where one comes into being. */
export function issueJwt(content: TokenContent, key: SigningKey): string {
  return signJwt(key, content.jwtType, toClaims(content));
}

/** The claims of a client token, for {@link issueJwt} and for those who show what would be issued. */
export function toClaims(content: TokenContent): Readonly<Record<string, unknown>> {
  const { identity } = content;
  const subject = toSubject(identity);
  return {
    // First, so that whatever a role says, the members below are ours. Its loader refuses these names already.
    ...content.claims,
    iss: content.issuer,
    sub: subject,
    client_id: subject,
    aud: content.audience,
    iat: content.issuedAt,
    nbf: content.issuedAt,
    exp: content.expiresAt,
    jti: content.tokenId,
    scope: content.scopes.join(' '),
    policies: content.policies,
    ...(isWorkload(identity) && toWorkloadClaims(identity)),
  };
}

function toWorkloadClaims(identity: WorkloadIdentity): Readonly<Record<string, unknown>> {
  const { pod, node } = identity;
  return {
    cluster: identity.cluster,
    'kubernetes.io': {
      namespace: identity.namespace,
      serviceaccount: { name: identity.serviceAccount, uid: identity.serviceAccountUid },
      ...(pod && { pod: { name: pod.name, uid: pod.uid } }),
      ...(node && { node: { name: node.name, ...(node.uid && { uid: node.uid }) } }),
    },
  };
}
