// Builds the programs of a component from the Go module proxy, one after another, and shows that it is alive: the first
// build takes many minutes, and a silent terminal gets killed.
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { dieWithParent } from './process.ts';
import type { Component } from './versions.ts';

const PROGRESS_EVERY_MS = 20_000;

/** Builds every program of a component into `folder`, with a line of progress now and then. */
export async function buildPrograms(
  component: Component,
  folder: string,
  environment: NodeJS.ProcessEnv,
): Promise<void> {
  const { name, version, programs, patience } = component;
  console.log(
    `Building ${name} ${version} from the Go module proxy, once, into the cache (${patience}) …`,
  );
  const started = performance.now();
  // Not in /tmp: what a build that is killed leaves goes with its draft.
  const temporary = path.join(folder, 'tmp');
  mkdirSync(temporary);
  for (const [index, program] of programs.entries()) {
    const label = `${program} (${index + 1} of ${programs.length})`;
    await buildProgram(program, {
      component,
      folder,
      label,
      started,
      environment: { ...environment, GOTMPDIR: temporary },
    });
    console.log(`  ${toElapsed(started)} built ${label}`);
  }
  rmSync(temporary, { recursive: true });
}

interface Build {
  component: Component;
  folder: string;
  label: string;
  started: number;
  environment: NodeJS.ProcessEnv;
}

async function buildProgram(
  program: string,
  { component, folder, label, started, environment }: Build,
): Promise<void> {
  // Interrupted, and not killed: the build then ends its compilers, too.
  const [command = '', ...prefix] = [...dieWithParent('INT'), 'go'];
  const child = spawn(
    command,
    [
      ...prefix,
      ...component.buildArguments,
      '-o',
      path.join(folder, program),
      `${component.packages}/${program}`,
    ],
    {
      cwd: component.module,
      // A go.work further up in someone's folders must not decide what is built here.
      env: { ...environment, GOWORK: 'off', ...(component.static && { CGO_ENABLED: '0' }) },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  const onData = (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-4000);
  };
  child.stdout.on('data', onData);
  child.stderr.on('data', onData);
  const progress = setInterval(() => {
    const last = output.trimEnd().split('\n').at(-1) ?? '';
    console.log(`  ${toElapsed(started)} building ${label} … ${last.slice(0, 80)}`);
  }, PROGRESS_EVERY_MS);
  const stop = () => child.kill('SIGINT');
  process.once('exit', stop);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    if (code !== 0) throw new Error(`go build of ${program} failed:\n${output}`);
  } finally {
    clearInterval(progress);
    process.off('exit', stop);
  }
}

function toElapsed(started: number): string {
  const seconds = Math.round((performance.now() - started) / 1000);
  return `${String(Math.floor(seconds / 60)).padStart(2)}:${String(seconds % 60).padStart(2, '0')}`;
}
