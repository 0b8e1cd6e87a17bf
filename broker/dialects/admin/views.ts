// From what the broker keeps to what the admin API shows: times as texts, no hash, no secret.
import type { ClientView, TokenView } from '../../../common/protocol/admin-api.ts';
import type { StoredClient, StoredDecision, StoredToken } from '../../store/store.ts';

/** @param seconds since the epoch */
export function toTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

export function toTokenView(token: StoredToken): TokenView {
  const createdBy = Object(token.facts) as { createdBy?: unknown };
  return toDefined({
    accessor: token.accessor,
    kind: token.kind,
    name: token.name,
    description: token.description,
    subject: token.subject,
    cluster: token.cluster,
    namespace: token.namespace,
    serviceAccount: token.serviceAccount,
    pod: token.podName,
    podUid: token.podUid,
    audience: token.audience,
    role: token.role,
    scopes: token.scopes,
    policies: token.policies,
    issuedAt: toTime(token.issuedAt),
    expiresAt: toTime(token.expiresAt),
    maxExpiresAt: token.maxExpiresAt === token.expiresAt ? undefined : toTime(token.maxExpiresAt),
    createdBy: typeof createdBy.createdBy === 'string' ? createdBy.createdBy : undefined,
  }) as TokenView;
}

/** A JWT as the decision that gave it out tells of it: nobody stored the token itself. */
export function toJwtView(decision: StoredDecision): TokenView {
  const record = Object(decision.record) as Record<string, unknown>;
  const texts = (value: unknown) => (Array.isArray(value) ? value.map(String) : []);
  return toDefined({
    accessor: decision.tokenId ?? '',
    kind: 'jwt' as const,
    subject: typeof record.subject === 'string' ? record.subject : '',
    cluster: decision.cluster,
    namespace: decision.namespace,
    serviceAccount: decision.serviceAccount,
    pod: decision.pod,
    podUid: decision.podUid,
    audience: decision.audience,
    role: decision.role,
    scopes: texts(record.scopes),
    policies: texts(record.policies),
    issuedAt: new Date(Math.floor(decision.at / 1000) * 1000).toISOString(),
    expiresAt: toTime(decision.tokenExpiresAt ?? 0),
  }) as TokenView;
}

export function toClientView(client: StoredClient): ClientView {
  return toDefined({
    id: client.id,
    name: client.name,
    description: client.description,
    methods: [
      ...(client.secretHashes.length > 0 ? (['client_secret'] as const) : []),
      ...(client.jwks === undefined ? [] : (['private_key_jwt'] as const)),
    ],
    secrets: client.secretHashes.length,
    jwks: client.jwks,
    createdAt: toTime(client.createdAt),
    createdBy: client.createdBy,
  }) as ClientView;
}

/** Without the members that are undefined: JSON would leave them out, types would not. */
export function toDefined<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== undefined),
  ) as Partial<T>;
}
