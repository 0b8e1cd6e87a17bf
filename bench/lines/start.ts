// The exchange program from its start to the token in the file, over TLS to a real broker: what every pod waits for.
// The compiled program, and the same source on Node.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { toSpread } from '../load/latencies.ts';
import { LOAD_CORE } from '../machine.ts';
import { type Bench, type Server, startBroker } from '../programs.ts';
import type { Row } from '../table.ts';
import { SERVER_NAME } from '../workplace.ts';
import { mint } from './exchange.ts';

const DIST = path.join(import.meta.dirname, '../../dist');
const MAX_WALL_MS = 40;
const MAX_RESIDENT_MIB = 48;

interface Program {
  name: string;
  command: string;
  args: readonly string[];
  /** Whether the numbers to reach are about this one. */
  isCompiled: boolean;
}

export async function measureStart(bench: Bench): Promise<readonly Row[]> {
  const programs = findPrograms();
  const server = await startBroker(bench, { isTls: true });
  try {
    await writeSubjectToken(bench);
    const environment = toEnvironment(bench, server);
    const rows: Row[] = [];
    for (const program of programs)
      rows.push(...(await measureProgram(bench, program, environment)));
    return rows;
  } finally {
    await server.stop();
  }
}

/** The built artefacts; the compiled one is there only on platforms that have a compiler for it. */
function findPrograms(): readonly Program[] {
  const compiled = path.join(DIST, 'coatcheck-exchange');
  const bundle = path.join(DIST, 'coatcheck-exchange.mjs');
  if (!existsSync(bundle))
    throw new Error('dist/coatcheck-exchange.mjs is missing; run make build');
  return [
    ...(existsSync(compiled)
      ? [{ name: 'compiled', command: compiled, args: [], isCompiled: true }]
      : []),
    { name: 'Node build', command: process.execPath, args: [bundle], isCompiled: false },
  ];
}

async function writeSubjectToken({ machine, workplace }: Bench): Promise<void> {
  const line = await mint({ machine, workplace, core: LOAD_CORE, first: 0, count: 1 });
  mkdirSync(workplace.file('identity'));
  const token = new URLSearchParams(line.trim()).get('subject_token') ?? '';
  writeFileSync(workplace.file('identity/payments'), token);
}

function toEnvironment({ workplace }: Bench, server: Server): Record<string, string> {
  return {
    COATCHECK_MODE: 'init',
    COATCHECK_BROKER_URL: `https://${SERVER_NAME}:${server.port}`,
    COATCHECK_BROKER_CA: workplace.ca,
    COATCHECK_AUDIENCES: JSON.stringify([{ name: 'payments', audience: 'payments' }]),
    COATCHECK_IDENTITY_DIR: workplace.file('identity'),
    COATCHECK_TOKENS_DIR: workplace.file('tokens'),
    COATCHECK_TERMINATION_LOG: workplace.file('termination'),
    COATCHECK_DEADLINE_SECONDS: '10',
  };
}

async function measureProgram(
  bench: Bench,
  program: Program,
  environment: Record<string, string>,
): Promise<readonly Row[]> {
  const { isQuick, workplace } = bench;
  const walls: number[] = [];
  const peaks: number[] = [];
  const run = async (measure: (child: ChildProcess) => void): Promise<number> => {
    rmSync(workplace.file('tokens'), { recursive: true, force: true });
    mkdirSync(workplace.file('tokens'));
    const begin = performance.now();
    const child = spawn(program.command, program.args, { env: environment, stdio: 'ignore' });
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    measure(child);
    const code = await ended;
    const wall = performance.now() - begin;
    const token = readFileSync(workplace.file('tokens/payments/token'), 'utf8');
    if (code !== 0 || token.split('.').length !== 3)
      throw new Error(`the ${program.name} wrote no token`);
    return wall;
  };
  await run(() => {});
  for (let i = 0; i < (isQuick ? 5 : 25); i++) walls.push(await run(() => {}));
  for (let i = 0; i < (isQuick ? 1 : 5); i++) {
    await run((child) => {
      const peak = watchPeakMiB(child.pid ?? 0);
      if (peak !== undefined) peaks.push(peak);
    });
  }
  const wall = toSpread(walls);
  const rows: Row[] = [
    {
      line: `exchange program, start to file over TLS, ${program.name}`,
      unit: 'ms wall',
      ours: wall,
      ...(program.isCompiled && { target: '≤ 40 ms', isMet: wall.median <= MAX_WALL_MS }),
    },
  ];
  if (peaks.length > 0) {
    const peak = toSpread(peaks);
    rows.push({
      line: `its memory at most, ${program.name}`,
      unit: 'MiB resident',
      ours: peak,
      ...(program.isCompiled && { target: '≤ 48 MiB', isMet: peak.median <= MAX_RESIDENT_MIB }),
    });
  }
  return rows;
}

/**
 * The highest VmHWM seen until the process ends. Reads /proc without a pause and so blocks this process: the child stays
 * a zombie, whose state says that it is over, until the event loop runs again. Undefined where there is no /proc.
 */
function watchPeakMiB(pid: number): number | undefined {
  let peak: number | undefined;
  for (;;) {
    let status: string;
    try {
      status = readFileSync(`/proc/${pid}/status`, 'utf8');
    } catch {
      return peak;
    }
    if (/^State:\s+[ZX]/m.test(status)) return peak;
    const kib = /^VmHWM:\s+(\d+) kB/m.exec(status)?.[1];
    if (kib !== undefined) peak = Math.max(peak ?? 0, Number(kib) / 1024);
  }
}
