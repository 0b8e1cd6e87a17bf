// Which certificates the broker is verified by: the operator's bundle, and from then on whatever bundle the broker,
// verified by the one before, announced as the next.
import { createHash, X509Certificate } from 'node:crypto';

const MAX_BUNDLE_BYTES = 64 * 1024;
const MAX_CERTIFICATES = 16;
const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

export interface Trust {
  /** PEM; undefined where the roots of the runtime are used. */
  readonly bundle: string | undefined;
  /** SHA-256 in hex of exactly that text; undefined without a bundle. */
  readonly digest: string | undefined;
}

/** Reads nothing and verifies nothing: only names a bundle. */
export function createTrust(bundle: string | undefined): Trust {
  return {
    bundle,
    digest: bundle === undefined ? undefined : createHash('sha256').update(bundle).digest('hex'),
  };
}

/**
 * The certificates of a PEM bundle.
 * @throws Error whose message says what is wrong, without the text.
 */
export function parseBundle(bundle: string): readonly X509Certificate[] {
  if (Buffer.byteLength(bundle) > MAX_BUNDLE_BYTES) {
    throw new Error(`must be at most ${MAX_BUNDLE_BYTES / 1024} KiB of PEM`);
  }
  const blocks = bundle.match(BLOCK) ?? [];
  const begun = bundle.split('-----BEGIN ').length - 1;
  if (blocks.length === 0 || begun !== blocks.length) {
    throw new Error('must hold one or more PEM certificates and nothing else');
  }
  if (blocks.length > MAX_CERTIFICATES)
    throw new Error(`must hold at most ${MAX_CERTIFICATES} certificates`);
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch {
      throw new Error(`certificate ${index + 1} cannot be parsed`);
    }
  });
}

/**
 * The trust after the broker announced `announced`.
 * @throws Error where it must not be taken: unreadable, or every certificate in it outside its validity, which would
 * lock this pod out for good.
 */
export function toNextTrust(announced: unknown, nowMs: number): Trust {
  if (typeof announced !== 'string') throw new Error('must be text');
  const certificates = parseBundle(announced);
  const isValid = (one: X509Certificate) =>
    Date.parse(one.validFrom) <= nowMs && nowMs < Date.parse(one.validTo);
  if (!certificates.some(isValid)) throw new Error('holds no certificate that is valid now');
  return createTrust(announced);
}
