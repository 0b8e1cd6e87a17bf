// A second cluster beside the one of the run, started when a suite asks for it: an API server with keys, a CA and objects of
// its own, the first one's issuer, and nothing that makes pods. A suite sees it as it sees the first.
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ClusterBinaries } from './binaries.ts';
import { CLUSTER_VARIABLE, type Cluster, type ClusterFacts, openCluster } from './cluster.ts';
import { sendOrder, serveControl, toControlSocket } from './control.ts';
import { type ControlPlane, startControlPlane } from './control-plane.ts';
import type { RunningProcess } from './process.ts';

const NAME = 'second';

export interface SecondCluster {
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface SecondClusterOptions {
  readonly binaries: ClusterBinaries;
  readonly first: ControlPlane;
  readonly workFolder: string;
  /** A `kubectl proxy` at that socket. */
  readonly startProxy: (kubeconfig: string, socket: string) => Promise<RunningProcess>;
}

/** The harness's side. Nothing is started yet. */
export function createSecondCluster(options: SecondClusterOptions): SecondCluster {
  let started: Promise<() => Promise<void>> | undefined;
  return {
    start: async () => {
      started ??= start(options);
      await started;
    },
    stop: async () => {
      const stop = await started?.catch(() => undefined);
      await stop?.();
    },
  };
}

/** Resolves to what ends it. */
async function start(options: SecondClusterOptions): Promise<() => Promise<void>> {
  const { binaries, first, workFolder } = options;
  const folder = path.join(workFolder, NAME);
  mkdirSync(folder);
  const beside = { name: NAME, etcdPort: first.etcdPort };
  const plane = await startControlPlane({ binaries, folder, now: Date.now(), beside });
  const { server, kubeconfig, pki } = plane;
  const socket = path.relative(process.cwd(), path.join(folder, 'api.sock'));
  const proxy = await options.startProxy(kubeconfig, socket);
  await serveControl(plane, toControlSocket(folder));
  const facts: ClusterFacts = {
    kubectl: binaries.kubectl,
    kubeconfig,
    server,
    caFile: pki.caFile,
    socket,
    hasControllers: false,
    isOurs: true,
    callbackHost: '127.0.0.1',
    workFolder: folder,
  };
  writeFileSync(toFactsFile(workFolder), JSON.stringify(facts));
  return async () => {
    await proxy.stop();
    await plane.stop();
  };
}

/** A suite's side: resolves when its API server is ready. @throws Error with the harness's words where there can be none */
export async function openSecondCluster({ facts }: Cluster): Promise<Cluster> {
  await sendOrder('startSecondCluster', toControlSocket(facts.workFolder));
  return openCluster({ [CLUSTER_VARIABLE]: toFactsFile(facts.workFolder) });
}

function toFactsFile(workFolder: string): string {
  return path.join(workFolder, `${NAME}.json`);
}
