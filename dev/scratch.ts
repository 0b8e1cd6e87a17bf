// The temporary folder of a dev server: demo roles, its database, its administrator's token. Readable by its user alone,
// and gone with the process.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

export interface Scratch {
  /** An absolute path below it. */
  toPath(name: string): string;
  /** Writes a file of mode 0600, with the folders above it; @returns its path */
  write(name: string, content: string | Uint8Array): string;
  remove(): void;
}

export function createScratch(): Scratch {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-dev-'));
  const toPath = (name: string) => path.join(folder, name);
  return {
    toPath,
    write: (name, content) => {
      const file = toPath(name);
      mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
      writeFileSync(file, content, { mode: 0o600 });
      return file;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
