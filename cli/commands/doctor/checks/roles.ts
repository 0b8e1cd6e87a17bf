// Whether anybody may get a token at all, and which TokenRoles the broker does not take.
import type { Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import { findVariable, findVolume } from '../installation.ts';
import type { Metadata } from '../kube.ts';
import { clean } from './pods.ts';

interface TokenRole {
  readonly metadata: Metadata;
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
  };
}

export async function checkRoles(context: InstalledContext): Promise<readonly Finding[]> {
  const { kube, installation } = context;
  const { broker } = installation.parts;
  if (!broker) return [];
  const configMap = findVolume(broker, 'roles')?.configMap?.name;
  const files =
    configMap === undefined
      ? undefined
      : await kube.get<{ data?: Readonly<Record<string, string>> }>(
          { resource: 'configmaps', namespace: installation.namespace },
          configMap,
        );
  const inFiles = Object.keys(files?.data ?? {}).length;
  const usesObjects = findVariable(broker, 'COATCHECK_TOKEN_ROLES') === 'true';
  const objects = usesObjects
    ? await kube.list<TokenRole>({
        group: 'auth.example.io',
        version: 'v1alpha1',
        resource: 'tokenroles',
      })
    : { items: [], isWhole: true };
  if (!objects)
    return [
      {
        state: 'problem',
        seen: 'the CRD tokenroles.auth.example.io is missing',
        means: 'the broker is not ready without it',
        mend: 'helm upgrade --set crds.install=true, or broker.tokenRoles.enabled=false',
      },
    ];
  const total = inFiles + objects.items.length;
  if (total === 0)
    return [
      {
        state: 'warning',
        seen: 'there is no role',
        means: 'nobody gets a token (no_role), unless the API of the broker holds roles',
        mend: 'docs/roles.md: `roles` in the values, or a TokenRole',
      },
    ];
  return orAllWell(
    objects.items.flatMap(describeRole),
    `${inFiles} in files, ${objects.items.length} TokenRoles, all of them Ready`,
  );
}

function describeRole({ metadata, status }: TokenRole): readonly Finding[] {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const mend = `kubectl describe tokenrole ${metadata.name}`;
  if (ready?.status === 'True') return [];
  if (!ready)
    return [
      {
        state: 'warning',
        about: metadata.name,
        seen: 'no broker has looked at it',
        means: 'the broker may not write the status, or does not read TokenRoles',
        mend,
      },
    ];
  return [
    {
      state: 'problem',
      about: metadata.name,
      seen: `${ready.reason ?? 'not Ready'}: ${clean(ready.message)}`,
      means: 'it grants nothing',
      mend,
    },
  ];
}
