// The part of the kubelet that this tier lacks: tokens for a pod's projected volume, and the exchange container run
// with exactly the variables, paths and arguments that the API server's copy of the pod states. The next tier has a
// real kubelet; until then this file is the one thing between pod and exchange that is not real.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { keep, noteToken } from '../../support/tokens.ts';
import type { Cluster } from '../harness/cluster.ts';
import { type Container, startContainer } from '../harness/pod-process.ts';
import { requestToken } from '../harness/service-account-token.ts';
import type { StoredPod } from './stored-pod.ts';

const DIST = path.join(import.meta.dirname, '../../../dist');

export interface Artefact {
  readonly name: string;
  readonly command: readonly string[];
}

/** What is shipped (`node scripts/build.ts exchange`); both do the same. */
export const ARTEFACTS: readonly [Artefact, Artefact] = [
  { name: 'the compiled exchange', command: [path.join(DIST, 'coatcheck-exchange')] },
  {
    name: 'the exchange on Node',
    command: [process.execPath, path.join(DIST, 'coatcheck-exchange.mjs')],
  },
];

export interface PodRun {
  readonly container: Container;
  /** What a file of the tokens volume holds now; undefined while it is not there. */
  findFile(pathInPod: string): string | undefined;
  /** The startup probe, once. Resolves to its exit code. */
  probe(): Promise<number>;
}

export interface PodRunOptions {
  cluster: Cluster;
  namespace: string;
  pod: StoredPod;
  artefact: Artefact;
  /** A folder for this run; must not exist. */
  folder: string;
  /** Instead of the token that the pod's volume asks for, by audience. */
  swapToken?: (audience: string) => Promise<string>;
}

/** Starts the pod's container `coatcheck-exchange`. */
export async function startExchange(options: PodRunOptions): Promise<PodRun> {
  const { pod, artefact, folder } = options;
  const identity = path.join(folder, 'identity');
  const tokens = path.join(folder, 'tokens');
  mkdirSync(identity, { recursive: true });
  mkdirSync(tokens);
  // An emptyDir is 0777, whatever the umask.
  chmodSync(tokens, 0o777);
  await fillIdentity(identity, options);
  const spec = pod.initContainers['coatcheck-exchange'];
  if (!spec) throw new Error('the pod has no exchange container');
  const { mounts, env, command = [] } = spec;
  const tokensPath = mounts['coatcheck-tokens']?.mountPath ?? '';
  const container = {
    environment: toKubeletEnvironment(env),
    mounts: [
      {
        from: identity,
        to: mounts['coatcheck-identity']?.mountPath ?? '',
        readOnly: true,
        setting: 'COATCHECK_IDENTITY_DIR',
      },
      { from: tokens, to: tokensPath, readOnly: false, setting: 'COATCHECK_TOKENS_DIR' },
    ],
  };
  const started = (name: string, ...args: string[]) =>
    startContainer({
      ...container,
      command: [...artefact.command, ...command.slice(1), ...args],
      folder: path.join(folder, name),
    });
  let probes = 0;
  return {
    container: keepOutput(`${pod.name}-${artefact.name}`, started('main')),
    findFile: (pathInPod) => {
      const file = path.join(tokens, path.relative(tokensPath, pathInPod));
      return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
    },
    probe: async () => {
      probes += 1;
      return (await started(`probe-${probes}`, '--check').ended).code;
    },
  };
}

/** One token per source of the volume, bound to this pod, at the source's own path. */
async function fillIdentity(
  folder: string,
  { cluster, namespace, pod, swapToken }: PodRunOptions,
): Promise<void> {
  for (const { serviceAccountToken: source } of pod.volumes['coatcheck-identity']?.projected
    ?.sources ?? []) {
    if (!source)
      throw new Error('the identity volume holds something else than ServiceAccount tokens');
    const token = swapToken
      ? await swapToken(source.audience ?? '')
      : await requestToken(cluster, {
          namespace,
          serviceAccount: pod.serviceAccount,
          ...(source.audience !== undefined && { audiences: [source.audience] }),
          expirationSeconds: source.expirationSeconds,
          pod: { name: pod.name, uid: pod.uid },
        });
    writeFileSync(path.join(folder, source.path), noteToken(token));
  }
}

/** `$$` is how a manifest writes `$`; references to other variables (`$(NAME)`) do not occur in what we inject. */
function toKubeletEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).map(([name, value = '']) => [name, value.replaceAll('$$', '$')]),
  );
}

function keepOutput(name: string, container: Container): Container {
  const ended = container.ended.then((end) => {
    keep(`exchange-${name}.log`, end.output);
    keep(`termination-${name}.txt`, end.terminationMessage);
    return end;
  });
  return { ...container, ended };
}
