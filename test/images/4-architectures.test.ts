// The images of the other architecture are laid out as this one's: the same paths but for the names of its libraries, and
// programs that are for it. Nothing of them is run.
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { buildImage } from '../../scripts/image/build.ts';
import { ARCHITECTURES, OWN } from '../../scripts/image/platform.ts';
import { openImage } from './archive.ts';

/** e_machine of an ELF header. */
const MACHINES: Readonly<Record<string, number>> = { amd64: 62, arm64: 183 };

describe('the images of the other architecture', function () {
  this.timeout(300_000);
  const [other = OWN] = ARCHITECTURES.filter((one) => one !== OWN);

  for (const [name, program] of [
    ['coatcheck', 'usr/bin/node'],
    ['coatcheck-exchange', 'coatcheck-exchange'],
  ] as const) {
    it(`are laid out as this one's: ${name}`, async function () {
      if (spawnSync('apt-get', ['--version']).error) {
        console.log(`\n!!! SKIPPED the images for ${other}: they need Debian's apt-get\n`);
        return this.skip();
      }
      const own = openImage((await buildImage(name, process.env)).file);
      const theirs = openImage((await buildImage(name, process.env, { architecture: other })).file);
      try {
        expect(theirs.config.architecture).to.equal(other);
        expect({ ...theirs.config.config }).to.deep.equal({ ...own.config.config });
        const withoutLibraries = ({ entries }: typeof own) =>
          entries
            .filter((entry) => !/^(usr\/)?lib/.test(entry.path))
            .map(({ path, mode, owner }) => [path, mode, owner])
            .filter(([path]) => path !== 'usr/lib');
        expect(withoutLibraries(theirs)).to.deep.equal(withoutLibraries(own));
        const libraries = ({ entries }: typeof own) =>
          entries.filter(({ path, digest }) => /^(usr\/)?lib/.test(path) && digest !== undefined);
        for (const { path } of libraries(theirs)) {
          expect(theirs.read(path).readUInt16LE(18), path).to.equal(MACHINES[other]);
        }
        expect(libraries(theirs).length).to.be.at.least(3);
        expect(theirs.read(program).readUInt16LE(18)).to.equal(MACHINES[other]);
        expect(own.read(program).readUInt16LE(18)).to.equal(MACHINES[OWN]);
      } finally {
        own.close();
        theirs.close();
      }
      return undefined;
    });
  }
});
