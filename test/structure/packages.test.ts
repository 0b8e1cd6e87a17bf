// What is installed is what is written down: exact versions, in step with the lockfile, and no registry's address anywhere.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { ROOT, readSources } from './sources.ts';

type Versions = Record<string, string>;
interface Manifest {
  dependencies: Versions;
  devDependencies: Versions;
  optionalDependencies: Versions;
}

const manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as Manifest;
const lockText = readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8');
const lock = JSON.parse(lockText) as {
  packages: Record<string, Manifest & { version?: string; integrity?: string }>;
};

describe('structure: packages', () => {
  it('are pinned exactly', () => {
    const all = {
      ...manifest.dependencies,
      ...manifest.devDependencies,
      ...manifest.optionalDependencies,
    };
    const loose = Object.entries(all).filter(
      ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
    );
    expect(loose).to.deep.equal([]);
  });

  it('stand in the lockfile as in package.json', () => {
    const root = lock.packages[''];
    for (const kind of ['dependencies', 'devDependencies', 'optionalDependencies'] as const) {
      expect(root?.[kind], kind).to.deep.equal(manifest[kind]);
    }
  });

  it('have an integrity each, and no address', () => {
    const without = Object.entries(lock.packages).filter(
      ([name, entry]) => name !== '' && !entry.integrity,
    );
    expect(without.map(([name]) => name)).to.deep.equal([]);
    expect(lockText).not.to.match(/"resolved"|https?:\/\/[^"]*registry/);
  });

  it('each have a line in ARCHITECTURE.md that says why, when they are needed at run time', () => {
    const architecture = readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8');
    const missing = Object.keys(manifest.dependencies).filter(
      (name) => !architecture.includes(`\`${name}\``),
    );
    expect(missing).to.deep.equal([]);
  });

  it('that a program imports are not among those for development', () => {
    // What reaches a program from its entry; dev/demo.ts runs in a checkout only and is none of them.
    const sources = new Map(readSources().map((source) => [source.path, source]));
    const reached = new Set(['cli/main.ts', 'exchange/entry.ts']);
    for (const file of reached)
      for (const { target } of sources.get(file)?.imports ?? [])
        if (sources.has(target)) reached.add(target);
    expect([...reached]).to.include.members(['broker/tokens/signer.ts', 'dev/main.ts']);
    const packages = [...reached]
      .flatMap((file) => sources.get(file)?.imports ?? [])
      .map(({ target }) => target)
      .filter((target) => !target.startsWith('node:') && !/\.(ts|json)$/.test(target))
      .map((target) => target.split('/', target.startsWith('@') ? 2 : 1).join('/'));
    expect(packages).to.include('express');
    expect(packages.filter((name) => !(name in manifest.dependencies))).to.deep.equal([]);
  });
});
