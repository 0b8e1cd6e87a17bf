// The webhook taken away and given back by its configuration, and what people see of pods that missed it.
import type { Installation } from '../harness/node/installation.ts';
import type { NodeCluster, Pod } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';

export interface Stage {
  readonly cluster: NodeCluster;
  readonly installation: Installation;
  readonly namespace: string;
}

export interface SeenEvent {
  /** `Pod web-1`. */
  readonly about: string;
  readonly type: string;
  readonly note: string;
  /** As `kubectl get events` counts it. */
  readonly source: string;
}

/** @throws Error with kubectl's words */
export async function kubectl(cluster: NodeCluster, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl([...args]);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** As a person lists them. */
export async function listEvents(
  cluster: NodeCluster,
  namespace: string,
  reason: string,
): Promise<readonly SeenEvent[]> {
  const args = ['-n', namespace, 'get', 'events', '--field-selector', `reason=${reason}`];
  const { items } = JSON.parse(await kubectl(cluster, ...args, '-o', 'json')) as {
    items: {
      involvedObject: { kind: string; name: string };
      type: string;
      message: string;
      reportingComponent: string;
    }[];
  };
  return items.map(({ involvedObject: { kind, name }, type, message, reportingComponent }) => ({
    about: `${kind} ${name}`,
    type,
    note: message,
    source: reportingComponent,
  }));
}

/** Living pods with this label `app`. */
export async function listPods(
  { cluster, namespace }: Pick<Stage, 'cluster' | 'namespace'>,
  app: string,
): Promise<readonly Pod[]> {
  const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=app%3D${app}`;
  const { body } = await cluster.request('GET', path);
  const all = body.items as unknown as (Pod & { metadata: { deletionTimestamp?: string } })[];
  return all.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
}

/** Values of the controller's metric: label values to number. The label-less one is under ''. */
export async function readMetric(stage: Stage, name: string): Promise<Record<string, number>> {
  const { cluster, installation } = stage;
  const { release, namespace } = installation;
  const selector = `app.kubernetes.io/instance=${release},app.kubernetes.io/component=controller`;
  const args = ['-n', namespace, 'get', 'pods', '-l', selector];
  const pods = JSON.parse(await kubectl(cluster, ...args, '-o', 'json')) as {
    items: (Pod & { metadata: { deletionTimestamp?: string } })[];
  };
  const living = pods.items.find(({ metadata }) => metadata.deletionTimestamp === undefined);
  const answer = await fetch(`http://${living?.status.podIP}:8082/metrics`);
  const lines = (await answer.text()).split('\n').filter((line) => line.startsWith(name));
  const values = lines.map((line) => {
    const [, key = '', value] = /^\w+(?:\{\w+="(.*)"\})? (.*)$/.exec(line) ?? [];
    return [key, Number(value)] as const;
  });
  return Object.fromEntries(values);
}

/** Whether the API server asks the webhook about pods of the namespace. */
export async function isAsked({ cluster, namespace }: Stage): Promise<boolean> {
  const misspelt = {
    metadata: { generateName: 'x-', annotations: { 'auth.example.io/audence': 'x' } },
    spec: { containers: [{ name: 'app', image: 'registry.example/app:1' }] },
  };
  const path = `/api/v1/namespaces/${namespace}/pods?dryRun=All`;
  const { status, body } = await cluster.request('POST', path, misspelt);
  const isDenied = String(body.message).includes('denied the request');
  if (!isDenied && status !== 201) throw new Error(`dry run: ${status} ${String(body.message)}`);
  return isDenied;
}

const KIND = 'mutatingwebhookconfiguration';

/** Resolves when pods are admitted without the webhook. @returns what brings it back */
export async function takeWebhookAway(stage: Stage): Promise<() => Promise<void>> {
  const { cluster, installation } = stage;
  const name = `${installation.release}-webhook`;
  const stored = JSON.parse(await kubectl(cluster, 'get', KIND, name, '-o', 'json')) as {
    metadata: Record<string, unknown>;
  };
  await kubectl(cluster, 'delete', KIND, name);
  await waitFor(async () => !(await isAsked(stage)), { what: 'the webhook not to be asked' });
  return async () => {
    const { name: _, resourceVersion, uid, creationTimestamp, ...rest } = stored.metadata;
    await cluster.apply({ ...stored, metadata: { ...rest, name } });
    await waitFor(() => isAsked(stage), { what: 'the webhook to be asked again' });
  };
}
