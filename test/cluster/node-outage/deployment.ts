// Deployments of the app that reads its token, and their pods.
import { toReader } from '../harness/node/reader.ts';
import type { NodeCluster, Pod } from '../harness/node/suite.ts';

export interface DeploymentOptions {
  namespace: string;
  /** Also the label `app` of its pods. */
  name: string;
  replicas?: number;
  /** Of the pods. */
  annotations?: Readonly<Record<string, string>>;
}

export function toDeployment(cluster: NodeCluster, options: DeploymentOptions): object {
  const { namespace, name, replicas = 1 } = options;
  const labels = { app: name };
  const { metadata, spec } = toReader(cluster, { ...options, labels }) as {
    metadata: { annotations?: object };
    spec: object;
  };
  const { annotations } = metadata;
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { namespace, name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels, ...(annotations && { annotations }) }, spec },
    },
  };
}

/** The pods with this label `app`, whatever their state. */
export async function listPods(
  cluster: NodeCluster,
  namespace: string,
  app: string,
): Promise<readonly Pod[]> {
  const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=app%3D${app}`;
  return (await cluster.request('GET', path)).body.items as unknown as readonly Pod[];
}
