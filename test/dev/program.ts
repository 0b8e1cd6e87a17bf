// Programs of this checkout as child processes: what they print is kept for the leak scan, and they end with the test.
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { keep } from '../support/tokens.ts';

const ROOT = path.join(import.meta.dirname, '../..');

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

export interface Running {
  readonly process: ChildProcess;
  /** What it wrote so far. */
  readonly output: { stdout: string; stderr: string };
  /** Resolves when it has ended and its output is kept. */
  readonly ended: Promise<Ended>;
}

/** Starts a .ts file of the checkout with nothing but a PATH around it, and `environment`. */
export function start(
  file: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Running {
  const child = spawn(process.execPath, [path.join(ROOT, file), ...args], {
    env: { PATH: '/usr/bin:/bin', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (chunk: string) => {
      output[name] += chunk;
    });
  }
  const ended = new Promise<Ended>((resolve) => {
    child.once('close', (code) => {
      for (const name of ['stdout', 'stderr'] as const) {
        keep(`${path.basename(file)}-${args[0] ?? ''}-${name}`, output[name]);
      }
      resolve({ code, ...output });
    });
  });
  return { process: child, output, ended };
}

/** Resolves with the match as soon as standard output holds one. @throws Error where the program ends before. */
export function waitForOutput(running: Running, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const match = pattern.exec(running.output.stdout);
      if (match) resolve(match);
    };
    running.process.stdout?.on('data', look);
    look();
    running.ended.then(
      ({ code, stderr }) =>
        reject(new Error(`ended with code ${code} before it was ready: ${stderr}`)),
      reject,
    );
  });
}
