import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { KubeError } from '../../common/kube/error.ts';
import { parseKeySet } from '../../controller/keys-set.ts';
import { createTokenHistory } from '../../controller/keys-tokens.ts';
import { createFakeClock } from '../support/clock.ts';
import { createSigningKey, mint } from '../support/minting.ts';
import { noteToken } from '../support/tokens.ts';

const RSA = { use: 'sig', kty: 'RSA', kid: 'one', alg: 'RS256', n: 'AQAB', e: 'AQAB' };
const EC = { kty: 'EC', kid: 'two', crv: 'P-256', x: 'AA', y: 'BB' };
const parse = (set: unknown) => parseKeySet(JSON.stringify(set));

describe('the key set that an API server publishes', () => {
  it('is taken with every public member of each key', () => {
    expect(parse({ keys: [RSA, EC] }).keys).to.have.deep.members([RSA, EC]);
  });
  it('is taken without anything private, or unknown', () => {
    const strange = { ...EC, d: 'secret', p: 'secret', x5c: ['AA'], x5u: 'https://elsewhere' };
    expect(parse({ keys: [strange] }).keys).to.eql([EC]);
  });
  it('is the same in another order', () => {
    expect(parse({ keys: [RSA, EC] })).to.eql(parse({ keys: [EC, RSA] }));
  });
  for (const [name, change] of [
    ['another key', { n: 'AQAC' }],
    ['another kid', { kid: 'three' }],
  ] as const)
    it(`is another one with ${name}`, () => {
      const changed = parse({ keys: [{ ...RSA, ...change }, EC] });
      expect(changed.fingerprint).to.not.equal(parse({ keys: [RSA, EC] }).fingerprint);
    });
  for (const [name, text, says] of [
    ['what is not JSON', '<html>', 'not JSON'],
    ['an object without keys', '{"kind":"Status"}', 'no set of keys'],
    ['nothing', 'null', 'no set of keys'],
    ['an empty set', '{"keys":[]}', 'without any key'],
    ['a key that is none', '{"keys":[7]}', 'without kty'],
  ] as const)
    it(`is not ${name}`, () => {
      expect(() => parseKeySet(text)).to.throw(KubeError, says);
      expect(parse({ keys: [RSA] }).keys).to.eql([RSA]);
    });
});

describe("the controller's own tokens for the broker", () => {
  const key = createSigningKey();
  const clock = createFakeClock();
  let folder: string;
  let file: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-tokens-'));
    file = path.join(folder, 'token');
  });
  after(() => rmSync(folder, { recursive: true }));
  /** Writes one that lives so long, as the kubelet does. */
  const write = (seconds: number, more: object = {}) => {
    const exp = Math.floor(clock.now() / 1000) + seconds;
    const token = mint({ key, claims: { exp, ...more } });
    writeFileSync(file, token);
    return token;
  };

  it('are the newest and those before it that still hold, newest first', async () => {
    const history = createTokenHistory(file, clock);
    const first = write(600);
    await history.remember();
    await history.remember();
    expect(history.list()).to.eql([first]);
    await clock.advance(480_000);
    const second = write(600);
    expect(history.list()).to.eql([first]);
    await history.remember();
    expect(history.list()).to.eql([second, first]);
    await clock.advance(119_000);
    expect(history.list()).to.eql([second, first]);
    await clock.advance(1000);
    expect(history.list()).to.eql([second]);
  });
  it('are never without the newest, even where its end has come or cannot be read', async () => {
    const history = createTokenHistory(file, clock);
    const over = write(-1);
    await history.remember();
    expect(history.list()).to.eql([over]);
    writeFileSync(file, noteToken('a-token-that-is-no-jwt'));
    await history.remember();
    expect(history.list()).to.eql(['a-token-that-is-no-jwt']);
    const next = write(600);
    await history.remember();
    expect(history.list()).to.eql([next]);
  });
  it('are few, however often the file changes', async () => {
    const history = createTokenHistory(file, clock);
    const written: string[] = [];
    for (let i = 0; i < 6; i++) {
      written.unshift(write(600, { jti: String(i) }));
      await history.remember();
    }
    expect(history.list()).to.eql(written.slice(0, 4));
  });
  it('stay as they are while the file cannot be read', async () => {
    const history = createTokenHistory(file, clock);
    const token = write(600);
    await history.remember();
    rmSync(file);
    let refused: unknown;
    await history.remember().catch((error: unknown) => {
      refused = error;
    });
    expect(refused).to.be.instanceOf(KubeError).with.property('kind', 'unreadable');
    expect(history.list()).to.eql([token]);
  });
});
