// From a grant to a token: a JWT is signed and forgotten, an opaque token is stored before anybody hears of it. And from
// a grant upon a stored token to its new end.
import { NO_TRACING, type Tracing } from '../common/tracing.ts';
import type { AuditSink } from './audit.ts';
import type { Grant } from './authorize.ts';
import { BrokerError } from './errors.ts';
import { type Store, type StoredToken, StoreError } from './store/store.ts';
import { toMaxExpiresAt } from './tokens/expiry.ts';
import { issueJwt } from './tokens/issue.ts';
import type { KeySource } from './tokens/keys.ts';
import { newOpaqueToken, type RandomBytes } from './tokens/opaque.ts';
import { toStoredToken } from './tokens/records.ts';
import { toTokenId } from './tokens/token-id.ts';

export interface IssuedToken {
  /** The token itself; goes into the answer and nowhere else. */
  readonly token: string;
  /** `jti`, or the accessor of an opaque token. */
  readonly tokenId: string;
  readonly grant: Grant;
}

export interface IssuingDeps {
  readonly keys: KeySource;
  readonly issuer: string;
  readonly audit: Pick<AuditSink, 'isKeepingUp'>;
  /** Absent with `store: none`: then there are no opaque tokens. */
  readonly store?: Pick<Store, 'tokens'>;
  /** Opaque tokens of one pod (or other identity) that live at once; one more ends the oldest. */
  readonly maxTokensPerIdentity: number;
  /** A new id: unguessable, never twice, without a dot. */
  readonly newTokenId: () => string;
  readonly randomBytes: RandomBytes;
  /** For traces. */
  readonly step?: Tracing['step'];
}

/**
 * @returns a JWT at once; an opaque token once it is durable
 * @throws BrokerError `audit_unavailable`, `store_unavailable`, `token_type_unsupported`
 */
export function issue(grant: Grant, deps: IssuingDeps): IssuedToken | Promise<IssuedToken> {
  // A token of which no record can be written must not exist.
  if (!deps.audit.isKeepingUp())
    throw new BrokerError('audit_unavailable', 'the audit trail is not being written fast enough');
  return grant.role.token.type === 'opaque' ? issueOpaque(grant, deps) : issueSigned(grant, deps);
}

function issueSigned(
  grant: Grant,
  { keys, issuer, newTokenId, step = NO_TRACING.step }: IssuingDeps,
): IssuedToken {
  const { subject, role, audience, scopes, issuedAt, expiry } = grant;
  const tokenId = toTokenId(newTokenId(), role.name);
  const content = {
    issuer,
    identity: subject.identity,
    audience,
    scopes,
    policies: role.token.policies,
    claims: role.token.claims,
    jwtType: role.token.jwtType,
    issuedAt,
    expiresAt: expiry.expiresAt,
    tokenId,
  };
  const token = step('sign', () => issueJwt(content, keys.current().signing));
  return { token, tokenId, grant };
}

async function issueOpaque(grant: Grant, deps: IssuingDeps): Promise<IssuedToken> {
  const { store, maxTokensPerIdentity: maxPerIdentity } = deps;
  if (!store)
    throw new BrokerError(
      'token_type_unsupported',
      'the role has opaque tokens, and this broker has no store',
    );
  const { expiry, ...rest } = grant;
  const made = newOpaqueToken(deps.randomBytes);
  const maxExpiresAt = toMaxExpiresAt(expiry);
  const stored = toStoredToken({ ...rest, expiresAt: expiry.expiresAt, maxExpiresAt }, made);
  await guard(() => store.tokens.insert(stored, { maxPerIdentity }));
  return { token: made.token.reveal(), tokenId: made.accessor, grant };
}

/**
 * Gives a stored token the end that was decided on; durable when it resolves.
 * @throws BrokerError `bearer_invalid` where it ended or was revoked meanwhile, `store_unavailable`
 */
export async function extend(stored: StoredToken, grant: Grant, deps: IssuingDeps): Promise<void> {
  const { store } = deps;
  if (!store) throw new TypeError('a stored token without a store');
  const to = { expiresAt: grant.expiry.expiresAt, now: grant.issuedAt };
  await guard(() => store.tokens.extend(stored.hash, to));
}

async function guard(write: () => Promise<void>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    // A hash or an accessor that is taken is no outage but a generator that repeats itself.
    if (error.kind === 'conflict') throw new Error('a new token was not new', { cause: error });
    throw error.kind === 'not_found'
      ? new BrokerError('bearer_invalid', 'the token ended meanwhile', { cause: error })
      : new BrokerError('store_unavailable', 'the token could not be stored', { cause: error });
  }
}
