// What is allowed in a set of roles and still deserves a second look: wildcards that reach far, rules that serve one
// subject twice, rules that nothing can fit yet.
import { isGlob, isOverlap } from './glob.ts';
import type { Role, SubjectRule } from './role.ts';

export interface Finding {
  readonly kind:
    | 'wildcard_cluster'
    | 'wildcard_all'
    | 'unserved_subject'
    | 'ambiguous'
    | 'shadowed';
  readonly role: string;
  readonly source: string;
  /** Index in the role's `subjects`. */
  readonly subject: number;
  /** The other role, where there is one. */
  readonly other?: string;
  readonly message: string;
}

interface Rule {
  readonly role: Role;
  readonly subject: number;
  readonly cluster: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Finds what to warn about, in the order of the roles. `ambiguous` ones refuse the subjects they share. */
export function lintRoles(
  roles: readonly Role[],
  { ownCluster }: { ownCluster: string },
): readonly Finding[] {
  const alone = roles.flatMap((role) =>
    role.subjects.flatMap((rule, subject) => lintRule(role, rule, subject)),
  );
  const together = [...Map.groupBy(roles, (role) => role.audience).values()].flatMap((group) =>
    findOverlaps(group.flatMap((role) => toRules(role, ownCluster))),
  );
  return [...alone, ...together];
}

function lintRule(role: Role, rule: SubjectRule, subject: number): Finding[] {
  const at = { role: role.name, source: role.source, subject };
  if (!('namespace' in rule)) {
    return [
      {
        ...at,
        kind: 'unserved_subject',
        message: 'no token this version verifies fits this subject',
      },
    ];
  }
  const findings: Finding[] = [];
  if (rule.cluster === '*') {
    findings.push({
      ...at,
      kind: 'wildcard_cluster',
      message: 'every cluster of the table, present and future, fits',
    });
  }
  if (isEverything(rule.namespace) && isEverything(rule.serviceAccount)) {
    findings.push({
      ...at,
      kind: 'wildcard_all',
      message: 'every ServiceAccount of every namespace fits',
    });
  }
  return findings;
}

function isEverything(pattern: string): boolean {
  return /^\*+$/.test(pattern);
}

function toRules(role: Role, ownCluster: string): Rule[] {
  return role.subjects.flatMap((rule, subject) =>
    'namespace' in rule ? [{ role, subject, cluster: ownCluster, ...rule }] : [],
  );
}

/** Exact rules meet only their equals, which a map finds; each glob is held against every rule. */
function findOverlaps(rules: readonly Rule[]): Finding[] {
  const place = new Map(rules.map((rule, at) => [rule, at]));
  const isBefore = (a: Rule, b: Rule) => (place.get(a) ?? 0) < (place.get(b) ?? 0);
  const globs = rules.filter(isGlobRule);
  const equals = Map.groupBy(
    rules.filter((rule) => !isGlobRule(rule)),
    ({ cluster, namespace, serviceAccount }) => `${cluster} ${namespace} ${serviceAccount}`,
  );
  const pairs = [
    ...[...equals.values()].flatMap((group) => toPairs(group, group, isBefore)),
    ...toPairs(globs, globs, isBefore),
    ...toPairs(
      globs,
      rules.filter((rule) => !isGlobRule(rule)),
      () => true,
    ),
  ];
  return pairs.flatMap(([rule, other]) => {
    const finding = rule.role === other.role ? undefined : findOverlap(rule, other);
    return finding ? [finding] : [];
  });
}

function toPairs(
  left: readonly Rule[],
  right: readonly Rule[],
  isWanted: (a: Rule, b: Rule) => boolean,
): [Rule, Rule][] {
  return left.flatMap((a) => right.filter((b) => isWanted(a, b)).map((b): [Rule, Rule] => [a, b]));
}

function findOverlap(a: Rule, b: Rule): Finding | undefined {
  const fields = ['cluster', 'namespace', 'serviceAccount'] as const;
  if (!fields.every((field) => isOverlap(a[field], b[field]))) return undefined;
  if (isGlobRule(a) === isGlobRule(b)) {
    const message = `subjects that ${b.role.name} serves too are refused both, unless they name a role`;
    return toFinding('ambiguous', { rule: a, other: b, message });
  }
  const [glob, exact] = isGlobRule(a) ? [a, b] : [b, a];
  const message = `${exact.role.name} names one of these subjects exactly and serves it instead`;
  return toFinding('shadowed', { rule: glob, other: exact, message });
}

function isGlobRule({ cluster, namespace, serviceAccount }: Rule): boolean {
  return [cluster, namespace, serviceAccount].some(isGlob);
}

function toFinding(
  kind: Finding['kind'],
  { rule, other, message }: { rule: Rule; other: Rule; message: string },
): Finding {
  return {
    kind,
    role: rule.role.name,
    source: rule.role.source,
    subject: rule.subject,
    other: other.role.name,
    message,
  };
}
