// JWKS and the two discovery documents, as bytes made once per set of keys. Built from the issuer setting alone: a Host
// header decides nothing. Open to every origin; they hold nothing that is not public.
import {
  PATH_INTROSPECT,
  PATH_JWKS,
  PATH_OPENID_CONFIGURATION,
  PATH_REVOKE,
  PATH_SERVER_METADATA,
  PATH_TOKEN,
} from '../../../common/protocol/oauth.ts';
import { ASSERTION_ALGORITHMS } from '../../client-assertions.ts';
import type { KeySet, KeySource } from '../../tokens/keys.ts';
import { GRANTS } from './grant.ts';

export interface MetadataDocument {
  readonly contentType: string;
  readonly body: Buffer;
}

/** Half of the time a key is published before it signs (tokens/key-folder.ts): no cache may miss a key in use. */
export const METADATA_MAX_AGE_SECONDS = 300;
export const METADATA_PATHS = [PATH_JWKS, PATH_SERVER_METADATA, PATH_OPENID_CONFIGURATION] as const;
export type MetadataPath = (typeof METADATA_PATHS)[number];

/** @returns the document at a path, made anew only when the keys change. */
export function createMetadata(
  issuer: string,
  keys: KeySource,
  { hasStore }: { readonly hasStore: boolean },
): (path: MetadataPath) => MetadataDocument {
  let made: { from: KeySet; documents: Record<MetadataPath, MetadataDocument> } | undefined;
  return (path) => {
    const from = keys.current();
    if (made?.from !== from) made = { from, documents: makeDocuments(issuer, from, hasStore) };
    return made.documents[path];
  };
}

/** Clients are registered in the store; without one the only callers are ServiceAccounts and tokens of ours. */
const CLIENT_METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt'];

/** RFC 8414 §2. Introspection takes a bearer too; revocation asks for nothing but the token, and needs a store. */
function describeTokenEndpoints(issuer: string, hasStore: boolean): Record<string, unknown> {
  const introspection = {
    introspection_endpoint: issuer + PATH_INTROSPECT,
    introspection_endpoint_auth_methods_supported: ['Bearer', ...(hasStore ? CLIENT_METHODS : [])],
  };
  if (!hasStore) return introspection;
  return {
    ...introspection,
    introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
    revocation_endpoint: issuer + PATH_REVOKE,
    revocation_endpoint_auth_methods_supported: ['none', ...CLIENT_METHODS],
    revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
  };
}

function makeDocuments(
  issuer: string,
  keys: KeySet,
  hasStore: boolean,
): Record<MetadataPath, MetadataDocument> {
  const algorithms = [...new Set(keys.published.map(({ algorithm }) => algorithm))];
  const common = {
    issuer,
    token_endpoint: issuer + PATH_TOKEN,
    jwks_uri: issuer + PATH_JWKS,
    grant_types_supported: GRANTS.map(({ grantType }) => grantType),
    token_endpoint_auth_methods_supported: ['none'],
    ...describeTokenEndpoints(issuer, hasStore),
    // RFC 8414 §2 and OpenID Discovery §3 require the member, and an empty list must not be sent (RFC 8414 §3.2):
    // there is no authorization endpoint, and `none` is the response type that promises nothing.
    response_types_supported: ['none'],
  };
  return {
    [PATH_JWKS]: toDocument(
      { keys: keys.published.map(({ publicJwk }) => publicJwk) },
      'application/jwk-set+json',
    ),
    [PATH_SERVER_METADATA]: toDocument(common),
    [PATH_OPENID_CONFIGURATION]: toDocument({
      ...common,
      subject_types_supported: ['public'],
      // Exactly what stands in the JWKS: go-oidc assumes RS256 where this is missing or wrong.
      id_token_signing_alg_values_supported: algorithms,
    }),
  };
}

function toDocument(value: unknown, contentType = 'application/json'): MetadataDocument {
  return { contentType, body: Buffer.from(JSON.stringify(value)) };
}
