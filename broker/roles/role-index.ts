// The roles of the process at one moment, findable by name and by audience in constant time.
import type { Role } from './role.ts';

export interface RoleIndex {
  readonly all: readonly Role[];
  findByName(name: string): Role | undefined;
  /** Roles for exactly this audience, in the order of their names. */
  findByAudience(audience: string): readonly Role[];
}

/** Indexes roles whose names are unique. */
export function indexRoles(roles: readonly Role[]): RoleIndex {
  const all = Object.freeze([...roles].sort((a, b) => (a.name < b.name ? -1 : 1)));
  const byName = new Map(all.map((role) => [role.name, role]));
  const byAudience = Map.groupBy(all, (role) => role.audience);
  return {
    all,
    findByName: (name) => byName.get(name),
    findByAudience: (audience) => byAudience.get(audience) ?? [],
  };
}
