// What ought to run and what protects it: replicas, disruption budgets, network policies.
import type { Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import {
  type Deployment,
  findVariable,
  type Installation,
  listParts,
  PARTS,
  type Part,
} from '../installation.ts';
import type { Metadata } from '../kube.ts';

const CONSEQUENCE: Readonly<Record<Part, string>> = {
  webhook: 'annotated pods are not created until it answers; others are',
  broker: 'no pod gets a token or renews one',
  controller: 'tokens outlive their pods, and missed pods are not found',
};

export async function checkDeployments({
  installation,
}: InstalledContext): Promise<readonly Finding[]> {
  return PARTS.map((part): Finding => {
    const deployment = installation.parts[part];
    const judged = deployment
      ? judgeDeployment(part, deployment, installation.namespace)
      : judgeMissing(part, installation);
    return { about: part, ...judged };
  });
}

function judgeMissing(part: Part, { namespace, parts }: Installation): Finding {
  const means = CONSEQUENCE[part];
  const seen = `there is no ${part}`;
  if (part === 'controller')
    return { state: 'warning', seen, means, mend: 'helm upgrade --set controller.enabled=true' };
  const url = findVariable(parts.webhook, 'COATCHECK_BROKER_URL');
  // As in a cluster whose broker is in another one.
  if (part === 'broker' && url !== undefined && !url.includes(`.${namespace}.svc`))
    return { state: 'ok', seen: `it is elsewhere, at ${url}; this looks at it from there alone` };
  return { state: 'problem', seen, means, mend: 'helm upgrade' };
}

function judgeDeployment(
  part: Part,
  { metadata, spec, status }: Deployment,
  namespace: string,
): Finding {
  const { name } = metadata;
  const wanted = spec.replicas ?? 1;
  const available = status?.availableReplicas ?? 0;
  const seen = `${available} of ${wanted} replicas available`;
  if (available === 0) {
    const mend =
      wanted === 0
        ? `kubectl -n ${namespace} scale deployment/${name} --replicas=${part === 'broker' ? 1 : 2}`
        : `kubectl -n ${namespace} describe pods -l app.kubernetes.io/component=${part}`;
    return { state: 'problem', seen, means: CONSEQUENCE[part], mend };
  }
  if (available < wanted)
    return {
      state: 'warning',
      seen,
      mend: `kubectl -n ${namespace} rollout status deployment/${name}`,
    };
  if (part === 'webhook' && wanted === 1)
    return {
      state: 'warning',
      seen,
      means: 'annotated pods wait while its node is drained',
      mend: 'helm upgrade --set webhook.replicas=2',
    };
  return { state: 'ok', seen };
}

export async function checkDisruption(context: InstalledContext): Promise<readonly Finding[]> {
  const { kube, installation } = context;
  const { namespace } = installation;
  const listed = await kube.list<{ metadata: Metadata }>(
    { group: 'policy', resource: 'poddisruptionbudgets', namespace },
    { labelSelector: 'app.kubernetes.io/part-of=coatcheck' },
  );
  const names = (listed?.items ?? []).map(({ metadata }) => metadata.name);
  const bare = listParts(installation).filter(
    ({ deployment }) =>
      (deployment.spec.replicas ?? 1) > 1 && !names.includes(deployment.metadata.name),
  );
  return orAllWell(
    bare.map(({ part }) => ({
      state: 'warning',
      about: part,
      seen: 'several replicas and no PodDisruptionBudget',
      means: 'draining nodes may take all of them at once',
      mend: `helm upgrade --set ${part}.podDisruptionBudget.enabled=true`,
    })),
    names.length === 0 ? 'none is needed for single replicas' : names.join(', '),
  );
}

export async function checkNetworkPolicies({
  kube,
  installation,
}: InstalledContext): Promise<readonly Finding[]> {
  const listed = await kube.list<{ metadata: Metadata }>(
    { group: 'networking.k8s.io', resource: 'networkpolicies', namespace: installation.namespace },
    { labelSelector: 'app.kubernetes.io/part-of=coatcheck' },
  );
  const names = (listed?.items ?? []).map(({ metadata }) => metadata.name);
  if (names.length === 0)
    return [
      {
        state: 'warning',
        seen: 'there are none',
        means: 'every pod may reach the operations ports, where metrics are',
        mend: 'helm upgrade --set networkPolicy.enabled=true',
      },
    ];
  return [
    {
      state: 'ok',
      seen: `${names.join(', ')}; whether the network of the cluster keeps to them cannot be seen from here`,
    },
  ];
}
