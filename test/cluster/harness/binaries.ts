// Where the programs of a cluster come from: KUBEBUILDER_ASSETS (the envtest convention), or a build from the Go module
// proxy into the cache, with etcd from the PATH. Says what it is doing; a build takes many minutes the first time.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { buildPrograms } from './build.ts';
import { openCacheEntry, toCacheRoot } from './cache.ts';
import { CONTROL_PLANE, type Component, GO_MINIMUM, toCacheKey } from './versions.ts';

export interface ClusterBinaries {
  readonly etcd: string;
  readonly apiServer: string;
  readonly kubectl: string;
  /** Absent with KUBEBUILDER_ASSETS: nothing makes pods for a Deployment then. */
  readonly controllerManager?: string;
}

/** What this machine lacks for the tier, a sentence that says what to install; undefined when nothing. */
export function findLack(environment: NodeJS.ProcessEnv): string | undefined {
  const assets = environment.KUBEBUILDER_ASSETS;
  if (assets) {
    const missing = ['etcd', 'kube-apiserver', 'kubectl'].filter(
      (name) => !existsSync(path.join(assets, name)),
    );
    return missing.length > 0 ? `KUBEBUILDER_ASSETS has no ${missing.join(', ')}` : undefined;
  }
  if (process.platform !== 'linux') {
    return 'Kubernetes is built for Linux only; on this system set KUBEBUILDER_ASSETS or TEST_KUBECONFIG';
  }
  const lacks = [
    ...(findOnPath('etcd', environment)
      ? []
      : ['etcd (Debian, Ubuntu: apt-get install etcd-server)']),
    ...(isBuilt(environment) || hasGo(environment)
      ? []
      : [`Go ≥ ${GO_MINIMUM} (go.dev/doc/install)`]),
  ];
  if (lacks.length === 0) return undefined;
  return `it needs ${lacks.join(' and ')}; or set KUBEBUILDER_ASSETS or TEST_KUBECONFIG (test/cluster/README.md)`;
}

/**
 * The programs, built now if the cache has none.
 * @throws Error that says what is missing, or with the last lines of a build that failed.
 */
export async function openBinaries(environment: NodeJS.ProcessEnv): Promise<ClusterBinaries> {
  const lack = findLack(environment);
  if (lack !== undefined) throw new Error(lack);
  const assets = environment.KUBEBUILDER_ASSETS;
  if (assets) {
    const inAssets = (name: string) => path.join(path.resolve(assets), name);
    const controllerManager = inAssets('kube-controller-manager');
    return {
      etcd: inAssets('etcd'),
      apiServer: inAssets('kube-apiserver'),
      kubectl: inAssets('kubectl'),
      ...(existsSync(controllerManager) && { controllerManager }),
    };
  }
  const folder = await openComponent(CONTROL_PLANE, environment);
  const etcd = findOnPath('etcd', environment);
  if (etcd === undefined) throw new Error('etcd disappeared from the PATH');
  return {
    etcd,
    apiServer: path.join(folder, 'kube-apiserver'),
    kubectl: path.join(folder, 'kubectl'),
    controllerManager: path.join(folder, 'kube-controller-manager'),
  };
}

/** The folder with a component's programs, built now if the cache has none. */
export function openComponent(
  component: Component,
  environment: NodeJS.ProcessEnv,
): Promise<string> {
  const label = `${component.name} ${component.version}`;
  return openCacheEntry({
    root: toCacheRoot(environment),
    key: toCacheKey(platform(), component),
    fill: (draft) => buildPrograms(component, draft, environment),
    onWait: (owner) =>
      console.log(`Process ${owner} is already building ${label}: waiting for it …`),
  });
}

/** Whether the cache has it. */
export function isBuilt(
  environment: NodeJS.ProcessEnv,
  component: Component = CONTROL_PLANE,
): boolean {
  return existsSync(path.join(toCacheRoot(environment), toCacheKey(platform(), component)));
}

function platform(): string {
  return `${process.platform}-${process.arch}`;
}

/** Whether there is a Go compiler of this version or newer. */
export function hasGo(environment: NodeJS.ProcessEnv, minimum: string = GO_MINIMUM): boolean {
  const version = /go(\d+)\.(\d+)/.exec(
    spawnSync('go', ['version'], { env: environment, encoding: 'utf8' }).stdout ?? '',
  );
  const [major = 0, minor = 0] = minimum.split('.').map(Number);
  if (!version) return false;
  return (
    Number(version[1]) > major || (Number(version[1]) === major && Number(version[2]) >= minor)
  );
}

/** The first such file in the folders of PATH. */
export function findOnPath(name: string, environment: NodeJS.ProcessEnv): string | undefined {
  const folders = (environment.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
}
