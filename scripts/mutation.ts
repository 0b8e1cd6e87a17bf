// `make mutation`: changes the code that decides, one small place at a time, and counts how many changes the quick tests
// notice (Stryker). One run per area with that area's own specs. `--changed <ref>` looks only at files changed since
// then, one after another, within `--minutes`. docs/mutation.md says what the numbers mean.
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { PARTS, type Part, SLOW_TITLES } from './mutation/areas.ts';
import {
  addScores,
  type Counted,
  countMutants,
  describe,
  type Report,
  toPercent,
} from './mutation/score.ts';
import { writeSurvivors } from './mutation/survivors.ts';

const ROOT = path.join(import.meta.dirname, '..');
/** Outside git: configurations, sandboxes, reports and what the next run need not do again. */
const FOLDER = '.stryker';
const LOWEST = 75;

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    changed: { type: 'string' },
    minutes: { type: 'string' },
    /** Writes the table of survivors into docs/mutation.md from the reports that are there. */
    survivors: { type: 'boolean', default: false },
    concurrency: { type: 'string', default: '1' },
  },
});

const minutes = Number(flags.minutes ?? Number.POSITIVE_INFINITY);
const concurrency = Number(flags.concurrency);
const isAsked = ({ name, area }: Part) =>
  positionals.length === 0 || positionals.includes(name) || positionals.includes(area);
const parts = PARTS.filter(isAsked);
if (parts.length === 0 || !(minutes > 0) || !Number.isInteger(concurrency) || concurrency < 1) {
  const names = PARTS.map(({ name }) => name).join(', ');
  console.error(`parts: ${names}; --minutes and --concurrency take positive numbers`);
  process.exit(2);
}
const deadline = performance.now() + minutes * 60_000;

process.exit(flags.survivors ? tellSurvivors() : await runAll(flags.changed));

function tellSurvivors(): number {
  const today = new Date().toISOString().slice(0, 10);
  const unexplained = writeSurvivors(ROOT, ({ name }) => findReport(name), today);
  for (const one of unexplained) console.log(one);
  if (unexplained.length > 0) console.log(`${unexplained.length} survivors have no reason`);
  return unexplained.length > 0 ? 1 : 0;
}

/** A job is a part, or one changed file of it: then what is done when the time is over counts, and the rest is named. */
interface Job {
  readonly part: Part;
  readonly name: string;
  readonly mutate: readonly string[];
}

async function runAll(since: string | undefined): Promise<number> {
  const jobs = since === undefined ? parts.map(toWholeJob) : findChangedJobs(since);
  const scores = new Map<Part['area'], Counted[]>();
  const left: string[] = [];
  let failed = 0;
  for (const { part, name, mutate } of jobs) {
    const started = performance.now();
    const report = await runStryker(part, mutate);
    if (report === 'late') left.push(name);
    else if (report === undefined) failed += 1;
    else {
      const counted = countMutants(report, mutate);
      scores.set(part.area, [...(scores.get(part.area) ?? []), counted]);
      console.log(
        `${name}: ${describe(counted)}, ${Math.round((performance.now() - started) / 1000)} s`,
      );
    }
  }
  for (const [area, counted] of scores) {
    const total = addScores(counted);
    const isGood = toPercent(total) >= LOWEST;
    console.log(
      `${isGood ? 'ok    ' : 'FAILED'} ${area}: ${describe(total)}; at least ${LOWEST} % is wanted`,
    );
    if (!isGood) failed += 1;
  }
  if (left.length > 0) console.log(`mutation: no time was left for ${left.join(', ')}`);
  return failed > 0 ? 1 : 0;
}

function toWholeJob(part: Part): Job {
  return { part, name: part.name, mutate: part.mutate };
}

/** Small files first. Nothing where git does not know the reference: a shallow clone is no failure. */
function findChangedJobs(since: string): readonly Job[] {
  const base = spawnSync('git', ['merge-base', since, 'HEAD'], { cwd: ROOT, encoding: 'utf8' });
  if (base.status !== 0) {
    console.log(`mutation: skipped, git knows no common commit with ${since}`);
    return [];
  }
  const names = ['diff', '--name-only', '--diff-filter=d', base.stdout.trim(), 'HEAD'];
  const { stdout } = spawnSync('git', names, { cwd: ROOT, encoding: 'utf8' });
  const size = (file: string) => statSync(path.join(ROOT, file)).size;
  const jobs = stdout
    .split('\n')
    .filter((file) => file !== '' && existsSync(path.join(ROOT, file)))
    .sort((a, b) => size(a) - size(b))
    .flatMap((file) =>
      parts
        .filter((part) => isOf(part, file))
        .map((part) => ({ part, name: file, mutate: [file] })),
    );
  if (jobs.length === 0)
    console.log(`mutation: nothing that is mutated was changed since ${since}`);
  return jobs;
}

function isOf({ mutate }: Part, file: string): boolean {
  return mutate.some((glob) => path.matchesGlob(file, glob));
}

/** @returns undefined where Stryker failed, as it does where a test fails without any change */
async function runStryker(
  part: Part,
  mutate: readonly string[],
): Promise<Report | 'late' | undefined> {
  const leftMs = deadline - performance.now();
  if (leftMs <= 0) return 'late';
  const run = mutate === part.mutate ? part.name : `${part.name}-changed`;
  mkdirSync(path.join(ROOT, FOLDER), { recursive: true });
  const sandbox = `${FOLDER}/sandbox-${run}`;
  // The last good report stays until there is another.
  const fresh = `${FOLDER}/${run}.fresh.json`;
  const file = `${FOLDER}/${run}.config.json`;
  const configuration = {
    testRunner: 'mocha',
    plugins: ['@stryker-mutator/mocha-runner'],
    // Does not exist: Stryker then does not ask for the TypeScript compiler, and Node strips the types.
    tsconfigFile: 'tsconfig.none.json',
    mutate,
    mutator: { excludedMutations: part.excluded },
    // Every title but those.
    mochaOptions: { spec: part.specs, grep: `^(?!.*(${SLOW_TITLES.join('|')}))` },
    coverageAnalysis: 'perTest',
    ignoreStatic: part.ignoresStatic,
    incremental: true,
    incrementalFile: `${FOLDER}/${part.name}.incremental.json`,
    concurrency,
    timeoutFactor: 2,
    tempDirName: sandbox,
    ignorePatterns: ['dist', '.test-output', 'coverage', 'bench', 'charts', FOLDER],
    reporters: ['json', 'progress-append-only'],
    jsonReporter: { fileName: fresh },
    allowEmpty: true,
    disableTypeChecks: false,
  };
  writeFileSync(path.join(ROOT, file), JSON.stringify(configuration, undefined, 2));
  rmSync(path.join(ROOT, fresh), { force: true });
  const end = await runNicely(
    [path.join(ROOT, 'node_modules/@stryker-mutator/core/bin/stryker.js'), 'run', file],
    leftMs,
  );
  rmSync(path.join(ROOT, sandbox), { recursive: true, force: true });
  if (end === 'late') return 'late';
  if (end !== 0 || !existsSync(path.join(ROOT, fresh))) return undefined;
  renameSync(path.join(ROOT, fresh), path.join(ROOT, toReportFile(run)));
  return findReport(run);
}

function runNicely(command: readonly string[], limitMs: number): Promise<number | 'late'> {
  return new Promise((resolve) => {
    const child = spawn('nice', ['-n', '19', process.execPath, ...command], {
      cwd: ROOT,
      stdio: 'inherit',
      // A group of its own, so that its workers end with it.
      detached: true,
      env: { ...process.env, COATCHECK_TEST_OUTPUT: 'none' },
    });
    let isLate = false;
    const stop = () => {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    };
    const timer = Number.isFinite(limitMs)
      ? setTimeout(() => {
          isLate = true;
          stop();
        }, limitMs)
      : undefined;
    const interrupted = () => {
      stop();
      process.exit(130);
    };
    process.once('SIGINT', interrupted);
    child.once('close', (code) => {
      clearTimeout(timer);
      process.off('SIGINT', interrupted);
      resolve(isLate ? 'late' : (code ?? 1));
    });
  });
}

function toReportFile(run: string): string {
  return `${FOLDER}/${run}.report.json`;
}

function findReport(run: string): Report | undefined {
  const file = path.join(ROOT, toReportFile(run));
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Report) : undefined;
}
