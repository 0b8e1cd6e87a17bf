// The lives of tokens that help texts and pages show: the broker must take each of them.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { findSeconds } from '../../broker/roles/duration.ts';

const ROOT = path.join(import.meta.dirname, '../..');
// docs/cli.md has every help text.
const PAGES = ['README.md', ...readdirSync(path.join(ROOT, 'docs')).map((name) => `docs/${name}`)]
  .filter((name) => name.endsWith('.md'))
  .flatMap((name) => readTtls(name).map((ttl) => ({ name, ttl })));

/** What stands after `--ttl` in commands; `<text>` is the description of the flag. */
function readTtls(name: string): string[] {
  const page = readFileSync(path.join(ROOT, name), 'utf8');
  return [...page.matchAll(/--ttl (\w+)/g)]
    .map(([, ttl = '']) => ttl)
    .filter((ttl) => /\d/.test(ttl));
}

describe('examples of commands', () => {
  it('show lives of tokens', () => {
    expect(new Set(PAGES.map(({ name }) => name))).to.include.keys(
      'docs/cli.md',
      'docs/install.md',
    );
  });

  for (const { name, ttl } of PAGES)
    it(`show in ${name} a life that the broker takes: ${ttl}`, () =>
      expect(findSeconds(ttl)).to.be.a('number'));
});
