// The audiences of a pod and the roles asked for: `audience`, `audience.<name>`, `role`, `role.<name>`.

import {
  AUDIENCE_NAME_RULE,
  isAudienceName,
  toAudienceName,
} from '../common/protocol/audience-name.ts';
import {
  AUDIENCE_RULE,
  isAudience,
  isReservedAudience,
  MAX_AUDIENCES,
} from '../common/protocol/audiences.ts';
import type { PodAudience } from '../common/protocol/pod.ts';
import { checkAudienceName, type GivenAnnotations, splitList } from './annotation-keys.ts';
import { quote } from './errors.ts';

interface Asked {
  readonly key: string;
  readonly name: string;
  readonly audience: string;
}

// A role is named by Kubernetes' rules, or `<mount>/<name>` where it was written at a Vault mount (lower-cased there).
export const ROLE = /^[a-z0-9]([a-z0-9._/-]{0,251}[a-z0-9])?$/;

/** The pod's audiences in order, each with its role; what is wrong goes to `given.deny`, and the list is then of no use. */
export function parseAudiences(
  given: GivenAnnotations,
  reserved: readonly string[],
): readonly PodAudience[] {
  const asked = [...readListed(given), ...readNamed(given)];
  if (asked.length === 0) {
    if (!given.plain.has('audience') && !given.named.has('audience')) {
      given.deny(
        'audience_missing',
        'audience',
        `is required beside any other annotation under ${given.prefix}; allowed: ${AUDIENCE_RULE}, several separated by commas`,
      );
    }
    return [];
  }
  if (asked.length > MAX_AUDIENCES) {
    given.deny(
      'audience_too_many',
      'audience',
      `${asked.length} audiences are too many; allowed: 1 to ${MAX_AUDIENCES}`,
    );
    return [];
  }
  checkDistinct(given, asked);
  for (const { key, audience } of asked) {
    if (isReservedAudience(audience, reserved)) {
      given.deny(
        'audience_reserved',
        key,
        `${quote(audience)} is reserved (the API server's, a cloud's or Coatcheck's own); allowed: an audience of the service that will read the token`,
      );
    }
  }
  const roles = readRoles(given, asked);
  return asked.map(({ name, audience }) => {
    const role = roles.get(name);
    return { name, audience, ...(role !== undefined && { role }) };
  });
}

function readListed(given: GivenAnnotations): readonly Asked[] {
  const list = given.plain.get('audience');
  if (list === undefined) return [];
  const audiences = splitList(list);
  // Told once, and before any item is looked at: a list of ten thousand items is one mistake.
  const wrong = audiences.find((audience) => !isAudience(audience));
  if (wrong !== undefined) {
    given.deny(
      'audience_malformed',
      'audience',
      `${quote(wrong)} is no audience; allowed: ${AUDIENCE_RULE}, several separated by commas`,
    );
    return [];
  }
  return audiences.map((audience) => ({
    key: 'audience',
    name: toAudienceName(audience),
    audience,
  }));
}

function readNamed(given: GivenAnnotations): readonly Asked[] {
  const asked: Asked[] = [];
  for (const [name, audience] of given.named.get('audience') ?? []) {
    const key = `audience.${name}`;
    if (!isAudienceName(name)) {
      given.deny(
        'audience_name_malformed',
        key,
        `${quote(name)} is no name for an audience; allowed: ${AUDIENCE_NAME_RULE}`,
      );
    } else if (!isAudience(audience)) {
      given.deny(
        'audience_malformed',
        key,
        `${quote(audience)} is no audience; allowed: one audience of ${AUDIENCE_RULE}`,
      );
    } else asked.push({ key, name, audience });
  }
  return asked;
}

function checkDistinct({ deny }: GivenAnnotations, asked: readonly Asked[]): void {
  const audiences = new Set<string>();
  const names = new Set<string>();
  for (const { key, name, audience } of asked) {
    if (audiences.has(audience))
      deny(
        'audience_repeated',
        key,
        `${quote(audience)} is asked for twice; allowed: each audience once`,
      );
    else if (names.has(name))
      deny(
        'audience_name_repeated',
        key,
        `another audience already goes by the name ${quote(name)}; allowed: each name once`,
      );
    audiences.add(audience);
    names.add(name);
  }
}

function readRoles(
  given: GivenAnnotations,
  audiences: readonly Asked[],
): ReadonlyMap<string, string> {
  const roles = new Map<string, string>();
  const take = (key: string, name: string, role: string): void => {
    if (ROLE.test(role)) roles.set(name, role);
    else
      given.deny(
        'role_malformed',
        key,
        `${quote(role)} is no role name; allowed: 1 to 253 lower-case letters, digits, '.', '-', '_' and '/', a letter or digit at both ends`,
      );
  };
  for (const [name, role] of given.named.get('role') ?? []) {
    if (checkAudienceName(given, { key: 'role', name, audiences }))
      take(`role.${name}`, name, role);
  }
  const plain = given.plain.get('role');
  const [only] = audiences;
  if (plain === undefined || only === undefined) return roles;
  if (audiences.length > 1) {
    const allowed = audiences.map(({ name }) => `role.${name}`).join(', ');
    given.deny('role_ambiguous', 'role', `says a role for several audiences; allowed: ${allowed}`);
  } else if (roles.has(only.name)) {
    given.deny(
      'role_ambiguous',
      'role',
      `role.${only.name} says a role for the same audience; allowed: one of the two`,
    );
  } else take('role', only.name, plain);
  return roles;
}
