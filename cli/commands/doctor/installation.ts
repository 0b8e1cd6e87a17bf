// Finds the installation by the labels of the chart, and knows its parts by what their Deployments say: names, variables,
// volumes. Nothing is guessed from the name of the release.
import type { Finding } from './check.ts';
import type { Kube, Metadata } from './kube.ts';

export const PARTS = ['webhook', 'broker', 'controller'] as const;
export type Part = (typeof PARTS)[number];

export interface Container {
  readonly name: string;
  readonly image?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
}

export interface Volume {
  readonly name: string;
  readonly configMap?: { readonly name?: string };
  readonly secret?: { readonly secretName?: string };
  readonly emptyDir?: object;
  readonly persistentVolumeClaim?: { readonly claimName?: string };
}

export interface PodSpec {
  readonly serviceAccountName?: string;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
}

export interface Deployment {
  readonly metadata: Metadata;
  readonly spec: { readonly replicas?: number; readonly template: { readonly spec: PodSpec } };
  readonly status?: { readonly availableReplicas?: number; readonly readyReplicas?: number };
}

export interface Installation {
  readonly namespace: string;
  readonly release: string;
  readonly version: string | undefined;
  readonly parts: Readonly<Partial<Record<Part, Deployment>>>;
  /** Prefix of the annotations. */
  readonly prefix: string;
}

export const DEPLOYMENTS = { group: 'apps', resource: 'deployments' } as const;
const INSTANCE = 'app.kubernetes.io/instance';
const COMPONENT = 'app.kubernetes.io/component';
const VERSION = 'app.kubernetes.io/version';
const DEFAULT_PREFIX = 'auth.example.io/';

export interface Wanted {
  readonly namespace: string | undefined;
  readonly release: string | undefined;
}

/** Several that fit: which is meant must be said. */
export class SeveralInstallations extends Error {
  constructor(found: readonly Installation[]) {
    const names = found.map(
      ({ namespace, release }) => `  --namespace ${namespace} --release ${release}`,
    );
    super(`there are several installations; say which:\n${names.join('\n')}`);
    this.name = 'SeveralInstallations';
  }
}

/** @throws MissingRight, Unreadable, SeveralInstallations */
export async function findInstallation(
  kube: Kube,
  { namespace, release }: Wanted,
): Promise<Installation | undefined> {
  const listed = await kube.list<Deployment>(
    { ...DEPLOYMENTS, ...(namespace !== undefined && { namespace }) },
    {
      labelSelector: `app.kubernetes.io/part-of=coatcheck${release === undefined ? '' : `,${INSTANCE}=${release}`}`,
    },
  );
  const groups = new Map<string, Deployment[]>();
  for (const deployment of listed?.items ?? []) {
    const { namespace: where = '', labels = {} } = deployment.metadata;
    const key = `${where}/${labels[INSTANCE] ?? ''}`;
    groups.set(key, [...(groups.get(key) ?? []), deployment]);
  }
  const found = [...groups.values()].map(toInstallation);
  if (found.length > 1) throw new SeveralInstallations(found);
  return found[0];
}

function toInstallation(deployments: readonly Deployment[]): Installation {
  const [first] = deployments;
  const labels = first?.metadata.labels ?? {};
  const parts = Object.fromEntries(
    PARTS.flatMap((part) => {
      const one = deployments.find(({ metadata }) => metadata.labels?.[COMPONENT] === part);
      return one ? [[part, one] as const] : [];
    }),
  ) as Installation['parts'];
  return {
    namespace: first?.metadata.namespace ?? '',
    release: labels[INSTANCE] ?? '',
    version: labels[VERSION],
    parts,
    prefix: findVariable(parts.webhook, 'COATCHECK_PREFIX') ?? DEFAULT_PREFIX,
  };
}

/** What is told of the installation itself. */
export function describeInstallation(
  installation: Installation | undefined,
  { namespace, release }: Wanted,
  ownVersion: string,
): Finding {
  if (!installation) {
    const where = namespace === undefined ? 'the cluster' : `the namespace ${namespace}`;
    const called = release === undefined ? '' : ` of the release ${release}`;
    return {
      state: 'problem',
      seen: `no Deployment${called} with the label app.kubernetes.io/part-of=coatcheck in ${where}`,
      means: 'Coatcheck is not installed there, or not by its chart',
      mend: 'helm install coatcheck charts/coatcheck (docs/install.md), or name another --namespace or --release',
    };
  }
  const { version = 'of unknown version' } = installation;
  const seen = `${version}, release ${installation.release} in namespace ${installation.namespace}`;
  if (version === ownVersion) return { state: 'ok', seen };
  return {
    state: 'warning',
    seen,
    means: `this command is ${ownVersion}; what it expects may not be what is installed`,
    mend: 'use the coatcheck of the installed version',
  };
}

/** The value of a variable of the part's own container. */
export function findVariable(deployment: Deployment | undefined, name: string): string | undefined {
  const value = deployment?.spec.template.spec.containers[0]?.env?.find(
    (variable) => variable.name === name,
  )?.value;
  // The chart writes every dollar twice, since the kubelet expands $(…).
  return value?.replaceAll('$$', '$');
}

export function findVolume(deployment: Deployment | undefined, name: string): Volume | undefined {
  return deployment?.spec.template.spec.volumes?.find((volume) => volume.name === name);
}

export function findOperationsPort(deployment: Deployment): number | undefined {
  const [container] = deployment.spec.template.spec.containers;
  return container?.ports?.find(({ name }) => name === 'operations')?.containerPort;
}

/** Parts that are installed, in the order of PARTS. */
export function listParts(
  installation: Installation,
): readonly { readonly part: Part; readonly deployment: Deployment }[] {
  return PARTS.flatMap((part) => {
    const deployment = installation.parts[part];
    return deployment ? [{ part, deployment }] : [];
  });
}
