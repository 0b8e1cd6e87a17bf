// Ours and the reference in turns, A B A B, so that whatever else the machine does hits both alike.
import path from 'node:path';
import { type Spread, toSpread } from './load/latencies.ts';
import type { LoadJob, LoadResult } from './load/main.ts';
import { LOAD_CORE, type Machine, runForJson } from './machine.ts';
import type { Server } from './programs.ts';

export interface Contestant {
  start(): Promise<Server>;
  /** The job without its target's port, which is known only then. */
  job: Omit<LoadJob, 'target'> & { target: Omit<LoadJob['target'], 'port'> };
}

export interface Rounds {
  rounds: number;
  warmUpSeconds: number;
  seconds: number;
}

export interface Comparison {
  ours: readonly LoadResult[];
  reference: readonly LoadResult[];
}

/** Runs both `rounds` times; each time from a fresh process that is warmed up first. */
export async function alternate(
  machine: Machine,
  { ours, reference }: { ours: Contestant; reference: Contestant },
  rounds: Rounds,
): Promise<Comparison> {
  const results = { ours: [] as LoadResult[], reference: [] as LoadResult[] };
  for (let round = 0; round < rounds.rounds; round++) {
    results.ours.push(await runOnce(machine, ours, rounds));
    results.reference.push(await runOnce(machine, reference, rounds));
  }
  return results;
}

async function runOnce(
  machine: Machine,
  { start, job }: Contestant,
  rounds: Rounds,
): Promise<LoadResult> {
  const server = await start();
  try {
    const target = { ...job.target, port: server.port };
    const warm = await load(machine, { ...job, target, seconds: rounds.warmUpSeconds });
    const body = typeof job.body === 'string' ? job.body : { ...job.body, skip: warm.bodiesUsed };
    return await load(machine, { ...job, target, body, seconds: rounds.seconds });
  } finally {
    await server.stop();
  }
}

function load(machine: Machine, job: LoadJob): Promise<LoadResult> {
  return runForJson<LoadResult>({
    machine,
    core: LOAD_CORE,
    args: [path.join(import.meta.dirname, 'load/main.ts')],
    input: job,
  });
}

/** A figure of every run as median and spread. */
export function spreadOf(
  results: readonly LoadResult[],
  pick: (result: LoadResult) => number,
): Spread {
  return toSpread(results.map(pick));
}
