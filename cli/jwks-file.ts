// A file of public keys, as far as the CLI must understand it: it never sends a private one anywhere.
import { readFileSync } from 'node:fs';
import { SettingsError } from '../common/settings.ts';

// RFC 7518 §6: members that only a private or symmetric key has.
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

/** The JWKS behind `--jwks-file`. @throws SettingsError that quotes nothing of the file */
export function readJwksFile(file: string): object {
  const value = parse(file);
  if (typeof value !== 'object' || value === null)
    throw new SettingsError(['--jwks-file must hold a JWKS: an object with a list "keys"']);
  const { keys } = value as { keys?: unknown };
  const members: readonly unknown[] = Array.isArray(keys) ? keys : [value];
  if (members.some((key) => PRIVATE_MEMBERS.some((name) => name in (Object(key) as object))))
    throw new SettingsError(['--jwks-file holds a private key; nothing was sent']);
  return value;
}

function parse(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    // The parser's message quotes the file, and a private key may have been put there by mistake.
    const code = (error as NodeJS.ErrnoException).code;
    throw new SettingsError([
      code === undefined ? '--jwks-file must hold JSON' : `--jwks-file cannot be read (${code})`,
    ]);
  }
}
