// Who calls the broker itself: introspection, the admin API, whatever asks for more than possession. A token of ours or
// a ServiceAccount token made for the broker as bearer, or the credentials of a registered client. What a caller may do
// is for capabilities.ts and receivers.ts.
import { Secret } from '../common/secret.ts';
import type { Clients } from './clients.ts';
import { BrokerError, REASONS } from './errors.ts';
import { type Identity, toSubject } from './identity/identity.ts';
import type { Validate } from './identity/validate.ts';
import type { LiveToken, LiveTokens } from './tokens/live.ts';

export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface Caller {
  /** `sub`, as our tokens say it; of a static token what it was made with. */
  readonly subject: string;
  /** Absent for static tokens. */
  readonly identity?: Identity;
  /** Power at the broker: the policies of a token that was made for the broker, and of no other. */
  readonly policies: readonly string[];
  /** The token of ours that was shown. */
  readonly token?: LiveToken;
  /**
   * A client token of this audience was shown: its receivers know it too, so it opens nothing here that they could not
   * open themselves.
   */
  readonly onlyAudience?: string;
  readonly via: 'token' | 'workload' | 'client';
}

/** Where credentials may stand in a request. */
export interface Credentials {
  /** The Authorization header. */
  readonly authorization?: string | undefined;
  /** The form, for endpoints of OAuth alone. */
  readonly form?: ReadonlyMap<string, readonly string[]>;
}

/**
 * @throws BrokerError `bearer_invalid` (none, or no good), `client_unauthenticated`, `parameter_invalid` (two ways at
 * once), or a reason of group `unavailable` or `too_many_requests` where nobody can say
 */
export type Authenticate = (credentials: Credentials) => Promise<Caller>;

export interface CallersDeps {
  readonly tokens: LiveTokens;
  readonly clients: Clients;
  readonly validate: Validate;
  /** What ServiceAccount tokens and client tokens are made for that speak to the broker: its issuer, and `coatcheck-control`. */
  readonly audiences: readonly string[];
}

export function createAuthenticate(deps: CallersDeps): Authenticate {
  return async (credentials) => {
    const way = findWay(credentials);
    switch (way.kind) {
      case 'bearer':
        return (
          findTokenCaller(await deps.tokens.findLive(way.token), deps) ?? toWorkload(way, deps)
        );
      case 'secret':
        return toClientCaller(await deps.clients.checkSecret(way.id, way.secret));
      case 'assertion':
        return toClientCaller(await deps.clients.checkAssertion(way.assertion, way.id));
    }
  };
}

/**
 * At the token endpoint the grant itself is the authentication. Credentials of a client that come all the same must be
 * good, never ignored; a bare `client_id` says nothing, unless it names a client that has credentials.
 * @throws BrokerError `client_unauthenticated`, `parameter_invalid`, `store_unavailable`, `too_many_requests`
 */
export type CheckClient = (credentials: Credentials) => Promise<void> | undefined;

export function createCheckClient(clients: Clients): CheckClient {
  async function checkCredentials(credentials: Credentials): Promise<void> {
    const { authorization } = credentials;
    if (authorization !== undefined && !/^basic /i.test(authorization))
      throw new BrokerError('client_unauthenticated', 'the Authorization header is not Basic');
    const way = findWay(credentials);
    if (way.kind === 'secret') await clients.checkSecret(way.id, way.secret);
    if (way.kind === 'assertion') await clients.checkAssertion(way.assertion, way.id);
  }
  async function checkBare(id: string): Promise<void> {
    if (await clients.isConfidential(id))
      throw new BrokerError('client_unauthenticated', 'client_id names a confidential client');
  }
  return (credentials) => {
    if (hasClientCredentials(credentials)) return checkCredentials(credentials);
    const id = credentials.form?.get('client_id')?.[0];
    return id === undefined ? undefined : checkBare(id);
  };
}

interface Bearer {
  readonly kind: 'bearer';
  readonly token: string;
}
type ClientWay =
  | { readonly kind: 'secret'; readonly id: string; readonly secret: Secret }
  | { readonly kind: 'assertion'; readonly id?: string; readonly assertion: Secret };

/** Whether a request brings credentials of a client, good or not. */
export function hasClientCredentials({ authorization, form }: Credentials): boolean {
  const isInForm = ['client_secret', 'client_assertion', 'client_assertion_type'].some((name) =>
    form?.has(name),
  );
  return isInForm || authorization !== undefined;
}

/** RFC 6749 §2.3: a client must not use more than one method in a request. */
function findWay({ authorization, form = new Map() }: Credentials): Bearer | ClientWay {
  const inForm = findFormWay(form);
  if (authorization === undefined) {
    if (inForm) return inForm;
    throw new BrokerError('bearer_invalid', 'no credentials');
  }
  if (inForm) throw new BrokerError('parameter_invalid', 'more than one way to authenticate');
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([^\s]+) *$/.exec(authorization) ?? [];
  if (scheme.toLowerCase() === 'bearer') return { kind: 'bearer', token: value };
  if (scheme.toLowerCase() === 'basic') return parseBasic(value);
  throw new BrokerError('bearer_invalid', 'the Authorization header is neither Bearer nor Basic');
}

function findFormWay(form: ReadonlyMap<string, readonly string[]>): ClientWay | undefined {
  const id = form.get('client_id')?.[0];
  const secret = form.get('client_secret')?.[0];
  const assertion = form.get('client_assertion')?.[0];
  const type = form.get('client_assertion_type')?.[0];
  if (secret !== undefined && (assertion ?? type) !== undefined)
    throw new BrokerError('parameter_invalid', 'more than one way to authenticate');
  if (secret !== undefined) {
    if (id === undefined) throw new BrokerError('client_unauthenticated', 'client_id is missing');
    return { kind: 'secret', id, secret: new Secret(secret) };
  }
  if (assertion === undefined && type === undefined) return undefined;
  if (assertion === undefined || type !== ASSERTION_TYPE)
    throw new BrokerError('client_unauthenticated', 'client_assertion or its type is missing');
  return {
    kind: 'assertion',
    assertion: new Secret(assertion),
    ...(id !== undefined && { id }),
  };
}

/** RFC 6749 §2.3.1: id and secret are form-encoded before they are joined. */
function parseBasic(value: string): ClientWay {
  const text = Buffer.from(value, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1) throw new BrokerError('client_unauthenticated', 'Basic without id and secret');
  try {
    const decode = (part: string) => decodeURIComponent(part.replaceAll('+', ' '));
    const secret = new Secret(decode(text.slice(colon + 1)));
    return { kind: 'secret', id: decode(text.slice(0, colon)), secret };
  } catch {
    // Without the cause: its message may come to quote what it could not read.
    throw new BrokerError('client_unauthenticated', 'Basic is not percent-encoded UTF-8');
  }
}

function findTokenCaller(
  token: LiveToken | undefined,
  { audiences }: CallersDeps,
): Caller | undefined {
  if (!token) return undefined;
  const { subject, identity, audience, policies } = token;
  const isForBroker = audience === undefined || audiences.includes(audience);
  return {
    subject,
    ...(identity && { identity }),
    policies: isForBroker ? policies : [],
    token,
    ...(!isForBroker && { onlyAudience: audience }),
    via: 'token',
  };
}

/** A ServiceAccount token for the broker's audience and no other: another one could be shown it, and show it here. */
async function toWorkload({ token }: Bearer, deps: CallersDeps): Promise<Caller> {
  const audience = findClaimedAudience(token);
  if (audience === undefined || !deps.audiences.includes(audience))
    throw new BrokerError(
      'bearer_invalid',
      "neither a token of ours nor one for the broker's audience",
    );
  try {
    const proof = await deps.validate(new Secret(token), { audience });
    const { identity, audiences } = proof.subject;
    if (audiences.length !== 1 || audiences[0] !== audience)
      throw new BrokerError('bearer_invalid', 'the token has other audiences than the broker');
    await proof.confirm(audience);
    return { subject: toSubject(identity), identity, policies: [], via: 'workload' };
  } catch (error) {
    throw toBearerInvalid(error);
  }
}

/** Nothing of the token is believed: this only spares the validation of what would be refused after it. */
function findClaimedAudience(token: string): string | undefined {
  try {
    const payload = Buffer.from(token.split('.', 2)[1] ?? '', 'base64url').toString('utf8');
    const { aud } = JSON.parse(payload) as { aud?: unknown };
    const only: unknown = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud;
    return typeof only === 'string' ? only : undefined;
  } catch {
    return undefined;
  }
}

/** The reasons of subject tokens are about another request; what is wrong stays in the detail. */
function toBearerInvalid(error: unknown): unknown {
  if (!(error instanceof BrokerError)) return error;
  const { group } = REASONS[error.reason];
  if (group === 'unavailable' || group === 'too_many_requests') return error;
  const { reason, detail } = error;
  return new BrokerError('bearer_invalid', `${reason}: ${detail ?? ''}`, { cause: error });
}

function toClientCaller({ id }: { readonly id: string }): Caller {
  const identity = { kind: 'client', id } as const;
  return { subject: toSubject(identity), identity, policies: [], via: 'client' };
}
