// Key sets: which members are used and for which algorithms, and where they are fetched from over real sockets.
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { findCandidates } from '../../../broker/identity/jwks.ts';
import { CredentialRefused, toLoadKeys } from '../../../broker/identity/key-sources.ts';
import { isSignedBy, parseJwks } from '../../../broker/identity/keys.ts';
import {
  type Algorithm,
  createSigningKey,
  type FakeIssuer,
  signInput,
  startIssuer,
} from '../../support/issuer.ts';

const set = (...keys: readonly unknown[]) => JSON.stringify({ keys });

describe('a key set', () => {
  for (const alg of [
    'RS256',
    'RS384',
    'PS256',
    'ES256',
    'ES384',
    'ES512',
    'EdDSA',
  ] satisfies Algorithm[]) {
    it(`verifies ${alg}, and nothing that was changed`, () => {
      const key = createSigningKey(alg);
      const [parsed] = parseJwks(set(key.jwk)).keys;
      const signature = signInput(key, 'a.b');
      if (!parsed) throw new Error('no key');
      expect(isSignedBy(parsed, alg, { input: 'a.b', signature })).to.equal(true);
      expect(isSignedBy(parsed, alg, { input: 'a.c', signature })).to.equal(false);
      expect(isSignedBy(parsed, alg, { input: 'a.b', signature: signature.subarray(1) })).to.equal(
        false,
      );
    });
  }
  it('takes no PS256 signature whose leading zero was left out', () => {
    const key = createSigningKey('PS256');
    const [parsed] = parseJwks(set(key.jwk)).keys;
    if (!parsed) throw new Error('no key');
    // The salt is random: one in 256 signatures begins with a zero.
    let signature = signInput(key, 'a.b');
    while (signature[0] !== 0) signature = signInput(key, 'a.b');
    expect(isSignedBy(parsed, 'PS256', { input: 'a.b', signature })).to.equal(true);
    const shorter = signature.subarray(1);
    expect(isSignedBy(parsed, 'PS256', { input: 'a.b', signature: shorter })).to.equal(false);
  });
  const ec = createSigningKey('ES256', 'ec');
  const rsa = createSigningKey('RS256', 'rsa');
  const ignored: readonly { title: string; jwk: unknown; because: RegExp }[] = [
    {
      title: 'a symmetric key',
      jwk: { kty: 'oct', k: 'AAAA', kid: 'a' },
      because: /private or symmetric/,
    },
    {
      title: 'a private key',
      jwk: ec.privateKey.export({ format: 'jwk' }),
      because: /private or symmetric/,
    },
    { title: 'an encryption key', jwk: { ...rsa.jwk, use: 'enc' }, because: /not for signatures/ },
    {
      title: 'a key for other operations',
      jwk: { ...rsa.jwk, key_ops: ['encrypt'] },
      because: /not for verification/,
    },
    {
      title: 'an alg that is not its type’s',
      jwk: { ...rsa.jwk, alg: 'ES256' },
      because: /alg does not fit/,
    },
    {
      title: 'an HMAC alg on an RSA key',
      jwk: { ...rsa.jwk, alg: 'HS256' },
      because: /alg does not fit/,
    },
    {
      title: 'a curve that signs no token',
      jwk: { ...ec.jwk, crv: 'secp256k1' },
      because: /type that signs no token/,
    },
    {
      title: 'a point that is not on the curve',
      jwk: { ...ec.jwk, x: 'AAAA' },
      because: /not a valid public key/,
    },
    {
      title: 'an RSA key of 1024 bits',
      jwk: { kty: 'RSA', e: 'AQAB', n: Buffer.alloc(128, 0xff).toString('base64url') },
      because: /modulus/,
    },
    { title: 'a kid that is a number', jwk: { ...ec.jwk, kid: 7 }, because: /kid/ },
    { title: 'a text', jwk: 'key', because: /not an object/ },
  ];
  for (const { title, jwk, because } of ignored) {
    it(`ignores ${title} and uses the next`, () => {
      const parsed = parseJwks(set(jwk, ec.jwk));
      expect(parsed.keys.map(({ kid }) => kid)).to.deep.equal(['ec']);
      expect(parsed.ignored).to.have.length(1);
      expect(parsed.ignored[0]).to.match(because);
    });
  }
  it('counts a repeated key once', () =>
    expect(parseJwks(set(ec.jwk, ec.jwk)).keys).to.have.length(1));
  it('binds a key that states its alg to it, and another to its family', () => {
    const { alg: _, ...free } = rsa.jwk;
    expect(parseJwks(set(rsa.jwk)).keys[0]?.algorithms).to.deep.equal(['RS256']);
    expect(parseJwks(set(free)).keys[0]?.algorithms)
      .to.include.members(['RS256', 'PS512'])
      .and.not.include('ES256');
  });
  for (const [title, text] of [
    ['no JSON', 'x'],
    ['no object', '[]'],
    ['no list', '{"keys":{}}'],
    ['over 100 keys', set(...Array(101).fill(ec.jwk))],
  ] as const) {
    it(`is refused whole if it is ${title}`, () =>
      expect(() => parseJwks(text)).to.throw(/key set/));
  }
  it('offers a token without kid the fitting keys, eight at most', () => {
    const many = Array.from({ length: 12 }, (_, at) => ({ ...rsa.jwk, kid: `k${at}` }));
    const { keys } = parseJwks(set(ec.jwk, ...many));
    expect(findCandidates(keys, { alg: 'RS256', kid: undefined })).to.have.length(8);
    expect(findCandidates(keys, { alg: 'RS256', kid: 'k11' }).map(({ kid }) => kid)).to.deep.equal([
      'k11',
    ]);
    expect(findCandidates(keys, { alg: 'ES256', kid: 'k11' })).to.deep.equal([]);
  });
  it('has the SHA-256 of the public key as thumbprint, whatever the kid', () => {
    const der = ec.publicKey.export({ type: 'spki', format: 'der' });
    const expected = createHash('sha256').update(der).digest('hex');
    expect(parseJwks(set({ ...ec.jwk, kid: 'other' })).keys[0]?.thumbprint).to.equal(expected);
  });
});

describe('fetching a key set', () => {
  let issuer: FakeIssuer;
  let folder: string;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'coatcheck-keys-'));
  });
  beforeEach(async () => {
    issuer = await startIssuer();
  });
  afterEach(() => issuer.close());
  after(() => rm(folder, { recursive: true }));
  const kidsOf = (text: string) => parseJwks(text).keys.map(({ kid }) => kid);
  async function apiServer() {
    const [caFile, tokenFile] = [path.join(folder, 'ca.crt'), path.join(folder, 'token')];
    await writeFile(caFile, '');
    await writeFile(tokenFile, `${issuer.bearer}\n`);
    return { from: 'apiServer', url: issuer.issuer, caFile, tokenFile } as const;
  }
  const load = (keys: Parameters<typeof toLoadKeys>[0]['keys'], issuers = [issuer.issuer]) =>
    toLoadKeys({ keys, issuers }, { timeoutMs: 300 })();

  it('works by URL', async () => {
    expect(kidsOf(await load({ from: 'url', url: issuer.jwksUrl }))).to.deep.equal([
      issuer.key.kid,
    ]);
  });
  it('works by the API server with the token on the disk, read anew each time', async () => {
    const keys = await apiServer();
    expect(kidsOf(await load(keys))).to.deep.equal([issuer.key.kid]);
    issuer.setBearer('test-bearer-two');
    const refusal = await load(keys).catch((error: unknown) => error);
    expect(refusal).to.be.instanceOf(CredentialRefused).with.property('status', 401);
    await writeFile(keys.tokenFile, 'test-bearer-two');
    expect(kidsOf(await load(keys))).to.deep.equal([issuer.key.kid]);
  });
  it('takes 403 for a refused credential too, and 404 not', async () => {
    const keys = await apiServer();
    issuer.setMode({ status: 403 });
    expect(await load(keys).catch((error: unknown) => error)).to.be.instanceOf(CredentialRefused);
    issuer.setMode({ status: 404 });
    expect(await load(keys).catch((error: unknown) => error)).to.not.be.instanceOf(
      CredentialRefused,
    );
  });
  it('works by discovery', async () => {
    const keys = { from: 'discovery', url: `${issuer.issuer}/` } as const;
    expect(kidsOf(await load(keys))).to.deep.equal([issuer.key.kid]);
  });
  it('uses the replaced address instead of an unreachable jwks_uri', async () => {
    issuer.discovery.jwks_uri = 'https://ip-172-0-0-1.internal.test/keys';
    const keys = { from: 'discovery', url: issuer.issuer, jwksUri: issuer.jwksUrl } as const;
    expect(kidsOf(await load(keys))).to.deep.equal([issuer.key.kid]);
  });
  it('works by file', async () => {
    const file = path.join(folder, 'keys.json');
    await writeFile(file, set(issuer.key.jwk));
    expect(kidsOf(await load({ from: 'file', file }))).to.deep.equal([issuer.key.kid]);
  });

  const failures: readonly { title: string; prepare: () => void; message: RegExp }[] = [
    {
      title: 'a discovery document of another issuer',
      prepare: () => {
        issuer.discovery.issuer = 'https://evil.test';
      },
      message: /another issuer/,
    },
    {
      title: 'a jwks_uri over http',
      prepare: () => {
        issuer.discovery.jwks_uri = 'http://evil.test/keys';
      },
      message: /not https/,
    },
    {
      title: 'a jwks_uri that is a file',
      prepare: () => {
        issuer.discovery.jwks_uri = 'file:///etc/passwd';
      },
      message: /not https/,
    },
    {
      title: 'a discovery document without jwks_uri',
      prepare: () => {
        delete issuer.discovery.jwks_uri;
      },
      message: /lacks/,
    },
    {
      title: 'a redirect',
      prepare: () => issuer.setMode({ status: 307, headers: { Location: issuer.jwksUrl } }),
      message: /answered 307/,
    },
    { title: 'silence', prepare: () => issuer.setMode('hang'), message: /no answer within 300 ms/ },
    {
      title: 'an endless answer',
      prepare: () => issuer.setMode({ status: 200, body: 'x'.repeat(300_000) }),
      message: /more than 262144 bytes/,
    },
  ];
  for (const { title, prepare, message } of failures) {
    it(`fails on ${title}`, async () => {
      prepare();
      const error = await load({ from: 'discovery', url: issuer.issuer }).catch(
        (one: unknown) => one,
      );
      expect(error).to.be.instanceOf(Error).with.property('message').that.matches(message);
    });
  }
});
