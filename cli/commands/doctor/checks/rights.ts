// What the ServiceAccounts of the installation may do: everything they need, and nothing that would be worth stealing. Each
// is asked of the API server's authorizer, so aggregated and foreign roles count as well.
import type { Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import { findVariable, type Installation, listParts, type Part } from '../installation.ts';
import { readObject } from '../kube.ts';

interface ResourceRight {
  readonly verb: string;
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
}
type Right = ResourceRight | { readonly verb: 'get'; readonly path: string };

const CORE = ['get', 'list', 'watch'];

/** As the Deployments ask for them; design and chart give exactly these. */
function listNeeded(part: Part, { parts, namespace }: Installation): readonly Right[] {
  const deployment = parts[part];
  const of = (name: string) => findVariable(deployment, name);
  if (part === 'broker')
    return [
      { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
      { verb: 'create', group: 'authorization.k8s.io', resource: 'subjectaccessreviews' },
      { verb: 'get', path: '/openid/v1/jwks' },
      ...(of('COATCHECK_TOKEN_ROLES') === 'true'
        ? [
            ...CORE.map((verb) => ({ verb, group: 'auth.example.io', resource: 'tokenroles' })),
            {
              verb: 'patch',
              group: 'auth.example.io',
              resource: 'tokenroles',
              subresource: 'status',
            },
          ]
        : []),
      ...(of('COATCHECK_NAMESPACE_LABELS') === 'auto'
        ? CORE.map((verb) => ({ verb, resource: 'namespaces' }))
        : []),
    ];
  if (part === 'controller') {
    const lease = { group: 'coordination.k8s.io', resource: 'leases', namespace };
    const name = of('COATCHECK_LEASE_NAME') ?? deployment?.metadata.name ?? '';
    return [
      ...CORE.flatMap((verb) => [
        { verb, resource: 'pods' },
        { verb, resource: 'serviceaccounts' },
      ]),
      { verb: 'create', ...lease },
      { verb: 'get', ...lease, name },
      { verb: 'patch', ...lease, name },
    ];
  }
  return [];
}

/** Whoever takes over a pod of ours would get these. */
const DANGEROUS: readonly Right[] = [
  { verb: 'get', resource: 'secrets' },
  { verb: 'list', resource: 'secrets' },
  { verb: 'create', resource: 'pods' },
  { verb: 'create', resource: 'serviceaccounts', subresource: 'token' },
  { verb: 'impersonate', resource: 'users' },
  { verb: 'create', group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings' },
  { verb: 'update', group: 'auth.example.io', resource: 'tokenroles' },
];
const WEBHOOK_NEEDS_NONE: readonly Right[] = [{ verb: 'list', resource: 'pods' }];

export async function checkRights(context: InstalledContext): Promise<readonly Finding[]> {
  const { installation } = context;
  const questions = listParts(installation).flatMap(({ part, deployment }) => {
    const account = deployment.spec.template.spec.serviceAccountName ?? 'default';
    const toQuestion = (right: Right, isNeeded: boolean) => ({ part, account, right, isNeeded });
    return [
      ...listNeeded(part, installation).map((right) => toQuestion(right, true)),
      ...[...DANGEROUS, ...(part === 'webhook' ? WEBHOOK_NEEDS_NONE : [])].map((right) =>
        toQuestion(right, false),
      ),
    ];
  });
  const findings = await Promise.all(
    questions.map(async ({ part, account, right, isNeeded }): Promise<readonly Finding[]> => {
      const isAllowed = await askWhether(context, account, right);
      if (isAllowed === isNeeded) return [];
      const words = toWords(right);
      return isNeeded
        ? [
            {
              state: 'problem',
              about: part,
              seen: `ServiceAccount ${account} may not ${words}`,
              mend: 'helm upgrade: the chart brings its ClusterRoles; or does somebody else manage RBAC here?',
            },
          ]
        : [
            {
              state: 'warning',
              about: part,
              seen: `ServiceAccount ${account} may ${words}, which it does not need`,
              means: 'somebody else’s binding gives it more than the chart does',
              mend: `kubectl get rolebindings,clusterrolebindings -A -o wide | grep -F ${account}`,
            },
          ];
    }),
  );
  return orAllWell(findings.flat(), 'each has what it needs, and none of what it must not have');
}

const REVIEWS = { group: 'authorization.k8s.io', resource: 'subjectaccessreviews' } as const;

/** @throws MissingRight, Unreadable */
async function askWhether(
  { kube, installation: { namespace } }: InstalledContext,
  account: string,
  right: Right,
): Promise<boolean> {
  const answer = await kube.create(REVIEWS, {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: `system:serviceaccount:${namespace}:${account}`,
      groups: [
        'system:serviceaccounts',
        `system:serviceaccounts:${namespace}`,
        'system:authenticated',
      ],
      ...('path' in right
        ? { nonResourceAttributes: right }
        : { resourceAttributes: { group: '', ...right } }),
    },
  });
  const { status } = readObject<{ status?: { allowed?: boolean; denied?: boolean } }>(
    answer,
    'create subjectaccessreviews.authorization.k8s.io',
  );
  return status?.allowed === true && status.denied !== true;
}

function toWords(right: Right): string {
  if ('path' in right) return `${right.verb} ${right.path}`;
  const { verb, group, resource, subresource, namespace } = right;
  const what = `${resource}${subresource === undefined ? '' : `/${subresource}`}${group === undefined ? '' : `.${group}`}`;
  return `${verb} ${what}${namespace === undefined ? '' : ` in ${namespace}`}`;
}
