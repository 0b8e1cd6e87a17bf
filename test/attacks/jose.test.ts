// Forged and misshapen tokens: algorithms, header parameters, segments, encodings. Each is refused for its stable
// reason, and the near miss beside it is accepted.
import { createHmac } from 'node:crypto';
import { expect } from 'chai';
import { CompactEncrypt } from 'jose';
import {
  createSigningKey,
  encode,
  type FakeIssuer,
  type MintOptions,
  mint,
  type SigningKey,
  serviceAccountClaims,
  signInput,
  startIssuer,
} from '../support/issuer.ts';
import { noteToken } from '../support/tokens.ts';
import { createTestVerifier, type TestVerifier, toCluster } from '../support/verifying.ts';

describe('attack: the form of the subject token', () => {
  let issuer: FakeIssuer;
  let verifier: TestVerifier;
  let rsa: SigningKey;
  let ec: SigningKey;
  before(async () => {
    issuer = await startIssuer({ alg: 'RS256' });
    rsa = issuer.key;
    ec = issuer.rotate({ alg: 'ES256' });
    verifier = createTestVerifier([toCluster(issuer, { algorithms: ['RS256', 'ES256'] })]);
    await verifier.keys.start();
  });
  after(async () => {
    await verifier.keys.stop();
    await issuer.close();
  });
  const claims = () => serviceAccountClaims({ issuer: issuer.issuer });
  const make = (parts: Partial<MintOptions> = {}) => mint({ key: rsa, claims: claims(), ...parts });
  const hmac = (secret: string | Buffer) => (input: string) =>
    createHmac('sha256', secret).update(input).digest();

  const refused: readonly { title: string; token: () => string; reason: string }[] = [
    {
      title: 'alg none without signature',
      reason: 'token_malformed',
      token: () => make({ header: { alg: 'none' }, edit: ([h, p]) => [h, p, ''] }),
    },
    {
      title: 'alg none with a signature',
      reason: 'token_malformed',
      token: () => make({ header: { alg: 'none' } }),
    },
    {
      title: 'alg NONE',
      reason: 'token_malformed',
      token: () => make({ header: { alg: 'NONE' } }),
    },
    {
      title: 'no alg',
      reason: 'token_malformed',
      token: () => make({ header: { alg: undefined } }),
    },
    {
      title: 'alg as a list',
      reason: 'token_malformed',
      token: () => make({ header: { alg: ['RS256'] } }),
    },
    {
      title: 'alg rs256 in lower case',
      reason: 'token_malformed',
      token: () => make({ header: { alg: 'rs256' } }),
    },
    {
      title: 'HS256 with the RSA public key in PEM as secret',
      reason: 'token_malformed',
      token: () =>
        make({
          header: { alg: 'HS256' },
          sign: hmac(rsa.publicKey.export({ type: 'spki', format: 'pem' })),
        }),
    },
    {
      title: 'HS256 with the RSA public key in DER as secret',
      reason: 'token_malformed',
      token: () =>
        make({
          header: { alg: 'HS256' },
          sign: hmac(rsa.publicKey.export({ type: 'spki', format: 'der' })),
        }),
    },
    {
      title: 'HS256 with an empty secret',
      reason: 'token_malformed',
      token: () => make({ header: { alg: 'HS256' }, sign: hmac('') }),
    },
    {
      title: 'an HMAC under the name RS256',
      reason: 'token_signature',
      token: () => make({ sign: hmac(rsa.publicKey.export({ type: 'spki', format: 'pem' })) }),
    },
    {
      title: 'the ES256 key under the name RS256',
      reason: 'token_signature',
      token: () => make({ key: ec, header: { alg: 'RS256' } }),
    },
    {
      title: 'the RS256 key under the name ES256',
      reason: 'token_signature',
      token: () => make({ header: { alg: 'ES256' } }),
    },
    {
      title: 'PS256, which this issuer is not allowed, by its own RSA key',
      reason: 'token_signature',
      token: () =>
        make({
          header: { alg: 'PS256' },
          sign: (input) => signInput({ ...rsa, alg: 'PS256' }, input),
        }),
    },
    {
      title: 'RS384 by its own RSA key',
      reason: 'token_signature',
      token: () =>
        make({
          header: { alg: 'RS384' },
          sign: (input) => signInput({ ...rsa, alg: 'RS384' }, input),
        }),
    },
    {
      title: 'an ECDSA signature of zeros (r = s = 0)',
      reason: 'token_signature',
      token: () => make({ key: ec, sign: () => Buffer.alloc(64) }),
    },
    {
      title: 'an ECDSA signature in DER',
      reason: 'token_signature',
      token: () => make({ key: ec, sign: () => Buffer.from('3006020101020101', 'hex') }),
    },
    {
      title: 'a jwk of the attacker’s in the header',
      reason: 'token_malformed',
      token: () => withOwnKey((key) => ({ jwk: key.jwk })),
    },
    {
      title: 'a jku',
      reason: 'token_malformed',
      token: () => withOwnKey(() => ({ jku: `${issuer.issuer}/keys` })),
    },
    {
      title: 'an x5u',
      reason: 'token_malformed',
      token: () => withOwnKey(() => ({ x5u: 'https://evil.test/chain' })),
    },
    {
      title: 'an x5c',
      reason: 'token_malformed',
      token: () => withOwnKey(() => ({ x5c: ['MIIB'] })),
    },
    { title: 'crit', reason: 'token_malformed', token: () => make({ header: { crit: ['exp'] } }) },
    {
      title: 'an empty crit',
      reason: 'token_malformed',
      token: () => make({ header: { crit: [] } }),
    },
    {
      title: 'b64 false',
      reason: 'token_malformed',
      token: () => make({ header: { b64: false } }),
    },
    { title: 'zip', reason: 'token_malformed', token: () => make({ header: { zip: 'DEF' } }) },
    { title: 'enc', reason: 'token_malformed', token: () => make({ header: { enc: 'A256GCM' } }) },
    {
      title: 'a nested token (cty JWT)',
      reason: 'token_malformed',
      token: () => make({ header: { cty: 'JWT' } }),
    },
    {
      title: 'typ at+jwt, as our own tokens have',
      reason: 'token_malformed',
      token: () => make({ header: { typ: 'at+jwt' } }),
    },
    {
      title: 'typ as a list',
      reason: 'token_malformed',
      token: () => make({ header: { typ: ['JWT'] } }),
    },
    {
      title: 'a kid that is a number',
      reason: 'token_malformed',
      token: () => make({ header: { kid: 1 } }),
    },
    {
      title: 'an empty kid',
      reason: 'token_malformed',
      token: () => make({ header: { kid: '' } }),
    },
    {
      title: 'a kid of 257 characters',
      reason: 'token_malformed',
      token: () => make({ header: { kid: 'k'.repeat(257) } }),
    },
    {
      title: 'a kid that is a path',
      reason: 'token_signature',
      token: () => make({ header: { kid: '../../../../dev/null' } }),
    },
    {
      title: 'a kid that is a query',
      reason: 'token_signature',
      token: () => make({ header: { kid: "' OR 1=1 --" } }),
    },
    {
      title: 'a kid every object has',
      reason: 'token_signature',
      token: () => make({ header: { kid: '__proto__' } }),
    },
    {
      title: 'the kid of another key',
      reason: 'token_signature',
      token: () => make({ header: { kid: ec.kid } }),
    },
    {
      title: 'a header named twice',
      reason: 'token_malformed',
      token: () => make({ header: `{"alg":"none","alg":"RS256","kid":"${rsa.kid}"}` }),
    },
    {
      title: 'a claim named twice',
      reason: 'token_malformed',
      token: () => make({ claims: twice('"aud":["ledger"]') }),
    },
    {
      title: 'a claim named twice, once escaped',
      reason: 'token_malformed',
      token: () => make({ claims: twice('"\\u0061ud":["ledger"]') }),
    },
    {
      title: 'a claim named twice deep inside',
      reason: 'token_malformed',
      token: () => make({ claims: twice('"x":{"y":[{"z":1,"z":2}]}') }),
    },
    { title: 'nothing', reason: 'token_malformed', token: () => '' },
    { title: 'one dot', reason: 'token_malformed', token: () => '.' },
    { title: 'only dots', reason: 'token_malformed', token: () => '..' },
    {
      title: 'two segments',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p]) => [h, p] }),
    },
    {
      title: 'four segments',
      reason: 'token_malformed',
      token: () => make({ edit: (all) => [...all, 'AAAA'] }),
    },
    {
      title: 'five segments',
      reason: 'token_malformed',
      token: () => make({ edit: (all) => [...all, 'AAAA', 'AAAA'] }),
    },
    { title: 'a trailing dot', reason: 'token_malformed', token: () => `${make()}.` },
    { title: 'ten thousand dots', reason: 'token_malformed', token: () => '.'.repeat(10_000) },
    {
      title: 'an empty header',
      reason: 'token_malformed',
      token: () => make({ edit: ([, p, s]) => ['', p, s] }),
    },
    {
      title: 'an empty payload',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, , s]) => [h, '', s] }),
    },
    {
      title: 'an empty signature',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p]) => [h, p, ''] }),
    },
    {
      title: 'another token’s payload',
      reason: 'token_signature',
      token: () =>
        make({
          edit: ([h, , s]) => [
            h,
            encode(
              JSON.stringify(
                serviceAccountClaims({ issuer: issuer.issuer, namespace: 'kube-system' }),
              ),
            ),
            s,
          ],
        }),
    },
    { title: 'a blank before it', reason: 'token_malformed', token: () => ` ${make()}` },
    { title: 'a newline after it', reason: 'token_malformed', token: () => `${make()}\n` },
    {
      title: 'a blank inside',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p, s]) => [h, `${p.slice(0, 8)} ${p.slice(8)}`, s] }),
    },
    {
      title: 'a NUL inside',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p, s]) => [h, p, `${s}\0`] }),
    },
    {
      title: 'padding',
      reason: 'token_malformed',
      token: () =>
        make({ edit: ([h, p, s]) => [`${h}${'='.repeat((4 - (h.length % 4)) % 4 || 4)}`, p, s] }),
    },
    {
      title: 'the other base64 alphabet',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p]) => [h, p, '+/+/'.repeat(86).slice(0, 342)] }),
    },
    {
      title: 'a last character with spare bits set',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p, s]) => [h, p, bendLast(s)] }),
    },
    {
      title: 'a segment of impossible length',
      reason: 'token_malformed',
      token: () => make({ edit: ([h, p, s]) => [h, p, `${s.slice(0, 340)}A`] }),
    },
    {
      title: 'a header that is not JSON',
      reason: 'token_malformed',
      token: () => make({ header: 'alg: RS256' }),
    },
    {
      title: 'a header that is a list',
      reason: 'token_malformed',
      token: () => make({ header: '["RS256"]' }),
    },
    {
      title: 'a payload that is not JSON',
      reason: 'token_malformed',
      token: () => make({ claims: 'payload' }),
    },
    {
      title: 'a payload that is a list',
      reason: 'token_malformed',
      token: () => make({ claims: '[]' }),
    },
    {
      title: 'a payload that is null',
      reason: 'token_malformed',
      token: () => make({ claims: 'null' }),
    },
    {
      title: 'a payload with two JSON values',
      reason: 'token_malformed',
      token: () => make({ claims: `${JSON.stringify(claims())}{}` }),
    },
    {
      title: 'a payload with a byte order mark',
      reason: 'token_malformed',
      token: () => make({ claims: `\ufeff${JSON.stringify(claims())}` }),
    },
    {
      title: 'a payload that is not UTF-8',
      reason: 'token_malformed',
      token: () =>
        make({ edit: ([h, , s]) => [h, encode(Buffer.from('{"x":"\xff"}', 'latin1')), s] }),
    },
    {
      title: 'a token of 16 KiB and a byte',
      reason: 'token_malformed',
      token: () => noteToken(`${make()}${'A'.repeat(16_385)}`),
    },
    {
      title: 'nesting as deep as 16 KiB allow',
      reason: 'token_malformed',
      token: () => make({ claims: '['.repeat(12_000) }),
    },
    {
      title: 'an opaque token',
      reason: 'token_malformed',
      token: () => noteToken('cc_0123456789abcdefghijABCDEFGHIJ'),
    },
    {
      title: 'JSON serialisation instead of compact',
      reason: 'token_malformed',
      token: () => JSON.stringify({ payload: 'e30', signature: 'AA', protected: 'e30' }),
    },
  ];
  for (const { title, token, reason } of refused) {
    it(`refuses with ${reason} ${title}`, async () => {
      expect((await verifier.refuse(token())).reason).to.equal(reason);
    });
  }

  it('refuses with token_malformed a JWE for the issuer’s own RSA key', async () => {
    const jwe = await new CompactEncrypt(Buffer.from(JSON.stringify(claims())))
      .setProtectedHeader({ alg: 'RSA-OAEP', enc: 'A256GCM' })
      .encrypt(rsa.publicKey);
    expect((await verifier.refuse(noteToken(jwe))).reason).to.equal('token_malformed');
  });

  const accepted: readonly { title: string; token: () => string }[] = [
    { title: 'RS256', token: () => make() },
    { title: 'ES256', token: () => make({ key: ec }) },
    { title: 'typ JWT', token: () => make({ header: { typ: 'JWT' } }) },
    {
      title: 'no kid, where one of the keys fits',
      token: () => make({ header: { kid: undefined } }),
    },
    {
      title: 'an unknown header parameter (RFC 7515 §4: ignored)',
      token: () => make({ header: { 'x-note': 'crit' } }),
    },
    {
      title: 'blanks in its JSON',
      token: () => make({ claims: JSON.stringify(claims(), null, 2) }),
    },
    {
      title: 'a name in a text that looks like a member',
      token: () => make({ claims: { ...claims(), note: '"aud": "aud":\\' } }),
    },
    {
      title: 'the same name at two depths',
      token: () => make({ claims: { ...claims(), extra: { aud: 1, iss: [{ aud: 2 }] } } }),
    },
    {
      title: 'nearly 16 KiB',
      token: () => make({ claims: { ...claims(), note: 'n'.repeat(11_000) } }),
    },
  ];
  for (const { title, token } of accepted) {
    it(`accepts ${title}`, async () => {
      expect(await verifier.judge(token())).to.equal('accepted');
    });
  }

  it('refuses an algorithm that the entry does not allow, although the key could do it', async () => {
    const { alg: _, ...free } = rsa.jwk;
    issuer.publish([free]);
    const token = make({
      header: { alg: 'PS256' },
      sign: (input) => signInput({ ...rsa, alg: 'PS256' }, input),
    });
    const strict = createTestVerifier([toCluster(issuer, { algorithms: ['RS256'] })]);
    const wide = createTestVerifier([toCluster(issuer, { algorithms: ['RS256', 'PS256'] })]);
    expect(await strict.judge(make())).to.equal('accepted');
    expect(await strict.judge(token)).to.equal('token_signature');
    expect(await wide.judge(token)).to.equal('accepted');
    issuer.publish([rsa.jwk, ec.jwk]);
    issuer.requests.length = 1;
  });

  it('asks for no keys because of any of these but the unknown kids', () => {
    // One fetch at start; the clock stands still, so that the cooldown held every other one back.
    expect(issuer.requests).to.have.length(1);
  });

  function withOwnKey(header: (key: SigningKey) => Record<string, unknown>): string {
    const key = createSigningKey('ES256', ec.kid);
    return make({ key, header: header(key) });
  }
  function twice(member: string): string {
    return JSON.stringify(claims()).replace(/\}$/, `,${member}}`);
  }
});

/** Sets a bit that the last character of 256 bytes in base64url does not carry. */
function bendLast(segment: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(segment.at(-1) ?? 'A');
  return `${segment.slice(0, -1)}${alphabet[last ^ 1]}`;
}
