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

/** Runs both `rounds` times; each time from a fresh process that is warmed up first. */
export async function alternate(
  machine: Machine,
  { ours, reference }: { ours: Contestant; reference: Contestant },
  rounds: Rounds,
): Promise<Comparison> {
  const results = { ours: [] as RoundResult[], reference: [] as RoundResult[] };
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
): Promise<RoundResult> {
  const server = await start();
  try {
    const target = { ...job.target, port: server.port };
    const warm = await load(machine, { ...job, target, seconds: rounds.warmUpSeconds });
    const body = typeof job.body === 'string' ? job.body : { ...job.body, skip: warm.bodiesUsed };
    const before = findCpuSeconds(server.pid) ?? Number.NaN;
    const result = await load(machine, { ...job, target, body, seconds: rounds.seconds });
    const used = (findCpuSeconds(server.pid) ?? Number.NaN) - before;
    return { ...result, cpuMicroseconds: (used / result.requests) * 1_000_000 };
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
