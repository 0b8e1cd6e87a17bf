// Where the files of an image come from that are not ours: Node, Bun and glibc. For this machine's architecture the ones it
// runs with; for another one the same versions, fetched once into the cache: packages of the lockfile, with their
// integrity checked, and Debian's libraries by apt, which verifies them by the machine's own keys.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openCacheEntry, toCacheRoot } from '../../test/cluster/harness/cache.ts';
import { compile } from '../compile.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const LIBRARIES = ['libc6', 'libgcc-s1', 'libstdc++6'];
const OTHER_NAMES: Readonly<Record<Architecture, string>> = { amd64: 'x64', arm64: 'arm64' };

/** As container images call them. */
export type Architecture = 'amd64' | 'arm64';
export const ARCHITECTURES: readonly Architecture[] = ['amd64', 'arm64'];
export const OWN: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';

export interface Platform {
  readonly architecture: Architecture;
  /** As Node calls it: `x64`. */
  readonly name: string;
  /** Node's program. */
  readonly node: string;
  /** The compiled exchange. */
  readonly exchange: string;
  /** What stands for / of a machine with that architecture; empty: this machine's own. */
  readonly sysroot: string;
}

/** @throws Error that says what this machine lacks for another architecture. */
export async function openPlatform(
  architecture: Architecture,
  environment: NodeJS.ProcessEnv,
): Promise<Platform> {
  const name = OTHER_NAMES[architecture];
  if (architecture === OWN) {
    const exchange = path.join(ROOT, 'dist/coatcheck-exchange');
    return { architecture, name, node: process.execPath, exchange, sysroot: '' };
  }
  const folder = await openCacheEntry({
    root: toCacheRoot(environment),
    key: `platform-${architecture}-${toKey(name)}`,
    onWait: () => console.log(`waiting for another process that fetches ${architecture} …`),
    fill: async (draft) => fetchPlatform(architecture, draft),
  });
  const exchange = path.join(ROOT, `dist/coatcheck-exchange-${architecture}`);
  const target = { architecture: name, executable: path.join(folder, 'bun/bin/bun') };
  const draft = `${exchange}.${process.pid}`;
  compile({
    bun: path.join(ROOT, 'node_modules', toBun(process.arch), 'bin/bun'),
    file: draft,
    target,
  });
  renameSync(draft, exchange);
  const node = path.join(folder, 'node/bin/node');
  return { architecture, name, node, exchange, sysroot: path.join(folder, 'sysroot') };
}

const toBun = (name: string) => `@oven/bun-linux-${name === 'arm64' ? 'aarch64' : name}`;
const toNode = (name: string) => `node-linux-${name}`;

interface Locked {
  readonly version: string;
  readonly integrity: string;
}

function getLocked(name: string): Locked {
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  const found = lock.packages[`node_modules/${name}`];
  if (!found) throw new Error(`package-lock.json has no ${name}`);
  return found;
}

/** Changes with what is fetched; Debian's own updates of its libraries are taken up by deleting the entry. */
function toKey(name: string): string {
  const locked = [toNode(name), toBun(name)].map((one) => getLocked(one).integrity);
  return createHash('sha256')
    .update(JSON.stringify([locked, LIBRARIES]))
    .digest('hex')
    .slice(0, 16);
}

function fetchPlatform(architecture: Architecture, folder: string): void {
  console.log(`Fetching Node, Bun and glibc for ${architecture}, once, into the cache …`);
  const name = OTHER_NAMES[architecture];
  fetchPackage(toNode(name), path.join(folder, 'node'));
  fetchPackage(toBun(name), path.join(folder, 'bun'));
  fetchLibraries(architecture, folder);
}

/** Of the ordinary registry, unpacked into `folder`. */
function fetchPackage(name: string, folder: string): void {
  const { version, integrity } = getLocked(name);
  mkdirSync(folder);
  const wanted = `${name}@${version}`;
  run('npm', ['pack', '--silent', '--pack-destination', folder, wanted], folder);
  const archive = path.join(
    folder,
    readdirSync(folder).find((file) => file.endsWith('.tgz')) ?? '',
  );
  const digest = createHash('sha512').update(readFileSync(archive)).digest('base64');
  if (integrity !== `sha512-${digest}`)
    throw new Error(`${wanted} is not what package-lock.json says: sha512-${digest}`);
  run('tar', ['-xzf', archive, '--strip-components=1', '-C', folder], folder);
}

/** By an apt that knows nothing of this machine but its sources and keys, and changes nothing of it. */
function fetchLibraries(architecture: Architecture, folder: string): void {
  const work = path.join(folder, 'apt');
  const sysroot = path.join(folder, 'sysroot');
  for (const one of ['state/lists/partial', 'cache/archives/partial', 'debs'])
    mkdirSync(path.join(work, one), { recursive: true });
  mkdirSync(sysroot);
  const options = [
    `Dir::State=${work}/state`,
    'Dir::State::status=/dev/null',
    `Dir::Cache=${work}/cache`,
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  run('apt-get', ['-qq', ...options, 'update'], work);
  run('apt-get', ['-qq', ...options, 'download', ...LIBRARIES], path.join(work, 'debs'));
  const packages: Record<string, string> = {};
  for (const file of readdirSync(path.join(work, 'debs'))) {
    const archive = path.join(work, 'debs', file);
    run('dpkg-deb', ['-x', archive, sysroot], work);
    const [name = '', version = ''] = run('dpkg-deb', ['-W', archive], work).trim().split('\t');
    packages[name] = version;
  }
  writeFileSync(path.join(sysroot, 'packages.json'), JSON.stringify(packages));
}

function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  } catch (error) {
    const { code, stderr = '' } = error as { code?: string; stderr?: string };
    const why = code === 'ENOENT' ? 'is not installed here' : stderr.trim().slice(-500);
    throw new Error(
      `${command} ${why} (an image of another architecture needs npm, tar, and Debian's apt-get and dpkg-deb)`,
      { cause: error },
    );
  }
}
