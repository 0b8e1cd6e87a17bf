// The roles of the process at one moment, findable by name, by audience, and by whom they might serve, without looking
// at the others: an exchange costs the same with one role for its audience and with thousands.
import type { Identity } from '../identity/identity.ts';
import { isGlob } from './glob.ts';
import { toRuleKind } from './match.ts';
import type { Role, SubjectRule } from './role.ts';

export interface RoleIndex {
  readonly all: readonly Role[];
  findByName(name: string): Role | undefined;
  /** Roles for exactly this audience, in the order of their names. */
  findByAudience(audience: string): readonly Role[];
  /**
   * Of those, all that may serve the identity, in the same order: a rule of theirs names it exactly, or holds a glob, a
   * selector or a group and is about its kind. None of the others fits.
   */
  findCandidates(audience: string, identity: Identity, ownCluster: string): readonly Role[];
}

interface AudienceIndex {
  readonly roles: readonly Role[];
  /** Places in `roles`, by the key of an exact rule. */
  readonly exact: ReadonlyMap<string, readonly number[]>;
  /** Places of roles with a rule that no key finds, by the kind it is about. */
  readonly wide: ReadonlyMap<Identity['kind'], readonly number[]>;
}

/** Indexes roles whose names are unique. */
export function indexRoles(roles: readonly Role[]): RoleIndex {
  const all = Object.freeze([...roles].sort((a, b) => (a.name < b.name ? -1 : 1)));
  const byName = new Map(all.map((role) => [role.name, role]));
  const byAudience = new Map(
    [...Map.groupBy(all, (role) => role.audience)].map(([audience, group]) => [
      audience,
      indexAudience(group),
    ]),
  );
  return {
    all,
    findByName: (name) => byName.get(name),
    findByAudience: (audience) => byAudience.get(audience)?.roles ?? [],
    findCandidates: (audience, identity, ownCluster) => {
      const index = byAudience.get(audience);
      return index
        ? findPlaces(index, identity, ownCluster).map((at) => index.roles[at] as Role)
        : [];
    },
  };
}

function indexAudience(roles: readonly Role[]): AudienceIndex {
  const exact = new Map<string, number[]>();
  const wide = new Map<Identity['kind'], number[]>();
  roles.forEach(({ subjects }, at) => {
    for (const rule of subjects) {
      const key = findKey(rule);
      if (key === undefined) addPlace(wide, toRuleKind(rule), at);
      else addPlace(exact, key, at);
    }
  });
  return { roles, exact, wide };
}

function addPlace<Key>(places: Map<Key, number[]>, key: Key, at: number): void {
  const list = places.get(key);
  if (!list) places.set(key, [at]);
  else if (list.at(-1) !== at) list.push(at);
}

function findPlaces(
  { exact, wide }: AudienceIndex,
  identity: Identity,
  ownCluster: string,
): readonly number[] {
  const lists = [
    wide.get(identity.kind),
    ...toKeys(identity, ownCluster).map((key) => exact.get(key)),
  ];
  const found = lists.filter((list) => list !== undefined);
  if (found.length <= 1) return found[0] ?? [];
  return [...new Set(found.flat())].sort((a, b) => a - b);
}

/** What an exact rule is found by; undefined where it may fit more than one identity. No part holds a NUL. */
function findKey(rule: SubjectRule): string | undefined {
  if ('namespace' in rule) {
    const { cluster = '', namespace, serviceAccount } = rule;
    const isWide = isGlob(cluster) || isGlob(namespace) || isGlob(serviceAccount);
    return isWide ? undefined : toKey('workload', cluster, namespace, serviceAccount);
  }
  if ('issuer' in rule)
    return isGlob(rule.subject) ? undefined : toKey('oidc', rule.issuer, rule.subject);
  if ('client' in rule) return toKey('client', rule.client);
  return 'user' in rule ? toKey('user', rule.user) : undefined;
}

/** The keys of every exact rule that may fit; a rule without cluster means the own one. */
function toKeys(identity: Identity, ownCluster: string): readonly string[] {
  switch (identity.kind) {
    case 'workload': {
      const { cluster, namespace, serviceAccount } = identity;
      const written = toKey('workload', cluster, namespace, serviceAccount);
      return cluster === ownCluster
        ? [written, toKey('workload', '', namespace, serviceAccount)]
        : [written];
    }
    case 'oidc':
      return [toKey('oidc', identity.issuer, identity.subject)];
    case 'client':
      return [toKey('client', identity.id)];
    case 'user':
      return [toKey('user', `${identity.provider}:${identity.subject}`)];
  }
}

function toKey(...parts: readonly string[]): string {
  return parts.join('\0');
}
