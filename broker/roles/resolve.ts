// Which role serves a verified subject for an audience. Pure: a decision that holds every rule tried and the first
// thing that failed. What a role demands of the token (a pod, one audience) is told only to whom the role's subjects
// let in: a stranger learns nothing about roles.
import type { FailedClaim, Reason } from '../errors.ts';
import type { VerifiedSubject } from '../identity/identity.ts';
import { type Match, type MatchContext, matchSubject, type Specificity } from './match.ts';
import type { Allowance, Role } from './role.ts';
import type { RoleIndex } from './role-index.ts';

export interface RoleQuery {
  readonly subject: VerifiedSubject;
  /** Must already be one of the subject token's own audiences. */
  readonly audience: string;
  readonly roleName?: string;
  /** What was asked for; for conditions alone. Absent: none was. */
  readonly scopes?: readonly string[];
  /** For conditions alone. */
  readonly dialect?: string;
}

export interface ResolveContext extends MatchContext {
  /** Tries every role for the audience even where one was found without: for people who ask why. */
  readonly triesAll?: boolean;
}

export interface TriedRole {
  readonly role: string;
  readonly ok: boolean;
  /** Of the role as a whole (its audience, its condition, a demand on the token), or of its last rule. */
  readonly failed?: FailedClaim;
  /** One per subject of the role, in its order, up to the first that fits exactly. */
  readonly subjects: readonly Match[];
}

export type Resolution =
  | {
      readonly ok: true;
      readonly role: Role;
      /** Where roles are many, those alone that might have fitted. */
      readonly tried: readonly TriedRole[];
    }
  | {
      readonly ok: false;
      readonly reason: Extract<
        Reason,
        | 'role_unknown'
        | 'role_mismatch'
        | 'role_ambiguous'
        | 'token_unbound'
        | 'token_audience'
        | 'target_refused'
      >;
      readonly detail: string;
      readonly failed: FailedClaim;
      /** Every role for the audience. */
      readonly tried: readonly TriedRole[];
    };

type Refusal = Omit<Extract<Resolution, { ok: false }>, 'ok' | 'tried'>;
interface Candidate {
  readonly role: Role;
  readonly specificity: Specificity | undefined;
  readonly tried: TriedRole;
}

// Below, trying all costs less than a decision that shows half of them to whoever reads it.
const MAX_ROLES_TRIED = 16;
/** Five conditions at their most expensive, thousands as people write them: some 15 ms. */
const CONDITION_STEPS = 50_000;

/** Resolves a query against the roles as they are now. */
export function resolveRole(
  roles: RoleIndex,
  query: RoleQuery,
  context: ResolveContext,
): Resolution {
  const { subject, audience } = query;
  if (!subject.audiences.includes(audience)) {
    const failed = { claim: 'aud', got: subject.audiences, want: audience };
    const detail = 'the audience is not in the subject token';
    return { ok: false, reason: 'target_refused', detail, failed, tried: [] };
  }
  const { all, likely } = findAsked(roles, query, context);
  const trial: Trial = { query, context, allowance: { steps: CONDITION_STEPS } };
  const candidates = likely.map((role) => tryRole(role, trial));
  const best = findBest(candidates);
  const [only] = best;
  const demand = only && best.length === 1 ? checkDemands(only.role, subject) : undefined;
  if (only && best.length === 1 && !demand)
    return { ok: true, role: only.role, tried: candidates.map(({ tried }) => tried) };
  const tried = listTried(all, candidates, trial);
  if (!only || !demand) return { ok: false, ...toRefusal(best, tried, query), tried };
  const withDemand = tried.map((one) =>
    one.role === only.role.name ? { ...one, ok: false, failed: demand.failed } : one,
  );
  return { ok: false, ...demand, tried: withDemand };
}

/** All roles that the request may mean, and among them those that can fit at all. */
function findAsked(
  roles: RoleIndex,
  { roleName, audience, subject }: RoleQuery,
  { ownCluster, triesAll = false }: ResolveContext,
): { all: readonly Role[]; likely: readonly Role[] } {
  if (roleName !== undefined) {
    const named = roles.findByName(roleName);
    const all = named ? [named] : [];
    return { all, likely: all };
  }
  const all = roles.findByAudience(audience);
  const isFew = triesAll || all.length <= MAX_ROLES_TRIED;
  return {
    all,
    likely: isFew ? all : roles.findCandidates(audience, subject.identity, ownCluster),
  };
}

interface Trial {
  readonly query: RoleQuery;
  readonly context: MatchContext;
  readonly allowance: Allowance;
}

function tryRole(role: Role, trial: Trial): Candidate {
  const { subject, audience } = trial.query;
  const refuse = (failed: FailedClaim | undefined, subjects: readonly Match[]): Candidate => ({
    role,
    specificity: undefined,
    tried: { role: role.name, ok: false, ...(failed && { failed }), subjects },
  });
  if (role.audience !== audience)
    return refuse({ claim: 'audience', got: audience, want: role.audience }, []);
  const subjects: Match[] = [];
  let specificity: Specificity | undefined;
  let failed: FailedClaim | undefined;
  for (const rule of role.subjects) {
    const match = matchSubject(rule, subject, trial.context);
    subjects.push(match);
    if (match.ok) specificity = match.specificity;
    else failed = match.failed;
    if (specificity === 'exact') break;
  }
  if (specificity === undefined) return refuse(failed, subjects);
  const unmet = checkCondition(role, trial);
  if (unmet) return refuse(unmet, subjects);
  return { role, specificity, tried: { role: role.name, ok: true, subjects } };
}

/** Asked last: only those whom a subject rule lets in can make the broker evaluate anything. */
function checkCondition({ condition }: Role, trial: Trial): FailedClaim | undefined {
  if (!condition) return undefined;
  const { subject, audience, roleName = '', scopes = [], dialect = '' } = trial.query;
  const request = { audience, scopes, role: roleName, dialect };
  const result = condition.evaluate(subject, request, trial.allowance);
  return result.ok ? undefined : { claim: CONDITION, got: result.got, want: condition.text };
}

/** An exact subject beats all others; a condition does not make a role fit better. */
function findBest(candidates: readonly Candidate[]): readonly Candidate[] {
  const fitting = candidates.filter(({ specificity }) => specificity !== undefined);
  const exact = fitting.filter(({ specificity }) => specificity === 'exact');
  return exact.length > 0 ? exact : fitting;
}

/** What was tried, and for a refusal the others too, in the order of their names. */
function listTried(
  all: readonly Role[],
  candidates: readonly Candidate[],
  trial: Trial,
): readonly TriedRole[] {
  const done = new Map(candidates.map(({ role, tried }) => [role, tried]));
  return all.map((role) => done.get(role) ?? tryRole(role, trial).tried);
}

/** Nobody fits, or several do: between equals the broker does not choose. */
function toRefusal(
  best: readonly Candidate[],
  tried: readonly TriedRole[],
  { audience, roleName }: RoleQuery,
): Refusal {
  if (best.length > 1) {
    const got = best.map(({ role }) => role.name);
    return refuse('role_ambiguous', 'several roles fit equally well', {
      claim: 'role',
      got,
      want: 'one',
    });
  }
  const nearest = tried.find(({ failed }) => failed?.claim === CONDITION) ?? tried[0];
  if (nearest) {
    const failed = nearest.failed ?? { claim: 'subjects', got: 0, want: 'a rule that fits' };
    const detail =
      failed.claim === CONDITION
        ? 'the condition of a role that would fit does not hold'
        : 'no rule of the roles tried fits the subject';
    return refuse('role_mismatch', detail, failed);
  }
  return roleName === undefined
    ? refuse('role_unknown', 'no role is for this audience', {
        claim: 'aud',
        got: audience,
        want: 'the audience of a role',
      })
    : refuse('role_unknown', 'no role has this name', {
        claim: 'role',
        got: roleName,
        want: 'the name of a role',
      });
}

const CONDITION = 'condition';

/** What the chosen role asks of the token itself. */
function checkDemands(role: Role, { identity, audiences }: VerifiedSubject): Refusal | undefined {
  if (role.requirePod && identity.kind === 'workload' && identity.pod === undefined) {
    return refuse('token_unbound', 'the role requires a token bound to a pod', {
      claim: 'kubernetes.io.pod',
      got: null,
      want: 'a pod',
    });
  }
  // A token with further audiences may already have been shown to another receiver, who could replay it here.
  if (audiences.length > 1 && !role.allowExtraAudiences) {
    return refuse('token_audience', 'the role does not accept a token with further audiences', {
      claim: 'aud',
      got: audiences,
      want: [role.audience],
    });
  }
  return undefined;
}

function refuse(reason: Refusal['reason'], detail: string, failed: FailedClaim): Refusal {
  return { reason, detail, failed };
}
