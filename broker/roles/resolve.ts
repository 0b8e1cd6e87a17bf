// Which role serves a verified subject for an audience. Pure: a decision that holds every rule tried and the first
// thing that failed. What a role demands of the token (a pod, one audience) is told only to whom the role's subjects
// let in: a stranger learns nothing about roles.
import type { FailedClaim, Reason } from '../errors.ts';
import type { VerifiedSubject } from '../identity/identity.ts';
import { type Match, matchSubject, type Specificity } from './match.ts';
import type { Role } from './role.ts';
import type { RoleIndex } from './role-index.ts';

export interface RoleQuery {
  readonly subject: VerifiedSubject;
  /** Must already be one of the subject token's own audiences. */
  readonly audience: string;
  readonly roleName?: string;
}

export interface TriedRole {
  readonly role: string;
  readonly ok: boolean;
  /** Of the role as a whole (its audience, a demand on the token), or of its last rule. */
  readonly failed?: FailedClaim;
  /** One per subject of the role, in its order, up to the first that fits exactly. */
  readonly subjects: readonly Match[];
}

export type Resolution =
  | { readonly ok: true; readonly role: Role; readonly tried: readonly TriedRole[] }
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
      readonly tried: readonly TriedRole[];
    };

type Refusal = Omit<Extract<Resolution, { ok: false }>, 'ok' | 'tried'>;
interface Candidate {
  readonly role: Role;
  readonly specificity: Specificity | undefined;
  readonly tried: TriedRole;
}

/** Resolves a query against the roles as they are now. */
export function resolveRole(
  roles: RoleIndex,
  query: RoleQuery,
  { ownCluster }: { ownCluster: string },
): Resolution {
  const { subject, audience, roleName } = query;
  if (!subject.audiences.includes(audience)) {
    const failed = { claim: 'aud', got: subject.audiences, want: audience };
    const detail = 'the audience is not in the subject token';
    return { ok: false, reason: 'target_refused', detail, failed, tried: [] };
  }
  const named = roleName === undefined ? undefined : roles.findByName(roleName);
  const asked = roleName === undefined ? roles.findByAudience(audience) : named ? [named] : [];
  const candidates = asked.map((role) => tryRole(role, query, ownCluster));
  const tried = candidates.map((candidate) => candidate.tried);
  const chosen = chooseBest(candidates, query);
  if ('reason' in chosen) return { ok: false, ...chosen, tried };
  const refusal = checkDemands(chosen, subject);
  if (!refusal) return { ok: true, role: chosen, tried };
  const withDemand = tried.map((one) =>
    one.role === chosen.name ? { ...one, ok: false, failed: refusal.failed } : one,
  );
  return { ok: false, ...refusal, tried: withDemand };
}

function tryRole(role: Role, { subject, audience }: RoleQuery, ownCluster: string): Candidate {
  if (role.audience !== audience) {
    const failed = { claim: 'audience', got: audience, want: role.audience };
    return {
      role,
      specificity: undefined,
      tried: { role: role.name, ok: false, failed, subjects: [] },
    };
  }
  const subjects: Match[] = [];
  let specificity: Specificity | undefined;
  let failed: FailedClaim | undefined;
  for (const rule of role.subjects) {
    const match = matchSubject(rule, subject.identity, { ownCluster });
    subjects.push(match);
    if (match.ok) specificity = match.specificity;
    else failed = match.failed;
    if (specificity === 'exact') break;
  }
  const ok = specificity !== undefined;
  return {
    role,
    specificity,
    tried: { role: role.name, ok, ...(!ok && failed ? { failed } : {}), subjects },
  };
}

/** An exact subject beats a glob; between equals the broker does not choose. */
function chooseBest(
  candidates: readonly Candidate[],
  { audience, roleName }: RoleQuery,
): Role | Refusal {
  if (candidates.length === 0) {
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
  const fitting = candidates.filter(({ specificity }) => specificity !== undefined);
  const exact = fitting.filter(({ specificity }) => specificity === 'exact');
  const best = exact.length > 0 ? exact : fitting;
  const [only] = best;
  if (only === undefined) {
    const failed = candidates[0]?.tried.failed ?? {
      claim: 'subjects',
      got: 0,
      want: 'a rule that fits',
    };
    return refuse('role_mismatch', 'no rule of the roles tried fits the subject', failed);
  }
  if (best.length > 1) {
    const names = best.map(({ role }) => role.name);
    return refuse('role_ambiguous', 'several roles fit equally well', {
      claim: 'role',
      got: names,
      want: 'one',
    });
  }
  return only.role;
}

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
