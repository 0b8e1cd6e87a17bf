// The root file system of an image as a folder, for the Dockerfile: what `COPY` takes from there is what the archive holds.
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { withFolders } from './oci.ts';
import type { TarEntry } from './tar.ts';

/** Writes the files into a new folder and puts it in the place of the old one. Owners are whoever runs this. */
export function layOut(files: readonly TarEntry[], folder: string): void {
  const draft = `${folder}.${process.pid}`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true, mode: 0o755 });
  const sorted = withFolders(files).sort((a, b) => (a.path < b.path ? -1 : 1));
  for (const { path: name, mode, content, link } of sorted) {
    const target = path.join(draft, name);
    if (link !== undefined) symlinkSync(link, target);
    else if (content === undefined) mkdirSync(target, { recursive: true });
    else writeFileSync(target, content);
    // Whatever the umask.
    if (link === undefined) chmodSync(target, mode);
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(draft, folder);
}
