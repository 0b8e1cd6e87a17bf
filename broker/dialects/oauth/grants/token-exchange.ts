// RFC 8693: a ServiceAccount token in, a client token out. The subject token is the authentication; there is no client.

import { isAudience } from '../../../../common/protocol/audiences.ts';
import {
  GRANT_TOKEN_EXCHANGE,
  TOKEN_TYPE_ACCESS,
  TOKEN_TYPE_ID,
  TOKEN_TYPE_JWT,
} from '../../../../common/protocol/oauth.ts';
import { Secret } from '../../../../common/secret.ts';
import type { GrantRequest } from '../../../authorize.ts';
import type { Settled } from '../../../desk.ts';
import { BrokerError } from '../../../errors.ts';
import type { Form } from '../form.ts';
import type { GrantContext } from '../grant.ts';
import { findSingle, getSingle } from '../parameters.ts';

export const grantType = GRANT_TOKEN_EXCHANGE;

/** What this grant reads; anything else in the form is ignored (RFC 6749 §3.2). */
export const parameters = [
  'grant_type',
  'subject_token',
  'subject_token_type',
  'actor_token',
  'actor_token_type',
  'requested_token_type',
  'audience',
  'resource',
  'scope',
  'role',
] as const;

const SUBJECT_TYPES: readonly string[] = [TOKEN_TYPE_JWT, TOKEN_TYPE_ID];
const ISSUED_TYPES: readonly string[] = [TOKEN_TYPE_ACCESS, TOKEN_TYPE_JWT];
const ROLE_NAME = /^[a-z0-9]([a-z0-9./-]{0,251}[a-z0-9])?$/;
// What a role may hold (roles/schema.ts): more is refused before it can fill a record of the audit.
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/;
const MAX_SCOPES = 100;

/** @throws BrokerError for a request that RFC 8693 §2.1 or the contract does not allow. */
export function handle(form: Form, { desk, context }: GrantContext): Promise<Settled> {
  return desk.grant(readRequest(form), context);
}

function readRequest(form: Form): GrantRequest {
  const subjectToken = new Secret(getSingle(form, 'subject_token'));
  checkTokenTypes(form);
  const audience = findAudience(form);
  const roleName = findRoleName(form);
  const scopes = findScopes(form);
  return {
    subject: { token: subjectToken },
    ...(audience !== undefined && { audience }),
    ...(roleName !== undefined && { roleName }),
    ...(scopes !== undefined && { scopes }),
    ...(findSingle(form, 'requested_token_type') === TOKEN_TYPE_JWT && { tokenType: 'jwt' }),
  };
}

function checkTokenTypes(form: Form): void {
  if (!SUBJECT_TYPES.includes(getSingle(form, 'subject_token_type'))) {
    throw new BrokerError(
      'token_type_unsupported',
      'subject_token_type is neither jwt nor id_token',
    );
  }
  // Delegation is refused, never ignored: the caller would believe that the actor stands in the token.
  if (form.has('actor_token') || form.has('actor_token_type')) {
    throw new BrokerError('parameter_invalid', 'actor_token is not supported');
  }
  const requested = findSingle(form, 'requested_token_type');
  if (requested !== undefined && !ISSUED_TYPES.includes(requested)) {
    throw new BrokerError(
      'token_type_unsupported',
      'requested_token_type is neither access_token nor jwt',
    );
  }
}

/** RFC 8693 §2.1 allows several; a token of ours has one audience, so several are a target we cannot serve. */
function findAudience(form: Form): string | undefined {
  const resources = form.get('resource') ?? [];
  // RFC 8707 §2: an absolute URI without a fragment.
  if (!resources.every((resource) => URL.canParse(resource) && !resource.includes('#'))) {
    throw new BrokerError('target_refused', 'resource is not an absolute URI without fragment');
  }
  const wanted = new Set([...(form.get('audience') ?? []), ...resources]);
  if (wanted.size > 1) throw new BrokerError('target_refused', 'several audiences in one request');
  const [audience] = wanted;
  if (audience !== undefined && !isAudience(audience)) {
    throw new BrokerError('target_refused', 'the audience holds characters that no audience has');
  }
  return audience;
}

function findRoleName(form: Form): string | undefined {
  const name = findSingle(form, 'role');
  if (name !== undefined && !ROLE_NAME.test(name))
    throw new BrokerError('parameter_invalid', 'role is not the name of a role');
  return name;
}

/** RFC 6749 §3.3. A list of blanks asks for nothing, which is not the same as not asking, so it gets nothing. */
function findScopes(form: Form): readonly string[] | undefined {
  const text = findSingle(form, 'scope');
  if (text === undefined) return undefined;
  const scopes = [...new Set(text.split(' ').filter((scope) => scope !== ''))];
  const isList = scopes.length > 0 && scopes.length <= MAX_SCOPES;
  if (!isList || !scopes.every((scope) => SCOPE_TOKEN.test(scope)))
    throw new BrokerError('scope_refused', 'scope is malformed');
  return scopes;
}
