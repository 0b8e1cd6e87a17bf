// A looked-up token as a row and back, and a filter as conditions.
import { type Expression, type ExpressionBuilder, type SqlBool, sql } from 'kysely';
import type { Tables, TokenRow } from './schema.ts';
import type { StoredToken, TokenFilter } from './store.ts';
import type { NewTokenRow } from './token-statements.ts';

export function toTokenRow(token: StoredToken): NewTokenRow {
  return {
    hash: token.hash,
    accessor: token.accessor,
    kind: token.kind,
    subject: token.subject,
    cluster: token.cluster ?? null,
    namespace: token.namespace ?? null,
    service_account: token.serviceAccount ?? null,
    service_account_uid: token.serviceAccountUid ?? null,
    pod_name: token.podName ?? null,
    pod_uid: token.podUid ?? '',
    audience: token.audience ?? null,
    role: token.role ?? null,
    scopes: JSON.stringify(token.scopes),
    policies: JSON.stringify(token.policies),
    live_name: token.name ?? null,
    description: token.description ?? null,
    issued_at: token.issuedAt,
    expires_at: token.expiresAt,
    max_expires_at: token.maxExpiresAt,
    facts: JSON.stringify(token.facts ?? null),
  };
}

export function toToken(row: TokenRow): StoredToken {
  return {
    hash: row.hash,
    accessor: row.accessor,
    kind: row.kind as StoredToken['kind'],
    subject: row.subject,
    ...given('cluster', row.cluster),
    ...given('namespace', row.namespace),
    ...given('serviceAccount', row.service_account),
    ...given('serviceAccountUid', row.service_account_uid),
    ...given('podName', row.pod_name),
    ...given('podUid', row.pod_uid || null),
    ...given('audience', row.audience),
    ...given('role', row.role),
    scopes: JSON.parse(row.scopes) as readonly string[],
    policies: JSON.parse(row.policies) as readonly string[],
    ...given('name', row.live_name),
    ...given('description', row.description),
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
    maxExpiresAt: row.max_expires_at,
    facts: JSON.parse(row.facts) as unknown,
  };
}

/** A member that a row has no value for is absent, not undefined. */
export function given<Name extends string, T>(
  name: Name,
  value: T | null,
): { readonly [key in Name]?: T } {
  return value === null ? {} : ({ [name]: value } as { readonly [key in Name]: T });
}

const COLUMNS = {
  kind: 'kind',
  subject: 'subject',
  cluster: 'cluster',
  namespace: 'namespace',
  serviceAccount: 'service_account',
  podName: 'pod_name',
  podUid: 'pod_uid',
  role: 'role',
  audience: 'audience',
} as const satisfies Record<keyof TokenFilter, keyof TokenRow>;

/** As text of the statement, so that the index over the few static ones can be taken. */
export const IS_STATIC = sql<boolean>`kind = 'static'`;

/** @throws TypeError where the filter states nothing: it would be about every token there is */
export function checkFilter(filter: TokenFilter): void {
  if (Object.values(filter).every((value) => value === undefined))
    throw new TypeError('a filter states at least one member');
}

export function toConditions(
  eb: ExpressionBuilder<Tables, 'coatcheck_tokens'>,
  filter: TokenFilter,
): Expression<SqlBool> {
  const conditions = Object.entries(COLUMNS).flatMap(([member, column]) => {
    const value = filter[member as keyof TokenFilter];
    if (value === undefined) return [];
    return [value === 'static' && member === 'kind' ? IS_STATIC : eb(column, '=', value)];
  });
  return eb.and(conditions);
}
