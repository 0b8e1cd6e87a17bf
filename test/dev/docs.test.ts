// docs/dev.md and the tour of README.md, run as they are written: a page that does not work is a failing test.
import { spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { keep, noteToken } from '../support/tokens.ts';
import { type Running, start, waitForOutput } from './program.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const EXPORTS =
  /^ {2}export COATCHECK_SERVER=(http:\/\/127\.0\.0\.1:\d+) COATCHECK_TOKEN_FILE=(\S+)$/m;

interface Ran {
  readonly code: number | null;
  readonly output: string;
}

describe('the pages that try the product', () => {
  let dev: Running;
  let folder: string;
  let exported: string;

  before(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-test-'));
    const npx = path.join(folder, 'npx');
    // What npx does in a checkout, without its half a second.
    writeFileSync(npx, `#!/bin/sh\nshift\nexec '${process.execPath}' '${ROOT}/cli/main.ts' "$@"\n`);
    chmodSync(npx, 0o755);
    dev = start('cli/main.ts', ['dev', '--listen', '127.0.0.1:0']);
    await waitForOutput(dev, /^coatcheck dev ready /);
    const [, , file = ''] = EXPORTS.exec(dev.output.stderr) ?? [];
    noteToken(readFileSync(file, 'utf8').trim());
    exported = EXPORTS.exec(dev.output.stderr)?.[0].trim() ?? '';
  });

  after(async () => {
    dev.process.kill('SIGTERM');
    await dev.ended;
    rmSync(folder, { recursive: true });
  });

  /** Runs shell blocks of a page, one after the other in one shell that ends at the first failure. */
  function runBlocks(name: string, blocks: readonly string[]): Promise<Ran> {
    const script = ['set -eu', exported, ...blocks].join('\n');
    const child = spawn('sh', ['-c', script], {
      cwd: ROOT,
      env: { PATH: `${folder}:${path.dirname(process.execPath)}:/usr/bin:/bin`, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    return new Promise((resolve) => {
      child.once('close', (code) => {
        keep(name, output);
        resolve({ code, output });
      });
    });
  }

  function noteFiles(): void {
    for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true }))
      if (entry.isFile() && ['me', 'subject', 'other', 'receiver', 'token'].includes(entry.name))
        noteToken(readFileSync(path.join(entry.parentPath, entry.name), 'utf8').trim());
  }

  it('docs/dev.md goes from a role to a revoked token, with a refusal explained on the way', async function () {
    this.timeout(60_000);
    const blocks = readBlocks('docs/dev.md');
    expect(blocks.length).to.equal(3);
    const { code, output } = await runBlocks('docs-dev', blocks);
    noteFiles();
    expect(code, output).to.equal(0);
    expect(output).to.match(/policies +root/);
    expect(output).to.match(/ledger-reports +ledger +api +Ready/);
    expect(output).to.contain('"reason":"no_role"');
    expect(output).to.contain('refused, as the condition says');
    const answers = [...output.matchAll(/^\{.*"active":(true|false)/gm)].map(
      ([, active]) => active,
    );
    expect(answers, output).to.deep.equal(['true', 'false']);
  });

  it('README.md: its commands at a dev broker work', async function () {
    this.timeout(30_000);
    const blocks = readBlocks('README.md').filter((text) => text.includes('npx coatcheck whoami'));
    expect(blocks.length).to.equal(1);
    const { code, output } = await runBlocks('docs-readme', blocks);
    expect(code, output).to.equal(0);
    expect(output).to.match(/payments-checkout +payments +file +Ready/);
  });

  it('docs/dev.md names every flag of coatcheck dev, and no other', async () => {
    const page = readFileSync(path.join(ROOT, 'docs/dev.md'), 'utf8');
    const help = await start('cli/main.ts', ['dev', '--help']).ended;
    const table = page.slice(page.indexOf('| flag | |'), page.indexOf('It is for a laptop'));
    const toFlags = (text: string) => [...new Set(text.match(/--[a-z]+(-[a-z]+)*/g))].sort();
    expect(toFlags(table)).to.deep.equal(toFlags(help.stdout.slice(help.stdout.indexOf('Flags'))));
  });
});

function readBlocks(page: string): string[] {
  const text = readFileSync(path.join(ROOT, page), 'utf8');
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block]) => block ?? '');
}
