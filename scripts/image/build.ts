// Builds images into dist/images, each only when its content changed, under a temporary name, and renamed.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { openComponent } from '../../test/cluster/harness/binaries.ts';
import { PAUSE } from '../../test/cluster/harness/versions.ts';
import { layOut } from './layout.ts';
import { type ImageRecipe, toOciArchive } from './oci.ts';
import { type Architecture, OWN, openPlatform } from './platform.ts';
import { type ImageName, SBOM, toRecipe } from './recipes.ts';
import { toTar } from './tar.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const IMAGES = path.join(ROOT, 'dist/images');
const ROOTS = path.join(ROOT, 'dist/rootfs');

export interface BuiltImage {
  readonly name: ImageName;
  /** What a pod names. */
  readonly reference: string;
  /** The OCI archive. */
  readonly file: string;
  /** `sha256:…` of the manifest. */
  readonly digest: string;
  readonly compressedBytes: number;
  /** Nothing had changed since the last time. */
  readonly isCurrent: boolean;
}

/** The groups of scripts/image.ts. */
export const IMAGE_GROUPS = {
  exchange: ['coatcheck-exchange'],
  coatcheck: ['coatcheck'],
  test: ['pause', 'test-shell'],
  all: ['coatcheck-exchange', 'coatcheck', 'pause', 'test-shell'],
} as const satisfies Readonly<Record<string, readonly ImageName[]>>;

export type ImageGroup = keyof typeof IMAGE_GROUPS;

/** Which part of scripts/build.ts an image holds. */
const BUILDS: Readonly<Partial<Record<ImageName, string>>> = {
  'coatcheck-exchange': 'exchange',
  coatcheck: 'server',
};

export interface BuildImageOptions {
  /** This machine's unless stated; another one's archive has it in its name. */
  readonly architecture?: Architecture;
  /** Also the root file system as a folder, dist/rootfs/<name>, for the Dockerfile. */
  readonly withRoot?: boolean;
}

/**
 * Builds an image and what goes into it.
 * @throws Error that says what this machine lacks for it.
 */
export async function buildImage(
  name: ImageName,
  environment: NodeJS.ProcessEnv,
  { architecture = OWN, withRoot = false }: BuildImageOptions = {},
): Promise<BuiltImage> {
  const build = BUILDS[name];
  if (build !== undefined) {
    const script = path.join(ROOT, 'scripts/build.ts');
    execFileSync(process.execPath, [script, build], {
      env: environment,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }
  const { version } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  const recipe = toRecipe(name, {
    prefix: 'localhost/',
    tag: version,
    platform: await openPlatform(architecture, environment),
    ...(name === 'pause' && {
      pause: path.join(await openComponent(PAUSE, environment), 'pause'),
    }),
  });
  const fileName = architecture === OWN ? name : `${name}-${architecture}`;
  if (withRoot) layOut(recipe.files, path.join(ROOTS, fileName));
  const sbom = recipe.files.find((file) => file.path === SBOM)?.content;
  if (sbom) {
    mkdirSync(IMAGES, { recursive: true });
    writeWhole(path.join(IMAGES, `${fileName}.cdx.json`), sbom);
  }
  return writeImage({ name, fileName, recipe });
}

interface Stamp {
  content: string;
  digest: string;
  compressedBytes: number;
}

function writeImage({
  name,
  fileName,
  recipe,
}: {
  name: ImageName;
  fileName: string;
  recipe: ImageRecipe;
}): BuiltImage {
  mkdirSync(IMAGES, { recursive: true });
  const file = path.join(IMAGES, `${fileName}.tar`);
  const stampFile = path.join(IMAGES, `.${fileName}.stamp`);
  const content = toContentHash(recipe);
  const facts = { name, reference: recipe.reference, file };
  const current = readStamp(stampFile);
  if (current?.content === content && existsSync(file)) {
    const { digest, compressedBytes } = current;
    return { ...facts, digest, compressedBytes, isCurrent: true };
  }
  const { archive, digest, compressedBytes } = toOciArchive(recipe);
  rmSync(stampFile, { force: true });
  writeWhole(file, archive);
  writeWhole(stampFile, JSON.stringify({ content, digest, compressedBytes } satisfies Stamp));
  return { ...facts, digest, compressedBytes, isCurrent: false };
}

/** Compression is what takes long: this is everything that goes into it, and how it is done. */
function toContentHash({ files, ...rest }: ImageRecipe): string {
  const hash = createHash('sha256').update(toTar(files)).update(JSON.stringify(rest));
  for (const source of ['oci.ts', 'tar.ts']) {
    hash.update(readFileSync(path.join(import.meta.dirname, source)));
  }
  return hash.update(process.versions.zlib).digest('hex');
}

function readStamp(file: string): Stamp | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Stamp) : undefined;
}

function writeWhole(file: string, content: Buffer | string): void {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, content);
  renameSync(draft, file);
}
