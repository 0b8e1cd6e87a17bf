// `node scripts/build.ts [exchange|server|all]`: what is shipped, in dist/. Each artefact is built only when one of its
// inputs changed, under a temporary name, and renamed: two builds at once, or a killed one, leave nothing half done.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { COMPILE_FLAGS, compile, EXCHANGE_ENTRY } from './compile.ts';

const ROOT = path.join(import.meta.dirname, '..');
const DIST = path.join(ROOT, 'dist');
const SERVER_ENTRY = 'cli/main.ts';

interface Artefact {
  /** Name in dist/. */
  readonly name: string;
  readonly group: 'exchange' | 'server';
  /** Why it cannot be built here; undefined where it can. */
  readonly findLack: () => string | undefined;
  /** Writes a file or a folder at this path; returns the input files, relative to the root. */
  readonly make: (target: string) => Promise<readonly string[]>;
  /** Whatever else the result depends on: tools and their options. */
  readonly recipe: readonly string[];
}

/**
 * An ESM import of node:http reads all its exports, and its WebSocket loads undici: 14 MiB and 30 ms for nothing. Taken
 * as the object it is, nothing is read before it is used.
 */
const LAZY_HTTP: Plugin = {
  name: 'lazy-http',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^node:http$/ }, () => ({ path: 'node:http', namespace: 'builtin' }));
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path: name }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(name)});`,
    }));
  },
};

const BUNDLE: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  metafile: true,
  legalComments: 'none',
  logLevel: 'silent',
};

/** Some dependencies of the server are CommonJS and call require for node: modules. */
const REQUIRE_BANNER =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

const ARTEFACTS: readonly Artefact[] = [
  {
    name: 'coatcheck-exchange.mjs',
    group: 'exchange',
    findLack: () => undefined,
    make: (outfile) => bundle(EXCHANGE_ENTRY, { ...BUNDLE, outfile }),
    recipe: [readVersion('esbuild')],
  },
  {
    name: 'coatcheck-exchange',
    group: 'exchange',
    findLack: () =>
      existsSync(bunFile())
        ? undefined
        : `no compiled exchange: the package ${bunPackage()} is not installed (it is optional, for linux on x64 and arm64)`,
    make: compileExchange,
    recipe: [readVersion(bunPackage()), ...COMPILE_FLAGS],
  },
  {
    // A folder: the command, and beside it what it loads when it is asked for. As one file each process paid for all of
    // them: 94 MiB and 200 ms for `coatcheck version`, against 49 MiB and 40 ms.
    name: 'server',
    group: 'server',
    findLack: () =>
      existsSync(path.join(ROOT, SERVER_ENTRY))
        ? undefined
        : `no server bundle: ${SERVER_ENTRY} is missing`,
    make: (folder) =>
      bundle(SERVER_ENTRY, {
        ...BUNDLE,
        outdir: folder,
        splitting: true,
        entryNames: 'coatcheck',
        chunkNames: '[name]-[hash]',
        outExtension: { '.js': '.mjs' },
        banner: { js: REQUIRE_BANNER },
        plugins: [LAZY_HTTP],
      }),
    recipe: [readVersion('esbuild')],
  },
];

const GROUPS = ['exchange', 'server', 'all'] as const;

async function main([wanted = 'all', ...rest]: readonly string[]): Promise<number> {
  if (rest.length > 0 || !GROUPS.some((group) => group === wanted)) {
    console.error(`usage: node scripts/build.ts [${GROUPS.join('|')}]`);
    return 2;
  }
  mkdirSync(DIST, { recursive: true });
  let failed = 0;
  for (const artefact of ARTEFACTS) {
    if (wanted !== 'all' && wanted !== artefact.group) continue;
    try {
      await refresh(artefact);
    } catch (error) {
      console.error(`failed   dist/${artefact.name}: ${(error as Error).message}`);
      failed += 1;
    }
  }
  return failed > 0 ? 1 : 0;
}

async function refresh(artefact: Artefact): Promise<void> {
  const { name } = artefact;
  const lack = artefact.findLack();
  if (lack !== undefined) return console.log(`skipped  dist/${name}: ${lack}`);
  const target = path.join(DIST, name);
  if (existsSync(target) && isUpToDate(artefact)) return console.log(`current  dist/${name}`);
  const started = performance.now();
  const folder = mkdtempSync(path.join(DIST, '.building-'));
  try {
    const file = path.join(folder, name);
    const inputs = await artefact.make(file);
    const isFolder = statSync(file).isDirectory();
    chmodSync(isFolder ? path.join(file, 'coatcheck.mjs') : file, 0o755);
    writeFileSync(
      path.join(folder, 'stamp'),
      JSON.stringify({ inputs, digest: digest(artefact, inputs) }),
    );
    // A folder is not replaced by a rename; the old one goes with what was temporary.
    if (isFolder && existsSync(target)) renameSync(target, path.join(folder, 'old'));
    renameSync(file, target);
    renameSync(path.join(folder, 'stamp'), stampFile(name));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(`built    dist/${name} (${toSize(measure(target))}, ${seconds} s)`);
}

async function bundle(entry: string, options: BuildOptions): Promise<readonly string[]> {
  const { metafile } = await build({ ...options, entryPoints: [entry] });
  return Object.keys(metafile?.inputs ?? {}).filter((input) => !input.startsWith('builtin:'));
}

/** Bun does not tell its inputs; the same entry bundled by esbuild does. */
async function compileExchange(file: string): Promise<readonly string[]> {
  const { metafile } = await build({
    ...BUNDLE,
    entryPoints: [EXCHANGE_ENTRY],
    write: false,
    outfile: file,
  });
  compile({ bun: bunFile(), file });
  return Object.keys(metafile?.inputs ?? {});
}

function isUpToDate(artefact: Artefact): boolean {
  try {
    const stamp = JSON.parse(readFileSync(stampFile(artefact.name), 'utf8')) as {
      inputs: string[];
      digest: string;
    };
    return stamp.digest === digest(artefact, stamp.inputs);
  } catch {
    return false;
  }
}

/** Of this script, the tools and every input's path and content. */
function digest({ recipe }: Artefact, inputs: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of recipe) hash.update(`${part}\0`);
  for (const file of ['scripts/build.ts', ...[...inputs].sort()]) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(ROOT, file)))
      .update('\0');
  }
  return hash.digest('hex');
}

function stampFile(name: string): string {
  return path.join(DIST, `.${name}.stamp`);
}

function bunPackage(): string {
  return `@oven/bun-${process.platform}-${process.arch === 'arm64' ? 'aarch64' : process.arch}`;
}

function bunFile(): string {
  return path.join(ROOT, 'node_modules', bunPackage(), 'bin/bun');
}

function readVersion(name: string): string {
  const file = path.join(ROOT, 'node_modules', name, 'package.json');
  if (!existsSync(file)) return `${name} absent`;
  return `${name} ${(JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version}`;
}

/** Bytes of a file, or of the files of a folder. */
function measure(target: string): number {
  if (!statSync(target).isDirectory()) return statSync(target).size;
  return readdirSync(target).reduce((sum, name) => sum + statSync(path.join(target, name)).size, 0);
}

function toSize(bytes: number): string {
  return bytes < 1_000_000
    ? `${Math.round(bytes / 1000)} kB`
    : `${Math.round(bytes / 1_000_000)} MB`;
}

process.exitCode = await main(process.argv.slice(2));
