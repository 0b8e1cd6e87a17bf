// Ours and the reference in turns, A B A B, so that whatever else the machine does hits both alike.
import path from 'node:path';
import { type Spread, toSpread } from './load/latencies.ts';
import type { LoadJob, LoadResult } from './load/main.ts';
import { findCpuSeconds, LOAD_CORE, type Machine, runForJson } from './machine.ts';
import type { Server } from './programs.ts';
import type { Row } from './table.ts';

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

export interface RoundResult extends LoadResult {
  /** Of the server, per request; not a number where the system does not tell. */
  cpuMicroseconds: number;
}

export interface Comparison {
  ours: readonly RoundResult[];
  reference: readonly RoundResult[];
}

/**
 * Starts both once, warms both up until the compiler has nothing left to do, then measures them `rounds` times in turns.
 * They share a core; the one that waits uses none of it.
 */
export async function alternate(
  machine: Machine,
  { ours, reference }: { ours: Contestant; reference: Contestant },
  { rounds, warmUpSeconds, seconds }: Rounds,
): Promise<Comparison> {
  const runners: Runner[] = [];
  try {
    for (const contestant of [ours, reference]) {
      runners.push(await createRunner(machine, contestant));
    }
    for (const runner of runners) await runner.run(warmUpSeconds);
    const results: [RoundResult[], RoundResult[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const [i, runner] of runners.entries()) results[i]?.push(await runner.run(seconds));
    }
    return { ours: results[0], reference: results[1] };
  } finally {
    for (const runner of runners) await runner.stop();
  }
}

/** A server without a reference: warmed up, then measured `rounds` times. */
export async function repeat(
  machine: Machine,
  { server, job }: { server: Server; job: Contestant['job'] },
  { rounds, warmUpSeconds, seconds }: Rounds,
): Promise<readonly RoundResult[]> {
  const runner = await createRunner(machine, { start: async () => server, job });
  await runner.run(warmUpSeconds);
  const results: RoundResult[] = [];
  for (let round = 0; round < rounds; round++) results.push(await runner.run(seconds));
  return results;
}

interface Runner {
  run(seconds: number): Promise<RoundResult>;
  stop(): Promise<void>;
}

async function createRunner(machine: Machine, { start, job }: Contestant): Promise<Runner> {
  const server = await start();
  const target = { ...job.target, port: server.port };
  let { body } = job;
  return {
    stop: server.stop,
    run: async (seconds) => {
      const before = findCpuSeconds(server.pid) ?? Number.NaN;
      const result = await load(machine, { ...job, target, body, seconds });
      const used = (findCpuSeconds(server.pid) ?? Number.NaN) - before;
      if ('linesFile' in body) body = { ...body, skip: result.bodiesUsed };
      return { ...result, cpuMicroseconds: (used / result.requests) * 1_000_000 };
    },
  };
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
  results: readonly RoundResult[],
  pick: (result: RoundResult) => number,
): Spread {
  return toSpread(results.map(pick));
}

/** The rows of a comparison at full speed: requests per second, CPU of the server, tail. */
export function toRows(
  { ours, reference }: Comparison,
  { line, unit, of }: { line: string; unit: string; of: string },
): readonly [Row, ...Row[]] {
  const both = (pick: (result: RoundResult) => number) => ({
    ours: spreadOf(ours, pick),
    reference: spreadOf(reference, pick),
  });
  const speed = both((one) => one.perSecond);
  const cpu = both((one) => one.cpuMicroseconds);
  const rows: [Row, ...Row[]] = [
    { line, unit, ...speed, ratio: speed.ours.median / speed.reference.median },
  ];
  if (!Number.isNaN(cpu.ours.median)) {
    // The other way round than the speed, so that more is better in both.
    const ratio = cpu.reference.median / cpu.ours.median;
    rows.push({ line: `CPU of the server per ${of}`, unit: 'µs', ...cpu, ratio });
  }
  rows.push({ line: `p99 of those`, unit: 'ms', ...both((one) => one.latencies.p99) });
  return rows;
}
