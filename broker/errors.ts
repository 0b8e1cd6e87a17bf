// The closed table of reasons for which the broker refuses or fails, each with its log level, its public group (the
// `reason` a caller is told) and its public sentence. Dialects turn a reason into bytes in an errors.ts of their own.
// What went wrong in detail is for log, audit and decision only.

export interface ReasonEntry {
  readonly level: 'info' | 'warn' | 'error';
  /** The wire's `reason`. Reasons of one group share their text, so that callers cannot tell them apart. */
  readonly group: string;
  readonly text: string;
}

/** One claim that did not hold. Both sides come from verified claims and our configuration, never from a raw token. */
export interface FailedClaim {
  /** Where it stands in the token or the request: `aud`, `kubernetes.io.namespace`, `scope`. */
  readonly claim: string;
  readonly got: unknown;
  readonly want: unknown;
}

const NO_ROLE = 'no role grants this identity a token for this audience';
const NOT_ACCEPTED = 'the API server of the cluster does not accept the subject token';

export const REASONS = {
  body_invalid: {
    level: 'info',
    group: 'body_invalid',
    text: 'the body must be application/x-www-form-urlencoded and at most 64 KiB',
  },
  parameter_missing: {
    level: 'info',
    group: 'parameter_missing',
    text: 'a required parameter is missing',
  },
  parameter_repeated: {
    level: 'info',
    group: 'parameter_repeated',
    text: 'a parameter may be given only once',
  },
  parameter_invalid: {
    level: 'info',
    group: 'parameter_invalid',
    text: 'a parameter has a value that is not allowed',
  },
  grant_unsupported: {
    level: 'info',
    group: 'grant_unsupported',
    text: 'this grant type is not supported',
  },
  token_type_unsupported: {
    level: 'info',
    group: 'token_type_unsupported',
    text: 'this token type is not supported',
  },
  token_malformed: {
    level: 'info',
    group: 'token_malformed',
    text: 'the subject token is not a well-formed signed JWT',
  },
  token_issuer: {
    level: 'info',
    group: 'token_issuer',
    text: 'the issuer of the subject token is not trusted here',
  },
  token_signature: {
    level: 'info',
    group: 'token_signature',
    text: 'the signature of the subject token could not be verified',
  },
  token_expired: { level: 'info', group: 'token_expired', text: 'the subject token has expired' },
  token_not_yet_valid: {
    level: 'info',
    group: 'token_not_yet_valid',
    text: 'the subject token is not valid yet',
  },
  token_claims: {
    level: 'info',
    group: 'token_claims',
    text: 'the subject token lacks claims that a ServiceAccount token has',
  },
  token_audience: {
    level: 'info',
    group: 'token_audience',
    text: 'the audiences of the subject token do not allow this request',
  },
  token_unbound: {
    level: 'info',
    group: 'token_unbound',
    text: 'the subject token is not bound to a pod',
  },
  review_refused: { level: 'info', group: 'token_refused', text: NOT_ACCEPTED },
  subject_dead: { level: 'info', group: 'token_refused', text: NOT_ACCEPTED },
  // Both sides are signed or vouched for by the cluster: its entry of the table names another cluster's API server.
  review_mismatch: { level: 'error', group: 'token_refused', text: NOT_ACCEPTED },
  target_refused: {
    level: 'info',
    group: 'target_refused',
    text: 'the requested audience is not one this subject token may ask for',
  },
  scope_refused: {
    level: 'info',
    group: 'scope_refused',
    text: 'a requested scope is not granted',
  },
  role_unknown: { level: 'info', group: 'no_role', text: NO_ROLE },
  role_mismatch: { level: 'info', group: 'no_role', text: NO_ROLE },
  role_ambiguous: { level: 'warn', group: 'no_role', text: NO_ROLE },
  client_unauthenticated: {
    level: 'info',
    group: 'client_unauthenticated',
    text: 'client authentication failed',
  },
  revocation_unsupported: {
    level: 'info',
    group: 'revocation_unsupported',
    text: 'this broker has no store, so it cannot revoke; the token ends by itself',
  },
  not_found: { level: 'info', group: 'not_found', text: 'there is nothing at this path' },
  method_not_allowed: {
    level: 'info',
    group: 'method_not_allowed',
    text: 'this path does not answer this method',
  },
  document_invalid: {
    level: 'info',
    group: 'document_invalid',
    text: 'the request does not have the form that this path wants; the details say where',
  },
  body_too_large: {
    level: 'info',
    group: 'body_too_large',
    text: 'the body is larger than this path takes',
  },
  media_type_unsupported: {
    level: 'info',
    group: 'media_type_unsupported',
    text: 'the body must be application/json in UTF-8, without a content encoding',
  },
  bearer_invalid: {
    level: 'info',
    group: 'bearer_invalid',
    text: 'a valid token or credential of a caller is required',
  },
  bearer_forbidden: {
    level: 'info',
    group: 'bearer_forbidden',
    text: 'the caller may not do this',
  },
  beyond_own: {
    level: 'info',
    group: 'beyond_own',
    text: "what is handed on must lie within the caller's own power and the operator's ceilings",
  },
  conflict: {
    level: 'info',
    group: 'conflict',
    text: 'what is there already does not allow this; the details say what',
  },
  key_conflict: {
    level: 'warn',
    group: 'key_conflict',
    text: 'a key of the set is that of another cluster already',
  },
  version_mismatch: {
    level: 'info',
    group: 'version_mismatch',
    text: 'it was changed since the version that the request names',
  },
  store_missing: {
    level: 'info',
    group: 'store_missing',
    text: 'this broker has no store, and this needs one',
  },
  store_unavailable: {
    level: 'warn',
    group: 'unavailable',
    text: 'the broker cannot decide at the moment',
  },
  revocation_pending: {
    level: 'warn',
    group: 'unavailable',
    text: 'the broker cannot decide at the moment',
  },
  keys_unavailable: {
    level: 'warn',
    group: 'unavailable',
    text: 'the broker cannot decide at the moment',
  },
  audit_unavailable: {
    level: 'error',
    group: 'unavailable',
    text: 'the broker cannot decide at the moment',
  },
  kube_unavailable: {
    level: 'warn',
    group: 'unavailable',
    text: 'the broker cannot decide at the moment',
  },
  too_many_requests: {
    level: 'warn',
    group: 'too_many_requests',
    text: 'too many requests at once; ask again a little later',
  },
  internal: {
    level: 'error',
    group: 'internal',
    text: 'an unexpected error; the operator finds it by the correlation id',
  },
} as const satisfies Record<string, ReasonEntry>;

export type Reason = keyof typeof REASONS;

export interface BrokerErrorOptions {
  readonly cause?: unknown;
  /** The first claim that failed, for the decision. */
  readonly failed?: FailedClaim;
  /** When asking again makes sense, where that is known better than by the dialect. */
  readonly retryAfterSeconds?: number | undefined;
}

/** A failure on its way to the one place that renders it. `detail` is for log and audit, never for the caller. */
export class BrokerError extends Error {
  readonly reason: Reason;
  readonly detail: string | undefined;
  readonly failed: FailedClaim | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(reason: Reason, detail?: string, options: BrokerErrorOptions = {}) {
    super(
      detail ?? REASONS[reason].text,
      options.cause === undefined ? undefined : { cause: options.cause },
    );
    this.name = 'BrokerError';
    this.reason = reason;
    this.detail = detail;
    this.failed = options.failed;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
