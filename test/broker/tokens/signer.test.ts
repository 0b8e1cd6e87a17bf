// Our signatures against jose's verification, for every algorithm; and the DER conversion against every shape of r and s.
import { generateKeyPairSync, type KeyObject, verify } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { calculateJwkThumbprint, importJWK, jwtVerify } from 'jose';
import {
  generateSigningKey,
  parseSigningKey,
  SIGNING_ALGORITHMS,
  type SigningKey,
} from '../../../broker/tokens/keys.ts';
import { signJwt, toConcatenated } from '../../../broker/tokens/signer.ts';
import { noteToken } from '../../support/tokens.ts';

/** DER by the book (X.690): what OpenSSL gives for r and s. */
function toDer(r: bigint, s: bigint): Buffer {
  const integer = (value: bigint): Buffer => {
    const hex = value.toString(16);
    const bytes = Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex');
    const body = (bytes[0] ?? 0) & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes;
    return Buffer.concat([Buffer.from([2, body.length]), body]);
  };
  const body = Buffer.concat([integer(r), integer(s)]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}

describe('signer', () => {
  for (const algorithm of SIGNING_ALGORITHMS) {
    const key = generateSigningKey(algorithm);

    it(`signs ${algorithm} so that jose verifies it with the published key`, async () => {
      for (let i = 0; i < 25; i++) {
        const token = noteToken(signJwt(key, 'at+jwt', { sub: `subject ${i}`, text: 'ü ☃' }));
        const { payload, protectedHeader } = await jwtVerify(
          token,
          await importJWK(key.publicJwk, algorithm),
          { algorithms: [algorithm] },
        );
        expect(payload).to.deep.equal({ sub: `subject ${i}`, text: 'ü ☃' });
        expect(protectedHeader).to.deep.equal({ alg: algorithm, kid: key.kid, typ: 'at+jwt' });
      }
    });

    it(`names a ${algorithm} key by the thumbprint jose computes`, async () => {
      expect(key.kid).to.equal(await calculateJwkThumbprint(key.publicJwk));
    });

    it(`does not verify ${algorithm} with another key`, async () => {
      const token = noteToken(signJwt(generateSigningKey(algorithm), 'JWT', { sub: 'x' }));
      const failure = await jwtVerify(token, await importJWK(key.publicJwk, algorithm)).then(
        () => 'verified',
        () => 'refused',
      );
      expect(failure).to.equal('refused');
    });

    it(`reads a ${algorithm} key from PEM and from JWK as the same key`, () => {
      const pem = String(key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
      const jwk = JSON.stringify(key.privateKey.export({ format: 'jwk' }));
      expect([pem, jwk].map((text) => parseSigningKey(text).publicJwk)).to.deep.equal([
        key.publicJwk,
        key.publicJwk,
      ]);
    });
  }

  it('converts any r and s, however short or with its top bit set', () => {
    const number = fc.bigInt({ min: 1n, max: 2n ** 256n - 1n });
    const short = fc.bigInt({ min: 1n, max: 2n ** 64n });
    fc.assert(
      fc.property(fc.oneof(number, short), fc.oneof(number, short), (r, s) => {
        const hex = (value: bigint) => value.toString(16).padStart(64, '0');
        expect(toConcatenated(toDer(r, s)).toString('hex')).to.equal(hex(r) + hex(s));
      }),
      { numRuns: 500 },
    );
  });

  it('makes signatures that node verifies in the form of RFC 7518 §3.4', () => {
    const key = generateSigningKey();
    for (let i = 0; i < 200; i++) {
      const [header, payload, signature = ''] = noteToken(signJwt(key, 'JWT', { i })).split('.');
      const bytes = Buffer.from(signature, 'base64url');
      expect(bytes).to.have.length(64);
      const isGood = verify(
        'sha256',
        Buffer.from(`${header}.${payload}`),
        { key: key.privateKey, dsaEncoding: 'ieee-p1363' },
        bytes,
      );
      expect(isGood).to.equal(true);
    }
  });

  const wrong: readonly { name: string; text: () => string; message: RegExp }[] = [
    { name: 'nothing', text: () => '', message: /^must hold one unencrypted private key/ },
    { name: 'garbage', text: () => 'hunter2', message: /^must hold one unencrypted private key/ },
    {
      name: 'a public key',
      text: () =>
        String(generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' })),
      message: /^must hold one unencrypted/,
    },
    {
      name: 'a P-384 key',
      text: () => pem(generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey),
      message: /^must be an EC key on P-256/,
    },
    {
      name: 'a secp256k1 key',
      text: () => pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey),
      message: /^must be an EC key on P-256/,
    },
    {
      name: 'an RSA key of 1024 bits',
      text: () => pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey),
      message: /RSA key of at least 2048/,
    },
    {
      name: 'an X25519 key',
      text: () => pem(generateKeyPairSync('x25519').privateKey),
      message: /^must be/,
    },
    {
      name: "a P-256 JWK with another key's public half",
      text: () => toMixedJwk(generateSigningKey(), generateSigningKey(), ['x', 'y']),
      message: /^must hold a private key and the public key that belongs to it/,
    },
    {
      name: "an RSA JWK with another key's modulus",
      text: () => toMixedJwk(generateSigningKey('RS256'), generateSigningKey('RS256'), ['n']),
      message: /^must hold a private key and the public key that belongs to it/,
    },
    {
      name: 'a symmetric JWK',
      text: () => '{"kty":"oct","k":"aHVudGVyMg"}',
      message: /^must hold one unencrypted/,
    },
  ];
  for (const { name, text, message } of wrong) {
    it(`refuses ${name} as a signing key and quotes nothing of it`, () => {
      expect(() => parseSigningKey(text()))
        .to.throw(message)
        .and.not.to.match(/hunter2|aHVu/);
    });
  }
});

function pem(key: KeyObject): string {
  return String(key.export({ type: 'pkcs8', format: 'pem' }));
}

/** The first key as a JWK, with some members of the second. */
function toMixedJwk(key: SigningKey, other: SigningKey, members: readonly string[]): string {
  const jwk = key.privateKey.export({ format: 'jwk' }) as Record<string, unknown>;
  const foreign = other.privateKey.export({ format: 'jwk' }) as Record<string, unknown>;
  for (const member of members) jwk[member] = foreign[member];
  return JSON.stringify(jwk);
}
