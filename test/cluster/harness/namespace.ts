// Namespaces of a suite's own, on whatever cluster it runs.
import { randomBytes } from 'node:crypto';
import type { Cluster } from './cluster.ts';

export interface TestNamespace {
  readonly name: string;
  /** Makes a ServiceAccount; one that is there already is fine. */
  addServiceAccount(name: string): Promise<void>;
  /** A cluster of ours goes as a whole; on another everything in the namespace goes now. */
  remove(): Promise<void>;
}

/** Creates `coatcheck-test-<purpose>-<random>` with these labels and its `default` ServiceAccount. */
export async function createNamespace(
  cluster: Cluster,
  purpose: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<TestNamespace> {
  const name = `coatcheck-test-${purpose}-${randomBytes(4).toString('hex')}`;
  await send(cluster, '/api/v1/namespaces', { metadata: { name, labels } });
  const addServiceAccount = (account: string) =>
    send(cluster, `/api/v1/namespaces/${name}/serviceaccounts`, { metadata: { name: account } });
  // A controller makes it on most clusters, in its own time; without one nobody does, and no pod is accepted.
  await addServiceAccount('default');
  return {
    name,
    addServiceAccount,
    remove: async () => {
      if (!cluster.facts.isOurs) await cluster.request('DELETE', `/api/v1/namespaces/${name}`);
    },
  };
}

async function send(cluster: Cluster, path: string, body: object): Promise<void> {
  const { status, body: answer } = await cluster.request('POST', path, body);
  if (status !== 201 && status !== 409)
    throw new Error(`POST ${path}: ${status} ${String(answer.message)}`);
}
