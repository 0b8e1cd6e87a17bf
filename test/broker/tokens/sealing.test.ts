// The sealing folder: what it takes for a key, what it opens, and what it says of itself.
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  findSealingName,
  openSealingFolder,
  type SealingFolder,
} from '../../../broker/tokens/sealing.ts';

const CONTEXT = { purpose: 'test', name: 'one' };

describe('sealing folder', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-sealing-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const put = (name: string, content: Buffer | string = randomBytes(32)) =>
    writeFileSync(path.join(folder, name), content);
  const open = (): SealingFolder => {
    const opened = openSealingFolder(folder);
    if ('problems' in opened) throw new Error(opened.problems.join('\n'));
    return opened;
  };
  const problems = (): readonly string[] => {
    const opened = openSealingFolder(folder);
    return 'problems' in opened ? opened.problems : [];
  };

  it('opens what it sealed, for the same purpose and name alone', () => {
    put('a');
    const sealing = open();
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const sealed = sealing.seal(text, CONTEXT);
        expect(sealing.open(sealed, CONTEXT)).to.deep.equal({
          plaintext: text.toWellFormed(),
          sealedBy: 'a',
        });
        expect(sealing.open(sealed, { ...CONTEXT, name: 'two' })).to.equal(undefined);
        expect(sealing.open(sealed, { ...CONTEXT, purpose: 'tes' })).to.equal(undefined);
      }),
    );
  });

  it('never seals one text twice alike', () => {
    put('a');
    const sealing = open();
    const all = Array.from({ length: 100 }, () => sealing.seal('text', CONTEXT));
    expect(new Set(all).size).to.equal(100);
    expect(all.join()).not.to.contain(Buffer.from('text').toString('base64url'));
  });

  it('opens nothing that was changed, in whatever place', () => {
    put('a');
    const sealing = open();
    const sealed = sealing.seal('some text', CONTEXT);
    for (let i = 0; i < sealed.length; i++) {
      const swapped = sealed[i] === 'A' ? 'B' : 'A';
      const changed = sealed.slice(0, i) + swapped + sealed.slice(i + 1);
      const opened = sealing.open(changed, CONTEXT);
      // The name of the key is a hint: another one is tried, and the right one opens.
      const isName = i >= 'v1.'.length && i < 'v1.a'.length;
      // Of the last character of base64url some bits mean nothing.
      const isLast = i === sealed.length - 1;
      if (!isName && !isLast) expect(opened, `at ${i}`).to.equal(undefined);
      if (isName) expect(opened?.plaintext).to.equal('some text');
    }
    for (const odd of [
      '',
      'v1',
      `v2${sealed.slice(2)}`,
      sealed.slice(0, -1),
      `${sealed}.x`,
      'v1.a..',
      `v1.a.${'A'.repeat(16)}.${'A'.repeat(40_000)}`,
    ])
      expect(sealing.open(odd, CONTEXT), odd.slice(0, 30)).to.equal(undefined);
  });

  it('seals with the last by name and opens with all', () => {
    put('2026-10');
    const sealing = open();
    const old = sealing.seal('old', CONTEXT);
    put('2026-11', `${randomBytes(32).toString('base64')}\n`);
    expect(sealing.newest()).to.equal('2026-10');
    expect(sealing.generation()).to.equal(0);
    expect(sealing.reload()).to.deep.equal([]);
    expect(sealing.generation()).to.equal(1);
    expect(sealing.newest()).to.equal('2026-11');
    const young = sealing.seal('young', CONTEXT);
    expect([old, young].map((sealed) => sealing.open(sealed, CONTEXT)?.sealedBy)).to.deep.equal([
      '2026-10',
      '2026-11',
    ]);
    expect(findSealingName(young)).to.equal('2026-11');
    unlinkSync(path.join(folder, '2026-10'));
    sealing.reload();
    expect(sealing.open(old, CONTEXT)).to.equal(undefined);
    expect(sealing.open(young, CONTEXT)?.plaintext).to.equal('young');
  });

  it('opens with a key whose file was renamed', () => {
    put('a');
    const sealing = open();
    const sealed = sealing.seal('text', CONTEXT);
    renameSync(path.join(folder, 'a'), path.join(folder, 'b.key'));
    put('c');
    sealing.reload();
    expect(sealing.open(sealed, CONTEXT)).to.deep.equal({ plaintext: 'text', sealedBy: 'b.key' });
  });

  it('reads a folder as a mounted Secret lays it out', () => {
    mkdirSync(path.join(folder, '..2026'));
    writeFileSync(path.join(folder, '..2026', 'key'), randomBytes(32));
    symlinkSync('..2026', path.join(folder, '..data'));
    symlinkSync('..data/key', path.join(folder, 'key'));
    expect(open().newest()).to.equal('key');
  });

  const BYTES = randomBytes(32);
  const accepted: readonly { name: string; content: Buffer | string }[] = [
    { name: '32 raw bytes', content: BYTES },
    { name: 'base64', content: BYTES.toString('base64') },
    { name: 'base64 with a newline', content: `${BYTES.toString('base64')}\n` },
    { name: 'base64url without padding', content: BYTES.toString('base64url') },
  ];
  for (const { name, content } of accepted) {
    it(`takes ${name} for the same key`, () => {
      put('k', BYTES);
      const sealed = open().seal('text', CONTEXT);
      put('k', content);
      expect(open().open(sealed, CONTEXT)?.plaintext).to.equal('text');
    });
  }

  const refused: readonly { name: string; content: Buffer | string }[] = [
    { name: '31 bytes', content: randomBytes(31) },
    { name: '33 bytes', content: randomBytes(33) },
    { name: 'base64 of 16 bytes', content: randomBytes(16).toString('base64') },
    { name: 'a passphrase', content: 'correct horse battery staple' },
    { name: 'an empty file', content: '' },
    { name: 'one byte repeated', content: Buffer.alloc(32) },
    { name: 'base64 of one byte repeated', content: Buffer.alloc(32, 7).toString('base64') },
  ];
  for (const { name, content } of refused) {
    it(`refuses ${name}, without quoting it`, () => {
      put('k', content);
      const [problem, ...more] = problems();
      expect(more).to.deep.equal([]);
      expect(problem).to.match(/k: must hold (32 )?random bytes/);
      if (content.length > 0) expect(problem).not.to.contain(content.toString());
    });
  }

  it('refuses an empty folder, a missing one, one key twice and odd names', () => {
    expect(problems())
      .to.have.lengthOf(1)
      .and.to.match(/holds no sealing key/);
    put('a', BYTES);
    put('b', BYTES.toString('base64'));
    expect(problems().join()).to.match(/same key as another file/);
    unlinkSync(path.join(folder, 'b'));
    put('with blank');
    expect(problems().join()).to.match(/names of sealing keys/);
    expect(openSealingFolder(path.join(folder, 'nowhere'))).to.have.property('problems');
  });

  it('keeps the last good keys while the folder is broken', () => {
    put('a');
    const sealing = open();
    const sealed = sealing.seal('text', CONTEXT);
    put('b', 'half');
    expect(sealing.reload()).to.have.lengthOf(1);
    expect(sealing.newest()).to.equal('a');
    expect(sealing.open(sealed, CONTEXT)?.plaintext).to.equal('text');
  });
});
