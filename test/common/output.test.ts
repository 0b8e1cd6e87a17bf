// The writer under log and audit: whole lines in order, counted and bounded, and out before the process is.
import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import os, { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { createAuditSink } from '../../broker/audit.ts';
import { type Output, openOutput } from '../../common/output.ts';
import { keep } from '../support/tokens.ts';

const COMMON = path.join(import.meta.dirname, '../../common');

function flush(output: Output): Promise<string> {
  return new Promise((resolve) => output.flush((error) => resolve(error?.message ?? 'flushed')));
}

/** Runs a script in a process of its own and gives what came through the pipe; `close` ends the pipe before. */
async function runScript(
  script: string,
  { close = false } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  if (close) child.stdout.destroy();
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  keep('common-output', stdout + stderr);
  return { code, stdout, stderr };
}

describe('output', function () {
  this.timeout(20_000);
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-output-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('writes whole lines to a file, counts what is on its way in bytes, and flushes', async () => {
    const file = path.join(folder, 'all');
    const output = openOutput(openSync(file, 'w'));
    const lines = Array.from({ length: 1000 }, (_, i) => `line ${i} ü\n`);
    for (const line of lines) output.write(line);
    expect(output.pendingBytes()).to.equal(Buffer.byteLength(lines.join('')));
    expect(await flush(output)).to.equal('flushed');
    expect(output.pendingBytes()).to.equal(0);
    expect(readFileSync(file, 'utf8')).to.equal(lines.join(''));
    expect(output.lostLines()).to.equal(0);
  });

  it('gathers the lines of several turns where it may, and flushes them all', async () => {
    const file = path.join(folder, 'gathered');
    const output = openOutput(openSync(file, 'w'), { gatherMs: 50 });
    output.write('one\n');
    await new Promise((resolve) => setImmediate(resolve));
    output.write('two\n');
    expect(readFileSync(file, 'utf8')).to.equal('');
    expect(output.pendingBytes()).to.equal(8);
    expect(await flush(output)).to.equal('flushed');
    expect(readFileSync(file, 'utf8')).to.equal('one\ntwo\n');
  });

  it('never runs ahead of a reader that is gone', async () => {
    const output = openOutput(openSync(os.devNull, 'r'));
    output.write('a line\n');
    expect(await flush(output)).to.match(/EBADF/);
    expect(output.pendingBytes()).to.equal(Number.POSITIVE_INFINITY);
    expect(createAuditSink(output).isKeepingUp()).to.equal(false);
    output.write('another line\n');
    expect(output.lostLines()).to.equal(1);
  });

  it('drops what goes beyond its bound, and says in the stream how much', async () => {
    const file = path.join(folder, 'bounded');
    const output = openOutput(openSync(file, 'w'), { maxPendingBytes: 30 });
    for (let i = 0; i < 10; i++) output.write(`0123456 ${i}\n`);
    expect(output.pendingBytes()).to.equal(30);
    expect(await flush(output)).to.equal('flushed');
    output.write('later\n');
    await flush(output);
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
    expect(lines.slice(0, 3)).to.deep.equal(['0123456 0', '0123456 1', '0123456 2']);
    expect(JSON.parse(lines[3] ?? '')).to.deep.include({ level: 'error', lostLines: 7 });
    expect(lines.slice(4)).to.deep.equal(['later']);
    expect(output.lostLines()).to.equal(7);
  });

  it('takes the last lines along when the process exits in the same turn, in order', async () => {
    const { stdout, code } = await runScript(`
      import { createLogger } from '${COMMON}/log.ts';
      const log = createLogger({ level: 'info', process: 'test' });
      for (let i = 0; i < 200; i++) log.info({ i }, 'line');
      process.exit(0);
    `);
    const seen = stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { i: number }).i);
    expect(seen).to.deep.equal(Array.from({ length: 200 }, (_, i) => i));
    expect(code).to.equal(0);
  });

  it('does not change how a process ends whose reader is gone', async () => {
    const script = `
      import { openOutput } from '${COMMON}/output.ts';
      const output = openOutput(1);
      process.on('exit', () => {});
      setTimeout(() => { output.write('nobody reads this\\n'); process.exit(0); }, 200);
    `;
    const { code, stderr } = await runScript(script, { close: true });
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
  });
});
