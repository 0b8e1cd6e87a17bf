// `make test`: everything that can be shown without a cluster. Arguments go to mocha (`make test ARGS='--grep audience'`).
import { existsSync } from 'node:fs';
import path from 'node:path';
import { ROOT, runTiers } from './tiers.ts';

function findOnPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return folders.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
}

const toSpecs = (...folders: readonly string[]): readonly string[] =>
  folders
    .filter((folder) => existsSync(path.join(ROOT, 'test', folder)))
    .map((folder) => `test/${folder}/**/*.test.ts`);

await runTiers('test', [
  // Three side by side on two cores: each has one thread, and the third mostly waits for databases and processes.
  {
    name: 'fast',
    specs: toSpecs('common', 'structure', 'webhook', 'controller', 'conformance', 'attacks', 'dev'),
    group: 'fast',
  },
  {
    name: 'broker',
    specs: ['test/broker/*.test.ts', 'test/broker/!(store)/**/*.test.ts'],
    group: 'fast',
  },
  { name: 'store', specs: toSpecs('broker/store', 'cli'), group: 'fast' },
  {
    // Broker processes that are killed and cut off: the machine's time goes into their starts.
    name: 'faults',
    specs: ['test/faults/**/*.test.ts'],
    group: 'processes',
  },
  {
    // Builds both artefacts of the exchange first (seconds) and tests them as shipped.
    name: 'exchange',
    specs: ['test/exchange/**/*.test.ts'],
    group: 'processes',
  },
  {
    // What we pack by hand is read by the programs that others use.
    name: 'images',
    specs: ['test/scripts/**/*.test.ts'],
    findLack: () => {
      const missing = ['tar', 'ldd'].filter((name) => findOnPath(name) === undefined);
      return missing.length > 0 ? `it needs ${missing.join(' and ')} on the PATH` : undefined;
    },
  },
]);
