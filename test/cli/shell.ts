// The command as a shell runs it, from the sources: a process with an environment of its own and nothing of ours.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { keep } from '../support/tokens.ts';

const MAIN = path.join(import.meta.dirname, '../../cli/main.ts');

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ShellOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Whether its standard output shows a token or secret on purpose, and is not kept for the leak scan. */
  readonly showsSecret?: boolean;
  readonly nodeArgs?: readonly string[];
}

/** Resolves when the process has ended. */
export async function coatcheck(
  args: readonly string[],
  { environment = {}, stdin = '', showsSecret = false, nodeArgs = [] }: ShellOptions = {},
): Promise<Ended> {
  const child = spawn(process.execPath, [...nodeArgs, MAIN, ...args], { env: environment });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  keep(`cli ${args[0] ?? ''}`, showsSecret ? stderr : stdout + stderr);
  return { code, stdout, stderr };
}
