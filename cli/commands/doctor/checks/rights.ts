// What the ServiceAccounts of the installation may do: everything they need, and nothing that would be worth stealing. Each
// is asked of the API server's authorizer, so aggregated and foreign roles count as well.
import type { Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import { findVariable, type Installation, listParts, type Part } from '../installation.ts';
import { MissingRight, readObject } from '../kube.ts';
import { isGrantedByRoles, type Right } from './rbac.ts';
import { REGISTRATIONS } from './registration.ts';

const CORE = ['get', 'list', 'watch'];

const KEYS: Right = { verb: 'get', path: '/openid/v1/jwks' };
const ROLES = { group: 'auth.example.io', resource: 'tokenroles' };

/** As the Deployments ask for them; the chart gives exactly these. */
function listNeeded(part: Part, installation: Installation): readonly Right[] {
  if (part === 'broker') return listOfBroker(installation);
  return part === 'controller' ? listOfController(installation) : [];
}

function listOfBroker({ parts: { broker } }: Installation): readonly Right[] {
  const usesObjects = findVariable(broker, 'COATCHECK_TOKEN_ROLES') === 'true';
  const usesLabels = findVariable(broker, 'COATCHECK_NAMESPACE_LABELS') === 'auto';
  return [
    { verb: 'create', group: 'authentication.k8s.io', resource: 'tokenreviews' },
    { verb: 'create', group: 'authorization.k8s.io', resource: 'subjectaccessreviews' },
    KEYS,
    ...(usesObjects
      ? [
          ...CORE.map((verb) => ({ verb, ...ROLES })),
          { verb: 'patch', ...ROLES, subresource: 'status' },
        ]
      : []),
    ...(usesLabels ? CORE.map((verb) => ({ verb, resource: 'namespaces' })) : []),
  ];
}

function listOfController({ parts: { controller }, namespace }: Installation): readonly Right[] {
  const of = (name: string) => findVariable(controller, name);
  const lease = { group: 'coordination.k8s.io', resource: 'leases', namespace };
  const leaseName = of('COATCHECK_LEASE_NAME') ?? controller?.metadata.name ?? '';
  const secret = of('COATCHECK_CERTIFICATES_SECRET');
  const registration = of('COATCHECK_WEBHOOK_CONFIGURATION');
  return [
    ...CORE.flatMap((verb) => [
      { verb, resource: 'pods' },
      { verb, resource: 'serviceaccounts' },
    ]),
    { verb: 'create', group: 'events.k8s.io', resource: 'events' },
    { verb: 'create', ...lease },
    { verb: 'get', ...lease, name: leaseName },
    { verb: 'patch', ...lease, name: leaseName },
    ...(of('COATCHECK_EVICT_MISSED') === 'true'
      ? [{ verb: 'create', resource: 'pods', subresource: 'eviction' }]
      : []),
    ...(secret === undefined
      ? []
      : ['get', 'update'].map((verb) => ({ verb, resource: 'secrets', namespace, name: secret }))),
    ...(registration === undefined
      ? []
      : [{ verb: 'patch', ...REGISTRATIONS, name: registration }]),
    ...(of('COATCHECK_PUSH_KEYS') === 'true' ? [KEYS] : []),
  ];
}

/** Whoever takes over a pod of ours would get these; who has one everywhere has it in the namespace, too. */
function listDangerous(part: Part, { namespace }: Installation): readonly Right[] {
  return [
    { verb: 'get', resource: 'secrets', namespace },
    { verb: 'list', resource: 'secrets', namespace },
    { verb: 'create', resource: 'pods', namespace },
    { verb: 'create', resource: 'serviceaccounts', subresource: 'token', namespace },
    { verb: 'impersonate', resource: 'users' },
    { verb: 'create', group: 'rbac.authorization.k8s.io', resource: 'clusterrolebindings' },
    { verb: 'update', ...ROLES },
    // It has no rights at all.
    ...(part === 'webhook' ? [{ verb: 'list', resource: 'pods', namespace }] : []),
  ];
}

export async function checkRights(context: InstalledContext): Promise<readonly Finding[]> {
  const { installation } = context;
  const questions = listParts(installation).flatMap(({ part, deployment }) => {
    const account = deployment.spec.template.spec.serviceAccountName ?? 'default';
    const toQuestion = (right: Right, isNeeded: boolean) => ({ part, account, right, isNeeded });
    return [
      ...listNeeded(part, installation).map((right) => toQuestion(right, true)),
      ...listDangerous(part, installation).map((right) => toQuestion(right, false)),
    ];
  });
  const { isAllowedTo, how } = await chooseAuthorizer(context);
  const findings = await Promise.all(
    questions.map(async ({ part, account, right, isNeeded }): Promise<readonly Finding[]> => {
      const isAllowed = await isAllowedTo(account, right);
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
  return orAllWell(
    findings.flat(),
    `each has what it needs, and none of what it must not have${how}`,
  );
}

interface Authorizer {
  isAllowedTo(account: string, right: Right): Promise<boolean>;
  /** What is added to a good word. */
  readonly how: string;
}

/** The API server's own, else what can be read of RBAC. @throws MissingRight, Unreadable */
async function chooseAuthorizer(context: InstalledContext): Promise<Authorizer> {
  try {
    await askWhether(context, 'default', KEYS);
    return { isAllowedTo: (account, right) => askWhether(context, account, right), how: '' };
  } catch (refused) {
    if (!(refused instanceof MissingRight)) throw refused;
    const isAllowedTo = (account: string, right: Right) =>
      isGrantedByRoles(context, account, right);
    await isAllowedTo('default', KEYS).catch((error: unknown) => {
      throw error instanceof MissingRight ? refused : error;
    });
    return { isAllowedTo, how: ' (by what RBAC’s objects say)' };
  }
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
  const { verb, group, resource, subresource, namespace, name } = right;
  const what = `${resource}${subresource === undefined ? '' : `/${subresource}`}${group === undefined ? '' : `.${group}`}`;
  const named = name === undefined ? what : `${what} ${name}`;
  return `${verb} ${named}${namespace === undefined ? '' : ` in ${namespace}`}`;
}
