// What is in an image, as CycloneDX 1.6: the runtime with what is built into it, the libraries of glibc, and exactly the
// packages that the bundle was made of. No time and no serial number: the same image has the same list.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import type { Platform } from './platform.ts';
import type { TarEntry } from './tar.ts';

const ROOT = path.join(import.meta.dirname, '../..');

export interface Component {
  readonly type: 'application' | 'library' | 'file';
  readonly name: string;
  readonly version?: string;
  readonly purl?: string;
  readonly licenses?: readonly (
    | { readonly license: { readonly id: string } }
    | { readonly expression: string }
  )[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly components?: readonly Component[];
}

interface Locked {
  readonly version: string;
  readonly license?: string;
  readonly integrity?: string;
  readonly optional?: boolean;
}

/** The list as it lies in the image; the same input gives the same bytes. */
export function renderSbom(
  image: { name: string; version: string },
  parts: readonly Component[],
): Buffer {
  const sorted = [...parts].sort((a, b) => (toReference(a) < toReference(b) ? -1 : 1));
  const list = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'container', 'bom-ref': image.name, ...image } },
    components: sorted.map((part) => ({ 'bom-ref': toReference(part), ...part })),
  };
  return Buffer.from(`${JSON.stringify(list, null, 1)}\n`);
}

const toReference = ({ type, purl, name, version = '' }: Component) =>
  type === 'file' ? `file:${name}` : (purl ?? `${name}@${version}`);

/**
 * The packages that a bundle holds something of.
 * @param stamp name of what scripts/build.ts wrote of its inputs, in dist/.
 */
export function listPackages(stamp: string): readonly Component[] {
  const { inputs } = JSON.parse(readFileSync(path.join(ROOT, 'dist', stamp), 'utf8')) as {
    inputs: readonly string[];
  };
  const places = inputs.map(
    (input) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(input)?.[0] ?? '',
  );
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  return [...new Set(places)]
    .filter((place) => place !== '')
    .map((place) => {
      const locked = lock.packages[place];
      if (!locked) throw new Error(`package-lock.json has no ${place}`);
      return toPackage(place.split('node_modules/').at(-1) ?? '', locked);
    });
}

function toPackage(name: string, { version, license, integrity = '' }: Locked): Component {
  const content = Buffer.from(integrity.replace('sha512-', ''), 'base64').toString('hex');
  return {
    type: 'library',
    name,
    version,
    purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
    ...(license && { licenses: [toLicense(license)] }),
    ...(content && { hashes: [{ alg: 'SHA-512', content }] }),
  };
}

/** One identifier of SPDX, or several with AND and OR between them. */
function toLicense(text: string): NonNullable<Component['licenses']>[number] {
  const bare = text.replace(/^\((.*)\)$/, '$1');
  return bare.includes(' ') ? { expression: bare } : { license: { id: bare } };
}

/** Node, and the libraries that it says are built into it. */
export function describeNode(program: Buffer): Component {
  const { node, ...others } = process.versions;
  const components = Object.entries(others)
    // Numbers of interfaces, not of libraries.
    .filter(([name]) => !['modules', 'napi', 'cldr', 'tz', 'unicode'].includes(name))
    .map(([name, version = '']): Component => ({ type: 'library', name, version }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    type: 'application',
    name: 'node',
    version: node,
    purl: `pkg:generic/node@${node}`,
    hashes: [toHash(program)],
    components,
  };
}

/** Bun, of which the compiled exchange is made. */
export function describeBun(name: string): Component {
  const lock = JSON.parse(readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>;
  };
  const place = `@oven/bun-linux-${name === 'arm64' ? 'aarch64' : name}`;
  const locked = lock.packages[`node_modules/${place}`];
  if (!locked) throw new Error(`package-lock.json has no ${place}`);
  return { ...toPackage(place, locked), type: 'application' };
}

/** One component per file of glibc and its kin, with its package where dpkg knows one. */
export function describeLibraries(
  files: readonly TarEntry[],
  platform: Platform,
): readonly Component[] {
  const packages = platform.sysroot === '' ? undefined : readPackages(platform.sysroot);
  return files.map(({ path: file, content = Buffer.alloc(0) }) => {
    const found = packages ? findFetched(file, packages) : findInstalled(`/${file}`);
    return {
      type: 'file',
      name: `/${file}`,
      hashes: [toHash(content)],
      ...(found && { version: found.version, purl: toDebian(found, platform.architecture) }),
    };
  });
}

interface DebianPackage {
  readonly name: string;
  readonly version: string;
}

const toDebian = ({ name, version }: DebianPackage, architecture: string) =>
  `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}`;

function readPackages(sysroot: string): readonly DebianPackage[] {
  const file = path.join(sysroot, 'packages.json');
  const read = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
  return Object.entries(read).map(([name, version]) => ({ name, version }));
}

/** Of the three packages that are fetched, a library says by its name which it is of. */
function findFetched(file: string, packages: readonly DebianPackage[]): DebianPackage | undefined {
  const [library = ''] = /^[a-z+_]+/.exec(path.basename(file)) ?? [];
  const name = { 'libstdc++': 'libstdc++6', libgcc_s: 'libgcc-s1' }[library] ?? 'libc6';
  return packages.find((one) => one.name === name);
}

function findInstalled(file: string): DebianPackage | undefined {
  for (const known of [file, realpathSync(file), realpathSync(file).replace(/^\/usr/, '')]) {
    const owner = ask('dpkg-query', ['-S', known])?.split(':')[0];
    const version = owner && ask('dpkg-query', ['-W', owner])?.trim().split('\t')[1];
    if (owner && version) return { name: owner, version };
  }
  return undefined;
}

function ask(command: string, args: readonly string[]): string | undefined {
  if (!existsSync('/var/lib/dpkg/status')) return undefined;
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return undefined;
  }
}

function toHash(content: Buffer): { alg: string; content: string } {
  return { alg: 'SHA-256', content: createHash('sha256').update(content).digest('hex') };
}
