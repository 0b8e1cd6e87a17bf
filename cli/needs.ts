// The rights of the admin API as a person asks an administrator for them: the policy of a token, and what RBAC would grant.

export interface Needs {
  readonly policy: string;
  /** After "the Kubernetes right to". */
  readonly kube: string;
}

const KUBE_NAMES = {
  roles: 'tokenroles',
  tokens: 'tokens',
  clients: 'clients',
  clusters: 'clusters',
  decisions: 'decisions',
  keys: 'keys',
} as const;

/** @param verb of Kubernetes' RBAC */
export function toNeeds(
  resource: keyof typeof KUBE_NAMES,
  verb: 'get' | 'list' | 'create' | 'update' | 'delete',
): Needs {
  const access = verb === 'get' || verb === 'list' ? 'read' : 'write';
  return {
    policy: `coatcheck:${resource}:${access}`,
    kube: `${verb} ${KUBE_NAMES[resource]} in group auth.example.io`,
  };
}
