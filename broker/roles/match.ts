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
  if (identity.kind !== 'workload' || !('namespace' in rule)) {
    return { ok: false, failed: { claim: 'kind', got: identity.kind, want: toKind(rule) } };
  }
  const { namespace, serviceAccount, cluster = ownCluster } = rule;
  // Plain steps: this runs once per rule of every role for the audience, on every exchange.
  if (!isMatch(cluster, identity.cluster)) return fail('cluster', identity.cluster, cluster);
  if (!isMatch(namespace, identity.namespace))
    return fail('kubernetes.io.namespace', identity.namespace, namespace);
  if (!isMatch(serviceAccount, identity.serviceAccount))
    return fail('kubernetes.io.serviceaccount.name', identity.serviceAccount, serviceAccount);
  return isGlob(cluster) || isGlob(namespace) || isGlob(serviceAccount) ? FITS_AS_GLOB : FITS;
}

const FITS: Match = { ok: true, specificity: 'exact' };
const FITS_AS_GLOB: Match = { ok: true, specificity: 'glob' };

function fail(claim: string, got: string, want: string): Match {
  return { ok: false, failed: { claim, got, want } };
}

function toKind(rule: SubjectRule): string {
  const kinds = ['issuer', 'client', 'user', 'group'] as const;
  return kinds.find((kind) => kind in rule) ?? 'workload';
}
