// Which roles for one audience could fit one subject equally well: such a subject is refused by both. For reports, the
// lint and the API; nothing here runs while a token is decided on.
import { isGlob, isMatch, isOverlap } from './glob.ts';
import { toRuleKind } from './match.ts';
import type { OidcRule, Role, SelectorRule, SubjectRule, WorkloadRule } from './role.ts';
import { findNamed, isDisjoint, toComparisonCost, toSelectorText } from './selector.ts';

/** Two subject rules of two roles that some subject fits both. */
export interface Overlap {
  readonly role: Role;
  /** Index in the role's `subjects`. */
  readonly subject: number;
  readonly other: Role;
  readonly otherSubject: number;
  /** `ambiguous`: equals, both are refused. `shadowed`: `other` names the subject exactly and serves it. */
  readonly kind: 'ambiguous' | 'shadowed';
  /** False where labels, groups or conditions may keep the two apart, which cannot be seen from the roles. */
  readonly isCertain: boolean;
}

interface Rule {
  readonly role: Role;
  readonly subject: number;
  readonly rule: SubjectRule;
  readonly isExact: boolean;
}

export interface OverlapContext {
  /** What a rule without `cluster` means. */
  readonly ownCluster: string;
}

interface Comparing extends OverlapContext {
  /** How much may still be spent; below zero it was too much, and answers mean nothing any more. */
  readonly work: { left: number };
}

export interface Overlaps {
  readonly found: readonly Overlap[];
  /** False where there are so many rules, or such long ones, that not all were compared. */
  readonly isComplete: boolean;
}

/** Comparisons of one look at an audience: some tens of milliseconds, in which nobody is served. */
const MAX_COMPARISONS = 200_000;
/** Large selectors make one comparison as dear as thousands. A fifth of a second. */
const MAX_STEPS = 5_000_000;
/** What a comparison takes that ends at once. */
const STEPS_EACH = 10;

/** Finds all overlaps between roles of one audience, in the order of the roles. */
export function findOverlaps(roles: readonly Role[], given: OverlapContext): Overlaps {
  const context = { ...given, work: { left: MAX_STEPS } };
  const rules = roles.flatMap(toRules);
  const place = new Map(rules.map((rule, at) => [rule, at]));
  const wide = rules.filter(({ isExact }) => !isExact);
  const exact = Map.groupBy(
    rules.filter(({ isExact }) => isExact),
    ({ rule }) => toExactKey(rule, context),
  );
  const isFew = wide.length * rules.length <= MAX_COMPARISONS;
  const found = [...exact.values()].flatMap((group) =>
    compareAll(group, group, { place, context }),
  );
  if (isFew) {
    found.push(...compareAll(wide, wide, { place, context }));
    found.push(...compareAll(wide, [...exact.values()].flat(), { context }));
  }
  return { found, isComplete: isFew && context.work.left >= 0 };
}

/** Overlaps of one role with others of its audience; a role of its own name among them is the one it replaces. */
export function findOverlapsOf(
  role: Role,
  others: readonly Role[],
  given: OverlapContext,
): Overlaps {
  const context = { ...given, work: { left: MAX_STEPS } };
  const rest = others
    .filter(({ name, audience }) => name !== role.name && audience === role.audience)
    .flatMap(toRules);
  const wide = rest.filter(({ isExact }) => !isExact);
  const exact = Map.groupBy(
    rest.filter(({ isExact }) => isExact),
    ({ rule }) => toExactKey(rule, context),
  );
  const found = toRules(role).flatMap((own) => {
    // Exact rules meet only their equals, which a map finds.
    const equals = own.isExact ? (exact.get(toExactKey(own.rule, context)) ?? []) : [];
    return compareAll([own], own.isExact ? [...equals, ...wide] : rest, { context });
  });
  return { found, isComplete: context.work.left >= 0 };
}

function toRules(role: Role): Rule[] {
  return role.subjects.map((rule, subject) => ({
    role,
    subject,
    rule,
    isExact: isExactRule(rule),
  }));
}

function isExactRule(rule: SubjectRule): boolean {
  if ('namespace' in rule)
    return ![rule.cluster ?? '', rule.namespace, rule.serviceAccount].some(isGlob);
  if ('issuer' in rule) return !isGlob(rule.subject);
  return 'client' in rule || 'user' in rule;
}

function toExactKey(rule: SubjectRule, { ownCluster }: OverlapContext): string {
  if ('namespace' in rule)
    return ['k8s', rule.cluster ?? ownCluster, rule.namespace, rule.serviceAccount].join('\0');
  if ('issuer' in rule) return ['oidc', rule.issuer, rule.subject].join('\0');
  return JSON.stringify(rule);
}

function compareAll(
  left: readonly Rule[],
  right: readonly Rule[],
  { place, context }: { place?: ReadonlyMap<Rule, number>; context: Comparing },
): Overlap[] {
  const found: Overlap[] = [];
  const { work } = context;
  // Of two within one list, each pair once.
  const isSeen = (a: Rule, b: Rule) => place && (place.get(a) ?? 0) >= (place.get(b) ?? 0);
  for (const a of left) {
    for (const b of right) {
      work.left -= STEPS_EACH;
      if (work.left < 0) return found;
      const overlap = a.role === b.role || isSeen(a, b) ? undefined : findOverlap(a, b, context);
      if (overlap) found.push(overlap);
    }
  }
  return found;
}

function findOverlap(a: Rule, b: Rule, context: Comparing): Overlap | undefined {
  const meeting = meet(a.rule, b.rule, context);
  if (meeting === 'never' || context.work.left < 0) return undefined;
  // The loser comes first: it is the one that does not do what it says.
  const [loser, winner] = a.isExact && !b.isExact ? [b, a] : [a, b];
  const { condition } = loser.role;
  const isSameCondition = condition?.text === winner.role.condition?.text;
  return {
    role: loser.role,
    subject: loser.subject,
    other: winner.role,
    otherSubject: winner.subject,
    kind: a.isExact === b.isExact ? 'ambiguous' : 'shadowed',
    isCertain: meeting === 'certain' && isSameCondition,
  };
}

type Meeting = 'never' | 'possible' | 'certain';

/** Whether some subject fits both rules. */
function meet(a: SubjectRule, b: SubjectRule, context: Comparing): Meeting {
  if (toRuleKind(a) !== toRuleKind(b)) return 'never';
  if ('serviceAccount' in a && 'serviceAccount' in b)
    return isOverlap(a.serviceAccount, b.serviceAccount) ? meetNamespaces(a, b, context) : 'never';
  if ('issuer' in a && 'issuer' in b) return meetOidc(a, b);
  if ('client' in a && 'client' in b) return a.client === b.client ? 'certain' : 'never';
  return meetPeople(a, b);
}

/** A person may be in any groups of their provider, and be any user of it. */
function meetPeople(a: SubjectRule, b: SubjectRule): Meeting {
  const [mine, theirs] = [toPerson(a), toPerson(b)];
  if (!mine || !theirs || mine.provider !== theirs.provider) return 'never';
  if (mine.text === theirs.text) return mine.isUser === theirs.isUser ? 'certain' : 'possible';
  return mine.isUser && theirs.isUser ? 'never' : 'possible';
}

function toPerson(rule: SubjectRule) {
  const isUser = 'user' in rule;
  const text = isUser ? rule.user : 'group' in rule ? rule.group : undefined;
  return text === undefined ? undefined : { isUser, text, provider: text.split(':', 1)[0] };
}

type Workload = WorkloadRule | SelectorRule;

function meetNamespaces(a: Workload, b: Workload, { ownCluster, work }: Comparing): Meeting {
  const clusterOf = (rule: Workload) =>
    'namespace' in rule ? (rule.cluster ?? ownCluster) : ownCluster;
  if (!isOverlap(clusterOf(a), clusterOf(b))) return 'never';
  if ('namespace' in a && 'namespace' in b)
    return isOverlap(a.namespace, b.namespace) ? 'certain' : 'never';
  if ('namespace' in a) return meetSelector(b as SelectorRule, a);
  if ('namespace' in b) return meetSelector(a, b);
  work.left -= toComparisonCost(a.namespaceSelector, b.namespaceSelector);
  if (work.left < 0) return 'never';
  if (toSelectorText(a.namespaceSelector) === toSelectorText(b.namespaceSelector)) return 'certain';
  return isDisjoint(a.namespaceSelector, b.namespaceSelector) ? 'never' : 'possible';
}

/** Which namespaces have the labels, nobody knows here; but a selector may name them. */
function meetSelector({ namespaceSelector }: SelectorRule, { namespace }: WorkloadRule): Meeting {
  const named = findNamed(namespaceSelector);
  return named && !named.some((name) => isMatch(namespace, name)) ? 'never' : 'possible';
}

/** Claims that differ keep roles apart, unless the token has a list with both. */
function meetOidc(a: OidcRule, b: OidcRule): Meeting {
  if (a.issuer !== b.issuer || !isOverlap(a.subject, b.subject)) return 'never';
  const { claims: mine = {} } = a;
  const { claims: theirs = {} } = b;
  const shared = Object.keys(mine).filter((name) => Object.hasOwn(theirs, name));
  const isApart = shared.some((name) => !isClaimOverlap(mine[name], theirs[name]));
  if (isApart) return 'never';
  const isSame =
    shared.length === Object.keys(mine).length && shared.length === Object.keys(theirs).length;
  return isSame ? 'certain' : 'possible';
}

function isClaimOverlap(a: unknown, b: unknown): boolean {
  return typeof a === 'string' && typeof b === 'string' ? isOverlap(a, b) : a === b;
}
