// Key sets that somebody hands in: what is taken, written down how, and everything that is refused whole.
import { expect } from 'chai';
import { MAX_PUSHED_KEYS, parseKeySet, readKeySet } from '../../../broker/identity/key-set.ts';
import { createSigningKey } from '../../support/minting.ts';

const ALGORITHMS = ['RS256', 'ES256'] as const;
const ec = createSigningKey('ES256', 'ec');
const other = createSigningKey('ES256', 'other');
const rsa = createSigningKey('RS256', 'rsa');
const toSet = (...keys: readonly unknown[]) => ({ keys });

describe('a key set that is handed in', () => {
  it('is written down in an order of its own, with public members alone', () => {
    const chatty = { ...rsa.jwk, x5c: ['AAAA'], 'x-note': 'for nobody' };
    const one = parseKeySet(toSet(ec.jwk, chatty), ALGORITHMS);
    const two = parseKeySet(toSet(chatty, ec.jwk), ALGORITHMS);
    expect(one.ok && one.jwks).to.be.a('string');
    expect(one.ok && one.jwks).to.equal(two.ok && two.jwks);
    const written = JSON.parse(one.ok ? one.jwks : '') as { keys: object[] };
    const members = new Set(written.keys.flatMap((key) => Object.keys(key)));
    expect([...members].sort()).to.deep.equal(
      ['alg', 'crv', 'e', 'kid', 'kty', 'n', 'use', 'x', 'y'].sort(),
    );
  });

  it('is read back as it was', () => {
    const parsed = parseKeySet(toSet(ec.jwk, rsa.jwk), ALGORITHMS);
    const thumbprints = parsed.ok && parsed.keys.map(({ thumbprint }) => thumbprint);
    const read = readKeySet(parsed.ok ? parsed.jwks : '');
    expect(read.map(({ thumbprint }) => thumbprint)).to.deep.equal(thumbprints);
    expect(read.map(({ kid }) => kid).sort()).to.deep.equal(['ec', 'rsa']);
  });

  it('takes the same key twice for one', () => {
    const parsed = parseKeySet(toSet(ec.jwk, ec.jwk), ALGORITHMS);
    expect(parsed.ok && parsed.keys).to.have.length(1);
  });

  it('takes as many keys as there may be', () => {
    const many = Array.from(
      { length: MAX_PUSHED_KEYS },
      (_, i) => createSigningKey('ES256', `${i}`).jwk,
    );
    expect(parseKeySet(toSet(...many), ALGORITHMS)).to.include({ ok: true });
    const more = [...many, createSigningKey('ES256', 'one-more').jwk];
    expect(parseKeySet(toSet(...more), ALGORITHMS)).to.include({ ok: false });
  });

  const bad: readonly { title: string; value: unknown; path: string; problem: RegExp }[] = [
    { title: 'a set that is a text', value: 'keys', path: 'keys', problem: /must be a list/ },
    { title: 'a set without keys', value: {}, path: 'keys', problem: /must be a list/ },
    { title: 'an empty set', value: toSet(), path: 'keys', problem: /must not be empty/ },
    {
      title: 'a private key',
      value: toSet(ec.jwk, other.privateKey.export({ format: 'jwk' })),
      path: 'keys[1]',
      problem: /private or symmetric/,
    },
    {
      title: 'one private member of an RSA key',
      value: toSet({ ...rsa.jwk, dp: 'AQAB' }),
      path: 'keys[0]',
      problem: /private or symmetric/,
    },
    {
      title: 'a symmetric key',
      value: toSet({ kty: 'oct', k: 'c2VjcmV0' }),
      path: 'keys[0]',
      problem: /private or symmetric/,
    },
    {
      title: 'a key for no algorithm of the entry',
      value: toSet(ec.jwk, createSigningKey('ES384', 'p384').jwk),
      path: 'keys[1]',
      problem: /no algorithm of the entry/,
    },
    {
      title: 'a key that is not for signatures',
      value: toSet({ ...ec.jwk, use: 'enc' }),
      path: 'keys[0]',
      problem: /not for signatures/,
    },
    {
      title: 'two keys of one kid',
      value: toSet(ec.jwk, { ...other.jwk, kid: 'ec' }),
      path: 'keys[1].kid',
      problem: /kid of another key/,
    },
    {
      title: 'a key that is none',
      value: toSet({ kty: 'EC' }),
      path: 'keys[0]',
      problem: /signs no token/,
    },
  ];
  for (const { title, value, path, problem } of bad) {
    it(`is refused whole with ${title}, and not quoted`, () => {
      const parsed = parseKeySet(value, ALGORITHMS);
      if (parsed.ok) throw new Error('it was taken');
      expect(parsed.problems).to.have.length(1);
      expect(parsed.problems[0]).to.include({ path });
      expect(parsed.problems[0]?.problem).to.match(problem);
      expect(JSON.stringify(parsed))
        .not.to.contain('c2VjcmV0')
        .and.not.to.contain(String(ec.jwk.x));
    });
  }
});
