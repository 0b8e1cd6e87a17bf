// A cluster that is not ours: the one TEST_KUBECONFIG names (never KUBECONFIG). Says which one it is before anything
// is sent to it.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ClusterFacts } from './cluster.ts';

interface KubeconfigView {
  'current-context': string;
  clusters: { cluster: { server: string; 'certificate-authority-data'?: string } }[];
}

/**
 * Reads the current context of that kubeconfig.
 * @throws Error where kubectl is missing, or cannot read the file, or the context states no CA.
 */
export function readForeignCluster(
  kubeconfig: string,
  workFolder: string,
  environment: NodeJS.ProcessEnv,
): Omit<ClusterFacts, 'socket' | 'workFolder'> {
  const view = readView(kubeconfig, environment);
  const cluster = view.clusters[0]?.cluster;
  const ca = cluster?.['certificate-authority-data'];
  if (!cluster || !ca)
    throw new Error('the current context of TEST_KUBECONFIG must state a server and its CA');
  console.log(
    `Testing on the cluster of TEST_KUBECONFIG: context ${view['current-context']}, ${cluster.server}`,
  );
  const caFile = path.join(workFolder, 'foreign-ca.crt');
  writeFileSync(caFile, Buffer.from(ca, 'base64'));
  const callbackHost = environment.TEST_CALLBACK_HOST;
  return {
    kubectl: 'kubectl',
    kubeconfig: path.resolve(kubeconfig),
    server: cluster.server,
    caFile,
    hasControllers: true,
    isOurs: false,
    ...(callbackHost && { callbackHost }),
  };
}

function readView(kubeconfig: string, environment: NodeJS.ProcessEnv): KubeconfigView {
  const args = [
    `--kubeconfig=${kubeconfig}`,
    'config',
    'view',
    '--minify',
    '--flatten',
    '--raw',
    '-o',
    'json',
  ];
  const { status, stdout, stderr, error } = spawnSync('kubectl', args, {
    env: environment,
    encoding: 'utf8',
  });
  if (error) throw new Error('TEST_KUBECONFIG needs kubectl on the PATH', { cause: error });
  if (status !== 0) throw new Error(`kubectl cannot read TEST_KUBECONFIG: ${stderr.trim()}`);
  return JSON.parse(stdout) as KubeconfigView;
}
