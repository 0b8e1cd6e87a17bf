// A node for a control plane: containerd, kubelet, scheduler, kube-proxy and DNS as processes, Ready when it resolves.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ControlPlane } from '../control-plane.ts';
import { type RunningProcess, waitFor } from '../process.ts';
import { startContainerd } from './containerd.ts';
import { startKubelet } from './kubelet.ts';
import { NODE_NAME } from './machine.ts';
import { startDns, startKubeProxy } from './network.ts';
import type { NodeBinaries } from './programs.ts';
import { startScheduler } from './scheduler.ts';
import type { NodeWish } from './wish.ts';

export interface ClusterNode {
  stop(): Promise<void>;
}

export interface NodeOptions {
  binaries: NodeBinaries;
  controlPlane: ControlPlane;
  wish: NodeWish;
  now: number;
}

/** Resolves when the node is Ready and every image is loaded; what was started is stopped when something fails. */
export async function startNode(options: NodeOptions): Promise<ClusterNode> {
  const running: RunningProcess[] = [];
  const stop = async () => {
    for (const process of running.toReversed()) await process.stop();
  };
  try {
    await startAll(options, running);
    await waitFor(() => isReady(options.binaries.kubectl, options.controlPlane.kubeconfig), {
      what: 'the node to be Ready',
      withinMs: 120_000,
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { stop };
}

async function startAll(
  { binaries, controlPlane, wish, now }: NodeOptions,
  running: RunningProcess[],
): Promise<void> {
  const start = async <T extends RunningProcess>(starting: Promise<T>): Promise<T> => {
    const process = await starting;
    running.push(process);
    return process;
  };
  const containerd = await start(startContainerd(binaries));
  const outcomes = await Promise.allSettled([
    start(startKubelet({ binary: binaries.kubelet, controlPlane, cgroup: wish.cgroup, now })),
    start(startScheduler({ binary: binaries.scheduler, controlPlane })),
    start(startKubeProxy({ binary: binaries.kubeProxy, controlPlane })),
    start(startDns({ binary: binaries.coredns, controlPlane })),
    loadImages(containerd.load, wish),
  ]);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed) throw failed.reason;
}

async function loadImages(
  load: (archive: string) => Promise<void>,
  { images }: NodeWish,
): Promise<void> {
  for (const { file } of images) await load(file);
}

async function isReady(kubectl: string, kubeconfig: string): Promise<boolean> {
  const path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
  const args = [`--kubeconfig=${kubeconfig}`, 'get', 'node', NODE_NAME, '-o', path];
  const answer = await promisify(execFile)(kubectl, args).catch(() => undefined);
  return answer?.stdout === 'True';
}
