// Whether one subject rule of a role fits one identity. Pure; says how well it fits, or the first thing that does not.
// A rule about one kind of identity never fits another kind.
import type { FailedClaim } from '../errors.ts';
import type {
  Identity,
  OidcIdentity,
  UserIdentity,
  VerifiedSubject,
  WorkloadIdentity,
} from '../identity/identity.ts';
import { isGlob, isMatch } from './glob.ts';
import { type NamespaceLabels, NO_NAMESPACES } from './namespaces.ts';
import type { OidcRule, SelectorRule, SubjectRule, WorkloadRule } from './role.ts';
import { isSelected, toSelectorText } from './selector.ts';

/** `exact` names one subject, and beats the others, which may fit many and are equals. */
export type Specificity = 'exact' | 'glob' | 'selector' | 'group';

export type Match =
  | { readonly ok: true; readonly specificity: Specificity }
  | { readonly ok: false; readonly failed: FailedClaim };

export interface MatchContext {
  /** What a rule without `cluster` means. */
  readonly ownCluster: string;
  /** Absent: nothing is known of any namespace. */
  readonly namespaces?: NamespaceLabels;
}

/** What kind of identity a rule is about. */
export function toRuleKind(rule: SubjectRule): Identity['kind'] {
  if ('serviceAccount' in rule) return 'workload';
  if ('issuer' in rule) return 'oidc';
  return 'client' in rule ? 'client' : 'user';
}

/** Matches a rule; every field it states must fit. */
export function matchSubject(
  rule: SubjectRule,
  { identity, claims }: Pick<VerifiedSubject, 'identity' | 'claims'>,
  context: MatchContext,
): Match {
  switch (identity.kind) {
    case 'workload':
      if ('namespace' in rule) return matchWorkload(rule, identity, context);
      if ('namespaceSelector' in rule) return matchSelector(rule, identity, context);
      break;
    case 'oidc':
      if ('issuer' in rule) return matchOidc(rule, identity, claims);
      break;
    case 'client':
      if ('client' in rule)
        return rule.client === identity.id ? FITS : fail('client', identity.id, rule.client);
      break;
    case 'user':
      if ('user' in rule || 'group' in rule) return matchUser(rule, identity);
      break;
  }
  return fail('kind', identity.kind, toRuleKind(rule));
}

function matchWorkload(
  { namespace, serviceAccount, cluster: written }: WorkloadRule,
  identity: WorkloadIdentity,
  { ownCluster }: MatchContext,
): Match {
  const cluster = written ?? ownCluster;
  // Plain steps: this runs once per rule of every role for the audience, on every exchange.
  if (!isMatch(cluster, identity.cluster)) return fail('cluster', identity.cluster, cluster);
  if (!isMatch(namespace, identity.namespace))
    return fail('kubernetes.io.namespace', identity.namespace, namespace);
  if (!isMatch(serviceAccount, identity.serviceAccount))
    return fail(CLAIM_ACCOUNT, identity.serviceAccount, serviceAccount);
  return isGlob(cluster) || isGlob(namespace) || isGlob(serviceAccount) ? FITS_AS_GLOB : FITS;
}

/** Labels are known of the own cluster alone; what is not known fits nobody. */
function matchSelector(
  { namespaceSelector, serviceAccount }: SelectorRule,
  identity: WorkloadIdentity,
  { ownCluster, namespaces = NO_NAMESPACES }: MatchContext,
): Match {
  if (identity.cluster !== ownCluster) return fail('cluster', identity.cluster, ownCluster);
  if (!isMatch(serviceAccount, identity.serviceAccount))
    return fail(CLAIM_ACCOUNT, identity.serviceAccount, serviceAccount);
  const want = toSelectorText(namespaceSelector);
  if (!namespaces.isReady())
    return fail('namespaceSelector', 'labels of namespaces are not known to this broker', want);
  const labels = namespaces.find(identity.namespace);
  if (!labels)
    return fail('namespaceSelector', `no namespace ${identity.namespace} is known`, want);
  return isSelected(namespaceSelector, labels)
    ? FITS_BY_SELECTOR
    : fail('namespaceSelector', labels, want);
}

function matchOidc(
  rule: OidcRule,
  { issuer, subject }: OidcIdentity,
  claims: VerifiedSubject['claims'],
): Match {
  if (issuer !== rule.issuer) return fail('issuer', issuer, rule.issuer);
  if (!isMatch(rule.subject, subject)) return fail('sub', subject, rule.subject);
  for (const [name, want] of Object.entries(rule.claims ?? {})) {
    const got = Object.hasOwn(claims, name) ? claims[name] : undefined;
    const isFitting = Array.isArray(got)
      ? got.some((item) => isClaimMatch(want, item))
      : isClaimMatch(want, got);
    if (!isFitting) return fail(name, got ?? null, want);
  }
  return isGlob(rule.subject) ? FITS_AS_GLOB : FITS;
}

/** Texts by glob; numbers and booleans only as such: the text "true" is not true. */
function isClaimMatch(want: string | number | boolean, got: unknown): boolean {
  return typeof want === 'string' ? typeof got === 'string' && isMatch(want, got) : want === got;
}

function matchUser(
  rule: { readonly user: string } | { readonly group: string },
  { provider, subject, groups }: UserIdentity,
): Match {
  if ('user' in rule) {
    const user = `${provider}:${subject}`;
    return user === rule.user ? FITS : fail('user', user, rule.user);
  }
  const own = groups.map((group) => `${provider}:${group}`);
  return own.includes(rule.group) ? FITS_BY_GROUP : fail('group', own, rule.group);
}

const CLAIM_ACCOUNT = 'kubernetes.io.serviceaccount.name';
const FITS: Match = { ok: true, specificity: 'exact' };
const FITS_AS_GLOB: Match = { ok: true, specificity: 'glob' };
const FITS_BY_SELECTOR: Match = { ok: true, specificity: 'selector' };
const FITS_BY_GROUP: Match = { ok: true, specificity: 'group' };

function fail(claim: string, got: unknown, want: unknown): Match {
  return { ok: false, failed: { claim, got, want } };
}
