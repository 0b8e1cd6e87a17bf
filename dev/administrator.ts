// Who the administrator of a dev server is: the holder of the token that was given, or of one made here and put into a
// file. It is never printed; the path of the file is.
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readBootstrapToken } from '../broker/bootstrap.ts';
import { newOpaqueToken } from '../broker/tokens/opaque.ts';
import type { Secret } from '../common/secret.ts';
import type { Scratch } from './scratch.ts';
import type { DevStore } from './settings.ts';

/** Nobody on a laptop wants to find out after an hour. */
export const ADMINISTRATOR_TTL_SECONDS = 365 * 86_400;

export interface Administrator {
  readonly token: Secret;
  /** Where it was put, now or by an earlier start, if it was made here. */
  readonly file?: string;
  readonly isNew: boolean;
}

/**
 * Undefined with `store: none`. Beside a database that stays, the token stays too (`<database>.bootstrap-token`): the
 * database takes one administrator at a time.
 * @throws Error where that file cannot be used
 */
export function findAdministrator(
  given: Secret | undefined,
  { store, scratch }: { store: DevStore; scratch: Scratch },
): Administrator | undefined {
  if (store.kind === 'none') return undefined;
  if (given) return { token: given, isNew: false };
  const file =
    store.kind === 'sqlite'
      ? path.resolve(`${store.file}.bootstrap-token`)
      : scratch.toPath('bootstrap-token');
  if (existsSync(file)) return { token: readBootstrapToken(file), file, isNew: false };
  const { token } = newOpaqueToken(randomBytes);
  writeNew(file, `${token.reveal()}\n`);
  return { token, file, isNew: true };
}

function writeNew(file: string, text: string): void {
  try {
    writeFileSync(file, text, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new Error(`${file}: the administrator's token cannot be written (${code})`);
  }
}
