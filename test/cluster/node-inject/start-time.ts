// What a start costs: the same pod with and without a token, side by side. Printed, not judged: the machine decides.
import { expect } from 'chai';
import { isReady, type Pod } from '../harness/node/suite.ts';
import { AUDIENCE, type InjectStage } from './stage.ts';

const RUNS = 3;
const KINDS = {
  without: {},
  init: { ...AUDIENCE, 'auth.example.io/mode': 'init' },
  refresh: { ...AUDIENCE, 'auth.example.io/mode': 'refresh' },
} as const;

export function describeStartTime(getStage: () => InjectStage): void {
  it('is timed: from apply until the app runs, without us, in init and in refresh', async () => {
    const { cluster, toPod, toName } = getStage();
    const times = new Map<string, number[]>();
    for (let run = 0; run < RUNS; run += 1) {
      for (const [kind, annotations] of Object.entries(KINDS)) {
        const name = `start-${kind}-${run}`;
        const started = performance.now();
        await cluster.apply(toPod(name, { annotations }));
        await cluster.waitForPod(toName(name), isAppStarted, 120_000);
        times.set(kind, [...(times.get(kind) ?? []), performance.now() - started]);
        const pod = await cluster.waitForPod(toName(name), isReady, 120_000);
        expect(pod.spec.initContainers !== undefined).to.equal(kind !== 'without');
        await cluster.request(
          'DELETE',
          `/api/v1/namespaces/${toName(name).namespace}/pods/${name}`,
        );
      }
    }
    const median = (kind: string) =>
      (times.get(kind) ?? []).sort((a, b) => a - b)[Math.floor(RUNS / 2)] ?? 0;
    const base = median('without');
    const toSeconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2);
    console.log(
      `      from apply to the app’s start, median of ${RUNS}: ${toSeconds(base)} s without a token, ` +
        (['init', 'refresh'] as const)
          .map((kind) => `+${toSeconds(median(kind) - base)} s in ${kind}`)
          .join(', '),
    );
  });
}

function isAppStarted({ status }: Pod): boolean {
  return status.containerStatuses?.some(({ state }) => state.running) ?? false;
}
