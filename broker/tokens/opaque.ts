// The form of an opaque token: `cc_`, an accessor of 24 characters, a secret of 43, a checksum of 6, all base62. The
// checksum lets a secret scanner tell a token from chance, and lets us refuse garbage before any look-up. docs/tokens.md
// has the computation for others to repeat. Only the SHA-256 of the whole text is ever stored.
import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { Secret } from '../../common/secret.ts';

export const OPAQUE_PREFIX = 'cc_';
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const BASE = ALPHABET.length;
const ACCESSOR_LENGTH = 24;
/** 43 characters of 62 hold 256 bits. */
const SECRET_LENGTH = 43;
const CHECKSUM_LENGTH = 6;
const FORM = /^cc_[0-9A-Za-z]{73}$/;
const ACCESSOR = /^[0-9A-Za-z]{24}$/;
/** The largest multiple of 62 below 256: bytes from there on would make the first letters likelier. */
const FAIR_BELOW = 256 - (256 % BASE);

/** So many bytes from a generator fit for keys. */
export type RandomBytes = (size: number) => Uint8Array;

/** What a token of this form says without a look-up. */
export interface OpaqueToken {
  /** Names the token to people; gives no access. */
  readonly accessor: string;
  /** SHA-256 of the whole token, hex: the key it is stored under. */
  readonly hash: string;
}

/** A new token; the text goes into one answer and nowhere else. */
export function newOpaqueToken(randomBytes: RandomBytes): OpaqueToken & { readonly token: Secret } {
  const accessor = randomText(ACCESSOR_LENGTH, randomBytes);
  const body = OPAQUE_PREFIX + accessor + randomText(SECRET_LENGTH, randomBytes);
  const token = body + toChecksum(body);
  return { token: new Secret(token), accessor, hash: hashToken(token) };
}

/** The accessor and the hash of a text of this form whose checksum holds; undefined for any other text. */
export function parseOpaqueToken(text: string): OpaqueToken | undefined {
  if (!FORM.test(text)) return undefined;
  const body = text.slice(0, -CHECKSUM_LENGTH);
  if (toChecksum(body) !== text.slice(-CHECKSUM_LENGTH)) return undefined;
  const accessor = text.slice(OPAQUE_PREFIX.length, OPAQUE_PREFIX.length + ACCESSOR_LENGTH);
  return { accessor, hash: hashToken(text) };
}

/** Whether a text can be an accessor at all. */
export function isAccessor(text: string): boolean {
  return ACCESSOR.test(text);
}

/** SHA-256 of a whole token, hex: how the store knows it. */
export function hashToken(token: string): string {
  return hash('sha256', token);
}

/** CRC-32 (as in zlib, gzip and PNG) of the ASCII text, base62 with `0` first, six digits, the most significant first. */
export function toChecksum(text: string): string {
  let rest = crc32(text);
  let digits = '';
  for (let i = 0; i < CHECKSUM_LENGTH; i++) {
    digits = ALPHABET.charAt(rest % BASE) + digits;
    rest = Math.floor(rest / BASE);
  }
  return digits;
}

/** Each of the 62 letters equally likely: bytes that would favour some are thrown away. */
export function randomText(length: number, randomBytes: RandomBytes): string {
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length + 8)) {
      if (byte < FAIR_BELOW && text.length < length) text += ALPHABET.charAt(byte % BASE);
    }
  }
  return text;
}
