// Runs black-box cases a few at a time, because most of their time is waiting; each still is one `it` with its own
// result. A case gets a pod and a broker of its own.
import type { Artefact } from './artefacts.ts';
import { type FakeBroker, type FakeBrokerOptions, startFakeBroker } from './fake-broker.ts';
import { Pod } from './pod.ts';

export interface Case {
  readonly title: string;
  readonly broker?: FakeBrokerOptions;
  readonly run: (pod: Pod, broker: FakeBroker) => Promise<void>;
}

const AT_ONCE = 6;

/** Declares one `it` per case; must stand inside a describe. */
export function declareCases(artefact: Artefact, cases: readonly Case[]): void {
  const results = new Map<Case, Promise<void>>();
  before(() => {
    const waiting = [...cases];
    const settle = new Map<Case, () => Promise<void>>();
    for (const one of cases) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      // The `it` awaits it later; until then a failure is not unhandled.
      promise.catch(() => undefined);
      results.set(one, promise);
      settle.set(one, () => runCase(artefact, one).then(resolve, reject));
    }
    const work = async (): Promise<void> => {
      for (let one = waiting.shift(); one; one = waiting.shift()) await settle.get(one)?.();
    };
    for (let worker = 0; worker < AT_ONCE; worker++) void work();
  });
  for (const one of cases) {
    it(one.title, async function () {
      this.timeout(90_000);
      await results.get(one);
    });
  }
}

async function runCase(artefact: Artefact, { title, broker: options, run }: Case): Promise<void> {
  const broker = await startFakeBroker(options);
  const pod = new Pod(artefact, title);
  try {
    await run(pod, broker);
  } finally {
    await pod.close();
    await broker.close();
  }
}
