// The ServiceAccount token of one audience, read afresh for every try: the kubelet replaces the file.
import { readFileSync } from 'node:fs';
import path from 'node:path';

const MAX_TOKEN_BYTES = 64 * 1024;

/**
 * Reads the token of `name`.
 * @throws Error whose message is fit for a log: it names the file and never what is in it.
 */
export function readIdentity(directory: string, name: string): string {
  const file = path.join(directory, name);
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new Error(
      `${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unreadable'})`,
    );
  }
  if (token === '') throw new Error(`${file} is empty`);
  if (token.length > MAX_TOKEN_BYTES || !/^[\x21-\x7e]+$/.test(token))
    throw new Error(`${file} holds no token`);
  return token;
}

/** `namespace/name` of the ServiceAccount, for messages only: nothing here verifies the token. */
export function findServiceAccount(token: string): string | undefined {
  try {
    const payload = Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8');
    const claims = JSON.parse(payload) as {
      'kubernetes.io'?: { namespace?: unknown; serviceaccount?: { name?: unknown } };
    };
    const { namespace, serviceaccount } = claims['kubernetes.io'] ?? {};
    const names = [namespace, serviceaccount?.name];
    const isName = (value: unknown) =>
      typeof value === 'string' && /^[a-z0-9.-]{1,253}$/.test(value);
    return names.every(isName) ? names.join('/') : undefined;
  } catch {
    return undefined;
  }
}
