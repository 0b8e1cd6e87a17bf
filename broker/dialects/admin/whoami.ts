// `/api/v1/whoami`: who the caller is to the broker, what it may do, and what would let it do the rest.

import { KUBE_GROUP } from '../../capabilities.ts';
import { BrokerError } from '../../errors.ts';
import {
  KUBE_RESOURCES,
  RESOURCES,
  type Resource,
  toAccess,
  toPolicy,
  VERBS,
  type Verb,
} from '../../policies.ts';
import type { AdminCaller } from './caller.ts';
import type { AdminDeps } from './deps.ts';
import { defineRoute } from './route.ts';
import { namespaceQuery, whoamiView } from './schemas.ts';
import { toDefined, toTime } from './views.ts';

type Rights = Readonly<Record<string, Readonly<Record<string, boolean>>>>;

const whoami = defineRoute({
  method: 'GET',
  path: '/api/v1/whoami',
  operation: 'whoami',
  summary: 'Who the caller is, what it may do, and what would let it do the rest',
  description: 'Rights are those for everything; with `namespace`, those for that namespace.',
  needs: 'caller',
  audited: false,
  needsStore: false,
  query: namespaceQuery,
  answers: { 200: { description: 'The caller', schema: whoamiView } },
  run: async ({ caller, query: { namespace } }, deps) => {
    const rights = await findRights(caller, { namespace, deps });
    const { token } = caller;
    const body = toDefined({
      subject: caller.subject,
      via: caller.via,
      policies: caller.policies,
      capabilities: toCapabilities(rights),
      rights,
      namespace,
      missing: findMissing(caller, rights),
      token: token && {
        accessor: token.accessor ?? token.tokenId,
        kind: token.kind,
        ...(token.name !== undefined && { name: token.name }),
        expiresAt: toTime(token.expiresAt),
      },
    });
    return { body };
  },
});

export const whoamiRoutes = [whoami];

async function findRights(
  caller: AdminCaller,
  { namespace, deps }: { namespace: string | undefined; deps: AdminDeps },
): Promise<Rights> {
  const ask = async (resource: Resource, verb: Verb): Promise<[string, boolean]> => {
    const isNarrow = namespace !== undefined && ['tokens', 'decisions'].includes(resource);
    return [
      verb,
      await deps.capabilities.can(caller, verb, resource, isNarrow ? { namespace } : {}),
    ];
  };
  const rows = RESOURCES.map(async (resource) => {
    const answers = await Promise.all(VERBS.map((verb) => ask(resource, verb)));
    return [resource, Object.fromEntries(answers)] as const;
  });
  return Object.fromEntries(await Promise.all(rows));
}

const CAPABILITIES = RESOURCES.flatMap((resource) =>
  (['read', 'write'] as const).map((access) => ({ resource, access })),
);

/** `roles:read` where every verb that reads is allowed, and so on. */
function toCapabilities(rights: Rights): readonly string[] {
  return CAPABILITIES.filter(
    ({ resource, access }) => missingVerbs(rights, resource, access).length === 0,
  ).map(({ resource, access }) => `${resource}:${access}`);
}

function missingVerbs(rights: Rights, resource: Resource, access: 'read' | 'write'): Verb[] {
  return VERBS.filter((verb) => toAccess(verb) === access && rights[resource]?.[verb] !== true);
}

function findMissing(caller: AdminCaller, rights: Rights): object[] {
  return CAPABILITIES.flatMap(({ resource, access }) => {
    const verbs = missingVerbs(rights, resource, access);
    const capability = `${resource}:${access}`;
    return verbs.length === 0
      ? []
      : [{ capability, grantedBy: toGrant(caller, { resource, access, verbs }) }];
  });
}

function toGrant(
  { via }: AdminCaller,
  { resource, access, verbs }: { resource: Resource; access: 'read' | 'write'; verbs: Verb[] },
): string {
  switch (via) {
    case 'token':
      return `a token with the policy ${toPolicy(resource, access)}`;
    case 'workload':
      return `an RBAC rule: apiGroups [${KUBE_GROUP}], resources [${KUBE_RESOURCES[resource]}], verbs [${verbs.join(', ')}]`;
    case 'client':
      return 'nothing: clients have no power here, a token has';
    default:
      throw new BrokerError('internal', 'a caller of no known kind');
  }
}
