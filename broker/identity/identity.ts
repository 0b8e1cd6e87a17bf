// Who a verified subject token belongs to. The only product of broker/identity: everything in it was checked, and it
// holds no token.

export interface WorkloadIdentity {
  readonly kind: 'workload';
  /** The entry of the clusters table whose key verified the signature. */
  readonly cluster: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly serviceAccountUid: string;
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly node?: { readonly name: string; readonly uid?: string };
}

export type Identity = WorkloadIdentity;

/** What a subject token proved. Times are seconds since the epoch. */
export interface VerifiedSubject {
  readonly identity: Identity;
  readonly issuer: string;
  /** `aud` as a list, whatever its form in the token; never empty. */
  readonly audiences: readonly string[];
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** The subject token's own `jti`, for correlation with the API server's audit log. */
  readonly tokenId?: string;
  /** First 16 hex of the token's SHA-256. */
  readonly fingerprint: string;
  /** All verified claims, for conditions and rules over claims. */
  readonly claims: Readonly<Record<string, unknown>>;
}

/** `sub` of our tokens: `k8s:<cluster>:<namespace>:<serviceAccount>`. */
export function toSubject(identity: Identity): string {
  return `k8s:${identity.cluster}:${identity.namespace}:${identity.serviceAccount}`;
}
