// Runs tiers of tests one after another, those of one group side by side: mocha on a folder list, counts, the leak scan,
// one closing line.
// Used by scripts/test.ts and scripts/test-cluster.ts; .ci/run adds up what they leave in .test-output/<run>.json.
import { spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { reportLeaks, scanForTokens } from './leak-scan.ts';

export const ROOT = path.join(import.meta.dirname, '..');
const OUTPUT = path.join(ROOT, '.test-output');

export interface Tier {
  readonly name: string;
  /** Mocha's file patterns. */
  readonly specs: readonly string[];
  /** What this machine lacks for the tier, a sentence that says what to install; undefined when nothing. */
  readonly findLack?: () => string | undefined;
  readonly environment?: Readonly<Record<string, string>>;
  /** Neighbours of one group run side by side: for tiers that mostly wait. Each is printed whole when it ends. */
  readonly group?: string;
  /** Turns the command that runs the tests into another one around it; `folder` is where the tier's output goes. */
  readonly wrap?: (command: readonly string[], folder: string) => readonly string[];
}

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
  /** Each failure by its title, with the beginning of its stack. */
  told?: string[];
  /** Tokens found in what was kept; counted in `failed` too. */
  leaks?: number;
}

/** Runs the tiers and exits: 0 when nothing failed and, in CI, nothing was skipped. */
export async function runTiers(run: string, tiers: readonly Tier[]): Promise<never> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const told: string[] = [];
  for (const group of toGroups(tiers)) {
    const isAlone = group.length === 1;
    if (!isAlone) console.log(`\n=== side by side: ${group.map(({ name }) => name).join(', ')} …`);
    for (const counts of await Promise.all(group.map((tier) => runOrSkip(tier, isAlone)))) {
      total.passed += counts.passed;
      total.failed += counts.failed;
      total.skipped += counts.skipped;
      told.push(...(counts.told ?? []));
    }
  }
  mkdirSync(OUTPUT, { recursive: true });
  writeFileSync(path.join(OUTPUT, `${run}.json`), JSON.stringify({ ...total, told }));
  // Again, at the end: a log of thousands of lines is read from there.
  for (const one of told) console.log(`\nFAILED ${one}`);
  const skipsFail = Boolean(process.env.CI) && total.skipped > 0;
  if (skipsFail) console.error('\nA skipped tier or test is a failure in CI.');
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  process.exit(total.failed > 0 || skipsFail || total.passed + total.skipped === 0 ? 1 : 0);
}

function toGroups(tiers: readonly Tier[]): Tier[][] {
  const groups: Tier[][] = [];
  for (const tier of tiers) {
    const last = groups.at(-1);
    if (tier.group !== undefined && last?.[0]?.group === tier.group) last.push(tier);
    else groups.push([tier]);
  }
  return groups;
}

async function runOrSkip(tier: Tier, isAlone: boolean): Promise<Counts> {
  const lack = tier.findLack?.();
  if (lack === undefined) return runTwiceInCi(tier, isAlone);
  console.log(`\n!!! SKIPPED tier "${tier.name}": ${lack}\n`);
  return { passed: 0, failed: 0, skipped: 1 };
}

/**
 * In CI a tier that failed runs once more, visibly, and what failed first is told at the end all the same: a test that
 * passes then is a bug to be found, but no reason to lose a day's work. A leak stays a failure.
 */
async function runTwiceInCi(tier: Tier, isAlone: boolean): Promise<Counts> {
  const first = await runTier(tier, isAlone);
  if (!process.env.CI || first.failed === 0 || first.leaks) return first;
  console.log(`\n!!! RERUN of tier "${tier.name}": ${first.failed} failed; see below what did\n`);
  // What the processes said the first time is what a flaky test is understood by.
  const folder = path.join(OUTPUT, tier.name);
  rmSync(`${folder}-first`, { recursive: true, force: true });
  if (existsSync(folder)) renameSync(folder, `${folder}-first`);
  const second = await runTier(tier, isAlone);
  const before = (first.told ?? []).map((one) => `the first time: ${one}`);
  return { ...second, told: [...before, ...(second.told ?? [])] };
}

async function runTier(tier: Tier, isAlone: boolean): Promise<Counts> {
  const folder = path.join(OUTPUT, tier.name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const started = performance.now();
  if (isAlone) console.log(`\n=== ${tier.name}`);
  const countsFile = path.join(folder, 'counts.json');
  const code = await runMocha(tier, { folder, countsFile, isAlone });
  if (!isAlone) {
    console.log(`\n=== ${tier.name}\n${readFileSync(path.join(folder, 'mocha.log'), 'utf8')}`);
  }
  const counts: Counts = existsSync(countsFile)
    ? (JSON.parse(readFileSync(countsFile, 'utf8')) as Counts)
    : { passed: 0, failed: 0, skipped: 0 };
  // Mocha that died, or failed outside a test, must not look like a tier that passed.
  if (code !== 0 && counts.failed === 0) {
    counts.failed = 1;
    counts.told = [`tier ${tier.name}: mocha ended with ${code}\n${readEnd(folder)}`];
  }
  const leaks = reportLeaks(tier.name, scanForTokens(folder));
  counts.failed += leaks;
  if (leaks > 0) counts.leaks = leaks;
  if (leaks > 0) counts.told = [...(counts.told ?? []), `tier ${tier.name}: ${leaks} leaks`];
  console.log(`${tier.name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
  return counts;
}

/** The last lines that mocha wrote. */
function readEnd(folder: string): string {
  const lines = readFileSync(path.join(folder, 'mocha.log'), 'utf8').trimEnd().split('\n');
  return lines.slice(-25).join('\n');
}

function runMocha(
  tier: Tier,
  { folder, countsFile, isAlone }: { folder: string; countsFile: string; isAlone: boolean },
): Promise<string | number> {
  const mocha = path.join(ROOT, 'node_modules/mocha/bin/mocha.js');
  const reporter = path.join(ROOT, 'test/support/reporter.cjs');
  const tests = [
    process.execPath,
    mocha,
    '--reporter',
    reporter,
    ...tier.specs,
    ...process.argv.slice(2),
  ];
  const [command = '', ...args] = tier.wrap?.(tests, folder) ?? tests;
  const log = createWriteStream(path.join(folder, 'mocha.log'));
  return new Promise<string | number>((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: {
        ...process.env,
        ...tier.environment,
        PATH: `${path.join(ROOT, 'node_modules/.bin')}:${process.env.PATH ?? ''}`,
        COATCHECK_TEST_OUTPUT: folder,
        COATCHECK_TEST_COUNTS: countsFile,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const [stream, out] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ] as const) {
      stream.on('data', (chunk: Buffer) => {
        if (isAlone) out.write(chunk);
        log.write(chunk);
      });
    }
    child.once('error', reject);
    child.once('close', (code, signal) => log.end(() => resolve(code ?? signal ?? 1)));
  });
}
