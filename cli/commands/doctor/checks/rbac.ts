// What RBAC's own objects say that a ServiceAccount may do, for a person who may read them but may not ask the authorizer.
// Other authorizers of the cluster are not seen by this.
import type { InstalledContext } from '../check.ts';
import type { Kube, Metadata } from '../kube.ts';

export interface ResourceRight {
  readonly verb: string;
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}
export type Right = ResourceRight | { readonly verb: 'get'; readonly path: string };

interface Rule {
  readonly verbs?: readonly string[];
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly nonResourceURLs?: readonly string[];
}

interface Binding {
  readonly metadata: Metadata;
  readonly roleRef: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { kind: string; name: string; namespace?: string }[];
}

const RBAC = { group: 'rbac.authorization.k8s.io' } as const;

/** @throws MissingRight, Unreadable */
export async function isGrantedByRoles(
  { kube, installation: { namespace } }: InstalledContext,
  account: string,
  right: Right,
): Promise<boolean> {
  const everywhere = await listRules(kube, { namespace, account });
  if (everywhere.some((rule) => allows(rule, right))) return true;
  if ('path' in right || right.namespace !== namespace) return false;
  const here = await listRules(kube, { namespace, account, in: namespace });
  return here.some((rule) => allows(rule, right));
}

interface Whose {
  readonly namespace: string;
  readonly account: string;
  /** Bindings of this namespace instead of those of the cluster. */
  readonly in?: string;
}

async function listRules(
  kube: Kube,
  { namespace, account, in: where }: Whose,
): Promise<readonly Rule[]> {
  const collection =
    where === undefined
      ? { ...RBAC, resource: 'clusterrolebindings' }
      : { ...RBAC, resource: 'rolebindings', namespace: where };
  const listed = await kube.list<Binding>(collection);
  const groups = [
    'system:serviceaccounts',
    `system:serviceaccounts:${namespace}`,
    'system:authenticated',
  ];
  const own = (listed?.items ?? []).filter(({ subjects = [], metadata }) =>
    subjects.some(({ kind, name, namespace: of = metadata.namespace }) =>
      kind === 'ServiceAccount'
        ? name === account && of === namespace
        : kind === 'Group' && groups.includes(name),
    ),
  );
  const roles = await Promise.all(
    own.map(({ roleRef, metadata }) =>
      kube.get<{ rules?: readonly Rule[] }>(
        roleRef.kind === 'Role'
          ? { ...RBAC, resource: 'roles', namespace: metadata.namespace ?? '' }
          : { ...RBAC, resource: 'clusterroles' },
        roleRef.name,
      ),
    ),
  );
  return roles.flatMap((role) => role?.rules ?? []);
}

function allows(rule: Rule, right: Right): boolean {
  if (!has(rule.verbs, right.verb)) return false;
  if ('path' in right)
    return (rule.nonResourceURLs ?? []).some((url) => coversPath(url, right.path));
  const { group = '', resource, subresource, name } = right;
  const whole = subresource === undefined ? resource : `${resource}/${subresource}`;
  const names = rule.resourceNames ?? [];
  const isResource =
    has(rule.resources, whole) ||
    (subresource !== undefined && (rule.resources ?? []).includes(`*/${subresource}`));
  const isNamed = names.length === 0 || (name !== undefined && names.includes(name));
  return has(rule.apiGroups, group) && isResource && isNamed;
}

function has(list: readonly string[] = [], wanted: string): boolean {
  return list.includes(wanted) || list.includes('*');
}

function coversPath(pattern: string, path: string): boolean {
  return pattern === path || (pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1)));
}
