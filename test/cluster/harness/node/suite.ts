// What suites on a node say: apply, wait for a pod, its logs, a command in it. The cluster is one for the whole run;
// each suite has namespaces of its own (createNamespace).
import { keep } from '../../../support/tokens.ts';
import { type Cluster, type CommandResult, type NodeFacts, openCluster } from '../cluster.ts';
import { sendOrder, toControlSocket } from '../control.ts';
import { waitFor } from '../process.ts';

export interface PodName {
  readonly namespace: string;
  readonly pod: string;
  /** The first of the pod, where none is named. */
  readonly container?: string;
}

/** The parts of a pod that suites look at; see the API's own reference for what they mean. */
export interface Pod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly state: ContainerState;
  readonly lastState?: ContainerState;
}

export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string };
  readonly running?: { readonly startedAt: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason?: string;
    readonly message?: string;
  };
}

export interface NodeCluster extends Cluster {
  readonly node: NodeFacts;
  /** `kubectl apply` of these objects. @throws Error with what kubectl said. */
  apply(...manifests: readonly object[]): Promise<void>;
  /** @throws Error where it does not exist. */
  getPod(name: PodName): Promise<Pod>;
  /**
   * The pod, once `is` says yes.
   * @throws Error with the pod's last status and its events when that takes longer than `withinMs` (60 s).
   */
  waitForPod(name: PodName, is: (pod: Pod) => boolean, withinMs?: number): Promise<Pod>;
  /** What a container wrote; kept for the leak scan. `previous`: the container's last life. */
  logs(name: PodName, options?: { previous?: boolean }): Promise<string>;
  /**
   * A new key for ServiceAccount tokens: the API server is away for some seconds; old tokens stay valid. For the whole
   * cluster, which must not mind.
   */
  rotateSigningKey(): Promise<void>;
  /** A command in a running container; never rejects for its exit code. */
  exec(name: PodName, ...command: readonly string[]): Promise<CommandResult>;
}

/** The cluster of this run. @throws Error where it has no node. */
export function openNodeCluster(environment?: NodeJS.ProcessEnv): NodeCluster {
  const cluster = openCluster(environment);
  const { node } = cluster.facts;
  if (!node) throw new Error('these suites need a cluster with a node: use `make test-cluster`');
  const must = async (what: string, result: Promise<CommandResult>): Promise<string> => {
    const { code, stdout, stderr } = await result;
    if (code !== 0) throw new Error(`${what}: ${stderr.trim()}`);
    return stdout;
  };
  const getPod = async ({ namespace, pod }: PodName): Promise<Pod> => {
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}`;
    const { status, body } = await cluster.request('GET', path);
    if (status !== 200)
      throw new Error(`pod ${namespace}/${pod}: ${status} ${String(body.message)}`);
    return body as unknown as Pod;
  };
  const describe = (name: PodName) =>
    cluster.kubectl(['describe', 'pod', name.pod, '-n', name.namespace]);
  return {
    ...cluster,
    node,
    apply: async (...manifests) => {
      const list = { apiVersion: 'v1', kind: 'List', items: manifests };
      await must('kubectl apply', cluster.kubectl(['apply', '-f', '-'], list));
    },
    getPod,
    waitForPod: async (name, is, withinMs = 60_000) => {
      let last: Pod | undefined;
      const isSo = async () => {
        last = await getPod(name);
        return is(last);
      };
      try {
        await waitFor(isSo, { what: `pod ${name.namespace}/${name.pod}`, withinMs });
      } catch (error) {
        const { stdout } = await describe(name);
        keep(`describe-${name.pod}.txt`, stdout);
        throw new Error(`${(error as Error).message}\n${stdout}`, { cause: error });
      }
      return last as Pod;
    },
    logs: async (name, { previous = false } = {}) => {
      const text = await must(
        `logs of ${name.pod}`,
        cluster.kubectl([
          'logs',
          '-n',
          name.namespace,
          name.pod,
          ...(name.container === undefined ? [] : ['-c', name.container]),
          ...(previous ? ['--previous'] : []),
        ]),
      );
      keep(`logs-${name.pod}.txt`, text);
      return text;
    },
    rotateSigningKey: async () => {
      await sendOrder('rotateSigningKey', toControlSocket(cluster.facts.workFolder));
      // kubectl proxy finds out about its dead connections by using them.
      const isBack = async () => (await cluster.request('GET', '/readyz')).status === 200;
      await waitFor(isBack, { what: 'the API server to be back' });
    },
    exec: (name, ...command) =>
      cluster.kubectl([
        'exec',
        '-n',
        name.namespace,
        name.pod,
        ...(name.container === undefined ? [] : ['-c', name.container]),
        '--',
        ...command,
      ]),
  };
}

/** A pod whose containers all pass their readiness. */
export function isReady(pod: Pod): boolean {
  return isCondition(pod, 'Ready');
}

/** A pod none of whose containers will run again. */
export function isFinished(pod: Pod): boolean {
  return pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed';
}

function isCondition(pod: Pod, wanted: string): boolean {
  return (
    pod.status.conditions?.some(({ type, status }) => type === wanted && status === 'True') ?? false
  );
}

/** The status of a container of any kind. @throws Error where there is none of this name. */
export function getContainerStatus(pod: Pod, name: string): ContainerStatus {
  const { initContainerStatuses = [], containerStatuses = [] } = pod.status;
  const status = [...initContainerStatuses, ...containerStatuses].find(
    (candidate) => candidate.name === name,
  );
  if (!status) throw new Error(`pod ${pod.metadata.name} has no status of a container ${name}`);
  return status;
}
