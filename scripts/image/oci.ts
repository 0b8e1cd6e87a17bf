// One image as an OCI archive (image-spec 1.1): a layer, its config, a manifest, an index, all named by their digests,
// in a tar. `ctr images import`, `skopeo copy oci-archive:` and `podman load` take it.
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { type TarEntry, toTar } from './tar.ts';

export interface ImageRecipe {
  /** `<name>:<tag>`, with a registry where it should have one. */
  readonly reference: string;
  readonly architecture: 'amd64' | 'arm64';
  readonly files: readonly TarEntry[];
  readonly entrypoint: readonly string[];
  readonly command?: readonly string[];
  /** `uid:gid`; numbers, so that the kubelet can tell root from others. */
  readonly user: string;
  readonly environment?: readonly string[];
  /** `org.opencontainers.image.…`; also annotations of the manifest. */
  readonly labels?: Readonly<Record<string, string>>;
}

export interface OciArchive {
  readonly archive: Buffer;
  /** `sha256:…` of the manifest: what a reference by digest names. */
  readonly digest: string;
  /** Of the layer: what a pull transfers. */
  readonly compressedBytes: number;
}

const MEDIA = 'application/vnd.oci.image';

/** The same recipe gives the same bytes. */
export function toOciArchive(recipe: ImageRecipe): OciArchive {
  const rootFileSystem = toTar(withFolders(recipe.files));
  const layer = toBlob(`${MEDIA}.layer.v1.tar+gzip`, gzipSync(rootFileSystem, { level: 6 }));
  const config = toJsonBlob(`${MEDIA}.config.v1+json`, {
    architecture: recipe.architecture,
    os: 'linux',
    created: '1970-01-01T00:00:00Z',
    config: {
      User: recipe.user,
      Entrypoint: recipe.entrypoint,
      ...(recipe.command && { Cmd: recipe.command }),
      ...(recipe.environment && { Env: recipe.environment }),
      WorkingDir: '/',
      ...(recipe.labels && { Labels: recipe.labels }),
    },
    rootfs: { type: 'layers', diff_ids: [toDigest(rootFileSystem)] },
  });
  const manifest = toJsonBlob(`${MEDIA}.manifest.v1+json`, {
    schemaVersion: 2,
    mediaType: `${MEDIA}.manifest.v1+json`,
    config: config.descriptor,
    layers: [layer.descriptor],
    ...(recipe.labels && { annotations: recipe.labels }),
  });
  const index = {
    schemaVersion: 2,
    mediaType: `${MEDIA}.index.v1+json`,
    manifests: [
      {
        ...manifest.descriptor,
        platform: { os: 'linux', architecture: recipe.architecture },
        // The first is containerd's, the second everyone else's.
        annotations: {
          'io.containerd.image.name': recipe.reference,
          'org.opencontainers.image.ref.name': recipe.reference,
        },
      },
    ],
  };
  const file = (path: string, content: Buffer): TarEntry => ({ path, mode: 0o644, content });
  const archive = toTar(
    withFolders([
      file('oci-layout', toJson({ imageLayoutVersion: '1.0.0' })),
      file('index.json', toJson(index)),
      ...[layer, config, manifest].map(({ descriptor, content }) =>
        file(`blobs/${descriptor.digest.replace(':', '/')}`, content),
      ),
    ]),
  );
  return { archive, digest: manifest.descriptor.digest, compressedBytes: layer.content.length };
}

interface Blob {
  readonly descriptor: { mediaType: string; digest: string; size: number };
  readonly content: Buffer;
}

function toBlob(mediaType: string, content: Buffer): Blob {
  return { descriptor: { mediaType, digest: toDigest(content), size: content.length }, content };
}

function toJsonBlob(mediaType: string, value: object): Blob {
  return toBlob(mediaType, toJson(value));
}

function toJson(value: object): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function toDigest(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** A folder for every file that states none. */
export function withFolders(entries: readonly TarEntry[]): TarEntry[] {
  const folders = new Map<string, TarEntry>();
  for (const { path } of entries) {
    const parts = path.split('/').slice(0, -1);
    for (const index of parts.keys()) {
      const folder = parts.slice(0, index + 1).join('/');
      folders.set(folder, { path: folder, mode: 0o755 });
    }
  }
  for (const { path } of entries) folders.delete(path);
  return [...folders.values(), ...entries];
}
