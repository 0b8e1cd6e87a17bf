// The programs of a node: Kubernetes' own, CoreDNS and helm from the cache, the rest from the distribution. The list of
// Debian packages is harness/packages.txt, for people, CI and the message here alike.
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import {
  type ClusterBinaries,
  findOnPath,
  hasGo,
  isBuilt,
  openBinaries,
  openComponent,
} from '../binaries.ts';
import { findIsolation } from '../isolation.ts';
import { COREDNS, GO_MINIMUM_OF_NODE, HELM, NODE, PAUSE } from '../versions.ts';

export interface NodeBinaries extends ClusterBinaries {
  readonly kubelet: string;
  readonly kubeProxy: string;
  readonly scheduler: string;
  readonly coredns: string;
  readonly helm: string;
  readonly containerd: string;
  readonly ctr: string;
  readonly runc: string;
  /** Folder of the CNI plugins. */
  readonly cni: string;
}

const COMPONENTS = [NODE, COREDNS, HELM, PAUSE];
const FROM_PACKAGES = ['etcd', 'containerd', 'ctr', 'runc', 'nft', 'ip', 'conntrack', 'busybox'];
const CNI_FOLDERS = ['/usr/lib/cni', '/opt/cni/bin', '/usr/libexec/cni'];
const CNI_PLUGINS = ['bridge', 'host-local', 'loopback'];

/** Debian packages a node needs. */
export function readPackages(): string[] {
  const file = path.join(import.meta.dirname, '../packages.txt');
  return readFileSync(file, 'utf8').trim().split('\n');
}

/** What this machine lacks for a node of its own, a sentence that says what to do; undefined when nothing. */
export function findNodeLack(environment: NodeJS.ProcessEnv): string | undefined {
  if (process.platform !== 'linux') return 'a kubelet runs on Linux only; set TEST_KUBECONFIG';
  if (process.getuid?.() !== 0 || findIsolation() !== 'root')
    return 'a kubelet needs root, and the right to make namespaces; or set TEST_KUBECONFIG';
  const missing = FROM_PACKAGES.filter((name) => findOnPath(name, environment) === undefined);
  if (findCniFolder() === undefined) missing.push('the CNI plugins');
  if (missing.length > 0)
    return `it needs ${missing.join(', ')} (Debian, Ubuntu: apt-get install ${readPackages().join(' ')})`;
  const isComplete = COMPONENTS.every((component) => isBuilt(environment, component));
  return isComplete || hasGo(environment, GO_MINIMUM_OF_NODE)
    ? undefined
    : `it needs Go ≥ ${GO_MINIMUM_OF_NODE} (go.dev/doc/install)`;
}

/** All of them, built now where the cache has none. @throws Error that says what is missing. */
export async function openNodeBinaries(environment: NodeJS.ProcessEnv): Promise<NodeBinaries> {
  const lack = findNodeLack(environment);
  if (lack !== undefined) throw new Error(lack);
  // A control plane of KUBEBUILDER_ASSETS may be of any version: a kubelet of ours must not be newer than it.
  const control = await openBinaries({ ...environment, KUBEBUILDER_ASSETS: '' });
  const node = await openComponent(NODE, environment);
  const [containerd, ctr, runc] = ['containerd', 'ctr', 'runc'].map(
    (name) => findOnPath(name, environment) ?? name,
  );
  return {
    ...control,
    kubelet: path.join(node, 'kubelet'),
    kubeProxy: path.join(node, 'kube-proxy'),
    scheduler: path.join(node, 'kube-scheduler'),
    coredns: path.join(await openComponent(COREDNS, environment), 'coredns'),
    helm: path.join(await openComponent(HELM, environment), 'helm'),
    containerd: containerd ?? '',
    ctr: ctr ?? '',
    runc: runc ?? '',
    cni: findCniFolder() ?? '',
  };
}

function findCniFolder(): string | undefined {
  return CNI_FOLDERS.find((folder) =>
    CNI_PLUGINS.every((plugin) => existsSync(path.join(folder, plugin))),
  );
}
