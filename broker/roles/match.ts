// Whether one subject rule of a role fits one identity. Pure; says how well it fits, or the first thing that does not.
import type { FailedClaim } from '../errors.ts';
import type { Identity } from '../identity/identity.ts';
import { isGlob, isMatch } from './glob.ts';
import type { SubjectRule } from './role.ts';

/** `exact` names one ServiceAccount of one cluster; a glob anywhere in a rule makes it a `glob`. */
export type Specificity = 'exact' | 'glob';

export type Match =
  | { readonly ok: true; readonly specificity: Specificity }
  | { readonly ok: false; readonly failed: FailedClaim };

export interface MatchContext {
  /** What a rule without `cluster` means. */
  readonly ownCluster: string;
}

/** Matches a rule; every field it states must fit. A rule about people or clients fits no workload. */
export function matchSubject(
  rule: SubjectRule,
  identity: Identity,
  { ownCluster }: MatchContext,
): Match {
  const { namespace, serviceAccount, cluster = ownCluster } = rule;
  if (namespace === undefined || serviceAccount === undefined) {
    return { ok: false, failed: { claim: 'kind', got: identity.kind, want: toKind(rule) } };
  }
  const fields = [
    { claim: 'cluster', want: cluster, got: identity.cluster },
    { claim: 'kubernetes.io.namespace', want: namespace, got: identity.namespace },
    {
      claim: 'kubernetes.io.serviceaccount.name',
      want: serviceAccount,
      got: identity.serviceAccount,
    },
  ];
  const failed = fields.find(({ want, got }) => !isMatch(want, got));
  if (failed) return { ok: false, failed };
  return { ok: true, specificity: fields.some(({ want }) => isGlob(want)) ? 'glob' : 'exact' };
}

function toKind(rule: SubjectRule): string {
  const kinds = ['issuer', 'client', 'user', 'group'] as const;
  return kinds.find((kind) => rule[kind] !== undefined) ?? 'workload';
}
