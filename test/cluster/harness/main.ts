// Inside of the tier: brings a cluster up (or takes the one that TEST_KUBECONFIG names), runs the command it was given
// with the cluster's facts in a file, and takes everything down again. Usage: node main.ts <command> [argument …]
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { keep, openKept } from '../../support/tokens.ts';
import { openBinaries } from './binaries.ts';
import { CLUSTER_VARIABLE, type ClusterFacts } from './cluster.ts';
import { type Control, serveControl, toControlSocket } from './control.ts';
import { startControlPlane } from './control-plane.ts';
import { readForeignCluster } from './foreign.ts';
import { NODE_ADDRESS, NODE_NAME, prepareMachine } from './node/machine.ts';
import { startNode } from './node/node.ts';
import { keepPodLogs } from './node/pod-logs.ts';
import { openNodeBinaries } from './node/programs.ts';
import { findNodeWish, type NodeWish } from './node/wish.ts';
import { dieWithParent, type RunningProcess, startProcess } from './process.ts';
import { createSecondCluster } from './second.ts';

type Target = Omit<ClusterFacts, 'socket' | 'workFolder'> & {
  /** What a cluster of ours does on demand. */
  control?: Control;
  stop: () => Promise<void>;
};

const workFolder = path.join(process.env.COATCHECK_TEST_OUTPUT ?? '', 'work');

async function openTarget(): Promise<Target> {
  const foreign = process.env.TEST_KUBECONFIG;
  if (foreign)
    return { ...readForeignCluster(foreign, workFolder, process.env), stop: async () => undefined };
  const wish = findNodeWish(process.env);
  return wish ? openWithNode(wish) : openControlPlane();
}

async function openControlPlane(): Promise<Target> {
  const binaries = await openBinaries(process.env);
  const folder = path.join(workFolder, 'control-plane');
  mkdirSync(folder);
  const first = await startControlPlane({ binaries, folder, now: Date.now() });
  const { server, kubeconfig, pki, stop } = first;
  const second = createSecondCluster({
    ...{ binaries, first, workFolder },
    startProxy: (config, socket) =>
      startProxy({ kubectl: binaries.kubectl, kubeconfig: config }, socket),
  });
  return {
    kubectl: binaries.kubectl,
    kubeconfig,
    server,
    caFile: pki.caFile,
    hasControllers: binaries.controllerManager !== undefined,
    isOurs: true,
    callbackHost: '127.0.0.1',
    control: { ...first, startSecondCluster: second.start },
    stop: async () => {
      await second.stop();
      await stop();
    },
  };
}

async function openWithNode(wish: NodeWish): Promise<Target> {
  const binaries = await openNodeBinaries(process.env);
  prepareMachine(wish.outerNetwork);
  const folder = path.join(workFolder, 'control-plane');
  mkdirSync(folder);
  const now = Date.now();
  const controlPlane = await startControlPlane({
    binaries,
    folder,
    now,
    nodeAddress: NODE_ADDRESS,
  });
  try {
    await startNode({ binaries, controlPlane, wish, now });
    return {
      kubectl: binaries.kubectl,
      kubeconfig: controlPlane.kubeconfig,
      server: controlPlane.server,
      caFile: controlPlane.pki.caFile,
      hasControllers: true,
      isOurs: true,
      callbackHost: NODE_ADDRESS,
      node: {
        name: NODE_NAME,
        address: NODE_ADDRESS,
        helm: binaries.helm,
        images: Object.fromEntries(wish.images.map(({ name, reference }) => [name, reference])),
      },
      control: controlPlane,
      // The namespaces end with this process and take everything along; one by one it would be a quarter of a minute.
      stop: async () => undefined,
    };
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

function startProxy(
  target: Pick<Target, 'kubectl' | 'kubeconfig'>,
  socket: string,
): Promise<RunningProcess> {
  return startProcess({
    name: 'kubectl-proxy',
    command: target.kubectl,
    args: [`--kubeconfig=${target.kubeconfig}`, 'proxy', `--unix-socket=${socket}`],
    isReady: async () => existsSync(socket),
  });
}

function runCommand(command: readonly string[], environment: NodeJS.ProcessEnv): Promise<number> {
  const [program = '', ...args] = [...dieWithParent(), ...command];
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: environment, stdio: 'inherit' });
    // Ctrl-C reaches the whole group; a signal to this process alone is passed on, and teardown follows.
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => child.kill(signal));
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** What one wants to read after a failure, beside the logs of the cluster's own processes. */
function keepWhatHappened({ kubectl, kubeconfig, node }: Target): void {
  const args = [`--kubeconfig=${kubeconfig}`, 'get', 'events', '-A', '--sort-by=.lastTimestamp'];
  const { stdout } = spawnSync(kubectl, args, { encoding: 'utf8' });
  keep('events.txt', stdout);
  if (node) keepPodLogs();
  console.error(`The logs of every process, pod and event: ${path.dirname(openKept('here'))}`);
}

async function main(command: readonly string[]): Promise<number> {
  const started = performance.now();
  mkdirSync(workFolder, { recursive: true });
  const target = await openTarget();
  // Relative: a Unix socket's path holds 108 characters, and nobody knows how deep the checkout lies.
  const socket = path.relative(process.cwd(), path.join(workFolder, 'api.sock'));
  let proxy: RunningProcess | undefined;
  try {
    proxy = await startProxy(target, socket);
    const { stop: _, control, ...rest } = target;
    if (control) await serveControl(control, toControlSocket(workFolder));
    const facts: ClusterFacts = { ...rest, socket, workFolder };
    const file = path.join(workFolder, 'cluster.json');
    writeFileSync(file, JSON.stringify(facts));
    console.log(`cluster ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    const code = await runCommand(command, {
      ...process.env,
      [CLUSTER_VARIABLE]: file,
      // With a node there is a network of our own, whose pods and Services suites may call.
      ...(facts.node && { COATCHECK_TEST_NETWORK: 'namespace' }),
    });
    if (code !== 0) keepWhatHappened(target);
    return code;
  } finally {
    await proxy?.stop();
    await target.stop();
    // In a namespace of its own this is a mount that goes with it; elsewhere there are keys and tokens in it.
    for (const name of readdirSync(workFolder)) {
      rmSync(path.join(workFolder, name), { recursive: true, force: true });
    }
  }
}

// exit() and not exitCode: the processes of a node are still there, and end with this one.
process.exit(await main(process.argv.slice(2)));
