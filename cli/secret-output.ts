// What is shown once: a token or a secret goes alone to standard output, or into a file that nobody else can read.
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs';
import type { CommandIo } from '../common/command.ts';
import { optional, path, SettingsError } from '../common/settings.ts';

export const OUT_TABLE = {
  out: optional(
    path({
      flagOnly: true,
      doc: 'New file (mode 0600) for what is shown once, instead of standard output',
    }),
  ),
} as const;

/**
 * Makes sure there is a place first: what could not be written afterwards would be lost, and live on at the broker.
 * @throws SettingsError where the file is there already or cannot be made
 */
export async function withSecretOutput(
  file: string | undefined,
  io: CommandIo,
  make: () => Promise<string>,
): Promise<void> {
  if (file === undefined) {
    io.stdout(`${await make()}\n`);
    return;
  }
  const fd = openNew(file);
  let isWritten = false;
  try {
    writeSync(fd, `${await make()}\n`);
    isWritten = true;
  } finally {
    closeSync(fd);
    if (!isWritten) unlinkSync(file);
  }
  io.stderr(`written to ${file}\n`);
}

function openNew(file: string): number {
  try {
    return openSync(file, 'wx', 0o600);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new SettingsError([
      code === 'EEXIST'
        ? '--out names a file that is there already'
        : `--out cannot be written (${code})`,
    ]);
  }
}
