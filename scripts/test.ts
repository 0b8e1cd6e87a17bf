// `make test`: everything that can be shown without a cluster. Arguments go to mocha (`make test ARGS='--grep audience'`).
import { existsSync } from 'node:fs';
import path from 'node:path';
import { ROOT, runTiers } from './tiers.ts';

const FAST = [
  'common',
  'structure',
  'webhook',
  'broker',
  'conformance',
  'attacks',
  'cli',
  'dev',
  'scripts',
];

await runTiers('test', [
  {
    name: 'fast',
    specs: FAST.filter((folder) => existsSync(path.join(ROOT, 'test', folder))).map(
      (folder) => `test/${folder}/**/*.test.ts`,
    ),
  },
  {
    // Builds both artefacts of the exchange first (seconds) and tests them as shipped.
    name: 'exchange',
    specs: ['test/exchange/**/*.test.ts'],
  },
]);
