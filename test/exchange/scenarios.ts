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

const AHEAD = 10;

/** Returns a function that declares one `it` per case; it must be called inside a describe. */
export function createDeclarer(artefact: Artefact): (cases: readonly Case[]) => void {
  const all: Case[] = [];
  const started = new Map<Case, Promise<void>>();
  const start = (one: Case): Promise<void> => {
    const running = started.get(one) ?? runCase(artefact, one);
    started.set(one, running);
    // The `it` awaits it later; until then a failure is not unhandled.
    running.catch(() => undefined);
    return running;
  };
  return (cases) => {
    for (const one of cases) {
      const index = all.push(one) - 1;
      it(one.title, async function () {
        this.timeout(90_000);
        // While one case waits, those after it run.
        for (const following of all.slice(index + 1, index + AHEAD)) void start(following);
        await start(one);
      });
    }
  };
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
