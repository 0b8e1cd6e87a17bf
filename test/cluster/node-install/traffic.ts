// Annotated pods, made all the time: most are admitted and not stored, some start, read their token and are done.

import { toApp } from '../harness/node/app.ts';
import { ANNOTATIONS, type InstallStage } from './stage.ts';

export interface Traffic {
  /** Ends, and waits for the pods that were started. May be called twice. */
  stop(): Promise<void>;
  count(): Count;
}

export interface Count {
  readonly asked: number;
  /** What the API server said. */
  readonly refused: readonly string[];
  /** Admitted without the exchange. */
  readonly missed: number;
  readonly started: number;
  /** Pods that did not get a token, with their last status. */
  readonly failed: readonly string[];
}

const PAUSE_MS = 250;
/** Of so many one is a real one. */
const REAL = 16;
const READ = 'test -s "$AUTH_TOKEN_FILE"';

export function startTraffic(stage: InstallStage): Traffic {
  const { cluster, pods } = stage;
  const path = `/api/v1/namespaces/${pods.name}/pods`;
  const refused: string[] = [];
  const failed: string[] = [];
  let asked = 0;
  let missed = 0;
  let started = 0;
  let isStopped = false;
  const open = new Set<Promise<void>>();

  async function watch(name: string): Promise<void> {
    const place = { namespace: pods.name, pod: name };
    const isOver = ({ status }: { status: { phase?: string } }) =>
      status.phase === 'Succeeded' || status.phase === 'Failed';
    const pod = await cluster.waitForPod(place, isOver, 150_000).catch((error: unknown) => {
      failed.push(`${name}: ${(error as Error).message}`);
      return undefined;
    });
    if (pod?.status.phase === 'Failed') failed.push(`${name}: ${JSON.stringify(pod.status)}`);
    await cluster.request('DELETE', `${path}/${name}`);
  }

  async function makeOne(): Promise<void> {
    asked += 1;
    const isReal = asked % REAL === 0;
    const name = `traffic-${asked}`;
    const spec = {
      restartPolicy: 'Never',
      containers: [toApp(cluster.node, { command: ['sh', '-c', READ] })],
    };
    const pod = stage.toPod(name, { audience: 'payments', mode: 'init', spec });
    const { status, body } = await cluster.request(
      'POST',
      `${path}${isReal ? '' : '?dryRun=All'}`,
      pod,
    );
    if (status !== 201) {
      refused.push(`${new Date().toISOString()} ${status} ${String(body.message)}`);
      return;
    }
    const { annotations = {} } = body.metadata as { annotations?: Record<string, string> };
    if (annotations[`${ANNOTATIONS}status`] === undefined) missed += 1;
    if (!isReal) return;
    started += 1;
    const watching = watch(name);
    open.add(watching);
    void watching.finally(() => open.delete(watching));
  }

  const running = (async () => {
    while (!isStopped) {
      await makeOne();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  })();

  return {
    stop: async () => {
      isStopped = true;
      await running;
      await Promise.all(open);
    },
    count: () => ({ asked, refused, missed, started, failed }),
  };
}
