// The policies that have power at the broker itself: `root`, `default`, and `coatcheck:<resource>:<read|write>`. Every
// other policy is a word for receivers and means nothing here. Pure; who holds which is for capabilities.ts.

/** What the admin API has, and what Kubernetes calls it in group auth.example.io. */
export const KUBE_RESOURCES = {
  roles: 'tokenroles',
  tokens: 'tokens',
  clients: 'clients',
  clusters: 'clusters',
  decisions: 'decisions',
  keys: 'keys',
} as const;

export type Resource = keyof typeof KUBE_RESOURCES;
export const RESOURCES = Object.keys(KUBE_RESOURCES) as readonly Resource[];

/** The verbs of Kubernetes' RBAC. `get` and `list` read, the others write. */
export const VERBS = ['get', 'list', 'create', 'update', 'delete'] as const;
export type Verb = (typeof VERBS)[number];

export type Access = 'read' | 'write';

/** Everything. */
export const POLICY_ROOT = 'root';
/** One's own token: look at it, renew it, revoke it. */
export const POLICY_DEFAULT = 'default';

const RESOURCE_POLICY = /^coatcheck:([a-z]+):(read|write)$/;

/** `coatcheck:<resource>:<access>`. */
export function toPolicy(resource: Resource, access: Access): string {
  return `coatcheck:${resource}:${access}`;
}

export function toAccess(verb: Verb): Access {
  return verb === 'get' || verb === 'list' ? 'read' : 'write';
}

/** All built-in policies, the mightiest first. */
export const BUILT_IN_POLICIES: readonly string[] = [
  POLICY_ROOT,
  ...RESOURCES.flatMap((resource) => [toPolicy(resource, 'write'), toPolicy(resource, 'read')]),
  POLICY_DEFAULT,
];

/**
 * Whether a name is one of the broker's, in any case of letters and also where no such policy exists: `Root` and
 * `coatcheck:future:write` are no words of a receiver's, and must never come to mean something later.
 */
export function isBrokerPolicy(name: string): boolean {
  const lower = name.toLowerCase();
  return lower === POLICY_ROOT || lower === POLICY_DEFAULT || lower.startsWith('coatcheck:');
}

/** Whether the policies allow the verb on the resource; `write` includes `read`. Names are compared exactly. */
export function isAllowedByPolicies(
  policies: readonly string[],
  verb: Verb,
  resource: Resource,
): boolean {
  return (
    policies.includes(POLICY_ROOT) ||
    policies.includes(toPolicy(resource, 'write')) ||
    (toAccess(verb) === 'read' && policies.includes(toPolicy(resource, 'read')))
  );
}

/** Whether whoever holds `own` may hand on `wanted`: it holds it, or something that includes it. */
export function isWithinPolicies(own: readonly string[], wanted: string): boolean {
  if (own.includes(POLICY_ROOT) || own.includes(wanted)) return true;
  const [, resource, access] = RESOURCE_POLICY.exec(wanted) ?? [];
  return access === 'read' && own.includes(`coatcheck:${resource}:write`);
}

export interface Need {
  readonly resource: Resource;
  readonly verb: Verb;
}

/**
 * All that a broker policy allows, for callers whose power is not counted in policies. Undefined where the name is no
 * built-in policy: nobody but `root` can hand on what cannot be counted.
 */
export function findNeeds(policy: string): readonly Need[] | undefined {
  if (policy === POLICY_DEFAULT) return [];
  if (policy === POLICY_ROOT) return RESOURCES.flatMap((resource) => toNeeds(resource, VERBS));
  const [, name, access] = RESOURCE_POLICY.exec(policy) ?? [];
  const resource = RESOURCES.find((one) => one === name);
  if (resource === undefined) return undefined;
  return toNeeds(resource, access === 'write' ? VERBS : ['get', 'list']);
}

function toNeeds(resource: Resource, verbs: readonly Verb[]): readonly Need[] {
  return verbs.map((verb) => ({ resource, verb }));
}
