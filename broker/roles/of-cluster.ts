// Which roles a cluster or issuer of a name could have tokens by: whoever holds its keys can be any subject of it.
import { isMatch } from './glob.ts';
import type { Role, SubjectRule } from './role.ts';

/** A rule without `cluster` is about the own one, which is never another. */
export function findRolesOf(
  { kind, name }: { readonly kind: 'kubernetes' | 'oidc'; readonly name: string },
  roles: readonly Role[],
): readonly Role[] {
  const isAbout = (rule: SubjectRule): boolean => {
    if (kind === 'oidc') return 'issuer' in rule && rule.issuer === name;
    return 'cluster' in rule && rule.cluster !== undefined && isMatch(rule.cluster, name);
  };
  return roles.filter(({ subjects }) => subjects.some(isAbout));
}
