// What the numbers were measured on, and how processes are kept apart: the server on one core, the load on another.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { processEnvironment } from '../common/settings.ts';

export const SERVER_CORE = 0;
export const LOAD_CORE = 1;

export interface Machine {
  cores: number;
  processor: string;
  memoryGiB: number;
  node: string;
  /** False where `taskset` is missing or there is one core: server and load then share. */
  isPinned: boolean;
  /** Load average of the minute before: what else the machine was doing. */
  loadBefore?: number;
}

export function describeMachine(): Machine {
  const cores = availableParallelism();
  return {
    cores,
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    node: process.version,
    loadBefore: Math.round((loadavg()[0] ?? 0) * 10) / 10,
    isPinned:
      cores > 1 && spawnSync('taskset', ['-c', '0', 'true'], { stdio: 'ignore' }).status === 0,
  };
}

export interface StartOptions {
  machine: Machine;
  core: number;
  command: string;
  args: readonly string[];
  environment?: Readonly<Record<string, string>>;
  /** Where standard output goes; `pipe` unless a file descriptor is given. */
  stdout?: number | 'pipe';
  stderr?: number | 'inherit' | 'ignore';
}

/** Starts a process on one core, with an environment that holds nothing but what is given. */
export function startPinned(options: StartOptions): ChildProcess {
  const { machine, core, command, args } = options;
  const [program, list] = machine.isPinned
    ? ['taskset', ['-c', String(core), command, ...args]]
    : [command, [...args]];
  return spawn(program, list, {
    env: { PATH: processEnvironment().PATH ?? '', ...options.environment },
    stdio: ['pipe', options.stdout ?? 'pipe', options.stderr ?? 'inherit'],
  });
}

/** Runs a Node program to its end and reads the JSON it prints. */
export async function runForJson<T>(
  options: Omit<StartOptions, 'command' | 'stdout'> & { input?: unknown },
): Promise<T> {
  const child = startPinned({ ...options, command: process.execPath });
  child.stdin?.end(options.input === undefined ? undefined : JSON.stringify(options.input));
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    output += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`${options.args[0]} ended with code ${code}`);
  return JSON.parse(output) as T;
}

/** Resolves with the first line of a process's standard output that matches. */
export function waitForLine(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let output = '';
    const read = (chunk: string): void => {
      output += chunk;
      const match = pattern.exec(output);
      if (match === null) return;
      child.stdout?.off('data', read);
      resolve(match);
    };
    child.stdout?.setEncoding('utf8').on('data', read);
    child.once('close', (code) =>
      reject(new Error(`the process ended with code ${code} before it was ready`)),
    );
  });
}

export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const closed = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await closed;
}

// Linux counts process time in hundredths of a second, whatever the kernel's own tick is (USER_HZ).
const TICKS_PER_SECOND = 100;

/** CPU seconds a process used so far, all threads; undefined where there is no /proc. */
export function findCpuSeconds(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold blanks; user and system time are the 12th and 13th field behind it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return undefined;
  }
}
