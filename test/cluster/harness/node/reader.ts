// The pod that suites annotate: an app that reads the file AUTH_TOKEN_FILE names before it goes on, and so is never Ready
// without a token; and what a suite does with such a pod. Names are written out: other people's manifests depend on them.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { JWTPayload } from 'jose';
import { keep } from '../../../support/tokens.ts';
import { readToken, toApp } from './app.ts';
import type { Installation } from './installation.ts';
import { isReady, type NodeCluster, type Pod, type PodName } from './suite.ts';

/** The annotation that suffices. */
export const ANNOTATED = { 'auth.example.io/audience': 'payments' } as const;

/** The role behind it, for namespaces that suites call so. */
export function toReaderRole(purpose: string, token: object = {}): object {
  const subjects = [{ namespace: `coatcheck-test-${purpose}-*`, serviceAccount: 'default' }];
  return { audience: 'payments', subjects, token };
}

const READ = 'cat "$AUTH_TOKEN_FILE" > /dev/null || exit 1; exec sleep 100000';
const SLEEP = 'exec sleep 100000';

/** A container `app` that sleeps; after it has read its token, unless `reads` is false. `rest` is put over it. */
export function toShell(
  { node }: NodeCluster,
  { reads = true, rest = {} }: { reads?: boolean; rest?: object } = {},
): object {
  return toApp(node, { command: ['sh', '-c', reads ? READ : SLEEP], ...rest });
}

export interface ReaderOptions {
  namespace: string;
  name: string;
  annotations?: Readonly<Record<string, string>>;
  labels?: Readonly<Record<string, string>>;
  /** Over `{ containers: [app] }`. */
  spec?: object;
}

/** A pod with an app; one without annotations has an app that does not read. */
export function toReader(cluster: NodeCluster, options: ReaderOptions): object {
  const { namespace, name, annotations, labels, spec } = options;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { namespace, name, ...(annotations && { annotations }), ...(labels && { labels }) },
    spec: {
      // The shell does not hear SIGTERM.
      terminationGracePeriodSeconds: 1,
      containers: [toShell(cluster, { reads: annotations !== undefined })],
      ...spec,
    },
  };
}

/** Waits for the pod, reads its token in that container, has it verified; the pod and the claims. */
export async function getClaims(
  { cluster, installation }: { cluster: NodeCluster; installation: Installation },
  name: PodName,
  withinMs = 120_000,
): Promise<{ pod: Pod; claims: JWTPayload }> {
  const pod = await cluster.waitForPod(name, isReady, withinMs);
  const claims = await installation.verify((await readToken(cluster, name)).token, 'payments');
  return { pod, claims };
}

const POD_LOGS = '/var/log/pods';

/**
 * Keeps what the pods of a namespace wrote, how they ended and what was said of them; then the namespace goes, for the
 * node has room for a hundred pods in all.
 */
export async function keepAndRemove(cluster: NodeCluster, namespace: string): Promise<void> {
  for (const resource of ['pods', 'events']) {
    const { body } = await cluster.request('GET', `/api/v1/namespaces/${namespace}/${resource}`);
    keep(`${resource}-${namespace}.json`, JSON.stringify(body, undefined, 1));
  }
  for (const folder of readdirSync(POD_LOGS).filter((name) => name.startsWith(`${namespace}_`))) {
    const files = readdirSync(path.join(POD_LOGS, folder), { recursive: true, encoding: 'utf8' });
    for (const file of files.filter((name) => name.endsWith('.log')))
      keep(`${folder}-${file}`, readFileSync(path.join(POD_LOGS, folder, file), 'utf8'));
  }
  await cluster.request('DELETE', `/api/v1/namespaces/${namespace}`);
}
