// What is in the images that ship, path by path: a program, what it needs to start, a few lines of /etc, and a list of it
// all. No shell, no package manager, nobody's set-uid program.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { type BuiltImage, buildImage } from '../../scripts/image/build.ts';
import { type OpenImage, openImage } from './archive.ts';

const IMAGES = ['coatcheck', 'coatcheck-exchange'] as const;

/** Every path there may be; the libraries by their names, wherever this distribution has them. */
const LIBRARY =
  /^(usr\/)?lib(64|\/[a-z0-9_]+-linux-gnu)?\/(ld-linux-[a-z0-9-]+|lib(c|m|dl|pthread|rt|atomic|gcc_s|stdc\+\+))\.so(\.\d+)*$/;
const ALWAYS = /^(etc\/(passwd|group|nsswitch\.conf)|sbom\.cdx\.json|tmp)$/;
const OWN: Readonly<Record<(typeof IMAGES)[number], RegExp>> = {
  coatcheck: /^(usr\/bin\/node|coatcheck\/[A-Za-z0-9_.-]+\.mjs)$/,
  'coatcheck-exchange': /^coatcheck-exchange$/,
};
const PROGRAMS: Readonly<Record<(typeof IMAGES)[number], string>> = {
  coatcheck: 'usr/bin/node',
  'coatcheck-exchange': 'coatcheck-exchange',
};
/** Named apart from the list of what may be there: the promise is about these. */
const UNWANTED =
  /(^|\/)((ba|da|z|k|a|fi)?sh|busybox|toybox|apt(-get)?|dpkg|apk|rpm|yum|dnf|pacman|npm|npx|corepack|pip3?|perl|python3?|curl|wget)$/;
const LARGEST_EXCHANGE_BYTES = 60_000_000;

describe('the images', function () {
  this.timeout(120_000);
  for (const name of IMAGES) {
    describe(name, () => {
      let built: BuiltImage;
      let image: OpenImage;
      before(async () => {
        built = await buildImage(name, process.env, { withRoot: true });
        image = openImage(built.file);
      });
      after(() => image?.close());

      it('has no path but those that are listed here, and so no shell and no package manager', () => {
        const paths = image.entries.filter(
          ({ mode }) => !mode.startsWith('d') || mode.endsWith('t'),
        );
        expect(paths.length).to.be.greaterThan(8);
        const others = paths
          .map((entry) => entry.path)
          .filter((one) => ![LIBRARY, ALWAYS, OWN[name]].some((known) => known.test(one)));
        expect(others).to.deep.equal([]);
        expect(image.entries.filter((entry) => UNWANTED.test(entry.path))).to.deep.equal([]);
        // The near miss: the test would see one.
        expect(UNWANTED.test('bin/sh')).to.equal(true);
        expect(LIBRARY.test('bin/sh')).to.equal(false);
      });

      it('is root’s and can be changed by nobody, but for /tmp; nothing is set-uid', () => {
        for (const { path, mode, owner } of image.entries) {
          expect(owner, path).to.equal('0/0');
          expect(mode, path).to.match(
            path === 'tmp' ? /^drwxrwxrwt$/ : /^[-d]r[w-][x-]r-[x-]r-[x-]$/,
          );
        }
        const programs = image.entries.filter(({ mode }) => /^-..x/.test(mode));
        const names = programs.map((entry) => entry.path).filter((one) => !LIBRARY.test(one));
        expect(names).to.deep.equal([PROGRAMS[name]]);
      });

      it('runs as a number that is not root, and says what it is', () => {
        const { config } = image.config;
        expect(config.User).to.match(/^[1-9]\d*:[1-9]\d*$/);
        expect(config.Entrypoint[0]).to.equal(`/${PROGRAMS[name]}`);
        expect(config.WorkingDir).to.equal('/');
        const { version } = JSON.parse(
          readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
        ) as { version: string };
        expect(config.Labels).to.include({
          'org.opencontainers.image.title': name,
          'org.opencontainers.image.version': version,
          'org.opencontainers.image.licenses': 'Apache-2.0',
        });
        expect(image.manifest.annotations).to.deep.equal(config.Labels);
      });

      it('lists what it is made of: runtime, libraries and packages, each once, with digests that fit', () => {
        const text = image.read('sbom.cdx.json').toString();
        expect(readFileSync(built.file.replace(/\.tar$/, '.cdx.json'), 'utf8')).to.equal(text);
        const list = JSON.parse(text) as {
          bomFormat: string;
          components: {
            'bom-ref': string;
            type: string;
            name: string;
            version?: string;
            hashes?: { alg: string; content: string }[];
          }[];
        };
        expect(list.bomFormat).to.equal('CycloneDX');
        expect(text).to.not.match(/timestamp|serialNumber/);
        // Several licences are an expression.
        for (const [, id = ''] of text.matchAll(/"id": "([^"]*)"/g))
          expect(id).to.match(/^[\w.+-]+$/);
        const references = list.components.map((one) => one['bom-ref']);
        expect(new Set(references).size).to.equal(references.length);
        const files = list.components.filter(({ type }) => type === 'file');
        expect(files.map((one) => one.name).sort()).to.deep.equal(
          image.entries
            .map((entry) => `/${entry.path}`)
            .filter((one) => LIBRARY.test(one.slice(1)))
            .sort(),
        );
        for (const { name: file, hashes } of files) {
          const digest = createHash('sha256').update(image.read(file)).digest('hex');
          expect(hashes, file).to.deep.equal([{ alg: 'SHA-256', content: digest }]);
        }
        const names = list.components.map((one) => one.name);
        if (name === 'coatcheck')
          expect(names).to.include.members(['node', 'express', 'kysely', 'pino', 'zod']);
        else expect(names.some((one) => one.startsWith('@oven/bun-'))).to.equal(true);
        // Nothing that only tests and tools need.
        expect(names).to.not.include.oneOf(['chai', 'mocha', 'esbuild', 'typescript']);
      });
    });
  }

  it('of the exchange is at most 60 MB to pull', async () => {
    const { compressedBytes } = await buildImage('coatcheck-exchange', process.env);
    console.log(`      ${(compressedBytes / 1_000_000).toFixed(1)} MB compressed`);
    expect(compressedBytes).to.be.at.most(LARGEST_EXCHANGE_BYTES);
  });
});
