// What is allowed in a set of roles and still deserves a second look: wildcards that reach far, rules that serve one
// subject twice, rules and conditions that nothing can fit.
import type { Identity } from '../identity/identity.ts';
import { isGlob } from './glob.ts';
import { toRuleKind } from './match.ts';
import { findOverlaps, type Overlap } from './overlap.ts';
import type { OidcRule, Role, SubjectRule, WorkloadRule } from './role.ts';

export const FINDING_KINDS = [
  'wildcard_cluster',
  'wildcard_all',
  'broad_subject',
  'unknown_cluster',
  'unknown_issuer',
  'unserved_subject',
  'condition_never',
  'no_scopes',
  'ambiguous',
  'maybe_ambiguous',
  'shadowed',
  'not_compared',
] as const;

export interface Finding {
  readonly kind: (typeof FINDING_KINDS)[number];
  readonly role: string;
  readonly source: string;
  /** Index in the role's `subjects`, where it is about one. */
  readonly subject?: number;
  /** The other role, where there is one. */
  readonly other?: string;
  readonly message: string;
}

export interface LintContext {
  readonly ownCluster: string;
  /** Names of the table; absent: not known here, and nothing is said about them. */
  readonly clusters?: readonly string[];
  readonly issuers?: readonly string[];
}

/** Finds what to warn about, in the order of the roles. `ambiguous` ones refuse the subjects they share. */
export function lintRoles(roles: readonly Role[], context: LintContext): readonly Finding[] {
  const alone = roles.flatMap((role) => [
    ...role.subjects.flatMap((rule, subject) =>
      lintRule(rule, context).map((finding) => ({ ...toPlace(role), subject, ...finding })),
    ),
    ...lintRole(role).map((finding) => ({ ...toPlace(role), ...finding })),
  ]);
  const together = [...Map.groupBy(roles, (role) => role.audience).values()].flatMap((group) => {
    const { found, isComplete } = findOverlaps(group, context);
    const [first] = group;
    const kind = 'not_compared';
    const message = `too many rules, or too long ones, for the audience ${first?.audience}: not all were compared`;
    return [
      ...found.map(toFinding),
      ...(first && !isComplete ? [{ ...toPlace(first), kind, message } as const] : []),
    ];
  });
  return [...alone, ...together];
}

type Found = Pick<Finding, 'kind' | 'message'>;

function toPlace({ name, source }: Role): Pick<Finding, 'role' | 'source'> {
  return { role: name, source };
}

/** What the schema allows and this version never verifies. */
const UNSERVED: readonly Identity['kind'][] = ['client', 'user'];

function lintRule(rule: SubjectRule, context: LintContext): Found[] {
  if ('namespace' in rule) return lintWorkload(rule, context);
  if ('issuer' in rule) return lintOidc(rule, context);
  return UNSERVED.includes(toRuleKind(rule))
    ? [{ kind: 'unserved_subject', message: 'no token this version exchanges fits this subject' }]
    : [];
}

function lintWorkload(
  { cluster, namespace, serviceAccount }: WorkloadRule,
  { clusters }: LintContext,
): Found[] {
  const findings: Found[] = [];
  if (cluster === '*') {
    const message = 'every cluster of the table, present and future, fits';
    findings.push({ kind: 'wildcard_cluster', message });
  } else if (cluster !== undefined && clusters && !clusters.includes(cluster)) {
    const message = `no cluster of the table has the name ${cluster}`;
    findings.push({ kind: 'unknown_cluster', message });
  }
  if (isEverything(namespace) && isEverything(serviceAccount)) {
    const message = 'every ServiceAccount of every namespace fits';
    findings.push({ kind: 'wildcard_all', message });
  }
  return findings;
}

function lintOidc({ issuer, subject, claims }: OidcRule, { issuers }: LintContext): Found[] {
  const findings: Found[] = [];
  if (issuers && !issuers.includes(issuer)) {
    const message = `no issuer of the table has the name ${issuer}`;
    findings.push({ kind: 'unknown_issuer', message });
  }
  const problem = findBreadth(subject);
  // A claim that says whose it is (the repository's id, an e-mail address) is as good as the subject.
  const isNarrowed = Object.values(claims ?? {}).some(
    (want) => typeof want !== 'string' || !isGlob(want),
  );
  if (problem !== undefined && !isNarrowed)
    findings.push({ kind: 'broad_subject', message: problem });
  return findings;
}

/** Why strangers to the author may fit: anybody can have an account at most issuers. */
function findBreadth(subject: string): string | undefined {
  if (!isGlob(subject)) return undefined;
  const head = subject.slice(0, subject.indexOf('*'));
  if (head === '' || /^[a-z_-]+:$/.test(head))
    return 'anybody who has a token of this issuer fits: say whose';
  return /[A-Za-z0-9]$/.test(head)
    ? 'the * continues a name: others whose names begin so fit too; end it by / or : before the *'
    : undefined;
}

function isEverything(pattern: string): boolean {
  return /^\*+$/.test(pattern);
}

function lintRole({ token, subjects, condition }: Role): Found[] {
  const findings: Found[] = [];
  if (token.scopes.length === 0 && token.policies.length === 0) {
    const message = 'its tokens have no scopes and no policies: receivers see only who it is';
    findings.push({ kind: 'no_scopes', message });
  }
  const kinds = new Set(subjects.map(toRuleKind));
  if (condition && !condition.kinds.some((kind) => kinds.has(kind))) {
    const message = 'the condition asks for variables that none of its subjects has';
    findings.push({ kind: 'condition_never', message });
  }
  return findings;
}

function toFinding({ role, subject, other, otherSubject, kind, isCertain }: Overlap): Finding {
  const place = { ...toPlace(role), subject, other: other.name };
  const theirs = `subject ${otherSubject + 1} of ${other.name}`;
  if (kind === 'shadowed') {
    const message = `${theirs} names one of these subjects exactly and serves it instead`;
    return { ...place, kind, message };
  }
  return isCertain
    ? {
        ...place,
        kind,
        message: `subjects that ${theirs} fits too are refused both, unless they name a role`,
      }
    : {
        ...place,
        kind: 'maybe_ambiguous',
        message: `${theirs} may fit the same subjects, unless labels, groups, claims or conditions keep them apart`,
      };
}
