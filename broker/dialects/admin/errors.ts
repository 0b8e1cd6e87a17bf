// How each reason looks at the admin API: the one place of this dialect where an error becomes bytes. The body is that of
// every dialect (`error`, `error_description`, `reason`, `correlation_id`), with `details` where something can be mended.
import type { Problem } from '../../../common/documents.ts';
import type { ErrorResponse } from '../../../common/protocol/oauth.ts';
import { BrokerError, REASONS, type Reason } from '../../errors.ts';
import { StoreError } from '../../store/store.ts';

/** A refusal that tells the caller what to mend; never quotes what was sent. */
export class RequestRefused extends BrokerError {
  readonly details: readonly Problem[];

  constructor(reason: AdminReason, details: readonly Problem[]) {
    super(reason, details.map(({ path, problem }) => `${path} ${problem}`).join('; '));
    this.name = 'RequestRefused';
    this.details = details;
  }
}

interface AdminStatus {
  readonly status: number;
  readonly error: string;
}

const UNAVAILABLE: AdminStatus = { status: 503, error: 'temporarily_unavailable' };

/** Everything this API answers with; another reason is a bug and becomes `internal`. */
export const ADMIN_ERRORS = {
  document_invalid: { status: 400, error: 'invalid_request' },
  bearer_invalid: { status: 401, error: 'invalid_token' },
  bearer_forbidden: { status: 403, error: 'insufficient_scope' },
  beyond_own: { status: 403, error: 'insufficient_scope' },
  not_found: { status: 404, error: 'not_found' },
  method_not_allowed: { status: 405, error: 'method_not_allowed' },
  conflict: { status: 409, error: 'conflict' },
  key_conflict: { status: 409, error: 'conflict' },
  version_mismatch: { status: 412, error: 'version_mismatch' },
  body_too_large: { status: 413, error: 'invalid_request' },
  media_type_unsupported: { status: 415, error: 'invalid_request' },
  too_many_requests: { status: 429, error: 'temporarily_unavailable' },
  internal: { status: 500, error: 'server_error' },
  store_missing: { status: 501, error: 'not_implemented' },
  store_unavailable: UNAVAILABLE,
  kube_unavailable: UNAVAILABLE,
  keys_unavailable: UNAVAILABLE,
  audit_unavailable: UNAVAILABLE,
} as const satisfies Partial<Record<Reason, AdminStatus>>;

export type AdminReason = keyof typeof ADMIN_ERRORS;

/** As ErrorResponse, with what can be mended. */
export interface AdminErrorResponse extends ErrorResponse {
  readonly details?: readonly Problem[];
}

const RETRY_AFTER_SECONDS = 2;

/** The failure as this dialect tells it: the store's three become ours, what is foreign becomes `internal`. */
export function toBrokerError(error: unknown): BrokerError {
  if (error instanceof BrokerError)
    return error.reason in ADMIN_ERRORS
      ? error
      : new BrokerError('internal', `${error.reason} is no reason of the admin API`, {
          cause: error,
        });
  if (!(error instanceof StoreError))
    return new BrokerError('internal', 'an unexpected error', { cause: error });
  const reasons = {
    not_found: 'not_found',
    conflict: 'conflict',
    unavailable: 'store_unavailable',
  } as const;
  return new BrokerError(reasons[error.kind], error.message, { cause: error });
}

export interface RenderedError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** @param error as {@link toBrokerError} gives it */
export function renderError(error: BrokerError, correlationId: string): RenderedError {
  const { status, error: code } = ADMIN_ERRORS[error.reason as AdminReason];
  const { group, text } = REASONS[error.reason];
  const details = error instanceof RequestRefused ? error.details : [];
  const body: AdminErrorResponse = {
    error: code,
    error_description: text,
    reason: group,
    correlation_id: correlationId,
    ...(details.length > 0 && { details }),
  };
  return {
    status,
    headers: {
      ...ANSWER_HEADERS,
      ...((status === 503 || status === 429) && {
        'Retry-After': String(error.retryAfterSeconds ?? RETRY_AFTER_SECONDS),
      }),
      // RFC 9110 §15.5.2; RFC 6750 §3 wants no error code where no token was shown, and it helps nobody else either.
      ...(status === 401 && { 'WWW-Authenticate': 'Bearer realm="coatcheck"' }),
    },
    body: JSON.stringify(body),
  };
}

/** Of every answer. */
export const ANSWER_HEADERS = {
  'Content-Type': 'application/json; charset=utf-8',
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
} as const;
