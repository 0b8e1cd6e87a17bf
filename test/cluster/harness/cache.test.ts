// The cache of built programs, with folders in place of Kubernetes.
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { openCacheEntry, toCacheRoot } from './cache.ts';
import { toCacheKey } from './versions.ts';

/** A process id that nothing has: above the largest that Linux gives out. */
const DEAD = 99_999_999;

describe('the cache of built programs', () => {
  let root = '';
  let fills = 0;
  const waits: number[] = [];
  const open = (fill: (folder: string) => Promise<void> = fillWell) =>
    openCacheEntry({ root, key: 'entry', fill, onWait: (owner) => waits.push(owner), pollMs: 10 });

  async function fillWell(folder: string): Promise<void> {
    fills += 1;
    writeFileSync(path.join(folder, 'program'), 'built');
  }

  beforeEach(() => {
    root = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-cache-'));
    fills = 0;
    waits.length = 0;
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('fills an entry once and finds it the next time', async () => {
    const folder = await open();
    expect(await open()).to.equal(folder);
    expect(fills).to.equal(1);
    expect(readFileSync(path.join(folder, 'program'), 'utf8')).to.equal('built');
    expect(readdirSync(root)).to.deep.equal(['entry']);
  });

  it('leaves nothing of a fill that fails, and tells why', async () => {
    const failure = await open(async (folder) => {
      writeFileSync(path.join(folder, 'half'), '');
      throw new Error('no compiler');
    }).catch((error: unknown) => error);
    expect(failure).to.be.an('error').with.property('message', 'no compiler');
    expect(readdirSync(root)).to.deep.equal([]);
  });

  it('waits for another living process that fills the same entry, and does not fill it again', async () => {
    const entry = path.join(root, 'entry');
    const other = spawn(process.execPath, ['-e', 'setTimeout(() => undefined, 60_000)']);
    try {
      writeFileSync(`${entry}.lock`, `${other.pid}\n`);
      const opened = open();
      mkdirSync(entry);
      expect(await opened).to.equal(entry);
    } finally {
      other.kill();
    }
    expect(fills).to.equal(0);
    expect(waits).to.deep.equal([other.pid]);
  });

  it('takes over from a process that died, and removes its draft', async () => {
    writeFileSync(path.join(root, 'entry.lock'), `${DEAD}\n`);
    mkdirSync(path.join(root, `entry.draft-${DEAD}`));
    await open();
    expect(fills).to.equal(1);
    expect(readdirSync(root)).to.deep.equal(['entry']);
  });

  it('takes over a lock that nobody signed for ten seconds', async () => {
    const lock = path.join(root, 'entry.lock');
    writeFileSync(lock, '');
    utimesSync(lock, 0, 0);
    await open();
    expect(fills).to.equal(1);
    expect(existsSync(lock)).to.equal(false);
  });

  it('lies outside the checkout, where XDG says, and ignores a relative XDG_CACHE_HOME', () => {
    const home = path.join(os.homedir(), '.cache/coatcheck');
    expect(toCacheRoot({ XDG_CACHE_HOME: '/caches' })).to.equal('/caches/coatcheck');
    expect(toCacheRoot({ XDG_CACHE_HOME: 'caches' })).to.equal(home);
    expect(toCacheRoot({})).to.equal(home);
  });

  it('has another entry for another platform', () => {
    expect(toCacheKey('linux-x64')).to.match(/^kube-\d+\.\d+\.\d+-[0-9a-f]{16}$/);
    expect(toCacheKey('linux-x64')).to.not.equal(toCacheKey('linux-arm64'));
  });
});
