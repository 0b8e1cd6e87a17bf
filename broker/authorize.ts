// The one door: every grant of every dialect goes through authorize(), and what it returns is what audit, `coatcheck
// explain` and the console show. Order: subject token (or what one proved before, where a token is renewed), audience,
// role, scopes, the API server's word where the cluster's mode wants it, expiry. It issues nothing.
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import { BrokerError, type FailedClaim, REASONS, type Reason } from './errors.ts';
import type { Identity, VerifiedSubject } from './identity/identity.ts';
import { checkAlive, type FindDeath } from './identity/liveness.ts';
import { type TokenFacts, TokenRefused } from './identity/refusal.ts';
import type { Proof, Validate, Validation } from './identity/validate.ts';
import { chooseIssueTime } from './issue-time.ts';
import type { Resolution, RoleQuery, TriedRole } from './roles/resolve.ts';
import type { Role } from './roles/role.ts';
import type { Mirror } from './store/mirror.ts';
import { type Expiry, limitExpiry } from './tokens/expiry.ts';
import { type ProvenSubject, toOwner } from './tokens/records.ts';
import { toRoleTag } from './tokens/token-id.ts';

/** A token of somebody else's that is validated now, or what a subject proved when the token to be renewed was issued. */
export type GrantSubject = { readonly token: Secret } | { readonly proven: ProvenSubject };

export interface GrantRequest {
  readonly subject: GrantSubject;
  /** Of legal characters; absent: the token's only one. */
  readonly audience?: string;
  readonly roleName?: string;
  /** Absent: all of the role's. */
  readonly scopes?: readonly string[];
  /** The caller wants a JWT and nothing else. */
  readonly tokenType?: 'jwt';
}

/** What is decided about: a new token, more life for one, the end of one. */
export type DecisionAction = 'exchange' | 'renew' | 'revoke';

/** Who asks, as far as the transport knows. */
export interface DecisionContext {
  readonly correlationId: string;
  readonly dialect: string;
  /** `exchange` unless stated. */
  readonly action?: DecisionAction;
}

/** What an allowed caller may be given. */
export interface Grant {
  readonly subject: VerifiedSubject;
  readonly role: Role;
  readonly audience: string;
  readonly scopes: readonly string[];
  /** Seconds since the epoch. */
  readonly issuedAt: number;
  readonly expiry: Expiry;
}

/** The subject token by its fingerprint; the rest only as far as it was verified. */
export type DecisionSubject = TokenFacts & Partial<Pick<VerifiedSubject, 'issuedAt' | 'expiresAt'>>;

/** `failure` is ours (keys away, a bug), `deny` is the caller's. Holds no token. */
export interface Decision {
  /** The correlation id the caller was told. */
  readonly id: string;
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly dialect: string;
  readonly action: DecisionAction;
  readonly outcome: 'allow' | 'deny' | 'failure';
  readonly reason?: Reason;
  /** For operators; may quote configuration, never a token. */
  readonly detail?: string;
  readonly subject?: DecisionSubject;
  /** How the subject token was validated; absent before it was. */
  readonly validation?: Validation;
  /** Only once it was found in the subject token. */
  readonly audience?: string;
  readonly role?: string;
  readonly requestedRole?: string;
  /** Every role for the audience and each of its rules, in the order they were tried. */
  readonly tried: readonly TriedRole[];
  /** The first thing that did not hold. */
  readonly failed?: FailedClaim;
  readonly scopes?: readonly string[];
  readonly expiry?: Expiry;
  /** Only with `allow`. */
  readonly grant?: Grant;
  /** What was thrown, where the outcome is a failure: for the log alone. */
  readonly error?: unknown;
}

export interface AuthorizeDeps {
  readonly validate: Validate;
  readonly resolve: (query: RoleQuery) => Resolution;
  readonly clock: Clock;
  /** Absent with `store: none`: nothing can be revoked. */
  readonly findDenial?: Mirror['findDenial'];
  /** Absent: nobody is known to be dead. */
  readonly findDeath?: FindDeath;
  /** Takes one of what the identity may ask for; before the API server is asked. @throws BrokerError `too_many_requests` */
  readonly spend?: (identity: Identity) => void;
  /** The broker's ceiling on every token's life. */
  readonly maxTtlSeconds: number;
}

export type Authorize = (request: GrantRequest, context: DecisionContext) => Promise<Decision>;

type Draft = { -readonly [Name in keyof Decision]?: Decision[Name] };

/** @returns a function that never rejects: a failure of ours is a decision too, and is recorded like one. */
export function createAuthorize(deps: AuthorizeDeps): Authorize {
  return async (request, context) => {
    const draft: Draft = { dialect: context.dialect };
    if (request.roleName !== undefined) draft.requestedRole = request.roleName;
    try {
      draft.grant = await decide(request, deps, draft);
      return { ...toFrame(context, deps.clock), tried: [], ...draft, outcome: 'allow' };
    } catch (error) {
      if (error instanceof TokenRefused) draft.subject = error.facts;
      return toRefusal(error, context, { clock: deps.clock, draft });
    }
  };
}

/** Groups of reasons that are no fault of the caller. */
const OUR_GROUPS: readonly string[] = ['unavailable', 'too_many_requests', 'internal'];

/** The decision about a request that never came to {@link createAuthorize}: malformed, too large, unauthenticated. */
export function toRefusal(
  error: unknown,
  context: DecisionContext,
  { clock, draft = {} }: { clock: Clock; draft?: Draft },
): Decision {
  const frame = { ...toFrame(context, clock), tried: [], ...draft };
  if (!(error instanceof BrokerError))
    return { ...frame, outcome: 'failure', reason: 'internal', error };
  const { reason, detail, failed } = error;
  const isOurs = OUR_GROUPS.includes(REASONS[reason].group);
  return {
    ...frame,
    outcome: isOurs ? 'failure' : 'deny',
    reason,
    ...(detail !== undefined && { detail }),
    ...(failed && { failed }),
    ...(isOurs && { error }),
  };
}

/** What every decision has, whatever it is about. */
export function toFrame(
  { correlationId, dialect, action = 'exchange' }: DecisionContext,
  clock: Clock,
): Pick<Decision, 'id' | 'time' | 'dialect' | 'action'> {
  return { id: correlationId, time: new Date(clock.now()).toISOString(), dialect, action };
}

/** The steps in order. What each finds out goes into the draft at once, so that a refusal shows all before it. */
async function decide(request: GrantRequest, deps: AuthorizeDeps, draft: Draft): Promise<Grant> {
  const proof = await prove(request, deps);
  const { subject, renewed } = proof;
  draft.subject = toDecisionSubject(subject);
  // Subject tokens of the dead were refused on the way here; this is for those that renew.
  checkAlive(subject, deps.findDeath);
  if (proof.validation) draft.validation = proof.validation;
  deps.spend?.(subject.identity);
  const audience = chooseAudience(subject, request.audience);
  draft.audience = audience;
  const role = chooseRole({ subject, audience, request, deps, draft });
  const scopes = chooseScopes(role, request.scopes);
  draft.scopes = scopes;
  checkTokenType(role, request);
  if (renewed) checkUnchanged(role, renewed);
  // Last of the checks, so that no API server is asked about what would be refused anyway; and before the lifetime is
  // counted, because it may take seconds.
  if (proof.confirm) draft.validation = await proof.confirm(audience);
  const issuedAt = await chooseIssueTime(
    () => ({ ...toOwner(subject.identity), roleTag: toRoleTag(role.name), audience }),
    deps,
  );
  // Both waits are over: a death that was reported meanwhile counts.
  checkAlive(subject, deps.findDeath);
  const expiry = limitExpiry({
    issuedAt,
    ...(renewed && { firstIssuedAt: renewed.firstIssuedAt, maxExpiresAt: renewed.maxExpiresAt }),
    token: role.token,
    ceilingSeconds: deps.maxTtlSeconds,
    subjectExpiresAt: subject.expiresAt,
    isBound: subject.identity.kind !== 'workload' || subject.identity.pod !== undefined,
  });
  draft.expiry = expiry;
  if (expiry.expiresAt <= issuedAt) {
    // Within the leeway the subject token still counts as valid, but there is no life left to give.
    throw new BrokerError('token_expired', 'no lifetime is left', {
      failed: { claim: 'exp', got: subject.expiresAt, want: `> ${issuedAt}` },
    });
  }
  return { subject, role, audience, scopes, issuedAt, expiry };
}

interface Proven {
  readonly subject: VerifiedSubject;
  readonly validation?: Validation;
  readonly confirm?: Proof['confirm'];
  readonly renewed?: ProvenSubject;
}

/**
 * What a subject proved before stands as it was: there is no token any more that an API server could be asked about. So
 * a renewal is decided by the roles of now and by what is known of the dead, never by a review.
 */
async function prove(
  { subject, audience }: GrantRequest,
  { validate }: AuthorizeDeps,
): Promise<Proven> {
  if ('token' in subject) return validate(subject.token, { audience });
  return { subject: subject.proven.subject, renewed: subject.proven };
}

/** RFC 8693 §2.2.1 lets us issue another type than was asked for; a caller that wants a JWT would read it as one. */
function checkTokenType({ token }: Role, { tokenType }: GrantRequest): void {
  if (tokenType !== undefined && tokenType !== token.type)
    throw new BrokerError(
      'token_type_unsupported',
      'a JWT was asked for, the role has opaque tokens',
      {
        failed: { claim: 'requested_token_type', got: tokenType, want: token.type },
      },
    );
}

/** A renewed token says what it said when it was issued; a role that would not say that any more does not prolong it. */
function checkUnchanged({ token }: Role, { policies, claims }: ProvenSubject): void {
  const gone = policies.filter((policy) => !token.policies.includes(policy));
  if (gone.length > 0)
    throw new BrokerError('role_mismatch', 'the role does not give the policies any more', {
      failed: { claim: 'policies', got: policies, want: token.policies },
    });
  if (token.type !== 'opaque')
    throw new BrokerError('role_mismatch', 'the role does not give opaque tokens any more', {
      failed: { claim: 'type', got: 'opaque', want: token.type },
    });
  if (!isDeepStrictEqual(claims, { ...token.claims }))
    throw new BrokerError('role_mismatch', 'the role does not give the extra claims any more', {
      failed: { claim: 'claims', got: Object.keys(claims), want: Object.keys(token.claims) },
    });
}

/** Without the claims: a decision is shown, and they may hold what nobody chose to show. */
function toDecisionSubject({ claims, ...facts }: VerifiedSubject): DecisionSubject {
  const { identity } = facts;
  return identity.kind === 'workload' ? { ...facts, cluster: identity.cluster } : facts;
}

/** The audience is compared with the token's `aud` here, and then with the role's; never `aud` with itself. */
function chooseAudience({ audiences }: VerifiedSubject, requested: string | undefined): string {
  const [only] = audiences;
  if (requested === undefined) {
    if (only !== undefined && audiences.length === 1) return only;
    throw new BrokerError('token_audience', 'no audience was asked for and the token has several', {
      failed: { claim: 'aud', got: audiences, want: 'exactly one, or an audience in the request' },
    });
  }
  if (audiences.includes(requested)) return requested;
  throw new BrokerError('target_refused', 'the requested audience is not in the subject token', {
    failed: { claim: 'aud', got: audiences, want: requested },
  });
}

function chooseRole(step: {
  subject: VerifiedSubject;
  audience: string;
  request: GrantRequest;
  deps: AuthorizeDeps;
  draft: Draft;
}): Role {
  const { subject, audience, request, deps, draft } = step;
  const { roleName, scopes } = request;
  const { dialect } = draft;
  const resolution = deps.resolve({
    subject,
    audience,
    ...(roleName !== undefined && { roleName }),
    ...(scopes && { scopes }),
    ...(dialect !== undefined && { dialect }),
  });
  draft.tried = resolution.tried;
  if (!resolution.ok)
    throw new BrokerError(resolution.reason, resolution.detail, { failed: resolution.failed });
  draft.role = resolution.role.name;
  return resolution.role;
}

function chooseScopes(
  { token }: Role,
  requested: readonly string[] | undefined,
): readonly string[] {
  if (!requested) return token.scopes;
  const outside = requested.filter((scope) => !token.scopes.includes(scope));
  if (outside.length === 0) return requested;
  throw new BrokerError('scope_refused', 'a scope outside the role was asked for', {
    failed: { claim: 'scope', got: outside, want: token.scopes },
  });
}
