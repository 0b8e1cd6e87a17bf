// The credential of the process for an API server, and the CA it believes: files, read for each request.
import { readFile } from 'node:fs/promises';
import { KubeError } from './error.ts';

const CERTIFICATE = '-----BEGIN CERTIFICATE-----';

/** The process's own token. @throws KubeError `unreadable` */
export async function readToken(file: string): Promise<string> {
  const token = (await read(file, 'token')).trim();
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new KubeError('unreadable', 'the token file holds no token');
  return token;
}

/** PEM. @throws KubeError `unreadable` */
export async function readCa(file: string): Promise<string> {
  const ca = await read(file, 'CA');
  // Node takes an empty CA for "no opinion" and falls back to the public roots.
  if (!ca.includes(CERTIFICATE))
    throw new KubeError('unreadable', 'the CA file holds no certificate');
  return ca;
}

async function read(file: string, what: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown';
    throw new KubeError('unreadable', `the ${what} file cannot be read (${code})`, { cause });
  }
}
