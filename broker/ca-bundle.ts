// The CA bundle that pods should trust from now on. A long-lived `refresh` sidecar got its bundle when its pod was made;
// with each answer it can take the next one, so that a new CA reaches it before the old one stops signing.
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';

export interface CaBundle {
  readonly pem: string;
  /** SHA-256 of {@link pem}, hex. */
  readonly digest: string;
}

// What the exchange accepts at most.
const MAX_BUNDLE_BYTES = 64 * 1024;
const MAX_CERTIFICATES = 16;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** @throws Error that names the file: unreadable, too large, or without a CA certificate in it. */
export function readCaBundle(file: string): CaBundle {
  const pem = readText(file);
  if (pem.length > MAX_BUNDLE_BYTES) throw new Error(`${file}: is larger than 64 KiB`);
  const certificates = pem.match(CERTIFICATE) ?? [];
  if (
    certificates.length === 0 ||
    certificates.length > MAX_CERTIFICATES ||
    !certificates.every(isAuthority)
  ) {
    throw new Error(
      `${file}: must hold 1 to ${MAX_CERTIFICATES} CA certificates in PEM and no other certificate`,
    );
  }
  return { pem, digest: createHash('sha256').update(pem).digest('hex') };
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

function isAuthority(pem: string): boolean {
  try {
    return new X509Certificate(pem).ca;
  } catch {
    return false;
  }
}
