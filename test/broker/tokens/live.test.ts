// Whether a text is a live token of ours: JWTs with each part replaced, remembered ones whose key is gone or that were
// denied meanwhile, and what is said when nobody can know.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { Identity } from '../../../broker/identity/identity.ts';
import type { Mirror } from '../../../broker/store/mirror.ts';
import { type StoredToken, StoreError } from '../../../broker/store/store.ts';
import { issueJwt, type TokenContent } from '../../../broker/tokens/issue.ts';
import {
  fixedKeys,
  generateSigningKey,
  type KeySet,
  type SigningKey,
} from '../../../broker/tokens/keys.ts';
import { createLiveTokens } from '../../../broker/tokens/live.ts';
import { createJwtVerifier } from '../../../broker/tokens/live-jwt.ts';
import { hashToken, newOpaqueToken } from '../../../broker/tokens/opaque.ts';
import { signJwt } from '../../../broker/tokens/signer.ts';
import { toTokenId } from '../../../broker/tokens/token-id.ts';
import { createFakeClock } from '../../support/clock.ts';
import { noteToken } from '../../support/tokens.ts';

const ISSUER = 'https://broker.example';
const clock = createFakeClock();
const now = () => Math.floor(clock.now() / 1000);
const key = generateSigningKey();

const WORKLOAD: Identity = {
  kind: 'workload',
  cluster: 'local',
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: 'sa-uid',
  pod: { name: 'checkout-1', uid: 'pod-1' },
  node: { name: 'node-1', uid: 'node-uid' },
};

function make(more: Partial<TokenContent> = {}, signer: SigningKey = key): string {
  const content: TokenContent = {
    issuer: ISSUER,
    identity: WORKLOAD,
    audience: 'payments',
    scopes: ['a', 'b'],
    policies: ['p'],
    claims: { tenant: 'shop' },
    jwtType: 'at+jwt',
    issuedAt: now(),
    expiresAt: now() + 900,
    tokenId: toTokenId('an-id', 'a-role'),
    ...more,
  };
  return noteToken(issueJwt(content, signer));
}

/** A mirror that holds nothing, over what a test says. */
function toMirror(
  more: Partial<Mirror> = {},
): Pick<Mirror, 'findDenial' | 'checkFresh' | 'findToken'> {
  return {
    findDenial: () => undefined,
    checkFresh: () => undefined,
    findToken: async () => undefined,
    ...more,
  };
}

const over = (more: Partial<Mirror> = {}, issuers: readonly string[] = [ISSUER]) =>
  createLiveTokens({ keys: fixedKeys(key), issuers, mirror: toMirror(more), clock });

describe('live JWTs', () => {
  const IDENTITIES: readonly Identity[] = [
    WORKLOAD,
    { ...WORKLOAD, pod: undefined, node: undefined } as unknown as Identity,
    { kind: 'oidc', issuer: 'github', subject: 'repo:acme/shop:ref:refs/heads/main' },
    { kind: 'client', id: 'gateway' },
    { kind: 'user', provider: 'corp', subject: 'ann:1', groups: [] },
  ];
  for (const identity of IDENTITIES) {
    it(`say again whose they are: ${JSON.stringify(identity)}`, async () => {
      const live = await over().findLive(make({ identity }));
      expect(JSON.parse(JSON.stringify(live?.identity))).to.deep.equal(
        JSON.parse(JSON.stringify(identity)),
      );
      expect(live).to.deep.include({
        kind: 'jwt',
        audience: 'payments',
        scopes: ['a', 'b'],
        policies: ['p'],
        roleTag: toTokenId('x', 'a-role').slice(2),
        tokenId: toTokenId('an-id', 'a-role'),
      });
      expect(live?.claims).to.include({ tenant: 'shop', iss: ISSUER });
    });
  }

  for (const algorithm of ['ES256', 'RS256', 'EdDSA'] as const) {
    it(`are known by a signature of ${algorithm}, and by no other key of that kind`, async () => {
      const [own, other] = [generateSigningKey(algorithm), generateSigningKey(algorithm)];
      const tokens = createLiveTokens({ keys: fixedKeys(own), issuers: [ISSUER], clock });
      expect(await tokens.findLive(make({}, own))).to.be.an('object');
      expect(await tokens.findLive(make({}, { ...other, kid: own.kid }))).to.equal(undefined);
      expect(await tokens.findLive(make({}, other))).to.equal(undefined);
    });
  }

  const claims = () => JSON.parse(Buffer.from(make().split('.')[1] ?? '', 'base64url').toString());
  const signed = (change: object, typ = 'at+jwt') =>
    noteToken(signJwt(key, typ, { ...claims(), ...change }));
  const WRONG: readonly (readonly [name: string, text: () => string])[] = [
    ['another issuer', () => make({ issuer: 'https://broker.example.evil' })],
    ['the issuer with a slash', () => make({ issuer: `${ISSUER}/` })],
    ['its end', () => make({ expiresAt: now() })],
    ['a begin in six seconds', () => make({ issuedAt: now() + 6 })],
    ['another type of ours', () => signed({}, 'session+jwt')],
    ['an audience that is a list', () => signed({ aud: ['payments'] })],
    ['no audience', () => signed({ aud: undefined })],
    ['no jti', () => signed({ jti: undefined })],
    ['no exp', () => signed({ exp: undefined })],
    ['exp as a text', () => signed({ exp: String(now() + 900) })],
    ['a subject of no kind', () => signed({ sub: 'system:admin' })],
    ['a subject of another cluster than its claim', () => signed({ cluster: 'other' })],
    ['a client with a colon', () => signed({ sub: 'client:a:b' })],
    ['a fourth part', () => `${make()}.x`],
    ['no signature', () => `${make().split('.').slice(0, 2).join('.')}.`],
    ['a stray character in its signature', () => `${make()}!`],
    ['padding', () => `${make()}==`],
    ['a blank before it', () => ` ${make()}`],
    ['17 KiB', () => make({ claims: { a: 'x'.repeat(17 * 1024) } })],
  ];
  for (const [name, text] of WRONG) {
    it(`are none with ${name}`, async () => {
      expect(await over().findLive(text())).to.equal(undefined);
    });
  }

  it('are accepted until the last second, and up to five seconds before the first', async () => {
    expect(await over().findLive(make({ expiresAt: now() + 1 }))).to.be.an('object');
    expect(await over().findLive(make({ issuedAt: now() + 5 }))).to.be.an('object');
  });

  it('of a former issuer are accepted as long as it is named', async () => {
    const old = make({ issuer: 'https://old.example' });
    expect(await over({}, [ISSUER, 'https://old.example']).findLive(old)).to.be.an('object');
    expect(await over().findLive(old)).to.equal(undefined);
  });

  it('are not any more once their key is not published, remembered or not', async () => {
    let set: KeySet = { signing: key, published: [key] };
    const tokens = createLiveTokens({ keys: { current: () => set }, issuers: [ISSUER], clock });
    const token = make();
    expect(await tokens.findLive(token)).to.be.an('object');
    const next = generateSigningKey();
    set = { signing: next, published: [next, key] };
    expect(await tokens.findLive(token)).to.be.an('object');
    set = { signing: next, published: [next] };
    expect(await tokens.findLive(token)).to.equal(undefined);
  });

  it('are looked for in the deny list each time, remembered or not', async () => {
    let denied = false;
    const asked: unknown[] = [];
    const tokens = over({
      findDenial: (token) => {
        asked.push(token);
        return denied ? { id: 'd', tokenId: 'x', until: 0, createdAt: 0, by: 'self' } : undefined;
      },
    });
    const token = make();
    expect(await tokens.findLive(token)).to.be.an('object');
    denied = true;
    expect(await tokens.findLive(token)).to.equal(undefined);
    denied = false;
    expect(await tokens.findLive(token)).to.be.an('object');
    expect(asked).to.have.length(3);
    expect(asked[0]).to.deep.equal({
      subject: 'k8s:local:shop:checkout',
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      serviceAccountUid: 'sa-uid',
      podName: 'checkout-1',
      podUid: 'pod-1',
      audience: 'payments',
      roleTag: toTokenId('x', 'a-role').slice(2),
      tokenId: toTokenId('an-id', 'a-role'),
      issuedAt: now(),
      kind: 'client',
    });
  });

  it('are remembered in a bounded number', () => {
    const verifier = createJwtVerifier({
      keys: fixedKeys(key),
      issuers: [ISSUER],
      maxVerified: 10,
    });
    for (let i = 0; i < 30; i++) verifier.find(make({ tokenId: `id-${i}` }));
    expect(verifier.size()).to.equal(10);
    verifier.find('eyJ.garbage.x');
    expect(verifier.size()).to.equal(10);
  });

  it('live without a store until they end', async () => {
    const tokens = createLiveTokens({ keys: fixedKeys(key), issuers: [ISSUER], clock });
    expect(await tokens.findLive(make())).to.be.an('object');
    expect(await tokens.findLive(newOpaqueToken(randomBytes).token.reveal())).to.equal(undefined);
  });
});

describe('live tokens while the store is away', () => {
  const tooOld = () => {
    throw new StoreError('unavailable', 'too old');
  };
  async function findReason(work: Promise<unknown>): Promise<unknown> {
    return work.then(
      (value) => ({ value }),
      (error: { reason?: string }) => error.reason,
    );
  }

  it('are unknown, not dead, once what is remembered of revocations may be too old', async () => {
    const tokens = over({ checkFresh: tooOld, findToken: async () => tooOld() });
    const opaque = noteToken(newOpaqueToken(randomBytes).token.reveal());
    expect(await findReason(tokens.findLive(make()))).to.equal('store_unavailable');
    expect(await findReason(tokens.findLive(opaque))).to.equal('store_unavailable');
  });

  it('are dead all the same where no store is needed to see it', async () => {
    const tokens = over({ checkFresh: tooOld, findToken: async () => tooOld() });
    for (const text of ['garbage', make({ expiresAt: now() }), make({ issuer: 'https://x.y' })])
      expect(await tokens.findLive(text)).to.equal(undefined);
  });
});

describe('looked-up tokens', () => {
  const stored = (hash: string, more: Partial<StoredToken>): StoredToken => ({
    hash,
    accessor: 'a'.repeat(24),
    kind: 'static',
    subject: 'static:ci',
    scopes: [],
    policies: ['coatcheck:roles:read'],
    issuedAt: now(),
    expiresAt: now() + 60,
    maxExpiresAt: now() + 60,
    facts: {},
    ...more,
  });

  it('are asked for once their checksum is right, and never before', async () => {
    const asked: string[] = [];
    const tokens = over({
      findToken: async (hash) => {
        asked.push(hash);
        return undefined;
      },
    });
    const token = noteToken(newOpaqueToken(randomBytes).token.reveal());
    await tokens.findLive(token);
    const wrong = [
      `${token}x`,
      token.slice(1),
      token.slice(0, -1) + (token.endsWith('x') ? 'y' : 'x'),
    ];
    for (const text of [...wrong, 'garbage', '']) await tokens.findLive(text);
    expect(asked).to.deep.equal([hashToken(token)]);
  });

  it('may be of another form where the operator brought them, and only those', async () => {
    const hash = hashToken('a bootstrap token');
    const tokens = createLiveTokens({
      keys: fixedKeys(key),
      issuers: [ISSUER],
      mirror: toMirror({ findToken: async (one) => stored(one, { name: 'bootstrap' }) }),
      clock,
      isLookedUp: (one) => one === hash,
    });
    expect(await tokens.findLive('a bootstrap token')).to.deep.include({
      kind: 'static',
      name: 'bootstrap',
      policies: ['coatcheck:roles:read'],
    });
    expect(await tokens.findLive('a bootstrap tokem')).to.equal(undefined);
  });

  it('without an audience say none, and prove no identity', async () => {
    const token = noteToken(newOpaqueToken(randomBytes).token.reveal());
    const live = await over({ findToken: async (hash) => stored(hash, {}) }).findLive(token);
    expect(live).not.to.have.any.keys('audience', 'identity', 'role');
    expect(live?.claims).not.to.have.property('aud');
  });

  it('end when they are over', async () => {
    const token = noteToken(newOpaqueToken(randomBytes).token.reveal());
    const tokens = over({ findToken: async (hash) => stored(hash, { expiresAt: now() }) });
    expect(await tokens.findLive(token)).to.equal(undefined);
  });

  it('whose facts are not what we stored are a failure, and quote nothing', async () => {
    const token = noteToken(newOpaqueToken(randomBytes).token.reveal());
    const tokens = over({
      findToken: async (hash) => stored(hash, { kind: 'client', facts: { identity: 'root' } }),
    });
    const error = await tokens.findLive(token).catch((one: Error) => one.message);
    expect(error).to.equal('the facts of a stored token are not what was stored');
  });
});
