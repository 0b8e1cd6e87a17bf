// All roles of all sources as one: names are unique, file over TokenRole over API, and the loser is ignored and
// reported. What is asked on every exchange is an index made once per change; reports are made when somebody asks.
import type { Logger } from '../../common/log.ts';
import { type Finding, lintRoles } from './lint.ts';
import { findOverlapsOf, type Overlap } from './overlap.ts';

export type { RoleReport, RoleState } from './report.ts';

import { createReporter, type Merged, type RoleReport } from './report.ts';
import type { Role } from './role.ts';
import { indexRoles, type RoleIndex } from './role-index.ts';
import { type RoleSource, SOURCE_KINDS } from './source.ts';

export interface RoleRegistry {
  /** A new object after every change. */
  current(): RoleIndex;
  findByName(name: string): Role | undefined;
  /** Of all sources, and names that are there twice. */
  problems(): readonly string[];
  /** In the order of names; the one that counts before those it shadows. Overlaps are looked for when this is asked. */
  reports(): readonly RoleReport[];
  /**
   * Of a role that is to be written: subjects that another serves, and that both would be refused; a sentence each. One
   * too where nobody can say.
   */
  findAmbiguities(candidate: Role): readonly string[];
  onChange(listener: () => void): void;
  findObstacles(): readonly string[];
  /** Reads again, in every source that can. */
  reload(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface RegistryOptions {
  readonly sources: readonly RoleSource[];
  /** What a rule without `cluster` means; empty where the broker has none. */
  readonly ownCluster: string;
  /** Names of the table, for the lint; absent: nothing is said about them. */
  readonly clusters?: readonly string[];
  readonly issuers?: readonly string[];
  readonly log: Logger;
}

const MAX_FINDINGS_LOGGED = 20;
// The lint holds every glob against every rule: with this many, a fifth of a second in which nobody is served.
const MAX_RULES_LINTED = 1000;

const MAX_AMBIGUITIES_TOLD = 20;
const NOT_COMPARED =
  'its subjects are too many or too long to be held against those of other roles: some may be refused to both';

/** Merges sources; nothing is read before `start` or `reload`. */
export function createRegistry(options: RegistryOptions): RoleRegistry {
  const { sources, ownCluster, log } = options;
  const ordered = SOURCE_KINDS.flatMap((kind) => sources.filter((source) => source.kind === kind));
  const listeners: (() => void)[] = [];
  const reporter = createReporter({ ownCluster });
  let merged: readonly Merged[] = [];
  let index = indexRoles([]);
  let told = '';

  for (const source of ordered) source.onChange(update);
  merge();

  function merge(): void {
    merged = mergeSources(ordered);
    index = indexRoles(merged.filter(({ shadowedBy }) => !shadowedBy).map(({ role }) => role));
  }

  function update(): void {
    merge();
    tell();
    for (const listener of listeners) listener();
  }

  /** What nobody would see otherwise, once per change. */
  function tell(): void {
    const shadowed = describeShadowed(merged);
    const findings = lint();
    const text = JSON.stringify([shadowed, findings]);
    if (text === told) return;
    told = text;
    if (shadowed.length > 0)
      log.warn(
        { problems: shadowed },
        'roles are ignored: another source has a role of their name',
      );
    if (findings.length > 0) {
      const first = findings.slice(0, MAX_FINDINGS_LOGGED);
      log.warn({ count: findings.length, findings: first }, 'roles deserve a second look');
    }
  }

  function lint(): readonly Finding[] {
    const rules = index.all.reduce((sum, { subjects }) => sum + subjects.length, 0);
    if (rules > MAX_RULES_LINTED) {
      log.info({ rules }, 'too many rules to be linted while serving');
      return [];
    }
    // Whether a token without scopes is of use, its receiver knows.
    return lintRoles(index.all, options).filter(({ kind }) => kind !== 'no_scopes');
  }

  return {
    current: () => index,
    findByName: (name) => index.findByName(name),
    problems: () => [
      ...ordered.flatMap((source) => source.problems()),
      ...describeShadowed(merged),
    ],
    reports: () => reporter.report(merged, { sources: ordered, index }),
    findAmbiguities: (candidate) => {
      const others = index.findByAudience(candidate.audience);
      const { found, isComplete } = findOverlapsOf(candidate, others, { ownCluster });
      const certain = found.filter(({ kind, isCertain }) => kind === 'ambiguous' && isCertain);
      const told = certain.slice(0, MAX_AMBIGUITIES_TOLD);
      return [
        ...told.map((overlap) => describeAmbiguity(overlap, candidate)),
        ...(told.length < certain.length
          ? [`${certain.length - told.length} more like these`]
          : []),
        ...(isComplete ? [] : [NOT_COMPARED]),
      ];
    },
    onChange: (listener) => void listeners.push(listener),
    findObstacles: () => ordered.flatMap((source) => source.findObstacles()),
    reload: async () => {
      await Promise.all(ordered.map((source) => source.reload?.()));
    },
    start: async () => {
      await Promise.all(ordered.map((source) => source.start()));
    },
    stop: async () => {
      await Promise.all(ordered.map((source) => source.stop()));
    },
  };
}

/** Roles in the order of precedence, each name's first one counts. */
function mergeSources(sources: readonly RoleSource[]): readonly Merged[] {
  const byName = new Map<string, Role>();
  return sources.flatMap((source) =>
    source.current().map((role): Merged => {
      const first = byName.get(role.name);
      if (first) return { kind: source.kind, role, shadowedBy: first };
      byName.set(role.name, role);
      return { kind: source.kind, role };
    }),
  );
}

function describeShadowed(merged: readonly Merged[]): readonly string[] {
  return merged.flatMap(({ role, shadowedBy }) =>
    shadowedBy ? [`${role.source}: is the name of ${shadowedBy.source} already; ignored`] : [],
  );
}

function describeAmbiguity(
  { role, subject, other, otherSubject }: Overlap,
  candidate: Role,
): string {
  const isFirst = role.name === candidate.name;
  const [mine, theirs, name] = isFirst
    ? [subject, otherSubject, other.name]
    : [otherSubject, subject, role.name];
  return `subject ${mine + 1} fits subjects that subject ${theirs + 1} of the role ${name} fits as well: both would be refused to them`;
}
