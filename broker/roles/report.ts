// What became of every role that somebody wrote: ready, shadowed, invalid, and which others it shares subjects with.
// Overlaps are remembered per audience, so that one changed role among thousands costs a look at its own audience.
import { findOverlaps, type Overlap, type OverlapContext, type Overlaps } from './overlap.ts';
import type { Role } from './role.ts';
import type { RoleIndex } from './role-index.ts';
import type { RoleSource, SourceKind } from './source.ts';

export type RoleState = 'Ready' | 'Shadowed' | 'Invalid';

/** One role as somebody wrote it, and what became of it. */
export interface RoleReport {
  readonly name: string;
  readonly source: SourceKind;
  /** `Role.source`: file and number of the document, or the name. */
  readonly writtenAt: string;
  readonly state: RoleState;
  /** Why it does not serve, or what keeps it from serving all it says. */
  readonly message?: string;
  /** Only with `Invalid`. */
  readonly problems?: readonly string[];
  /** Some of its subjects are refused for certain, because another role fits them as well. */
  readonly isAmbiguous?: true;
  /** Names of other roles that fit some of its subjects as well as it does, or better. */
  readonly overlaps: readonly string[];
}

export interface Merged {
  readonly kind: SourceKind;
  readonly role: Role;
  /** The role of the same name that counts instead. */
  readonly shadowedBy?: Role;
}

export interface Reporter {
  report(
    merged: readonly Merged[],
    now: { readonly sources: readonly RoleSource[]; readonly index: RoleIndex },
  ): readonly RoleReport[];
}

interface Known {
  readonly roles: readonly Role[];
  readonly overlaps: Overlaps;
  readonly byRole: ReadonlyMap<Role, readonly Overlap[]>;
}

export function createReporter(context: OverlapContext): Reporter {
  let known: ReadonlyMap<string, Known> = new Map();

  function look(index: RoleIndex): ReadonlyMap<string, Known> {
    const audiences = new Set(index.all.map(({ audience }) => audience));
    return new Map(
      [...audiences].map((audience) => {
        const roles = index.findByAudience(audience);
        const before = known.get(audience);
        return [audience, before && isSameList(before.roles, roles) ? before : compare(roles)];
      }),
    );
  }

  function compare(roles: readonly Role[]): Known {
    const overlaps = findOverlaps(roles, context);
    const byRole = new Map<Role, Overlap[]>();
    for (const overlap of overlaps.found) {
      for (const role of [overlap.role, overlap.other]) {
        const list = byRole.get(role);
        if (list) list.push(overlap);
        else byRole.set(role, [overlap]);
      }
    }
    return { roles, overlaps, byRole };
  }

  return {
    report: (merged, { sources, index }) => {
      known = look(index);
      const reports = [
        ...merged.map((one) => toReport(one, known.get(one.role.audience))),
        ...sources.flatMap(toInvalidReports),
      ];
      return reports.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    },
  };
}

function toReport({ kind, role, shadowedBy }: Merged, known: Known | undefined): RoleReport {
  const frame = { name: role.name, source: kind, writtenAt: role.source };
  if (shadowedBy) {
    const message = `${shadowedBy.source} has this name and goes before it`;
    return { ...frame, state: 'Shadowed', message, overlaps: [] };
  }
  const found = known?.byRole.get(role) ?? [];
  const names = found.map((overlap) => toOther(overlap, role).name);
  const message = describe(found, role, known?.overlaps.isComplete ?? true);
  return {
    ...frame,
    state: 'Ready',
    ...(message !== undefined && { message }),
    ...(found.some(({ kind: how, isCertain }) => how === 'ambiguous' && isCertain) && {
      isAmbiguous: true,
    }),
    overlaps: [...new Set(names)].sort(),
  };
}

function toInvalidReports(source: RoleSource): readonly RoleReport[] {
  return source.invalid().map(({ name, source: writtenAt, problems }) => ({
    name,
    source: source.kind,
    writtenAt,
    state: 'Invalid',
    message: 'is no role under the limits of this broker',
    problems,
    overlaps: [],
  }));
}

function toOther({ role, other }: Overlap, one: Role): Role {
  return role === one ? other : role;
}

/** The worst that is known, in one sentence. */
function describe(found: readonly Overlap[], role: Role, isComplete: boolean): string | undefined {
  const namesOf = (list: readonly Overlap[]) =>
    [...new Set(list.map((overlap) => toOther(overlap, role).name))].sort().slice(0, 5).join(', ');
  const ambiguous = found.filter(({ kind }) => kind === 'ambiguous');
  const certain = ambiguous.filter(({ isCertain }) => isCertain);
  if (certain.length > 0)
    return `subjects that ${namesOf(certain)} fits as well are refused, unless they name a role`;
  if (ambiguous.length > 0)
    return `subjects may be refused: labels, groups, claims or conditions may let them fit ${namesOf(ambiguous)} as well`;
  const shadowed = found.filter((overlap) => overlap.kind === 'shadowed' && overlap.role === role);
  if (shadowed.length > 0)
    return `${namesOf(shadowed)} names some of its subjects exactly and serves them`;
  return isComplete
    ? undefined
    : 'there are too many rules for this audience, or too long ones, to say which roles share subjects';
}

function isSameList(a: readonly unknown[], b: readonly unknown[]): boolean {
  return a.length === b.length && a.every((item, at) => item === b[at]);
}
