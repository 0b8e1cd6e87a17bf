// The same sources give the same images, in whatever folder they lie.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { buildImage } from '../../scripts/image/build.ts';

const ROOT = path.join(import.meta.dirname, '../..');

describe('the images, built in another folder', function () {
  this.timeout(300_000);
  let folder = '';
  before(() => {
    folder = path.join(mkdtempSync(path.join(os.tmpdir(), 'coatcheck-other-')), 'a deeper folder');
    // What a clone has, and the packages beside it: by links where the file system can, for there are 300 MB of them.
    const script = `set -eu
mkdir "$1"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if [ -f "$file" ]; then printf '%s\\0' "$file"; fi
done | tar -c --null -T - | tar -x -C "$1"
cp -al node_modules "$1/" 2>/dev/null || { rm -rf "$1/node_modules"; cp -a node_modules "$1/"; }`;
    execFileSync('bash', ['-c', script, 'bash', folder], { cwd: ROOT, stdio: 'pipe' });
  });
  after(() => rmSync(path.dirname(folder), { recursive: true, force: true }));

  for (const name of ['coatcheck', 'coatcheck-exchange'] as const) {
    it(`have the digest that they have here: ${name}`, async () => {
      const here = await buildImage(name, process.env);
      const group = name === 'coatcheck' ? 'coatcheck' : 'exchange';
      const output = execFileSync(
        path.join(folder, 'node_modules/.bin/node'),
        ['scripts/image.ts', group],
        { cwd: folder, encoding: 'utf8' },
      );
      expect(output).to.match(/^built /);
      expect(/sha256:[0-9a-f]{64}/.exec(output)?.[0]).to.equal(here.digest);
    });
  }
});
