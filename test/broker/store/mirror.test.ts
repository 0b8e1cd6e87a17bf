// The mirror over real stores: what it answers without waiting, how soon it knows, and what it says when the store has
// been away for too long. The outage is a switch in front of a real store.
import { expect } from 'chai';
import type { DatabaseStore } from '../../../broker/store/database.ts';
import type { DeniableToken } from '../../../broker/store/deny-index.ts';
import { createMirror, type Mirror } from '../../../broker/store/mirror.ts';
import { type Store, StoreError } from '../../../broker/store/store.ts';
import type { Clock } from '../../../common/clock.ts';
import { systemClock } from '../../../common/clock.ts';
import { createLogger } from '../../../common/log.ts';
import { BACKENDS, type Database, findRefusal, waitUntil } from './backends.ts';
import { NOW, sampleDenial, sampleToken } from './samples.ts';

const log = createLogger({ level: 'error', process: 'broker', stream: { write: () => undefined } });
const MAX_AWAY_SECONDS = 300;
/** Stands in for the digest that names a role in a `jti`. */
const toRoleTag = (role: string) => `tag-${role}`;

const token: DeniableToken = {
  tokenId: 'jti-1',
  subject: 'k8s:local:shop:checkout',
  cluster: 'local',
  namespace: 'shop',
  serviceAccount: 'checkout',
  podName: 'checkout-1',
  podUid: 'uid-1',
  audience: 'payments',
  roleTag: 'tag-payments-checkout',
  issuedAt: NOW,
};
const role = (name: string) => ({ name, document: {}, updatedAt: NOW, updatedBy: 'x' });

interface Outage {
  since: number | undefined;
  /** Reads of the real store so far. */
  reads: number;
}

/** The store, but that it does not answer while `outage.since` is set. */
function withOutage(store: Store, outage: Outage): Store {
  const guard = <T extends object>(methods: T): T =>
    Object.fromEntries(
      Object.entries(methods).map(([name, call]: [string, (...args: unknown[]) => unknown]) => [
        name,
        async (...args: unknown[]) => {
          outage.reads += 1;
          if (outage.since !== undefined) throw new StoreError('unavailable', 'it is away');
          return call(...args);
        },
      ]),
    ) as T;
  return {
    ...store,
    tokens: guard(store.tokens),
    denials: guard(store.denials),
    roles: guard(store.roles),
    findAwaySince: () => outage.since,
  };
}

function create(store: Store, clock: Clock): Mirror {
  return createMirror({
    store,
    toRoleTag,
    maxAwaySeconds: MAX_AWAY_SECONDS,
    clock,
    log,
    maxCachedTokens: 3,
  });
}

for (const backend of BACKENDS) {
  describe(`mirror of a ${backend.kind} store`, function () {
    if (backend.lack !== undefined) {
      it.skip(`(${backend.lack})`);
      return;
    }
    this.timeout(20_000);
    let database: Database;
    let store: DatabaseStore;
    let mirror: Mirror;
    const outage: Outage = { since: undefined, reads: 0 };
    beforeEach(async () => {
      Object.assign(outage, { since: undefined, reads: 0 });
      database = await backend.create();
      store = await database.open();
      mirror = create(withOutage(store, outage), database.clock);
    });
    afterEach(async () => {
      await mirror.stop();
      await database.close();
    });

    it('is no use before it was read, and says so', async () => {
      expect(mirror.findObstacles()).to.deep.equal(['the store was not read yet']);
      expect(() => mirror.checkFresh()).to.throw(StoreError);
      expect(await findRefusal(mirror.findToken('x'))).to.equal('unavailable');
      await mirror.start();
      expect(mirror.findObstacles()).to.deep.equal([]);
      mirror.checkFresh();
    });

    it('knows what was there before it started', async () => {
      await store.denials.add(sampleDenial('d', { tokenId: 'jti-1' }));
      await store.roles.put(role('a'));
      await mirror.start();
      expect(mirror.findDenial(token)?.id).to.equal('d');
      expect(mirror.roles().map(({ name }) => name)).to.deep.equal(['a']);
    });

    it('knows a denial as soon as it was acknowledged', async () => {
      await mirror.start();
      expect(mirror.findDenial(token)).to.equal(undefined);
      await store.denials.add(sampleDenial('d', { tokenId: 'jti-1' }));
      expect(mirror.findDenial(token)?.id).to.equal('d');
      expect(mirror.findDenial({ ...token, tokenId: 'jti-2' })).to.equal(undefined);
    });

    it('knows a denial that was acknowledged here, although the store was gone before it could be read back', async () => {
      await mirror.start();
      outage.since = database.clock.now();
      await store.denials.add(sampleDenial('d', { tokenId: 'jti-1' }));
      expect(mirror.findDenial(token)?.id).to.equal('d');
      expect(mirror.findDenial({ ...token, tokenId: 'jti-2' })).to.equal(undefined);
    });

    it('tries again soon after a change that it could not read', async () => {
      await mirror.start();
      outage.since = database.clock.now();
      await store.roles.put(role('late'));
      expect(mirror.roles()).to.deep.equal([]);
      outage.since = undefined;
      await waitUntil('it reads again', async () => {
        await database.clock.advance(100);
        return mirror.roles().length > 0;
      });
      expect(database.clock.now() - NOW * 1000).to.be.below(10_000);
    });

    it('loses no denial that comes while it reads', async () => {
      await mirror.start();
      const adding = Array.from({ length: 60 }, async (_, i) => {
        if (i % 10 === 0) await store.roles.put(role(`r${i}`));
        await store.denials.add(sampleDenial(`d${i}`, { tokenId: `t${i}` }));
        expect(mirror.findDenial({ ...token, tokenId: `t${i}` })?.id).to.equal(`d${i}`);
      });
      await Promise.all(adding);
      for (let i = 0; i < 60; i++)
        expect(mirror.findDenial({ ...token, tokenId: `t${i}` })?.id).to.equal(`d${i}`);
    });

    it('tells of roles as soon as a write was acknowledged, and only then', async () => {
      await mirror.start();
      let told = 0;
      mirror.onRolesChange(() => {
        told += 1;
      });
      await store.denials.add(sampleDenial('d'));
      expect(told).to.equal(0);
      await store.roles.put(role('a'));
      expect(told).to.equal(1);
      expect(mirror.roles()).to.have.length(1);
      await store.roles.remove('a');
      expect(mirror.roles()).to.deep.equal([]);
      expect(told).to.equal(2);
    });

    it('looks a token up once, and forgets it as soon as it was revoked', async () => {
      await mirror.start();
      const stored = sampleToken('a');
      await store.tokens.insert(stored);
      outage.reads = 0;
      expect(await mirror.findToken(stored.hash)).to.deep.equal(stored);
      expect(await mirror.findToken(stored.hash)).to.deep.equal(stored);
      expect(outage.reads).to.equal(1);
      await store.tokens.revoke(stored.hash);
      expect(await mirror.findToken(stored.hash)).to.equal(undefined);
    });

    it('sees a renewal at once', async () => {
      await mirror.start();
      const stored = sampleToken('a');
      await store.tokens.insert(stored);
      await mirror.findToken(stored.hash);
      await store.tokens.extend(stored.hash, { expiresAt: NOW + 1800, now: NOW });
      expect((await mirror.findToken(stored.hash))?.expiresAt).to.equal(NOW + 1800);
    });

    it('does not remember that a token is unknown', async () => {
      await mirror.start();
      const stored = sampleToken('a');
      expect(await mirror.findToken(stored.hash)).to.equal(undefined);
      await store.tokens.insert(stored);
      expect(await mirror.findToken(stored.hash)).to.deep.equal(stored);
    });

    it('forgets all tokens after a revocation in bulk', async () => {
      await mirror.start();
      const stored = sampleToken('a', { namespace: 'shop' });
      await store.tokens.insert(stored);
      await mirror.findToken(stored.hash);
      await store.tokens.revokeWhere({ namespace: 'shop' });
      expect(await mirror.findToken(stored.hash)).to.equal(undefined);
    });

    it('holds no more tokens than it may, the least used go first', async () => {
      await mirror.start();
      const tokens = ['a', 'b', 'c', 'd'].map((name) => sampleToken(name));
      for (const stored of tokens) await store.tokens.insert(stored);
      const find = async (index: number) => mirror.findToken(tokens[index]?.hash ?? '');
      for (const index of [0, 1, 2, 0, 3]) await find(index);
      outage.reads = 0;
      for (const index of [0, 2, 3]) await find(index);
      expect(outage.reads).to.equal(0);
      await find(1);
      expect(outage.reads).to.equal(1);
    });

    it('answers from memory while the store is away, and no longer than it may', async () => {
      await store.denials.add(sampleDenial('d', { tokenId: 'jti-1' }));
      await mirror.start();
      const [known, unknown] = [sampleToken('known'), sampleToken('unknown')];
      await store.tokens.insert(known);
      await store.tokens.insert(unknown);
      await mirror.findToken(known.hash);
      outage.since = database.clock.now();
      await database.clock.advance(MAX_AWAY_SECONDS * 1000);
      mirror.checkFresh();
      expect(await mirror.findToken(known.hash)).to.deep.equal(known);
      expect(await findRefusal(mirror.findToken(unknown.hash))).to.equal('unavailable');
      expect(mirror.findDenial(token)?.id).to.equal('d');
      await database.clock.advance(1);
      expect(() => mirror.checkFresh()).to.throw(StoreError, 'longer than is allowed');
      expect(await findRefusal(mirror.findToken(known.hash))).to.equal('unavailable');
      // It goes on refusing what it knows to be denied, and its readiness does not depend on it.
      expect(mirror.findDenial(token)?.id).to.equal('d');
      expect(mirror.findObstacles()).to.deep.equal([]);
      outage.since = undefined;
      mirror.checkFresh();
      expect(await mirror.findToken(unknown.hash)).to.deep.equal(unknown);
    });

    it('reads everything again every minute', async () => {
      await mirror.start();
      outage.reads = 0;
      await database.clock.advance(60_000);
      await waitUntil('it reads', () => outage.reads >= 2);
    });

    it('counts what it could not read as being away', async () => {
      await mirror.start();
      const real = outage.since;
      // The store fails, and does not know that it is away.
      const failing = create(
        {
          ...withOutage(store, outage),
          denials: {
            ...store.denials,
            list: async () => {
              if (real !== outage.since) throw new StoreError('unavailable', 'it fails');
              return [];
            },
          },
          findAwaySince: () => undefined,
        },
        database.clock,
      );
      await failing.start();
      outage.since = 1;
      await store.roles.put(role('a'));
      expect(failing.findAgeSeconds()).to.equal(0);
      await database.clock.advance((MAX_AWAY_SECONDS + 1) * 1000);
      expect(() => failing.checkFresh()).to.throw(StoreError);
      expect(failing.findAgeSeconds()).to.be.greaterThan(MAX_AWAY_SECONDS);
      await failing.stop();
    });
  });
}

describe('mirror of a postgres store, on another replica', function () {
  const backend = BACKENDS.find(({ kind }) => kind === 'postgres');
  if (!backend || backend.lack !== undefined) {
    it.skip(`(${backend?.lack})`);
    return;
  }
  this.timeout(20_000);

  it('hears of a denial, a role and a revocation without asking', async () => {
    const database = await backend.create();
    const [here, there] = [
      await database.open({ clock: systemClock }),
      await database.open({ clock: systemClock }),
    ];
    const mirror = create(there, systemClock);
    await mirror.start();
    const now = Math.floor(systemClock.now() / 1000);
    const stored = sampleToken('a', { expiresAt: now + 900 });
    await here.tokens.insert(stored);
    expect(await mirror.findToken(stored.hash)).to.deep.equal(stored);
    await here.denials.add(sampleDenial('d', { tokenId: 'jti-1', until: now + 900 }));
    await here.roles.put(role('a'));
    await here.tokens.revoke(stored.hash);
    await waitUntil('the denial is there', () => mirror.findDenial(token) !== undefined);
    await waitUntil('the role is there', () => mirror.roles().length === 1);
    await waitUntil(
      'the token is gone',
      async () => (await mirror.findToken(stored.hash)) === undefined,
    );
    await mirror.stop();
    await database.close();
  });
});
