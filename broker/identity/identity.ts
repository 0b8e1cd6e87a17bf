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

/** A subject of an issuer outside Kubernetes: a CI job, a person's identity provider. */
export interface OidcIdentity {
  readonly kind: 'oidc';
  /** The name of the entry in the table, not the `iss`. */
  readonly issuer: string;
  /** `sub` as the issuer wrote it. */
  readonly subject: string;
}

/** A registered OAuth client that authenticated itself. */
export interface ClientIdentity {
  readonly kind: 'client';
  readonly id: string;
}

/** A person, as an identity provider or a cluster's authentication told. */
export interface UserIdentity {
  readonly kind: 'user';
  /** The name of the identity provider, or of the cluster that authenticated the person. */
  readonly provider: string;
  readonly subject: string;
  readonly groups: readonly string[];
}

export type Identity = WorkloadIdentity | OidcIdentity | ClientIdentity | UserIdentity;

/** A subject that a cluster vouches for. */
export type WorkloadSubject = VerifiedSubject<WorkloadIdentity>;

export function isWorkload(identity: Identity): identity is WorkloadIdentity {
  return identity.kind === 'workload';
}

/** What a subject token proved. Times are seconds since the epoch. */
export interface VerifiedSubject<Who extends Identity = Identity> {
  readonly identity: Who;
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

/** `sub` of our tokens; never `system:…`, and a colon ends each part but the last. */
export function toSubject(identity: Identity): string {
  switch (identity.kind) {
    case 'workload':
      return `k8s:${identity.cluster}:${identity.namespace}:${identity.serviceAccount}`;
    case 'oidc':
      return `oidc:${identity.issuer}:${identity.subject}`;
    case 'client':
      return `client:${identity.id}`;
    case 'user':
      return `user:${identity.provider}:${identity.subject}`;
  }
}
