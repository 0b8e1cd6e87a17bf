// An OCI archive as its tests see it: the configuration, the manifest, and every entry of the root file system.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export interface Entry {
  /** Without a slash at either end. */
  readonly path: string;
  /** As `ls` shows it: `drwxr-xr-x`. */
  readonly mode: string;
  readonly owner: string;
  /** SHA-256 of a regular file's content. */
  readonly digest?: string;
}

export interface OpenImage {
  readonly config: {
    readonly architecture: string;
    readonly config: {
      readonly User: string;
      readonly Entrypoint: readonly string[];
      readonly Env?: readonly string[];
      readonly Labels: Readonly<Record<string, string>>;
      readonly WorkingDir: string;
    };
  };
  readonly manifest: { readonly annotations?: Readonly<Record<string, string>> };
  readonly entries: readonly Entry[];
  read(file: string): Buffer;
  close(): void;
}

/** Takes an image of one layer or more apart; `close` removes what that takes on the disk. */
export function openImage(archive: string): OpenImage {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-image-'));
  const run = (command: string, args: readonly string[]) =>
    execFileSync(command, args, { cwd: folder, encoding: 'utf8', maxBuffer: 2 ** 28 });
  run('tar', ['-xf', archive]);
  const readJson = (name: string) => JSON.parse(readFileSync(path.join(folder, name), 'utf8'));
  const blob = (digest: string) => `blobs/${digest.replace(':', '/')}`;
  const manifest = readJson(blob(readJson('index.json').manifests[0].digest));
  const config = readJson(blob(manifest.config.digest));
  run('mkdir', ['root']);
  const entries = new Map<string, Entry>();
  for (const { digest } of manifest.layers as { digest: string }[]) {
    const layer = path.join(folder, blob(digest));
    run('tar', ['-xf', layer, '-C', 'root', '--no-same-owner']);
    for (const line of run('tar', ['--numeric-owner', '-tvf', layer]).trim().split('\n')) {
      const [mode = '', owner = '', , , , name = ''] = line.split(/\s+/);
      const place = name.replace(/^\.?\//, '').replace(/\/$/, '');
      if (place !== '')
        entries.set(place, toEntry(path.join(folder, 'root'), { place, mode, owner }));
    }
  }
  return {
    config,
    manifest,
    entries: [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1)),
    read: (file) => readFileSync(path.join(folder, 'root', file)),
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function toEntry(
  root: string,
  { place, mode, owner }: { place: string; mode: string; owner: string },
): Entry {
  const entry = { path: place, mode, owner };
  if (!mode.startsWith('-')) return entry;
  const content = readFileSync(path.join(root, place));
  return { ...entry, digest: createHash('sha256').update(content).digest('hex') };
}
