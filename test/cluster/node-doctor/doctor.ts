// `coatcheck doctor` as a person runs it on a laptop: a process with a kubeconfig and nothing else.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { keep } from '../../support/tokens.ts';
import { toProductEnvironment } from '../harness/product.ts';

const CLI = path.join(import.meta.dirname, '../../../cli/main.ts');

export interface Row {
  readonly check: string;
  readonly state: string;
  readonly about?: string;
  readonly seen: string;
  readonly mend?: string;
}

export interface Told {
  readonly code: number | null;
  readonly rows: readonly Row[];
  /** Rows that are not ok. */
  readonly bad: readonly Row[];
  readonly stderr: string;
}

export async function runDoctor(kubeconfig: string, ...args: readonly string[]): Promise<Told> {
  const given = ['doctor', '--kubeconfig', kubeconfig, '--output', 'json', ...args];
  const child = spawn(process.execPath, [CLI, ...given], {
    env: { ...toProductEnvironment(process.env), KUBECONFIG: '' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  keep('doctor.json', stdout + stderr);
  if (!stdout.startsWith('{')) throw new Error(`doctor printed no report: ${stdout}${stderr}`);
  const { rows } = JSON.parse(stdout) as { rows: readonly Row[] };
  return { code, rows, bad: rows.filter(({ state }) => state !== 'ok'), stderr };
}

/** One line per row, for what a test shows when it fails. */
export function toLines(rows: readonly Row[]): readonly string[] {
  return rows.map(({ state, check, about = '-', seen }) => `${state} ${check} ${about}: ${seen}`);
}
