// A child process of the cluster tier: its output goes to a kept (and scanned) file, it dies with whoever started it,
// and a failed start says what the last lines were. Used for the control plane and for the product's own processes.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openKept } from '../../support/tokens.ts';

export interface ProcessOptions {
  name: string;
  command: string;
  args: readonly string[];
  environment?: NodeJS.ProcessEnv;
  /** Resolves true once the process does what it was started for; asked again and again until then. */
  isReady: () => Promise<boolean>;
  readyWithinMs?: number;
}

export interface RunningProcess {
  readonly name: string;
  readonly log: string;
  /** SIGTERM, and SIGKILL after ten seconds or so long. Resolves to the exit code, or the signal that ended it. */
  stop(withinMs?: number): Promise<number | string>;
}

const SETPRIV = '/usr/bin/setpriv';
const STOP_WITHIN_MS = 10_000;

/** The words that make the kernel kill a command when its parent dies, however that dies; nothing where setpriv is not. */
export function dieWithParent(signal: 'KILL' | 'INT' = 'KILL'): readonly string[] {
  return existsSync(SETPRIV) ? [SETPRIV, '--pdeathsig', signal] : [];
}

/** Starts a process and resolves when it is ready. @throws Error with the end of its log when it is not. */
export async function startProcess(options: ProcessOptions): Promise<RunningProcess> {
  const log = openKept(`${options.name}.log`);
  const file = openSync(log, 'a');
  const [command = '', ...args] = [...dieWithParent(), options.command, ...options.args];
  const child = spawn(command, args, {
    env: options.environment ?? process.env,
    stdio: ['ignore', file, file],
  });
  closeSync(file);
  const ended = new Promise<number | string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 'unknown'));
  });
  try {
    await waitUntilReady(options, ended);
  } catch (error) {
    await stopChild(child, ended);
    throw new Error(
      `${options.name}: ${(error as Error).message}; the end of ${log}:\n${readEnd(log)}`,
    );
  }
  return { name: options.name, log, stop: (withinMs) => stopChild(child, ended, withinMs) };
}

async function waitUntilReady(
  options: ProcessOptions,
  ended: Promise<number | string>,
): Promise<void> {
  let end: number | string | undefined;
  void ended.then((value) => {
    end = value;
  });
  await waitFor(
    async () => {
      if (end !== undefined) throw new Error(`ended with ${end} before it was ready`);
      return options.isReady();
    },
    { what: 'being ready', withinMs: options.readyWithinMs ?? 60_000 },
  );
}

async function stopChild(
  child: ChildProcess,
  ended: Promise<number | string>,
  withinMs = STOP_WITHIN_MS,
): Promise<number | string> {
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
  const kill = setTimeout(() => child.kill('SIGKILL'), withinMs);
  const end = await ended;
  clearTimeout(kill);
  return end;
}

function readEnd(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-15).join('\n');
}

export interface Wait {
  /** Ends the sentence "gave up waiting for …". */
  what: string;
  withinMs?: number;
  everyMs?: number;
}

/**
 * Asks `isTrue` until it says yes. What a real cluster does in its own time can only be polled; the bound is generous
 * because it is reached by failures alone.
 * @throws Error when the time is over, and whatever `isTrue` throws at once.
 */
export async function waitFor(
  isTrue: () => Promise<boolean>,
  { what, withinMs = 30_000, everyMs = 100 }: Wait,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await isTrue())) {
    if (performance.now() > deadline)
      throw new Error(`gave up waiting for ${what} after ${withinMs / 1000} s`);
    await sleep(everyMs);
  }
}
