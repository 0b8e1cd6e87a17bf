// `make bench`: measures, prints the table, writes bench/results/latest.{md,json} and the table of docs/performance.md,
// which has the method.
// node bench/main.ts [--quick] [admission] [exchange] [opaque] [live-tokens] [start] [handler]
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { measureAdmission } from './lines/admission.ts';
import { measureExchange } from './lines/exchange.ts';
import { measureHandler } from './lines/handler.ts';
import { measureLiveTokens } from './lines/live-tokens.ts';
import { measureOpaque } from './lines/opaque.ts';
import { measureStart } from './lines/start.ts';
import { describeMachine } from './machine.ts';
import type { Bench } from './programs.ts';
import { type Results, type Row, renderMarkdown } from './table.ts';
import { createWorkplace } from './workplace.ts';

const LINES: Readonly<Record<string, (bench: Bench) => Promise<readonly Row[]>>> = {
  admission: measureAdmission,
  exchange: measureExchange,
  opaque: measureOpaque,
  'live-tokens': measureLiveTokens,
  start: measureStart,
  handler: measureHandler,
};

const RESULTS = path.join(import.meta.dirname, 'results');
const PAGE = path.join(import.meta.dirname, '../docs/performance.md');
const BUILD = path.join(import.meta.dirname, '../scripts/build.ts');

async function main(args: readonly string[]): Promise<number> {
  const isQuick = args.includes('--quick');
  const wanted = args.filter((argument) => argument !== '--quick');
  const unknown = wanted.filter((name) => !Object.hasOwn(LINES, name));
  if (unknown.length > 0) {
    console.error(
      `unknown: ${unknown.join(', ')}; usage: node bench/main.ts [--quick] [${Object.keys(LINES).join('] [')}]`,
    );
    return 2;
  }
  if (spawnSync(process.execPath, [BUILD, 'exchange'], { stdio: ['ignore', 2, 2] }).status !== 0)
    return 1;
  const workplace = createWorkplace();
  const machine = describeMachine();
  if (!machine.isPinned)
    console.error(
      'No taskset or one core only: server and load share the cores, the ratios say less.',
    );
  const rows: Row[] = [];
  try {
    for (const [name, measure] of Object.entries(LINES)) {
      if (wanted.length > 0 && !wanted.includes(name)) continue;
      console.error(`measuring: ${name} …`);
      rows.push(...(await measure({ machine, workplace, isQuick })));
    }
  } finally {
    workplace.remove();
  }
  const results = { machine, isQuick, measuredAt: new Date().toISOString(), rows };
  const markdown = renderMarkdown(results);
  process.stdout.write(markdown);
  // Only a whole and unhurried run is worth keeping.
  if (wanted.length === 0 && !isQuick) keepResults(results);
  return 0;
}

function keepResults(results: Results): void {
  const markdown = renderMarkdown(results);
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(path.join(RESULTS, 'latest.md'), markdown);
  writeFileSync(path.join(RESULTS, 'latest.json'), `${JSON.stringify(results, null, 2)}\n`);
  const page = readFileSync(PAGE, 'utf8');
  const [before, , after] = page.split(/(?<=<!-- table -->\n)([\s\S]*)(?=<!-- end of table -->)/);
  if (after !== undefined) writeFileSync(PAGE, `${before}\n${markdown}\n${after}`);
}

process.exitCode = await main(process.argv.slice(2));
