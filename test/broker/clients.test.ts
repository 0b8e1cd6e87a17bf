// Registered clients: secrets are hashed slowly and compared fast, assertions are used once, the directory follows the
// store and outlives its absence for as long as it may.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { createAssertionChecker, MAX_ASSERTION_SECONDS } from '../../broker/client-assertions.ts';
import {
  createSecretChecker,
  hashClientSecret,
  newClientSecret,
} from '../../broker/client-secrets.ts';
import { createClients, isClientId } from '../../broker/clients.ts';
import { BrokerError } from '../../broker/errors.ts';
import { type StoreChange, type StoredClient, StoreError } from '../../broker/store/store.ts';
import { toChecksum } from '../../broker/tokens/opaque.ts';
import { Secret } from '../../common/secret.ts';
import { createFakeClock } from '../support/clock.ts';
import { type Claims, createSigningKey, mint, type SigningKey } from '../support/minting.ts';
import { noteToken } from '../support/tokens.ts';

async function findReason(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    return error.reason;
  }
}

describe('client secrets', () => {
  const secret = newClientSecret(randomBytes);
  noteToken(secret.reveal());
  const clock = createFakeClock();
  const newChecker = () => createSecretChecker({ key: randomBytes(32), clock });

  it('are ccs_, 43 letters and a checksum, so that a scanner knows them', () => {
    const text = secret.reveal();
    expect(text).to.match(/^ccs_[0-9A-Za-z]{49}$/);
    expect(toChecksum(text.slice(0, -6))).to.equal(text.slice(-6));
  });

  it('are stored as argon2id, never twice alike', async () => {
    const [one, two] = await Promise.all([
      hashClientSecret(secret, randomBytes),
      hashClientSecret(secret, randomBytes),
    ]);
    expect(one).to.match(
      /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/,
    );
    expect(one).not.to.equal(two);
  });

  it('fit their own hash and the other one during a rotation, and nothing else', async () => {
    const [old, other] = [newClientSecret(randomBytes), newClientSecret(randomBytes)];
    noteToken(old.reveal());
    noteToken(other.reveal());
    const hashes = await Promise.all(
      [old, secret].map((one) => hashClientSecret(one, randomBytes)),
    );
    const checker = newChecker();
    expect(await checker.isOneOf(hashes, secret)).to.equal(true);
    expect(await checker.isOneOf(hashes, old)).to.equal(true);
    expect(await checker.isOneOf(hashes, other)).to.equal(false);
    expect(await checker.isOneOf(hashes, new Secret(`${secret.reveal()} `))).to.equal(false);
    expect(await checker.isOneOf([], secret)).to.equal(false);
    expect(await checker.isOneOf(hashes.slice(0, 1), secret)).to.equal(false);
  });

  it('are compared by what other products hashed too (RFC 9106, other costs)', async () => {
    // argon2 of the reference implementation: echo -n password | argon2 somesalt -id -t 2 -k 65536 -p 1 -e
    const known =
      '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc';
    expect(await newChecker().isOneOf([known], new Secret('password'))).to.equal(true);
    expect(await newChecker().isOneOf([known], new Secret('passwore'))).to.equal(false);
  });

  it('are not compared with a hash that would cost too much, or is none', async () => {
    const bad = [
      '$argon2id$v=19$m=9999999,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
      '$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc',
      'plain',
      '',
    ];
    for (const hash of bad) {
      const outcome = await newChecker()
        .isOneOf([hash], new Secret('password'))
        .catch((error: Error) => error.message);
      expect(outcome).to.equal('a stored client secret is no argon2id hash that we compare');
    }
  });

  it('are compared at once the second time, until ten minutes without use', async () => {
    const hashes = [await hashClientSecret(secret, randomBytes)];
    const checker = newChecker();
    await checker.isOneOf(hashes, secret);
    const startedAt = performance.now();
    for (let i = 0; i < 200; i++) await checker.isOneOf(hashes, secret);
    // 200 comparisons by argon2id take seconds.
    expect(performance.now() - startedAt).to.be.below(2000);
    await clock.advance(10 * 60_000);
    expect(await checker.isOneOf(hashes, secret)).to.equal(true);
  });

  it('that are in use get past a flood of wrong ones, hours later too', async () => {
    const hashes = [await hashClientSecret(secret, randomBytes)];
    const checker = newChecker();
    await checker.isOneOf(hashes, secret);
    for (let i = 0; i < 3; i++) {
      await clock.advance(9 * 60_000);
      expect(await checker.isOneOf(hashes, secret)).to.equal(true);
    }
    const guesses = Array.from({ length: 80 }, () =>
      findReason(() => checker.isOneOf(hashes, newClientSecret(randomBytes))),
    );
    await clock.advance(60_000);
    expect(await checker.isOneOf(hashes, secret)).to.equal(true);
    // The near miss: taken away, it is no secret any more however often it was used.
    expect(await checker.isOneOf([], secret)).to.equal(false);
    expect(await Promise.all(guesses)).to.include('too_many_requests');
  });

  it('are compared once for a hundred requests that come together', async () => {
    const hashes = [await hashClientSecret(secret, randomBytes)];
    const checker = newChecker();
    // More than may wait: only shared comparisons serve them all.
    const together = Array.from({ length: 100 }, () => checker.isOneOf(hashes, secret));
    expect(new Set(await Promise.all(together))).to.deep.equal(new Set([true]));
  });

  it('are refused as too many while a flood of them is compared', async () => {
    const hashes = [await hashClientSecret(secret, randomBytes)];
    const checker = newChecker();
    const guesses = Array.from({ length: 80 }, () =>
      findReason(() => checker.isOneOf(hashes, newClientSecret(randomBytes))),
    );
    const settling = Promise.all(guesses);
    await clock.advance(2000);
    const reasons = await settling;
    expect(reasons.filter((reason) => reason === 'too_many_requests').length).to.be.above(10);
  });
});

describe('client assertions', () => {
  const AUDIENCES = ['https://broker.example', 'https://broker.example/oauth2/token'];
  const key = createSigningKey('ES256', 'one');
  const clock = createFakeClock();
  const now = () => Math.floor(clock.now() / 1000);
  let count = 0;

  function assert(
    claims: Claims = {},
    { signer = key, header = {} }: { signer?: SigningKey; header?: Claims } = {},
  ): Secret {
    count += 1;
    const good = {
      iss: 'ci',
      sub: 'ci',
      aud: AUDIENCES[0],
      iat: now(),
      exp: now() + 60,
      jti: `id-${count}`,
    };
    return new Secret(mint({ key: signer, header, claims: { ...good, ...claims } }));
  }

  const jwks = { keys: [key.jwk] };
  const newChecker = () => createAssertionChecker({ audiences: AUDIENCES, clock });
  const check = (assertion: Secret, id = 'ci', checker = newChecker()) =>
    findReason(() => checker.check(assertion, { id, jwks }));

  const rs256 = createSigningKey('RS256', 'rsa');
  const ROWS: readonly (readonly [string, boolean, () => Secret])[] = [
    ['as it should be', true, () => assert()],
    ['for the token endpoint', true, () => assert({ aud: AUDIENCES[1] })],
    ['with its audience as a list of one', true, () => assert({ aud: [AUDIENCES[0]] })],
    ['with a second audience', false, () => assert({ aud: [...AUDIENCES] })],
    ['for another server', false, () => assert({ aud: 'https://broker.example.evil' })],
    ['for the issuer with a slash', false, () => assert({ aud: 'https://broker.example/' })],
    ['without audience', false, () => assert({ aud: undefined })],
    ['of another client', false, () => assert({ iss: 'cd', sub: 'cd' })],
    ['by somebody about the client', false, () => assert({ iss: 'cd' })],
    ['without iss', false, () => assert({ iss: undefined })],
    ['that ended a second ago', true, () => assert({ exp: now() - 1 })],
    ['that ended ten seconds ago', false, () => assert({ exp: now() - 10 })],
    ['as long as allowed', true, () => assert({ exp: now() + MAX_ASSERTION_SECONDS })],
    ['longer than allowed', false, () => assert({ exp: now() + MAX_ASSERTION_SECONDS + 11 })],
    ['without exp', false, () => assert({ exp: undefined })],
    ['with exp as a text', false, () => assert({ exp: String(now() + 60) })],
    ['from the future', false, () => assert({ iat: now() + 60 })],
    ['not valid yet', false, () => assert({ nbf: now() + 60 })],
    ['without iat', true, () => assert({ iat: undefined })],
    ['without jti', false, () => assert({ jti: undefined })],
    ['with an empty jti', false, () => assert({ jti: '' })],
    ['by a key the client does not have', false, () => assert({}, { signer: rs256 })],
    ['that names no key', true, () => assert({}, { header: { kid: undefined } })],
    ['that names another key', false, () => assert({}, { header: { kid: 'two' } })],
    ['that brings its own key', false, () => assert({}, { header: { jwk: key.jwk } })],
    ['with alg none', false, () => assert({}, { header: { alg: 'none' } })],
    ['with crit', false, () => assert({}, { header: { crit: ['exp'] } })],
    ['of another type', false, () => assert({}, { header: { typ: 'at+jwt' } })],
  ];
  for (const [name, isGood, make] of ROWS) {
    it(`${isGood ? 'accepts' : 'refuses'} one ${name}`, async () => {
      expect(await check(make())).to.equal(isGood ? undefined : 'client_unauthenticated');
    });
  }

  it('refuses an algorithm outside the list, also by the client’s own key', async () => {
    const es512 = createSigningKey('ES512', 'big');
    const assertion = assert({}, { signer: es512 });
    const reason = await findReason(() =>
      newChecker().check(assertion, { id: 'ci', jwks: { keys: [es512.jwk] } }),
    );
    expect(reason).to.equal('client_unauthenticated');
  });

  it('accepts each once, whatever else comes, until it has ended by itself', async () => {
    const checker = newChecker();
    const assertion = assert();
    expect(await check(assertion, 'ci', checker)).to.equal(undefined);
    expect(await check(assertion, 'ci', checker)).to.equal('client_unauthenticated');
    for (let i = 0; i < 50; i++) await check(assert(), 'ci', checker);
    expect(await check(assertion, 'ci', checker)).to.equal('client_unauthenticated');
    await clock.advance(69_000);
    expect(await check(assertion, 'ci', checker)).to.equal('client_unauthenticated');
  });

  it('accepts the same jti of another client', async () => {
    const checker = newChecker();
    expect(await check(assert({ jti: 'x' }), 'ci', checker)).to.equal(undefined);
    const other = assert({ jti: 'x', iss: 'cd', sub: 'cd' });
    expect(await check(other, 'cd', checker)).to.equal(undefined);
  });

  it('does not use up an assertion by a forgery with its jti', async () => {
    const checker = newChecker();
    expect(await check(assert({ jti: 'y' }, { signer: rs256 }), 'ci', checker)).to.be.a('string');
    expect(await check(assert({ jti: 'y' }), 'ci', checker)).to.equal(undefined);
  });

  it('are remembered within a bound of each client, so that none locks out another', async () => {
    const checker = createAssertionChecker({ audiences: AUDIENCES, clock, maxRemembered: 3 });
    const asked = async (id: string, claims: Claims = {}) =>
      check(assert({ iss: id, sub: id, ...claims }), id, checker);
    const first = [await asked('ci'), await asked('ci'), await asked('ci', { jti: 'same' })];
    expect(first).to.deep.equal([undefined, undefined, undefined]);
    expect(await asked('ci')).to.equal('too_many_requests');
    expect(await asked('ci', { jti: 'same' })).to.equal('client_unauthenticated');
    // Another client may use the same jti.
    expect(await asked('cd', { jti: 'same' })).to.equal(undefined);
    await clock.advance(72_000);
    expect(await asked('ci')).to.equal(undefined);
  });
});

describe('registered clients', () => {
  const client = (id: string, more: Partial<StoredClient> = {}): StoredClient => ({
    id,
    secretHashes: [],
    createdAt: 0,
    createdBy: 'test',
    ...more,
  });

  /** A store whose answers a test scripts; the real ones are held to test/broker/store. */
  function createScripted(first: readonly StoredClient[]) {
    const listeners: ((change: StoreChange) => unknown)[] = [];
    const scripted = {
      clients: first,
      isAway: false,
      isTooOld: false,
      reads: 0,
      tell: (change: StoreChange) => listeners.forEach((listener) => void listener(change)),
    };
    const clock = createFakeClock();
    const registered = createClients({
      store: {
        onChange: (listener) => void listeners.push(listener),
        clients: {
          list: async () => {
            scripted.reads += 1;
            if (scripted.isAway) throw new StoreError('unavailable', 'away');
            return scripted.clients;
          },
        } as never,
      },
      mirror: {
        checkFresh: () => {
          if (scripted.isTooOld) throw new StoreError('unavailable', 'too old');
        },
      },
      audiences: ['https://broker.example'],
      secretKey: randomBytes(32),
      clock,
    });
    return { ...registered, scripted, clock };
  }

  it('are read once and again when they change', async () => {
    const { find, scripted } = createScripted([client('a')]);
    expect([await find('a'), await find('b')].map((one) => one?.id)).to.eql(['a', undefined]);
    expect(scripted.reads).to.equal(1);
    scripted.clients = [client('b')];
    scripted.tell({ topic: 'roles' });
    expect((await find('a'))?.id).to.equal('a');
    scripted.tell({ topic: 'clients' });
    expect([await find('a'), await find('b')].map((one) => one?.id)).to.eql([undefined, 'b']);
    expect(scripted.reads).to.equal(2);
  });

  it('are read again after a minute, in case a change was missed', async () => {
    const { find, scripted, clock } = createScripted([client('a')]);
    await find('a');
    scripted.clients = [];
    await clock.advance(59_999);
    expect(await find('a')).to.be.an('object');
    await clock.advance(1);
    expect(await find('a')).to.equal(undefined);
  });

  it('serve as they were while the store is away, and no longer than is allowed', async () => {
    const { find, scripted } = createScripted([client('a')]);
    await find('a');
    scripted.isAway = true;
    scripted.tell({ topic: 'all' });
    expect((await find('a'))?.id).to.equal('a');
    scripted.isTooOld = true;
    expect(await findReason(() => find('a'))).to.equal('store_unavailable');
    scripted.isTooOld = false;
    scripted.isAway = false;
    scripted.clients = [];
    expect(await find('a')).to.equal(undefined);
  });

  it('are unknown, not absent, before the store was read', async () => {
    const { find, scripted } = createScripted([]);
    scripted.isAway = true;
    expect(await findReason(() => find('a'))).to.equal('store_unavailable');
  });

  it('cost no read where the text is no id', async () => {
    const { find, scripted } = createScripted([client('a')]);
    for (const id of ['', 'a:b', ' a', 'a b', '-a', 'a'.repeat(129), 'ä'])
      expect(await find(id), id).to.equal(undefined);
    expect(scripted.reads).to.equal(0);
    expect(['a', 'A.b_c~d-9', 'a'.repeat(128)].every(isClientId)).to.equal(true);
  });

  it('are confidential where they have a secret or a key', async () => {
    const { isConfidential } = createScripted([
      client('public'),
      client('secret', { secretHashes: ['x'] }),
      client('key', { jwks: { keys: [] } }),
    ]);
    const of = (id: string) => isConfidential(id);
    expect(await Promise.all(['public', 'secret', 'key', 'nobody'].map(of))).to.eql([
      false,
      true,
      true,
      false,
    ]);
  });

  it('do not exist without a store', async () => {
    const { find, isConfidential } = createClients({
      audiences: [],
      secretKey: randomBytes(32),
      clock: createFakeClock(),
    });
    expect([await find('a'), await isConfidential('a')]).to.eql([undefined, false]);
  });
});
