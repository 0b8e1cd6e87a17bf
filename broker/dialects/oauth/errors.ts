// How each reason looks in OAuth: the one place of this dialect where an error becomes bytes (RFC 6749 §5.2).
import type { ErrorResponse } from '../../../common/protocol/oauth.ts';
import { scrubTokens } from '../../../common/secret.ts';
import type { DecisionSubject } from '../../authorize.ts';
import { REASONS, type Reason } from '../../errors.ts';
import { type Identity, toSubject } from '../../identity/identity.ts';

interface OAuthError {
  readonly status: number;
  readonly error: string;
}

const REQUEST: OAuthError = { status: 400, error: 'invalid_request' };
const UNAVAILABLE: OAuthError = { status: 503, error: 'temporarily_unavailable' };

export const OAUTH_ERRORS = {
  body_invalid: REQUEST,
  parameter_missing: REQUEST,
  parameter_repeated: REQUEST,
  parameter_invalid: REQUEST,
  grant_unsupported: { status: 400, error: 'unsupported_grant_type' },
  token_type_unsupported: REQUEST,
  // RFC 8693 §2.2.2: a subject token that is invalid for any reason, or unacceptable by policy, is invalid_request.
  token_malformed: REQUEST,
  token_issuer: REQUEST,
  token_signature: REQUEST,
  token_expired: REQUEST,
  token_not_yet_valid: REQUEST,
  token_claims: REQUEST,
  token_audience: REQUEST,
  token_unbound: REQUEST,
  review_refused: REQUEST,
  review_mismatch: REQUEST,
  subject_dead: REQUEST,
  target_refused: { status: 400, error: 'invalid_target' },
  scope_refused: { status: 400, error: 'invalid_scope' },
  role_unknown: REQUEST,
  role_mismatch: REQUEST,
  role_ambiguous: REQUEST,
  client_unauthenticated: { status: 401, error: 'invalid_client' },
  // RFC 7009 §2.2.1.
  revocation_unsupported: { status: 400, error: 'unsupported_token_type' },
  not_found: { status: 404, error: 'not_found' },
  method_not_allowed: { status: 405, error: 'method_not_allowed' },
  document_invalid: REQUEST,
  body_too_large: { status: 413, error: 'invalid_request' },
  media_type_unsupported: { status: 415, error: 'invalid_request' },
  // RFC 6750 §3.1.
  bearer_invalid: { status: 401, error: 'invalid_token' },
  bearer_forbidden: { status: 403, error: 'insufficient_scope' },
  beyond_own: { status: 403, error: 'insufficient_scope' },
  conflict: { status: 409, error: 'conflict' },
  key_conflict: { status: 409, error: 'conflict' },
  version_mismatch: { status: 412, error: 'version_mismatch' },
  store_missing: { status: 501, error: 'not_implemented' },
  store_unavailable: UNAVAILABLE,
  revocation_pending: UNAVAILABLE,
  keys_unavailable: UNAVAILABLE,
  audit_unavailable: UNAVAILABLE,
  kube_unavailable: UNAVAILABLE,
  too_many_requests: { status: 429, error: 'temporarily_unavailable' },
  internal: { status: 500, error: 'server_error' },
} as const satisfies Record<Reason, OAuthError>;

/** What a client should wait before it asks again, where the fault may pass and nothing better is known. */
const RETRY_AFTER_SECONDS = 2;

export interface Refusal {
  readonly reason: Reason;
  readonly correlationId: string;
  /** What was verified of the caller's token: it may hear of itself, never of others' roles. */
  readonly subject?: DecisionSubject | undefined;
  /** The caller tried to authenticate by the Authorization header, so RFC 6749 §5.2 wants a challenge in kind. */
  readonly usedAuthorization?: boolean;
  readonly retryAfterSeconds?: number | undefined;
}

export interface RenderedError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function renderError({
  reason,
  correlationId,
  subject,
  usedAuthorization,
  retryAfterSeconds = RETRY_AFTER_SECONDS,
}: Refusal): RenderedError {
  const { status, error } = OAUTH_ERRORS[reason];
  const { group, text } = REASONS[reason];
  const body: ErrorResponse = {
    error,
    error_description: toDescription(
      subject?.identity ? `${text} (${describeSubject(subject)})` : text,
    ),
    reason: group,
    correlation_id: correlationId,
  };
  return {
    status,
    headers: {
      'Content-Type': 'application/json',
      'Cache-Control': 'no-store',
      Pragma: 'no-cache',
      ...((status === 503 || status === 429) && { 'Retry-After': String(retryAfterSeconds) }),
      ...toChallenge(reason, usedAuthorization),
    },
    body: JSON.stringify(body),
  };
}

const BASIC = 'Basic realm="coatcheck", charset="UTF-8"';

function toChallenge(
  reason: Reason,
  usedAuthorization = false,
): { readonly 'WWW-Authenticate'?: string } {
  // RFC 6750 §3: no error code for those who brought nothing; they hear of both ways.
  const bearer = usedAuthorization
    ? 'Bearer realm="coatcheck", error="invalid_token"'
    : `Bearer realm="coatcheck", ${BASIC}`;
  if (reason === 'bearer_invalid') return { 'WWW-Authenticate': bearer };
  return reason === 'client_unauthenticated' && usedAuthorization
    ? { 'WWW-Authenticate': BASIC }
    : {};
}

function describeSubject({ identity, audiences }: DecisionSubject): string {
  const facts = [
    identity && describeIdentity(identity),
    audiences && `audience ${audiences.join(' ')}`,
  ];
  return facts.filter((fact) => fact !== undefined).join(', ');
}

/** RFC 6749 §5.2: printable ASCII but `"` and `\`. Claims of a verified token are still their issuer's text. */
function toDescription(text: string): string {
  return scrubTokens(text)
    .replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?')
    .slice(0, 512);
}

function describeIdentity(identity: Identity): string {
  return identity.kind === 'workload'
    ? `namespace ${identity.namespace}, ServiceAccount ${identity.serviceAccount}`
    : `subject ${toSubject(identity)}`;
}
