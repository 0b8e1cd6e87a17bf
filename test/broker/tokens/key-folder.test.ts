// Keys of a folder over time: which signs, which are published, and what a broken folder does to both.
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
import { METADATA_MAX_AGE_SECONDS } from '../../../broker/dialects/oauth/metadata.ts';
import {
  type KeyFolder,
  openKeyFolder,
  PUBLISH_BEFORE_USE_MS,
} from '../../../broker/tokens/key-folder.ts';
import { generateSigningKey, type SigningKey } from '../../../broker/tokens/keys.ts';
import { createFakeClock, type FakeClock } from '../../support/clock.ts';

describe('key folder', () => {
  const [a, b, c] = [
    generateSigningKey(),
    generateSigningKey('EdDSA'),
    generateSigningKey(),
  ] as const;
  let folder: string;
  let clock: FakeClock;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-keys-'));
    clock = createFakeClock();
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const put = (file: string, key: SigningKey) =>
    writeFileSync(
      path.join(folder, file),
      String(key.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    );
  const open = (): KeyFolder => {
    const opened = openKeyFolder(folder, clock);
    if ('problems' in opened) throw new Error(opened.problems.join('\n'));
    return opened;
  };
  const show = (keys: KeyFolder) => ({
    signing: keys.current().signing.kid,
    published: keys.current().published.map(({ kid }) => kid),
  });
  const problems = (): readonly string[] => {
    const opened = openKeyFolder(folder, clock);
    return 'problems' in opened ? opened.problems : [];
  };

  it('signs at once with the only key', () => {
    put('1.pem', a);
    expect(show(open())).to.deep.equal({ signing: a.kid, published: [a.kid] });
  });

  it('publishes a new key at once and signs with it ten minutes later', async () => {
    put('1.pem', a);
    const keys = open();
    put('2.pem', b);
    expect(keys.reload()).to.deep.equal([]);
    expect(show(keys)).to.deep.equal({ signing: a.kid, published: [a.kid, b.kid] });
    await clock.advance(PUBLISH_BEFORE_USE_MS - 1);
    keys.reload();
    expect(keys.current().signing.kid).to.equal(a.kid);
    await clock.advance(1);
    keys.reload();
    expect(show(keys)).to.deep.equal({ signing: b.kid, published: [a.kid, b.kid] });
  });

  it('starts with the first of several keys, which other replicas know, and moves on', async () => {
    put('1.pem', a);
    put('2.pem', b);
    const keys = open();
    expect(keys.current().signing.kid).to.equal(a.kid);
    await clock.advance(PUBLISH_BEFORE_USE_MS);
    keys.reload();
    expect(keys.current().signing.kid).to.equal(b.kid);
  });

  it('falls back to a key that is known when the signing one is taken away', async () => {
    put('1.pem', a);
    put('2.pem', b);
    const keys = open();
    await clock.advance(PUBLISH_BEFORE_USE_MS);
    put('3.pem', c);
    keys.reload();
    unlinkSync(path.join(folder, '2.pem'));
    keys.reload();
    expect(show(keys)).to.deep.equal({ signing: a.kid, published: [a.kid, c.kid] });
  });

  it('keeps the same object while the keys are the same, so that cached bytes stay valid', () => {
    put('1.pem', a);
    const keys = open();
    const before = keys.current();
    keys.reload();
    expect(keys.current()).to.equal(before);
  });

  it('keeps the last good keys while a file is broken, names the file, and recovers', () => {
    put('1.pem', a);
    const keys = open();
    writeFileSync(path.join(folder, '2.pem'), 'half a key hunter2');
    expect(keys.reload()).to.have.length(1);
    expect(keys.reload()[0]).to.contain('2.pem').and.not.to.contain('hunter2');
    expect(show(keys)).to.deep.equal({ signing: a.kid, published: [a.kid] });
    put('2.pem', b);
    expect(keys.reload()).to.deep.equal([]);
    expect(keys.current().published).to.have.length(2);
  });

  it('keeps the last good keys while the folder is empty or gone', () => {
    put('1.pem', a);
    const keys = open();
    unlinkSync(path.join(folder, '1.pem'));
    expect(keys.reload()[0]).to.contain('holds no signing key');
    renameSync(folder, `${folder}-away`);
    expect(keys.reload()[0]).to.contain('ENOENT');
    expect(keys.current().signing.kid).to.equal(a.kid);
    renameSync(`${folder}-away`, folder);
  });

  it('reads a mounted Secret: links into a hidden folder', () => {
    mkdirSync(path.join(folder, '..2026'));
    put('..2026/1.pem', a);
    symlinkSync('..2026', path.join(folder, '..data'));
    symlinkSync('..data/1.pem', path.join(folder, '1.pem'));
    expect(show(open()).published).to.deep.equal([a.kid]);
  });

  it('names every problem of a folder at once', () => {
    put('1.pem', a);
    put('2.pem', a);
    writeFileSync(path.join(folder, '3.pem'), 'nothing');
    writeFileSync(path.join(folder, 'README'), 'hello');
    expect(problems().map((problem) => path.basename(problem.split(':')[0] ?? ''))).to.have.members(
      ['2.pem', '3.pem', 'README'],
    );
  });

  it('lets no cache of the JWKS outlive the time between publication and use', () => {
    expect(METADATA_MAX_AGE_SECONDS * 1000 * 2).to.be.at.most(PUBLISH_BEFORE_USE_MS);
  });
});
