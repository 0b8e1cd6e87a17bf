// What a kubelet does for a mutated pod, as far as it concerns us: asks the API server for the tokens of the projected
// volume and writes them, then runs our containers with exactly their variables. Paths of the pod lie below a folder.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '../../common/clock.ts';
import {
  EXCHANGE_CONTAINER,
  EXCHANGE_INIT_CONTAINER,
  IDENTITY_VOLUME,
} from '../../common/protocol/pod.ts';
import type { Stage } from './stage.ts';

/** The parts of a pod that are read here; the webhook wrote them. */
export interface MutatedPod {
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: {
    readonly serviceAccountName: string;
    readonly initContainers: readonly Container[];
    readonly containers: readonly Container[];
    readonly volumes: readonly {
      readonly name: string;
      readonly projected?: {
        readonly sources: readonly { readonly serviceAccountToken?: TokenSource }[];
      };
    }[];
  };
}

interface Container {
  readonly name: string;
  readonly restartPolicy?: string;
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
}

export interface TokenSource {
  readonly audience: string;
  readonly expirationSeconds: number;
  readonly path: string;
}

export interface ProjectedToken extends TokenSource {
  /** As the pod sees it. */
  readonly podPath: string;
  /** Where it lies here. */
  readonly file: string;
}

/** The program of the exchange container: a command and its first arguments. */
export interface ExchangeProgram {
  readonly command: string;
  readonly args: readonly string[];
}

/** A pod on this machine: its file system is a folder. */
export class LocalPod {
  readonly root: string;
  readonly terminationLog: string;
  readonly #pod: MutatedPod;
  readonly #stage: Stage;

  constructor(stage: Stage, pod: MutatedPod) {
    this.#stage = stage;
    this.#pod = pod;
    this.root = path.join(stage.folder, 'pods', pod.metadata.name);
    this.terminationLog = path.join(this.root, 'dev/termination-log');
    mkdirSync(path.dirname(this.terminationLog), { recursive: true });
  }

  /** Where a path of the pod lies on this machine. */
  toLocal(podPath: string): string {
    return path.join(this.root, podPath);
  }

  /** Fills the volume of ServiceAccount tokens, each by a TokenRequest that is bound to this pod. */
  async projectTokens(): Promise<readonly ProjectedToken[]> {
    const volume = this.#pod.spec.volumes.find(({ name }) => name === IDENTITY_VOLUME);
    const mount = this.#containers[0]?.volumeMounts?.find(({ name }) => name === IDENTITY_VOLUME);
    const sources =
      volume?.projected?.sources.flatMap((one) => one.serviceAccountToken ?? []) ?? [];
    if (mount === undefined || sources.length === 0) {
      throw new Error('the mutated pod has no volume of ServiceAccount tokens');
    }
    const projected: ProjectedToken[] = [];
    for (const source of sources) {
      const podPath = path.posix.join(mount.mountPath, source.path);
      const file = this.toLocal(podPath);
      mkdirSync(path.dirname(file), { recursive: true });
      writeFileSync(file, await this.#requestToken(source), { mode: 0o600 });
      projected.push({ ...source, podPath, file });
    }
    return projected;
  }

  async #requestToken({ audience, expirationSeconds }: TokenSource): Promise<string> {
    const { metadata, spec } = this.#pod;
    const url = `${this.#stage.kubeUrl}/api/v1/namespaces/${metadata.namespace}/serviceaccounts/${spec.serviceAccountName}/token`;
    const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: metadata.name };
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ spec: { audiences: [audience], expirationSeconds, boundObjectRef } }),
    });
    if (!response.ok)
      throw new Error(`the local issuer answered ${response.status} to a TokenRequest`);
    const { status } = (await response.json()) as { status: { token: string } };
    return status.token;
  }

  /**
   * Runs our containers in their order. A sidecar counts as started when its startup probe says so; it is then told to
   * end, as at the end of the pod.
   * @returns each with what it wrote; the first that fails is the last.
   */
  async runExchange(program: ExchangeProgram): Promise<readonly ContainerRun[]> {
    const runs: ContainerRun[] = [];
    for (const container of this.#containers) {
      const run = await this.#runContainer(container, program);
      runs.push(run);
      if (run.exitCode !== 0) break;
    }
    return runs;
  }

  get #containers(): readonly Container[] {
    const ours = [EXCHANGE_INIT_CONTAINER, EXCHANGE_CONTAINER];
    return this.#pod.spec.initContainers.filter(({ name }) => ours.includes(name));
  }

  async #runContainer(
    container: Container,
    { command, args }: ExchangeProgram,
  ): Promise<ContainerRun> {
    const environment = this.#toEnvironment(container);
    const started = performance.now();
    const child = spawn(command, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const running = collect(child);
    const isSidecar = container.restartPolicy === 'Always';
    if (isSidecar) {
      const probe = () => collect(spawn(command, [...args, '--check'], { env: environment }));
      await waitForProbe(probe, child);
    }
    const milliseconds = performance.now() - started;
    if (isSidecar) child.kill('SIGTERM');
    const { exitCode, output } = await running;
    return { name: container.name, isSidecar, exitCode, output, milliseconds };
  }

  /** The container's variables, with the paths in them moved below the folder. */
  #toEnvironment({ env = [] }: Container): Record<string, string> {
    const variables = Object.fromEntries(
      env.map(({ name, value = '' }) => [name, value.replaceAll('$$', '$')]),
    );
    for (const name of ['COATCHECK_IDENTITY_DIR', 'COATCHECK_TOKENS_DIR']) {
      const local = this.toLocal(variables[name] ?? '');
      mkdirSync(local, { recursive: true });
      variables[name] = local;
    }
    return { ...variables, COATCHECK_TERMINATION_LOG: this.terminationLog };
  }

  /** What `kubectl describe pod` would show; empty where the container left no message. */
  readTerminationMessage(): string {
    return existsSync(this.terminationLog) ? readFileSync(this.terminationLog, 'utf8') : '';
  }
}

export interface ContainerRun {
  readonly name: string;
  readonly isSidecar: boolean;
  readonly exitCode: number | null;
  readonly output: string;
  /** From the start to the end, or to the first successful probe of a sidecar. */
  readonly milliseconds: number;
}

function collect(child: ChildProcess): Promise<{ exitCode: number | null; output: string }> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (exitCode) => resolve({ exitCode, output }));
  });
}

/** As the kubelet, only more often: a person is waiting. Ends too when the container does. */
async function waitForProbe(
  probe: () => Promise<{ exitCode: number | null }>,
  container: ChildProcess,
): Promise<void> {
  while (container.exitCode === null && container.signalCode === null) {
    if ((await probe()).exitCode === 0) return;
    await systemClock.sleep(50);
  }
}
