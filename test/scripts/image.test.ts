// The parts that images are made of: archives whose bytes follow from their content, and what a program needs to start.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { findRuntimeFiles, parseElf } from '../../scripts/image/elf.ts';
import { layOut } from '../../scripts/image/layout.ts';
import { type ImageRecipe, toOciArchive } from '../../scripts/image/oci.ts';
import { renderSbom } from '../../scripts/image/sbom.ts';
import { toTar } from '../../scripts/image/tar.ts';

const FILES = [
  { path: 'bin/tool', mode: 0o755, content: Buffer.from('#!tool\n') },
  { path: 'bin/alias', mode: 0o777, link: 'tool' },
  { path: 'tmp', mode: 0o1777 },
];

const RECIPE: ImageRecipe = {
  reference: 'localhost/tool:1',
  architecture: 'amd64',
  files: FILES,
  entrypoint: ['/bin/tool'],
  user: '65532:65532',
};

describe('the archive of an image', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-image-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const unpack = (archive: Buffer) => {
    writeFileSync(path.join(folder, 'archive.tar'), archive);
    execFileSync('tar', ['-xf', 'archive.tar'], { cwd: folder });
  };
  const list = (archive: Buffer) =>
    execFileSync('tar', ['--numeric-owner', '--utc', '-tvf', '-'], {
      input: archive,
      encoding: 'utf8',
    });

  it('is read by tar: modes, a link, root as owner, 1970 as date', () => {
    expect(
      list(toTar(FILES))
        .trim()
        .split('\n')
        .map((line) => line.replace(/\s+/g, ' ')),
    ).to.deep.equal([
      'lrwxrwxrwx 0/0 0 1970-01-01 00:00 bin/alias -> tool',
      '-rwxr-xr-x 0/0 7 1970-01-01 00:00 bin/tool',
      'drwxrwxrwt 0/0 0 1970-01-01 00:00 tmp/',
    ]);
  });

  it('keeps content of every length around a block', () => {
    const contents = [0, 1, 511, 512, 513, 1024].map((length) => Buffer.alloc(length, 'x'));
    unpack(toTar(contents.map((content) => ({ path: `${content.length}`, mode: 0o644, content }))));
    for (const { length } of contents) {
      const size = execFileSync('stat', ['-c', '%s', path.join(folder, String(length))]);
      expect(size.toString().trim()).to.equal(String(length));
    }
  });

  it('does not depend on the order of its entries', () => {
    expect(toTar(FILES.toReversed()).equals(toTar(FILES))).to.equal(true);
  });

  it('is another one when a mode, a link or a byte is another', () => {
    const [tool, ...rest] = FILES;
    for (const change of [
      { mode: 0o750 },
      { content: Buffer.from('#!tooL\n') },
      { path: 'bin/other' },
    ]) {
      expect(
        toTar([{ ...FILES[0], path: 'bin/tool', mode: 0o755, ...change }, ...rest]).equals(
          toTar(FILES),
        ),
      ).to.equal(false);
    }
    expect(tool?.path).to.equal('bin/tool');
  });

  it('refuses a path that does not fit, and one that comes twice', () => {
    const file = (name: string) => ({ path: name, mode: 0o644, content: Buffer.alloc(0) });
    expect(() => toTar([file('x'.repeat(101))])).to.throw('too long');
    expect(() => toTar([file('same'), file('same')])).to.throw('same comes twice');
    expect(() => toTar([file('x'.repeat(100))])).to.not.throw();
  });

  it('holds blobs under their digests: index, manifest, config, layer', () => {
    const { archive, digest } = toOciArchive(RECIPE);
    unpack(archive);
    const read = (name: string) => execFileSync('cat', [path.join(folder, name)]);
    const blob = (name: string) => {
      const content = read(`blobs/${name.replace(':', '/')}`);
      expect(`sha256:${createHash('sha256').update(content).digest('hex')}`).to.equal(name);
      return content;
    };
    const index = JSON.parse(read('index.json').toString());
    expect(index.manifests[0].digest).to.equal(digest);
    expect(index.manifests[0].annotations['io.containerd.image.name']).to.equal('localhost/tool:1');
    const manifest = JSON.parse(blob(digest).toString());
    const config = JSON.parse(blob(manifest.config.digest).toString());
    const layer = gunzipSync(blob(manifest.layers[0].digest));
    expect(`sha256:${createHash('sha256').update(layer).digest('hex')}`).to.equal(
      config.rootfs.diff_ids[0],
    );
    expect(config.config).to.include({ User: '65532:65532' });
    expect(list(layer)).to.contain('bin/\n');
  });

  it('has the same digest again, and another one for another user', () => {
    const { digest } = toOciArchive(RECIPE);
    expect(toOciArchive({ ...RECIPE }).digest).to.equal(digest);
    expect(toOciArchive({ ...RECIPE, user: '0:0' }).digest).to.not.equal(digest);
  });
});

describe('the root file system of an image as a folder', () => {
  let folder = '';
  beforeEach(() => {
    folder = path.join(mkdtempSync(path.join(os.tmpdir(), 'coatcheck-root-')), 'root');
  });
  afterEach(() => rmSync(path.dirname(folder), { recursive: true, force: true }));
  const modeOf = (name: string) => statSync(path.join(folder, name)).mode & 0o7777;

  it('has the modes of the archive, whatever the umask, and folders that nobody stated', () => {
    const before = process.umask(0o077);
    try {
      layOut(FILES, folder);
    } finally {
      process.umask(before);
    }
    expect([modeOf('bin'), modeOf('bin/tool'), modeOf('tmp')]).to.deep.equal([
      0o755, 0o755, 0o1777,
    ]);
    expect(readlinkSync(path.join(folder, 'bin/alias'))).to.equal('tool');
    expect(readFileSync(path.join(folder, 'bin/tool'), 'utf8')).to.equal('#!tool\n');
  });

  it('holds nothing of the one before', () => {
    layOut([{ path: 'old', mode: 0o644, content: Buffer.from('x') }], folder);
    layOut(FILES, folder);
    expect(() => statSync(path.join(folder, 'old'))).to.throw('ENOENT');
    expect(modeOf('bin/tool')).to.equal(0o755);
  });
});

describe('the list of what is in an image', () => {
  const part = (name: string) => ({ type: 'library', name, version: '1' }) as const;

  it('does not depend on the order in which its parts were found', () => {
    const image = { name: 'x', version: '1' };
    const one = renderSbom(image, [part('a'), part('b')]);
    expect(renderSbom(image, [part('b'), part('a')]).equals(one)).to.equal(true);
    expect(renderSbom(image, [part('b')]).equals(one)).to.equal(false);
  });

  it('refers to each file by its path, though one package has several', () => {
    const purl = 'pkg:deb/debian/libc6@1';
    const files = ['/lib/libc.so.6', '/lib/libm.so.6'].map(
      (name) => ({ type: 'file', name, purl }) as const,
    );
    const { components } = JSON.parse(
      renderSbom({ name: 'x', version: '1' }, files).toString(),
    ) as { components: Record<string, string>[] };
    expect(components.map((one) => one['bom-ref'])).to.deep.equal([
      'file:/lib/libc.so.6',
      'file:/lib/libm.so.6',
    ]);
  });
});

describe('what a program needs to start', () => {
  before(function () {
    if (process.platform !== 'linux') this.skip();
  });

  it('is what the dynamic linker of this machine says of Node', () => {
    const lines = execFileSync('ldd', [process.execPath], { encoding: 'utf8' });
    const expected = [...lines.matchAll(/(\/\S+) \(0x/g)].map(([, file]) =>
      path.basename(file ?? ''),
    );
    const found = findRuntimeFiles(process.execPath).map((file) => path.basename(file));
    expect(found.sort()).to.deep.equal([...new Set(expected)].sort());
  });

  it('is told by the file: a linker and libraries', () => {
    const { interpreter, libraries } = parseElf(
      execFileSync('cat', [process.execPath], { maxBuffer: 2 ** 30 }),
    );
    expect(interpreter).to.match(/^\/lib.*\/ld-linux-/);
    expect(libraries).to.include('libc.so.6');
  });

  it('is taken from the folder that stands for another machine, and missed there by name', () => {
    const sysroot = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-sysroot-'));
    try {
      // A small program: any that is linked dynamically does.
      const program = '/bin/ls';
      const files = findRuntimeFiles(program);
      expect(() => findRuntimeFiles(program, { sysroot })).to.throw(/needs lib\S+, which/);
      for (const file of files) {
        mkdirSync(path.dirname(sysroot + file), { recursive: true });
        copyFileSync(file, sysroot + file);
      }
      expect(findRuntimeFiles(program, { sysroot })).to.deep.equal(files);
      const gone = files.find((file) => path.basename(file) === 'libc.so.6') ?? '';
      rmSync(sysroot + gone);
      expect(() => findRuntimeFiles(program, { sysroot })).to.throw('libc.so.6');
    } finally {
      rmSync(sysroot, { recursive: true, force: true });
    }
  });

  it('is refused for what is no program', () => {
    expect(() => parseElf(Buffer.from('#!/bin/sh\nexit 0\n'.padEnd(100)))).to.throw(
      'not a 64-bit little-endian ELF',
    );
  });
});
