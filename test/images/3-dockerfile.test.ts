// The Dockerfile makes what `make image` makes: the same files, the same configuration. Built by buildah, where there is one.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { buildImage } from '../../scripts/image/build.ts';
import { openImage } from './archive.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const IMAGES = ['coatcheck', 'coatcheck-exchange'] as const;

describe('the Dockerfile', function () {
  this.timeout(120_000);
  const text = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8');
  let folder = '';
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-buildah-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('begins with nothing, and runs nothing', () => {
    const steps = [...text.matchAll(/^([A-Z]+) /gm)].map(([, step]) => step);
    expect(new Set(steps)).to.deep.equal(
      new Set(['FROM', 'ARG', 'LABEL', 'COPY', 'WORKDIR', 'ENV', 'USER', 'ENTRYPOINT']),
    );
    expect(text.match(/^FROM .*$/gm)).to.deep.equal([
      'FROM scratch AS coatcheck-exchange',
      'FROM scratch AS coatcheck',
    ]);
  });

  for (const name of IMAGES) {
    it(`gives the image ${name} the files and the configuration of the archive`, async function () {
      if (spawnSync('buildah', ['--version']).status !== 0) {
        console.log('\n!!! SKIPPED the Dockerfile: it needs buildah (apt-get install buildah)\n');
        return this.skip();
      }
      const { file } = await buildImage(name, process.env, { withRoot: true });
      const archive = path.join(folder, `${name}.tar`);
      const buildah = (...args: readonly string[]) =>
        execFileSync(
          'buildah',
          ['--storage-driver=vfs', `--root=${folder}/s`, `--runroot=${folder}/r`, ...args],
          { cwd: ROOT, stdio: 'pipe' },
        );
      buildah(
        'build',
        '--isolation=chroot',
        '--timestamp=0',
        `--target=${name}`,
        `--tag=${name}`,
        '.',
      );
      buildah('push', name, `oci-archive:${archive}`);
      const [ours, theirs] = [openImage(file), openImage(archive)];
      try {
        expect(theirs.entries).to.deep.equal(ours.entries);
        const [wanted, got] = [ours.config.config, theirs.config.config];
        expect(got.User).to.equal(wanted.User);
        expect(got.Entrypoint).to.deep.equal(wanted.Entrypoint);
        expect(got.WorkingDir).to.equal(wanted.WorkingDir);
        expect(got.Env).to.include.members([...(wanted.Env ?? [])]);
        expect(got.Labels['org.opencontainers.image.title']).to.equal(name);
        expect(theirs.config.architecture).to.equal(ours.config.architecture);
      } finally {
        ours.close();
        theirs.close();
      }
      return undefined;
    });
  }
});
