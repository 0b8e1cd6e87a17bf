// `make check`: the one gate, the same locally and in CI. Format and lint, promises, types, generated files.
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const ROOT = path.join(import.meta.dirname, '..');
const bin = (name: string) => path.join(ROOT, 'node_modules', name);

const steps: readonly (readonly [name: string, ...command: string[]])[] = [
  ['format and lint (biome)', bin('@biomejs/biome/bin/biome'), 'ci', '--error-on-warnings', '.'],
  ['promises (oxlint)', bin('oxlint/bin/oxlint'), '--type-aware', '--deny-warnings'],
  ['types (tsc)', bin('typescript/bin/tsc'), '-p', '.'],
  ['generated files', path.join(ROOT, 'scripts/generate.ts'), '--check'],
];

let failed = 0;
for (const [name, ...command] of steps) {
  const started = performance.now();
  const { status } = spawnSync(process.execPath, command, {
    cwd: ROOT,
    stdio: 'inherit',
    env: {
      ...process.env,
      PATH: `${path.join(ROOT, 'node_modules/.bin')}:${process.env.PATH ?? ''}`,
    },
  });
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`${status === 0 ? 'ok    ' : 'FAILED'} ${name} (${seconds} s)`);
  if (status !== 0) failed += 1;
}
if (failed > 0) process.exit(1);
