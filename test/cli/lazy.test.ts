// What a command loads: `coatcheck exchange` starts with every pod, and must not pay for databases, expressions and watches.
// Held for the sources and for a bundle made as the one that ships, with a mark in every library.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { build, type Plugin } from 'esbuild';

const ROOT = path.join(import.meta.dirname, '../..');
/** What costs: each would add 20 to 200 ms, and megabytes, to a start. */
const HEAVY = ['pg', 'kysely', '@bufbuild/cel', '@opentelemetry/sdk-node'];

const AFTER_SETTINGS = HEAVY.filter((name) => name !== '@bufbuild/cel');

const toPackage = (file: string): string | undefined =>
  /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file.replaceAll('\\', '/'))?.[1];

/** Every library says that it is evaluated, as it is. */
const MARKED: Plugin = {
  name: 'marked',
  setup: ({ onLoad }) =>
    onLoad({ filter: /node_modules\/.*\.(js|mjs|cjs)$/ }, ({ path: file }) => ({
      contents: `(globalThis.__evaluated ??= new Set()).add(${JSON.stringify(toPackage(file))});\n${readFileSync(file, 'utf8')}`,
      loader: 'js',
    })),
};

const toDataUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
const TELL_MARKS = toDataUrl(
  "process.on('exit', () => console.error('EVALUATED ' + JSON.stringify([...(globalThis.__evaluated ?? [])])))",
);
// In the sources there is nothing to mark: the loader says what it loads.
const TELL_LOADS = toDataUrl(`
  import { registerHooks } from 'node:module';
  const seen = new Set();
  registerHooks({ load(url, context, next) {
    const name = /node_modules\\/((?:@[^/]+\\/)?[^/]+)\\//.exec(url)?.[1];
    if (name !== undefined) seen.add(name);
    return next(url, context);
  } });
  process.on('exit', () => console.error('EVALUATED ' + JSON.stringify([...seen])));
`);

/** The libraries that were evaluated while the command ran; it may well refuse. */
function findEvaluated(program: string, tell: string, args: readonly string[]): string[] {
  const { stderr } = spawnSync(process.execPath, ['--import', tell, program, ...args], {
    env: {},
    encoding: 'utf8',
  });
  const told = /^EVALUATED (.*)$/m.exec(stderr)?.[1];
  if (told === undefined) throw new Error(`it told nothing: ${stderr}`);
  return JSON.parse(told) as string[];
}

describe('what a command loads', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-lazy-'));
  const bundle = path.join(folder, 'marked.mjs');
  let bundled: readonly string[] = [];

  before(async () => {
    const { metafile } = await build({
      absWorkingDir: ROOT,
      entryPoints: ['cli/main.ts'],
      outdir: folder,
      entryNames: 'marked',
      outExtension: { '.js': '.mjs' },
      splitting: true,
      bundle: true,
      platform: 'node',
      target: 'node24',
      format: 'esm',
      metafile: true,
      logLevel: 'silent',
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
      },
      plugins: [MARKED],
    });
    bundled = Object.keys(metafile.inputs).flatMap((file) => toPackage(file) ?? []);
  });
  after(() => rmSync(folder, { recursive: true }));

  it('is in the bundle at all', () => {
    expect(bundled).to.include.members(['pg', 'kysely', '@bufbuild/cel', 'express', 'yaml']);
  });

  const programs: readonly { name: string; program: string; tell: string }[] = [
    { name: 'from the sources', program: path.join(ROOT, 'cli/main.ts'), tell: TELL_LOADS },
    { name: 'as a bundle', program: bundle, tell: TELL_MARKS },
  ];
  for (const { name, program, tell } of programs) {
    describe(name, () => {
      const none: readonly (readonly string[])[] = [
        ['version'],
        ['--help'],
        ['exchange', '--check'],
        ['whoami', '--server', 'http://127.0.0.1:1'],
        ['token', 'revoke', '--help'],
      ];
      for (const args of none) {
        it(`is no library for ${args.join(' ')}`, () => {
          expect(findEvaluated(program, tell, args)).to.deep.equal([]);
        });
      }

      // Conditions of roles are the broker's own work; the rest waits until a setting asks for it.
      const some: readonly { args: readonly string[]; uses: string; spares: readonly string[] }[] =
        [
          { args: ['webhook', '--help'], uses: 'pino', spares: [...HEAVY, 'express'] },
          { args: ['inject', '--help'], uses: 'yaml', spares: [...HEAVY, 'express'] },
          { args: ['broker', '--help'], uses: '@bufbuild/cel', spares: AFTER_SETTINGS },
          { args: ['dev', '--help'], uses: '@bufbuild/cel', spares: AFTER_SETTINGS },
        ];
      for (const { args, uses, spares } of some) {
        it(`is ${uses} and not ${spares.join(', ')} for ${args.join(' ')}`, () => {
          const evaluated = findEvaluated(program, tell, args);
          expect(evaluated).to.include(uses);
          expect(evaluated.filter((one) => spares.includes(one))).to.deep.equal([]);
        });
      }
    });
  }
});
