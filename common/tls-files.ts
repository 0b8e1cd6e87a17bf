// A serving certificate and its key in two files, read together and checked to belong together. Whoever rotates them
// (kubelet, cert-manager) replaces both; a read between the two writes is a problem until the next read.
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface TlsMaterial {
  /** PEM: the leaf first. */
  readonly cert: string;
  /** PEM. */
  readonly key: string;
  /** End of the leaf's validity, milliseconds since the epoch. */
  readonly notAfter: number;
}

/** @throws Error that names the file and says what is wrong, and holds nothing of its content. */
export function readTlsFiles({ certFile, keyFile }: TlsFiles): TlsMaterial {
  const cert = readText(certFile);
  const key = readText(keyFile);
  const leaf = attempt(
    () => new X509Certificate(cert),
    `${certFile}: must hold a certificate in PEM`,
  );
  const privateKey = attempt(
    () => createPrivateKey(key),
    `${keyFile}: must hold an unencrypted private key in PEM`,
  );
  if (!leaf.checkPrivateKey(privateKey))
    throw new Error(`${keyFile}: is not the key of the certificate in ${certFile}`);
  return { cert, key, notAfter: Date.parse(leaf.validTo) };
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new Error(
      `${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
      { cause: error },
    );
  }
}

/** Without the cause: messages of OpenSSL may quote what they could not read. */
function attempt<T>(read: () => T, problem: string): T {
  try {
    return read();
  } catch {
    throw new Error(problem);
  }
}

export interface ReloadingTls {
  readonly current: TlsMaterial;
  /**
   * Reads both files again; cheap, for every second.
   * @returns the new material where it changed, else undefined.
   * @throws Error like {@link readTlsFiles}; the old material stays current.
   */
  reload(): TlsMaterial | undefined;
}

/** @throws Error like {@link readTlsFiles}. */
export function openTlsFiles(files: TlsFiles): ReloadingTls {
  let current = readTlsFiles(files);
  return {
    get current() {
      return current;
    },
    reload: () => {
      const next = readTlsFiles(files);
      if (next.cert === current.cert && next.key === current.key) return undefined;
      current = next;
      return next;
    },
  };
}
