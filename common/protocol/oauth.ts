// The words of OAuth: RFC 6749, 8693 (token exchange), 8414 (metadata), 9068 (JWT access tokens). No logic.

export const GRANT_TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

/** RFC 8693 §3. */
export const TOKEN_TYPE_ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
export const TOKEN_TYPE_JWT = 'urn:ietf:params:oauth:token-type:jwt';
export const TOKEN_TYPE_ID = 'urn:ietf:params:oauth:token-type:id_token';

export const PATH_TOKEN = '/oauth2/token';
/** RFC 7662. */
export const PATH_INTROSPECT = '/oauth2/introspect';
/** RFC 7009. */
export const PATH_REVOKE = '/oauth2/revoke';
export const PATH_JWKS = '/oauth2/jwks';
export const PATH_SERVER_METADATA = '/.well-known/oauth-authorization-server';
export const PATH_OPENID_CONFIGURATION = '/.well-known/openid-configuration';

/** RFC 8693 §2.2.1. */
export interface TokenResponse {
  readonly access_token: string;
  readonly issued_token_type: string;
  readonly token_type: 'Bearer';
  /** Seconds. */
  readonly expires_in: number;
  readonly scope: string;
  /**
   * Ours: what set `expires_in`: `ttl`, `maxTtl`, `ceiling` (the broker's), `unbound` (an hour, without a pod) or
   * `subject` (the subject token's `exp`).
   */
  readonly expiry_cap?: string;
  /** Ours: the CA bundle to trust from now on, sent when the caller's differs ({@link HEADER_CA_DIGEST}). PEM. */
  readonly ca_bundle?: string;
}

/** RFC 6749 §5.2; `reason` and `correlation_id` are ours (docs/errors.md). */
export interface ErrorResponse {
  readonly error: string;
  readonly error_description: string;
  readonly reason: string;
  readonly correlation_id: string;
}

/** Request header: SHA-256 (hex) of the CA bundle the caller trusts now. */
export const HEADER_CA_DIGEST = 'Coatcheck-CA-SHA256';
/** Answer header, the same value as `correlation_id`. */
export const HEADER_REQUEST_ID = 'X-Request-Id';
