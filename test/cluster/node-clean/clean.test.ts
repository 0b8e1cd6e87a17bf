// A node leaves nothing on the machine: not when it ends well, not when it is killed in the middle.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { readMembers } from '../harness/node/cgroups.ts';
import { waitFor } from '../harness/process.ts';
import { listCgroups, listProcesses, RUN_VARIABLE, readTraces } from './traces.ts';

const RUN = path.join(import.meta.dirname, '../harness/node/run.ts');
const INSIDE = path.join(import.meta.dirname, 'inside.ts');
const OUTPUT = process.env.COATCHECK_TEST_OUTPUT ?? '.test-output/adhoc';

interface Run {
  readonly id: string;
  readonly child: ChildProcess;
  readonly cgroup: string;
  readonly workFolder: string;
  readonly ended: Promise<number | null>;
  /** Resolves when a pod is running. */
  readonly isUp: Promise<void>;
}

describe('a node', function () {
  this.timeout(180_000);
  let before: Record<string, unknown>;
  let cgroupsBefore: readonly string[];
  const runs: Run[] = [];
  const start = (name: string, ...args: string[]) => {
    const run = startRun(name, ...args);
    runs.push(run);
    return run;
  };
  beforeEach(() => {
    before = readTraces();
    cgroupsBefore = listCgroups();
  });
  const expectNothingNew = () => {
    expect(readTraces()).to.deep.equal(before);
    // One of before may have gone: the guard of another run was not done with it.
    expect(listCgroups().filter((name) => !cgroupsBefore.includes(name))).to.deep.equal([]);
  };
  // Of a test that failed in between.
  afterEach(() => {
    for (const { child } of runs.splice(0)) child.kill('SIGKILL');
  });

  it('leaves nothing when it ends well', async () => {
    const run = start('ends-well');
    expect(await run.ended).to.equal(0);
    expectNothingOf(run);
    expectNothingNew();
  });

  it('leaves nothing when it is killed with a pod running, while another node stays what it is', async () => {
    const other = start('other', 'stay');
    const run = start('killed', 'stay');
    await Promise.all([run.isUp, other.isUp]);
    expect(readMembers(run.cgroup)).to.not.deep.equal([]);
    expect(listProcesses(run.id)).to.not.deep.equal([]);
    run.child.kill('SIGKILL');
    await waitForNothingOf(run);
    expect(readMembers(other.cgroup)).to.not.deep.equal([]);
    other.child.kill('SIGTERM');
    await other.ended;
    await waitForNothingOf(other);
    expectNothingNew();
  });

  it('removes what a run left whose guard was killed, too', async () => {
    const run = start('killed-with-guard', 'stay');
    await run.isUp;
    const guard = listProcesses(run.id).find((line) => line.includes('guard.ts'));
    expect(guard).to.be.a('string');
    process.kill(Number.parseInt(guard ?? '', 10), 'SIGKILL');
    run.child.kill('SIGKILL');
    await waitFor(async () => listProcesses(run.id).length === 0, { what: 'the run to be gone' });
    expect(listCgroups().join()).to.contain(run.cgroup);
    const next = start('next');
    expect(await next.ended).to.equal(0);
    expectNothingNew();
  });
});

function startRun(name: string, ...args: string[]): Run {
  const id = randomUUID();
  const folder = path.resolve(OUTPUT, name);
  const workFolder = path.join(folder, 'work');
  mkdirSync(workFolder, { recursive: true });
  const child = spawn(process.execPath, [RUN, workFolder, process.execPath, INSIDE, ...args], {
    env: { ...process.env, COATCHECK_TEST_OUTPUT: folder, [RUN_VARIABLE]: id },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const ended = new Promise<number | null>((resolve) => {
    child.once('exit', resolve);
  });
  const isUp = new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes('a pod is running')) resolve();
      });
    }
    void ended.then((code) => reject(new Error(`the run ended with ${code}:\n${output}`)));
  });
  // Only some tests wait for it.
  isUp.catch(() => undefined);
  return { id, child, cgroup: `coatcheck-test-${child.pid}`, workFolder, ended, isUp };
}

async function waitForNothingOf(run: Run): Promise<void> {
  const isGone = async () =>
    listProcesses(run.id).length === 0 && !listCgroups().join().includes(run.cgroup);
  await waitFor(isGone, { what: 'everything of the run to be gone' });
  expectNothingOf(run);
}

function expectNothingOf(run: Run): void {
  expect(listProcesses(run.id)).to.deep.equal([]);
  expect(readdirSync(run.workFolder)).to.deep.equal([]);
}
