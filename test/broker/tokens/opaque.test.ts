// The form of opaque tokens: what stands where, that a scanner can check it offline, that no other text passes, and
// that no letter is likelier than another.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  hashToken,
  isAccessor,
  newOpaqueToken,
  parseOpaqueToken,
  randomText,
  toChecksum,
} from '../../../broker/tokens/opaque.ts';
import { noteToken } from '../../support/tokens.ts';

const LETTERS = [...'0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'];
const letter = fc.constantFrom(...LETTERS);

function makeToken(): string {
  return noteToken(newOpaqueToken(randomBytes).token.reveal());
}

/** CRC-32 by the book, bit by bit: not by the library that the product uses. */
function crcByHand(text: string): number {
  let crc = 0xffffffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

describe('opaque tokens', () => {
  it('are cc_, 24 letters of accessor, 43 of secret and 6 of checksum', () => {
    const made = newOpaqueToken(randomBytes);
    const token = noteToken(made.token.reveal());
    expect(token)
      .to.match(/^cc_[0-9A-Za-z]{73}$/)
      .and.have.length(76);
    expect(token.slice(3, 27)).to.equal(made.accessor);
    expect(parseOpaqueToken(token)).to.deep.equal({
      accessor: made.accessor,
      hash: hashToken(token),
    });
  });

  it('print as nothing but [redacted]', () => {
    expect(JSON.stringify(newOpaqueToken(randomBytes))).to.include('"token":"[redacted]"');
  });

  it('have a checksum that others can compute: CRC-32 in base62, six digits', () => {
    expect(toChecksum('')).to.equal('000000');
    // The check value of CRC-32, 0xCBF43926.
    expect(toChecksum('123456789')).to.equal(toBase62(0xcbf43926));
    fc.assert(
      fc.property(fc.stringMatching(/^[ -~]{0,80}$/), (text) => {
        expect(toChecksum(text)).to.equal(toBase62(crcByHand(text)));
      }),
    );
  });

  it('are refused with any one letter changed', () => {
    const token = makeToken();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: token.length - 1 }), letter, (at, other) => {
        fc.pre(token[at] !== other);
        const changed = token.slice(0, at) + other + token.slice(at + 1);
        expect(parseOpaqueToken(changed)).to.equal(undefined);
      }),
    );
  });

  it('are refused longer, shorter, in pieces, with blanks', () => {
    const token = makeToken();
    const wrong = [
      token.slice(0, -1),
      `${token}0`,
      ` ${token}`,
      `${token}\n`,
      token.slice(3),
      token.replace('cc_', 'cd_'),
      token.replace('cc_', 'CC_'),
      token.toUpperCase(),
      `${token}.x.y`,
      '',
    ];
    for (const text of wrong) expect(parseOpaqueToken(text)).to.equal(undefined);
  });

  it('are not what random texts of their form are, but once in four thousand million', () => {
    const body = fc.array(letter, { minLength: 73, maxLength: 73 });
    fc.assert(
      fc.property(body, (letters) => {
        expect(parseOpaqueToken(`cc_${letters.join('')}`)).to.equal(undefined);
      }),
    );
  });

  it('never repeat', () => {
    const made = Array.from({ length: 2000 }, () => newOpaqueToken(randomBytes));
    expect(new Set(made.map(({ hash }) => hash)).size).to.equal(2000);
    expect(new Set(made.map(({ accessor }) => accessor)).size).to.equal(2000);
    expect(made.every(({ accessor }) => isAccessor(accessor))).to.equal(true);
  });

  it('take every letter equally often: bytes from 248 on are thrown away', () => {
    const allBytes = (size: number) => Uint8Array.from({ length: size }, (_, i) => i % 256);
    const text = randomText(248, (size) => allBytes(Math.max(size, 256)));
    const counts = LETTERS.map((one) => text.split(one).length - 1);
    expect(new Set(counts)).to.deep.equal(new Set([4]));
  });

  it('go on until there are enough good bytes', () => {
    let asked = 0;
    const stingy = (size: number) => {
      asked += 1;
      return new Uint8Array(size).fill(asked < 3 ? 255 : 61);
    };
    expect(randomText(4, stingy)).to.equal('zzzz');
    expect(asked).to.equal(3);
  });
});

/** The alphabet, written out a second time. */
function toBase62(value: number): string {
  let digits = '';
  for (let rest = BigInt(value); rest > 0n; rest /= 62n)
    digits = LETTERS[Number(rest % 62n)] + digits;
  return digits.padStart(6, '0');
}
