// What is in each image. Ours hold a program, the glibc files it needs and a few lines of /etc: no shell, no package
// manager, nothing that belongs to a distribution. They run under any uid and with a read-only root.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { findRuntimeFiles } from './elf.ts';
import type { ImageRecipe } from './oci.ts';
import type { Platform } from './platform.ts';
import {
  type Component,
  describeBun,
  describeLibraries,
  describeNode,
  listPackages,
  renderSbom,
} from './sbom.ts';
import type { TarEntry } from './tar.ts';

const ROOT = path.join(import.meta.dirname, '../..');

/** Nobody's number on any distribution; the chart and the webhook rely on it being numeric and not 0. */
const USER = '65532:65532';

/** Where an image says what is in it. */
export const SBOM = 'sbom.cdx.json';

export type ImageName = 'coatcheck-exchange' | 'coatcheck' | 'pause' | 'test-shell';

export interface RecipeSources {
  /** `registry/` or the like, in front of the name. */
  readonly prefix: string;
  readonly tag: string;
  readonly platform: Platform;
  /** The static program of the sandbox; for the test image alone. */
  readonly pause?: string;
}

/** Files whose content decides an image, beside this script; what must be built first is named where it is missing. */
export function toRecipe(name: ImageName, sources: RecipeSources): ImageRecipe {
  return {
    ...RECIPES[name](sources),
    reference: `${sources.prefix}${name}:${toTag(name, sources)}`,
  };
}

/** The test images' content changes with the machine, not with our version. */
function toTag(name: ImageName, { tag }: RecipeSources): string {
  return name === 'pause' || name === 'test-shell' ? '1' : tag;
}

type Recipe = Omit<ImageRecipe, 'reference'>;

const RECIPES: Readonly<Record<ImageName, (sources: RecipeSources) => Recipe>> = {
  'coatcheck-exchange': ({ platform, tag }) => {
    const program = getFile(platform.exchange, 'npm run build exchange');
    const libraries = toRuntime(program, platform);
    const parts = [
      describeBun(platform.name),
      ...listPackages('.coatcheck-exchange.stamp'),
      ...describeLibraries(libraries, platform),
    ];
    return {
      ...toBase(platform),
      ...toShipped('coatcheck-exchange', 'Swaps ServiceAccount tokens for client tokens', tag),
      files: [
        ...libraries,
        toFile('coatcheck-exchange', program, 0o755),
        ...toEtc(),
        toSbomFile('coatcheck-exchange', tag, parts),
      ],
      entrypoint: ['/coatcheck-exchange'],
      user: USER,
      // A sidecar sleeps nearly all the time: without the compiler of hot code it keeps 6 MiB less (docs/exchange.md).
      environment: ['BUN_JSC_useJIT=0'],
    };
  },
  coatcheck: ({ platform, tag }) => {
    const server = path.join(ROOT, 'dist/server');
    getFile(path.join(server, 'coatcheck.mjs'), 'npm run build server');
    const node = toFile('usr/bin/node', platform.node, 0o755);
    const libraries = toRuntime(platform.node, platform);
    const parts = [
      describeNode(node.content ?? Buffer.alloc(0)),
      ...listPackages('.server.stamp'),
      ...describeLibraries(libraries, platform),
    ];
    return {
      ...toBase(platform),
      ...toShipped('coatcheck', 'Webhook, broker and controller of Coatcheck', tag),
      files: [
        ...libraries,
        node,
        ...readdirSync(server).map((name) =>
          toFile(`coatcheck/${name}`, path.join(server, name), 0o644),
        ),
        ...toEtc(),
        toSbomFile('coatcheck', tag, parts),
      ],
      entrypoint: ['/usr/bin/node', '/coatcheck/coatcheck.mjs'],
      user: USER,
      environment: ['NODE_ENV=production'],
    };
  },
  pause: ({ pause, platform }) => ({
    ...toBase(platform),
    files: [toFile('pause', getFile(pause ?? '', 'the Go compiler'), 0o755)],
    entrypoint: ['/pause'],
    user: USER,
  }),
  'test-shell': ({ platform }) => {
    // The dynamic one: a static glibc program opens the C library after all when it resolves a name.
    const busybox = getFile('/bin/busybox', 'apt-get install busybox');
    return {
      ...toBase(platform),
      files: [
        ...toRuntime(busybox, platform),
        toFile('bin/busybox', busybox, 0o755),
        ...listApplets(busybox).map(
          (tool): TarEntry => ({ path: `bin/${tool}`, mode: 0o777, link: 'busybox' }),
        ),
        ...toEtc(),
      ],
      entrypoint: ['/bin/sh'],
      user: USER,
      environment: ['PATH=/bin'],
    };
  },
};

function toBase({ architecture }: Platform): Pick<Recipe, 'architecture'> {
  return { architecture };
}

function toShipped(title: string, description: string, version: string): Pick<Recipe, 'labels'> {
  const labels = { title, description, version, licenses: 'Apache-2.0', vendor: 'Coatcheck' };
  const prefix = 'org.opencontainers.image.';
  return {
    labels: Object.fromEntries(
      Object.entries(labels).map(([name, value]) => [prefix + name, value]),
    ),
  };
}

function toSbomFile(name: string, version: string, parts: readonly Component[]): TarEntry {
  return { path: SBOM, mode: 0o644, content: renderSbom({ name, version }, parts) };
}

/** The dynamic linker and libraries, at the paths where that machine's linker looks for them by itself. */
function toRuntime(program: string, { name, sysroot }: Platform): TarEntry[] {
  const files = findRuntimeFiles(program, { architecture: name, sysroot });
  checkGlibc(files.map((file) => sysroot + file));
  return files.map((file) => toFile(file.slice(1), sysroot + file, 0o755));
}

/** Since 2.34 getaddrinfo's two sources, files and DNS, are within libc.so.6; before, they are opened by name. */
function checkGlibc(files: readonly string[]): void {
  const libc = files.find((file) => path.basename(file) === 'libc.so.6');
  if (libc === undefined) return;
  const [, minor] =
    /GNU C Library .* release version 2\.(\d+)/.exec(readFileSync(libc, 'latin1')) ?? [];
  if (minor === undefined || Number(minor) < 34)
    throw new Error(
      `${libc} is glibc 2.${minor ?? '?'}: an image needs 2.34 or newer, or it cannot resolve names`,
    );
}

/** Names for uids (Node asks for its own), and name resolution from /etc/hosts before DNS. */
function toEtc(): TarEntry[] {
  const text = (name: string, content: string): TarEntry => ({
    path: `etc/${name}`,
    mode: 0o644,
    content: Buffer.from(content),
  });
  return [
    text('passwd', 'root:x:0:0:root:/:/nologin\nnonroot:x:65532:65532:nonroot:/:/nologin\n'),
    text('group', 'root:x:0:\nnonroot:x:65532:\n'),
    text('nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n'),
    { path: 'tmp', mode: 0o1777 },
  ];
}

function toFile(inImage: string, file: string, mode: number): TarEntry {
  return { path: inImage, mode, content: readFileSync(file) };
}

function getFile(file: string, remedy: string): string {
  if (!existsSync(file)) throw new Error(`${file || 'a program'} is missing: ${remedy}`);
  return file;
}

function listApplets(busybox: string): string[] {
  const names = execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  return names.filter((name) => name !== 'busybox');
}
