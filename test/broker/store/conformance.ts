// What every store does, whichever database is under it: one suite, run over each. Time is the test's own.
import { expect } from 'chai';
import type { DatabaseStore } from '../../../broker/store/database.ts';
import { MIGRATIONS, migrate } from '../../../broker/store/migrations.ts';
import type { StoreChange, TokenFilter } from '../../../broker/store/store.ts';
import { type Backend, type Database, findRefusal } from './backends.ts';
import { NOW, sampleDecision, sampleDenial, sampleKey, sampleToken } from './samples.ts';

interface Suite {
  database: Database;
  store: DatabaseStore;
  /** Told to the store's listener so far. */
  changes: StoreChange[];
}

/** What was told, each once: PostgreSQL tells a writer of its own changes again. */
function findTold({ changes }: Suite): readonly StoreChange[] {
  const texts = new Set(changes.map((change) => JSON.stringify(change)));
  return [...texts].map((text) => JSON.parse(text) as StoreChange);
}

/** Runs the whole suite over one kind of database. */
export function describeStore(backend: Backend): void {
  describe(`store on ${backend.kind}`, function () {
    if (backend.lack !== undefined) {
      it.skip(`(${backend.lack})`);
      return;
    }
    this.timeout(60_000);
    const suite = {} as Suite;
    beforeEach(async () => {
      suite.database = await backend.create();
      suite.store = await suite.database.open();
      suite.changes = [];
      suite.store.onChange((change) => void suite.changes.push(change));
    });
    afterEach(() => suite.database.close());
    describe('tokens', () => describeTokens(suite));
    describe('revocation', () => describeRevocation(suite));
    describe('bound per identity', () => describeBound(suite));
    describe('static and bootstrap tokens', () => describeStatic(suite));
    describe('denials', () => describeDenials(suite));
    describe('roles', () => describeRoles(suite));
    describe('clusters', () => describeClusters(suite));
    describe('keys', () => describeKeys(suite));
    describe('clients', () => describeClients(suite));
    describe('decisions', () => describeDecisions(suite));
    describe('sweep', () => describeSweep(suite));
    describe('schema', () => describeSchema(backend));
  });
}

function describeTokens(suite: Suite): void {
  it('gives back a token as it was, by hash and by accessor', async () => {
    const token = sampleToken('a', {
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      serviceAccountUid: 'uid-sa',
      podName: 'checkout-1',
      podUid: 'uid-pod',
      audience: 'payments',
      role: 'payments-checkout',
      scopes: ['payments:read', 'ä "quoted"'],
      policies: ['payments'],
      description: 'ünïcode \u{1F9E5} and a\nline',
      facts: { claims: { tenant: 'shop' }, deep: [1, null, true] },
    });
    await suite.store.tokens.insert(token);
    expect(await suite.store.tokens.findByHash(token.hash)).to.deep.equal(token);
    expect(await suite.store.tokens.findByAccessor(token.accessor)).to.deep.equal(token);
  });

  it('gives back a token that states only what it must', async () => {
    const token = sampleToken('a');
    await suite.store.tokens.insert(token);
    expect(await suite.store.tokens.findByHash(token.hash)).to.deep.equal(token);
  });

  it('finds nothing under a hash or an accessor that it does not have', async () => {
    await suite.store.tokens.insert(sampleToken('a'));
    const other = sampleToken('b');
    expect(await suite.store.tokens.findByHash(other.hash)).to.equal(undefined);
    expect(await suite.store.tokens.findByHash('')).to.equal(undefined);
    expect(await suite.store.tokens.findByAccessor(other.accessor)).to.equal(undefined);
  });

  for (const [what, change] of [
    ['hash', { accessor: 'another' }],
    ['accessor', { hash: 'another' }],
  ] as const) {
    it(`refuses a second token of the same ${what}, and keeps the first`, async () => {
      const token = sampleToken('a');
      await suite.store.tokens.insert(token);
      const second = { ...token, ...change, subject: 'k8s:local:shop:thief' };
      expect(await findRefusal(suite.store.tokens.insert(second))).to.equal('conflict');
      expect(await suite.store.tokens.findByAccessor(token.accessor)).to.deep.equal(token);
    });
  }

  it('takes the others of one moment where one of them is refused', async () => {
    await suite.store.tokens.insert(sampleToken('taken'));
    const names = ['a', 'b', 'taken', 'c', 'a', 'd'];
    const results = await Promise.all(
      names.map((name) => findRefusal(suite.store.tokens.insert(sampleToken(name)))),
    );
    expect(results).to.deep.equal([
      undefined,
      undefined,
      'conflict',
      undefined,
      'conflict',
      undefined,
    ]);
    for (const name of names)
      expect(await suite.store.tokens.findByHash(sampleToken(name).hash)).to.not.equal(undefined);
  });

  it('takes five hundred at once', async () => {
    const tokens = Array.from({ length: 500 }, (_, i) => sampleToken(`t${i}`));
    await Promise.all(tokens.map((token) => suite.store.tokens.insert(token)));
    expect(await suite.store.tokens.count()).to.deep.equal({ client: 500, static: 0 });
  });

  it('refuses a NUL character, which only one of the databases would take', async () => {
    const error = await suite.store.tokens
      .insert(sampleToken('a', { description: 'a\0b' }))
      .catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(TypeError);
  });

  it('still finds a token that has ended, and does not list or count it', async () => {
    const token = sampleToken('a', { expiresAt: NOW + 10 });
    await suite.store.tokens.insert(token);
    await suite.database.clock.advance(10_000);
    expect(await suite.store.tokens.findByHash(token.hash)).to.deep.equal(token);
    expect((await suite.store.tokens.list({ kind: 'client' }, { limit: 10 })).items).to.be.empty;
    expect((await suite.store.tokens.count()).client).to.equal(0);
  });

  it('lists and counts a token until the second in which it ends', async () => {
    await suite.store.tokens.insert(sampleToken('a', { expiresAt: NOW + 10 }));
    await suite.database.clock.advance(9999);
    expect((await suite.store.tokens.list({ kind: 'client' }, { limit: 10 })).items).to.have.length(
      1,
    );
    expect((await suite.store.tokens.count()).client).to.equal(1);
  });

  it('extends a live token, and says so', async () => {
    const token = sampleToken('a');
    await suite.store.tokens.insert(token);
    await suite.store.tokens.extend(token.hash, { expiresAt: NOW + 2000, now: NOW + 899 });
    expect((await suite.store.tokens.findByHash(token.hash))?.expiresAt).to.equal(NOW + 2000);
    expect(findTold(suite)).to.deep.include({ topic: 'tokens', hash: token.hash });
  });

  it('does not extend a token that has ended, was revoked or never was', async () => {
    const { tokens } = suite.store;
    const ended = sampleToken('ended');
    const revoked = sampleToken('revoked');
    await tokens.insert(ended);
    await tokens.insert(revoked);
    await tokens.revoke(revoked.hash);
    const to = { expiresAt: NOW + 2000, now: NOW + 900 };
    expect(await findRefusal(tokens.extend(ended.hash, to))).to.equal('not_found');
    expect(await findRefusal(tokens.extend(revoked.hash, { ...to, now: NOW }))).to.equal(
      'not_found',
    );
    expect(await findRefusal(tokens.extend('never', { ...to, now: NOW }))).to.equal('not_found');
    expect((await tokens.findByHash(ended.hash))?.expiresAt).to.equal(ended.expiresAt);
  });

  it('lists the newest first, page by page, each once', async () => {
    for (let i = 0; i < 25; i++) await suite.store.tokens.insert(sampleToken(`t${i}`));
    const pages: string[][] = [];
    let after: string | undefined;
    do {
      const page = await suite.store.tokens.list(
        { kind: 'client' },
        { limit: 10, ...(after !== undefined && { after }) },
      );
      pages.push(page.items.map(({ accessor }) => accessor));
      after = page.next;
    } while (after !== undefined);
    expect(pages.map((page) => page.length)).to.deep.equal([10, 10, 5]);
    const wanted = Array.from({ length: 25 }, (_, i) => sampleToken(`t${24 - i}`).accessor);
    expect(pages.flat()).to.deep.equal(wanted);
  });

  it('has no next page where the last one is exactly full', async () => {
    for (let i = 0; i < 3; i++) await suite.store.tokens.insert(sampleToken(`t${i}`));
    expect(await suite.store.tokens.list({ kind: 'client' }, { limit: 3 })).to.not.have.property(
      'next',
    );
  });

  for (const after of [
    '',
    'nonsense',
    'MQ==',
    'MS4y',
    Buffer.from('1 OR 1=1').toString('base64url'),
  ]) {
    it(`refuses ${JSON.stringify(after)}, which is no page of ours`, async () => {
      const listing = suite.store.tokens.list({ kind: 'client' }, { limit: 3, after });
      expect(await findRefusal(listing)).to.equal('not_found');
    });
  }
}

const FILTERS: readonly TokenFilter[] = [
  { kind: 'client' },
  { subject: 'k8s:local:shop:checkout' },
  { cluster: 'local' },
  { namespace: 'shop' },
  { serviceAccount: 'checkout' },
  { podName: 'checkout-1' },
  { podUid: 'uid-1' },
  { role: 'payments-checkout' },
  { audience: 'payments' },
];

function describeRevocation(suite: Suite): void {
  const fitting = {
    cluster: 'local',
    namespace: 'shop',
    serviceAccount: 'checkout',
    podName: 'checkout-1',
    podUid: 'uid-1',
    role: 'payments-checkout',
    audience: 'payments',
  };

  it('takes a token away at once, and says whether there was one', async () => {
    const token = sampleToken('a');
    await suite.store.tokens.insert(token);
    expect(await suite.store.tokens.revoke(token.hash)).to.equal(true);
    expect(await suite.store.tokens.findByHash(token.hash)).to.equal(undefined);
    expect(await suite.store.tokens.findByAccessor(token.accessor)).to.equal(undefined);
    expect(findTold(suite)).to.deep.equal([{ topic: 'tokens', hash: token.hash }]);
    expect(await suite.store.tokens.revoke(token.hash)).to.equal(false);
    expect(findTold(suite)).to.have.length(1);
  });

  for (const filter of FILTERS) {
    const [member = ''] = Object.keys(filter);
    it(`revokes and lists by ${member} what fits, and leaves the near miss`, async () => {
      const { tokens } = suite.store;
      const inside = sampleToken('inside', fitting);
      const change = member === 'kind' ? { kind: 'static' as const } : { [member]: 'another' };
      const outside = sampleToken('outside', { ...fitting, ...change });
      await tokens.insert(inside);
      await tokens.insert(outside);
      const listed = await tokens.list(filter, { limit: 10 });
      expect(listed.items).to.deep.equal([inside]);
      expect(await tokens.revokeWhere(filter)).to.equal(1);
      expect(await tokens.findByHash(inside.hash)).to.equal(undefined);
      expect(await tokens.findByHash(outside.hash)).to.deep.equal(outside);
    });
  }

  it('wants every stated member to fit, and counts no absent one as fitting', async () => {
    const { tokens } = suite.store;
    await tokens.insert(sampleToken('a', { namespace: 'shop', role: 'x' }));
    await tokens.insert(sampleToken('b', { namespace: 'shop' }));
    expect(await tokens.revokeWhere({ namespace: 'shop', role: 'x', audience: 'y' })).to.equal(0);
    expect(await tokens.revokeWhere({ namespace: 'shop', role: 'x' })).to.equal(1);
    expect(await tokens.findByHash(sampleToken('b').hash)).to.not.equal(undefined);
  });

  it('refuses a filter that states nothing', async () => {
    await suite.store.tokens.insert(sampleToken('a'));
    const error = await suite.store.tokens.revokeWhere({}).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(TypeError);
    expect(await suite.store.tokens.findByHash(sampleToken('a').hash)).to.not.equal(undefined);
  });

  it('revokes more than one batch holds, and tells of it without a list', async () => {
    const tokens = Array.from({ length: 1205 }, (_, i) => sampleToken(`t${i}`, fitting));
    await Promise.all(tokens.map((token) => suite.store.tokens.insert(token)));
    expect(await suite.store.tokens.revokeWhere({ namespace: 'shop' })).to.equal(1205);
    expect(findTold(suite)).to.deep.equal([{ topic: 'tokens' }]);
    expect((await suite.store.tokens.list({ namespace: 'shop' }, { limit: 1 })).items).to.be.empty;
  });
}

function describeBound(suite: Suite): void {
  const findLiving = async (names: readonly string[]) => {
    const found = await Promise.all(
      names.map((name) => suite.store.tokens.findByHash(sampleToken(name).hash)),
    );
    return names.filter((_, i) => found[i] !== undefined);
  };

  it('ends the oldest of an identity that has too many, even within one second', async () => {
    for (const name of ['a', 'b', 'c', 'd', 'e'])
      await suite.store.tokens.insert(sampleToken(name, { podUid: 'p' }), { maxPerIdentity: 3 });
    expect(await findLiving(['a', 'b', 'c', 'd', 'e'])).to.deep.equal(['c', 'd', 'e']);
    expect(findTold(suite)).to.deep.equal([
      { topic: 'tokens', hash: sampleToken('a').hash },
      { topic: 'tokens', hash: sampleToken('b').hash },
    ]);
  });

  it('holds for inserts of one moment', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `t${i}`);
    await Promise.all(
      names.map((name) => suite.store.tokens.insert(sampleToken(name), { maxPerIdentity: 5 })),
    );
    expect(await findLiving(names)).to.deep.equal(names.slice(-5));
  });

  it('counts pods of one subject apart, and subjects of one pod', async () => {
    const { tokens } = suite.store;
    const limits = { maxPerIdentity: 1 };
    await tokens.insert(sampleToken('a', { podUid: 'p1' }), limits);
    await tokens.insert(sampleToken('b', { podUid: 'p2' }), limits);
    await tokens.insert(sampleToken('c'), limits);
    await tokens.insert(
      sampleToken('d', { podUid: 'p1', subject: 'k8s:local:shop:other' }),
      limits,
    );
    expect(await findLiving(['a', 'b', 'c', 'd'])).to.deep.equal(['a', 'b', 'c', 'd']);
  });

  it('ends what is of that identity alone, among many', async () => {
    const { tokens } = suite.store;
    const others = Array.from({ length: 300 }, (_, i) => sampleToken(`o${i}`, { podUid: `p${i}` }));
    await Promise.all(others.map((token) => tokens.insert(token, { maxPerIdentity: 1 })));
    for (const name of ['a', 'b'])
      await tokens.insert(sampleToken(name, { podUid: 'p7' }), { maxPerIdentity: 2 });
    expect(await findLiving(['o7', 'a', 'b', 'o8'])).to.deep.equal(['a', 'b', 'o8']);
  });

  it('holds each bound of one moment for its own', async () => {
    const { tokens } = suite.store;
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    await Promise.all(
      names.map((name, i) =>
        i < 3
          ? tokens.insert(sampleToken(name, { podUid: 'p' }), { maxPerIdentity: 1 })
          : tokens.insert(sampleToken(name, { podUid: 'q' }), { maxPerIdentity: 2 }),
      ),
    );
    expect(await findLiving(names)).to.deep.equal(['c', 'e', 'f']);
  });

  it('counts only live client tokens', async () => {
    const { tokens } = suite.store;
    await tokens.insert(sampleToken('ended', { expiresAt: NOW }));
    await tokens.insert(sampleToken('static', { kind: 'static', name: 'ci' }));
    await tokens.insert(sampleToken('a'), { maxPerIdentity: 2 });
    await tokens.insert(sampleToken('b'), { maxPerIdentity: 2 });
    expect(await findLiving(['ended', 'static', 'a', 'b'])).to.have.length(4);
  });

  it('is none where none is stated', async () => {
    const names = Array.from({ length: 60 }, (_, i) => `t${i}`);
    await Promise.all(names.map((name) => suite.store.tokens.insert(sampleToken(name))));
    expect(await findLiving(names)).to.have.length(60);
  });
}

function describeStatic(suite: Suite): void {
  const named = (id: string, change = {}) =>
    sampleToken(id, { kind: 'static', name: 'ci', subject: 'user:local:ci', ...change });

  it('keeps the name of a live token for it', async () => {
    await suite.store.tokens.insert(named('a'));
    expect((await suite.store.tokens.findByHash(named('a').hash))?.name).to.equal('ci');
    expect(await findRefusal(suite.store.tokens.insert(named('b')))).to.equal('conflict');
    await suite.store.tokens.insert(named('c', { name: 'ci-2' }));
  });

  it('gives a name again after its token ended or was revoked', async () => {
    await suite.store.tokens.insert(named('a', { expiresAt: NOW + 5 }));
    await suite.database.clock.advance(5000);
    await suite.store.tokens.insert(named('b'));
    await suite.store.tokens.revoke(named('b').hash);
    await suite.store.tokens.insert(named('c'));
    expect(await suite.store.tokens.count()).to.deep.equal({ client: 0, static: 1 });
  });

  it('takes a bootstrap token once, whatever became of it', async () => {
    const { tokens } = suite.store;
    expect(await tokens.insertOnce(named('boot'))).to.equal(true);
    expect(await tokens.insertOnce(named('boot'))).to.equal(false);
    await tokens.revoke(named('boot').hash);
    await suite.database.clock.advance(3 * 3600_000);
    await suite.store.sweep();
    expect(await tokens.insertOnce(named('boot'))).to.equal(false);
    expect(await tokens.findByHash(named('boot').hash)).to.equal(undefined);
    expect(await tokens.insertOnce(named('other', { issuedAt: NOW + 10_800 }))).to.equal(true);
  });

  it('takes it once where many try at the same time', async () => {
    const results = await Promise.all(
      Array.from({ length: 8 }, () => suite.store.tokens.insertOnce(named('boot'))),
    );
    expect(results.filter(Boolean)).to.have.length(1);
  });

  it('does not use a bootstrap token up where its name was taken', async () => {
    const { tokens } = suite.store;
    await tokens.insert(named('a'));
    expect(await findRefusal(tokens.insertOnce(named('boot')))).to.equal('conflict');
    await tokens.revoke(named('a').hash);
    expect(await tokens.insertOnce(named('boot'))).to.equal(true);
  });
}

function describeDenials(suite: Suite): void {
  it('lists what was added, as it was, until it ends', async () => {
    const { denials } = suite.store;
    const one = sampleDenial('one');
    const rule = sampleDenial('rule', {
      match: { namespace: 'shop', role: 'x' },
      issuedBefore: NOW,
      until: NOW + 50,
    });
    await denials.add(one);
    await denials.add(rule);
    expect(await denials.list(NOW + 49)).to.have.deep.members([one, rule]);
    expect(await denials.list(NOW + 50)).to.deep.equal([one]);
    expect(await denials.findMany(['rule', 'never'])).to.deep.equal([rule]);
    expect(await denials.findMany([])).to.deep.equal([]);
  });

  it('tells which were added, those of one moment together', async () => {
    const ids = ['a', 'b', 'c'];
    await Promise.all(ids.map((id) => suite.store.denials.add(sampleDenial(id))));
    const told = findTold(suite).map((change) =>
      change.topic === 'denials' ? [...(change.ids ?? [])].sort() : [],
    );
    // Once, or twice: over PostgreSQL the writer may hear its own change again.
    expect(told.length).to.be.within(1, 2);
    for (const one of told) expect(one).to.deep.equal(ids);
  });

  it('refuses an id twice, and takes its neighbours', async () => {
    await suite.store.denials.add(sampleDenial('a'));
    const results = await Promise.all(
      ['b', 'a', 'c'].map((id) => findRefusal(suite.store.denials.add(sampleDenial(id)))),
    );
    expect(results).to.deep.equal([undefined, 'conflict', undefined]);
  });

  for (const [what, change] of [
    ['about everything', { match: {} }],
    ['about a token and a rule', { match: { namespace: 'shop' }, tokenId: 'jti' }],
    ['about nothing', { tokenId: undefined as unknown as string }],
  ] as const) {
    it(`refuses a denial ${what}`, async () => {
      const error = await suite.store.denials
        .add(sampleDenial('a', change))
        .catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(TypeError);
      expect(await suite.store.denials.list(NOW)).to.deep.equal([]);
    });
  }
}

function describeRoles(suite: Suite): void {
  const role = (name: string, document: unknown = { spec: { audience: 'payments' } }) => ({
    name,
    document,
    updatedAt: NOW,
    updatedBy: 'client:ops',
  });

  it('counts versions up with each write, and lists by name', async () => {
    const { roles } = suite.store;
    expect((await roles.put(role('b'))).version).to.equal(1);
    expect((await roles.put(role('a'))).version).to.equal(1);
    const second = await roles.put(role('b', { spec: { audience: 'other' } }));
    expect(second).to.deep.equal({ ...role('b', { spec: { audience: 'other' } }), version: 2 });
    expect(await roles.find('b')).to.deep.equal(second);
    expect((await roles.list()).map(({ name, version }) => [name, version])).to.deep.equal([
      ['a', 1],
      ['b', 2],
    ]);
  });

  it('writes only over the version that was expected', async () => {
    const { roles } = suite.store;
    expect(await findRefusal(roles.put(role('a'), 1))).to.equal('conflict');
    await roles.put(role('a'), 0);
    expect(await findRefusal(roles.put(role('a'), 0))).to.equal('conflict');
    expect(await findRefusal(roles.put(role('a'), 2))).to.equal('conflict');
    expect((await roles.put(role('a'), 1)).version).to.equal(2);
    expect(findTold(suite)).to.deep.equal([{ topic: 'roles' }]);
  });

  for (const [what, expected] of [
    ['create', 0],
    ['replace', 1],
  ] as const) {
    it(`lets exactly one of many ${what} a role`, async () => {
      const { roles } = suite.store;
      if (expected === 1) await roles.put(role('a'), 0);
      const results = await Promise.all(
        Array.from({ length: 6 }, (_, i) => findRefusal(roles.put(role('a', { i }), expected))),
      );
      expect(results.filter((result) => result === undefined)).to.have.length(1);
      expect((await roles.find('a'))?.version).to.equal(expected + 1);
    });
  }

  it('loses no count where many write without expecting anything', async () => {
    await Promise.all(
      Array.from({ length: 10 }, (_, i) => suite.store.roles.put(role('a', { i }))),
    );
    expect((await suite.store.roles.find('a'))?.version).to.equal(10);
  });

  it('never gives a role of an old name a version that the old one had', async () => {
    const { roles } = suite.store;
    await roles.put(role('a'));
    await roles.put(role('a'));
    await roles.remove('a');
    const again = await roles.put(role('a', { spec: { audience: 'other' } }), 0);
    expect(again.version).to.equal(3);
    // What an editor of the old one would send.
    expect(await findRefusal(roles.put(role('a'), 2))).to.equal('conflict');
    expect((await roles.put(role('a'), 3)).version).to.equal(4);
  });

  it('never goes back with versions where many are removed and made at once', async () => {
    const { roles } = suite.store;
    const seen: number[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        seen.push((await roles.put(role('a'))).version);
        await roles.remove('a');
      }),
    );
    expect(new Set(seen).size).to.equal(8);
  });

  it('removes a role, and says whether there was one', async () => {
    const { roles } = suite.store;
    await roles.put(role('a'));
    expect(await roles.remove('a')).to.equal(true);
    expect(await roles.remove('a')).to.equal(false);
    expect(await roles.find('a')).to.equal(undefined);
    expect(suite.changes.length).to.be.at.least(2);
  });
}

const CLUSTER = { document: { kind: 'oidc', n: [1] }, updatedAt: 5, updatedBy: 'client:a' };
const anything = { check: () => undefined };
const toKeys = (cluster: string, change: object = {}) => ({
  cluster,
  registration: 'first',
  jwks: '{"keys":[]}',
  pushedAt: 7,
  pushedBy: 'k8s:edge:a:b',
  ...change,
});

/** On PostgreSQL two replicas. */
async function findWriters({ store, database }: Suite) {
  const other = store.kind === 'postgres' ? await database.open() : store;
  return [store, other, store].map(({ clusters }) => clusters);
}

function describeClusters(suite: Suite): void {
  it('keeps clusters and what they pushed, and tells of both', async () => {
    const { clusters } = suite.store;
    expect(await clusters.read()).to.deep.equal({ clusters: [], keys: [] });
    const put = await clusters.put({ name: 'edge', ...CLUSTER }, anything);
    const pushed = await clusters.putKeys(toKeys('edge'), anything.check);
    expect(put).to.deep.include({ name: 'edge', ...CLUSTER });
    expect(pushed).to.deep.include(toKeys('edge'));
    expect(await clusters.read()).to.deep.equal({ clusters: [put], keys: [pushed] });
    expect(findTold(suite)).to.deep.equal([{ topic: 'clusters' }]);
  });

  it('never gives a version twice, whatever was removed', async () => {
    const { clusters } = suite.store;
    const first = await clusters.put({ name: 'edge', ...CLUSTER }, anything);
    await clusters.remove('edge');
    const second = await clusters.put({ name: 'edge', ...CLUSTER }, anything);
    const other = await clusters.put({ name: 'other', ...CLUSTER }, anything);
    expect(second.version).to.be.greaterThan(first.version);
    expect(other.version).to.be.greaterThan(second.version);
  });

  it('replaces only the version that is expected', async () => {
    const { clusters } = suite.store;
    const row = { name: 'edge', ...CLUSTER };
    const put = (expectedVersion: number) => clusters.put(row, { ...anything, expectedVersion });
    expect(await findRefusal(put(1))).to.equal('conflict');
    const { version } = await put(0);
    expect(await findRefusal(put(0))).to.equal('conflict');
    expect(await findRefusal(put(version + 1))).to.equal('conflict');
    expect((await put(version)).version).to.be.greaterThan(version);
  });

  it('has another version of pushed keys only where they are others', async () => {
    const { clusters } = suite.store;
    const push = (change: object) => clusters.putKeys(toKeys('edge', change), anything.check);
    const first = await push({});
    const again = await push({ pushedAt: 9 });
    expect(again).to.deep.equal({ ...first, pushedAt: 9 });
    const next = await push({ jwks: '{"keys":[1]}' });
    expect(next.version).to.be.greaterThan(first.version);
    const registered = await push({ registration: 'second' });
    expect(registered.version).to.be.greaterThan(next.version);
  });

  it('writes nothing that a check refuses, and shows it everything there is', async () => {
    const { clusters } = suite.store;
    await clusters.put({ name: 'edge', ...CLUSTER }, anything);
    await clusters.putKeys(toKeys('edge'), anything.check);
    const before = await clusters.read();
    const refuse = (all: unknown) => {
      expect(all).to.deep.equal(before);
      throw new Error('refused');
    };
    const put = clusters.put({ name: 'other', ...CLUSTER }, { check: refuse });
    const push = clusters.putKeys(toKeys('other'), refuse);
    const errors = await Promise.all([put, push].map((one) => one.catch((error: Error) => error)));
    expect(errors.map((error) => (error as Error).message)).to.deep.equal(['refused', 'refused']);
    expect(await clusters.read()).to.deep.equal(before);
    expect(suite.store.findAwaySince()).to.equal(undefined);
  });

  it('lets of two that must not both be written one in, however close they come', async () => {
    const { clusters } = suite.store;
    const writers = await findWriters(suite);
    const written = await Promise.all(
      writers.map((writer, index) =>
        writer
          .putKeys(toKeys(`cluster-${index}`), ({ keys }) => {
            if (keys.length > 0) throw new Error('taken');
          })
          .then(
            () => true,
            () => false,
          ),
      ),
    );
    expect(written.filter(Boolean)).to.have.length(1);
    expect((await clusters.read()).keys).to.have.length(1);
  });

  it('removes a cluster with what it pushed, unless that is to stay', async () => {
    const { clusters } = suite.store;
    for (const name of ['edge', 'other', 'file']) {
      await clusters.put({ name, ...CLUSTER }, anything);
      await clusters.putKeys(toKeys(name), anything.check);
    }
    expect(await clusters.remove('edge')).to.equal(true);
    expect(await clusters.remove('file', { keepsKeys: true })).to.equal(true);
    expect(await clusters.remove('edge')).to.equal(false);
    const left = await clusters.read();
    expect(left.clusters.map(({ name }) => name)).to.deep.equal(['other']);
    expect(left.keys.map(({ cluster }) => cluster).sort()).to.deep.equal(['file', 'other']);
  });

  it('drops what was pushed under another registration', async () => {
    const { clusters } = suite.store;
    const put = (registration?: string) =>
      clusters.put({ name: 'edge', ...CLUSTER }, { ...anything, registration });
    await put('first');
    await clusters.putKeys(toKeys('edge'), anything.check);
    await clusters.putKeys(toKeys('other'), anything.check);
    await put('first');
    expect((await clusters.read()).keys).to.have.length(2);
    await put('second');
    expect((await clusters.read()).keys.map(({ cluster }) => cluster)).to.deep.equal(['other']);
  });
}

function describeKeys(suite: Suite): void {
  it('keeps keys in the order in which they sign', async () => {
    const { keys } = suite.store;
    const late = sampleKey('late', { signsFrom: NOW + 700, retiresAt: NOW + 9000 });
    await keys.insert(late);
    await keys.insert(sampleKey('early'));
    expect(await keys.list()).to.deep.equal([sampleKey('early'), late]);
    expect(await findRefusal(keys.insert(sampleKey('early')))).to.equal('conflict');
  });

  it('makes a first key once, however many replicas try', async () => {
    const { keys } = suite.store;
    const results = await Promise.all(
      Array.from({ length: 6 }, (_, i) =>
        findRefusal(keys.insert(sampleKey(`k${i}`), { onlyIfNone: true })),
      ),
    );
    expect(results.filter((result) => result === undefined)).to.have.length(1);
    expect(await keys.list()).to.have.length(1);
  });

  it('seals anew and retires, and leaves the rest as it is', async () => {
    const { keys } = suite.store;
    await keys.insert(sampleKey('a'));
    await keys.update('a', { sealed: 'again' });
    await keys.update('a', { retiresAt: NOW + 50 });
    expect(await keys.list()).to.deep.equal([
      sampleKey('a', { sealed: 'again', retiresAt: NOW + 50 }),
    ]);
    expect(await findRefusal(keys.update('b', { sealed: 'x' }))).to.equal('not_found');
    expect(await keys.remove('a')).to.equal(true);
    expect(await keys.remove('a')).to.equal(false);
  });
}

function describeClients(suite: Suite): void {
  const client = { id: 'orders', secretHashes: ['h1'], createdAt: NOW, createdBy: 'k8s:x' };

  it('keeps a client as it is, with and without what it need not have', async () => {
    const { clients } = suite.store;
    const full = { ...client, id: 'full', name: 'Full', description: 'd', jwks: { keys: [] } };
    await clients.put(full);
    await clients.put(client, { mustBeNew: true });
    expect(await clients.list()).to.deep.equal([full, client]);
    expect(await clients.find('full')).to.deep.equal(full);
    expect(await clients.find('never')).to.equal(undefined);
  });

  it('replaces a client as a whole, unless it must be new', async () => {
    const { clients } = suite.store;
    await clients.put({ ...client, name: 'Orders' });
    expect(await findRefusal(clients.put(client, { mustBeNew: true }))).to.equal('conflict');
    await clients.put({ ...client, secretHashes: ['h1', 'h2'] });
    expect(await clients.find('orders')).to.deep.equal({ ...client, secretHashes: ['h1', 'h2'] });
    expect(await clients.remove('orders')).to.equal(true);
    expect(await clients.remove('orders')).to.equal(false);
    expect(findTold(suite)).to.deep.equal([{ topic: 'clients' }]);
  });
}

function describeDecisions(suite: Suite): void {
  it('lists the newest first, page by page, also where many are of one moment', async () => {
    const { decisions } = suite.store;
    const batch = Array.from({ length: 12 }, (_, i) =>
      sampleDecision(`d${i}`, { at: NOW * 1000 + Math.floor(i / 5) }),
    );
    await decisions.append(batch);
    const first = await decisions.list({}, { limit: 7 });
    const second = await decisions.list({}, { limit: 7, after: first.next ?? '' });
    expect([...first.items, ...second.items]).to.deep.equal(batch.toReversed());
    expect(second).to.not.have.property('next');
  });

  it('keeps every member, and takes an empty batch', async () => {
    const full = sampleDecision('full', {
      outcome: 'deny',
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      pod: 'checkout-1',
      podUid: 'uid',
      audience: 'payments',
      role: 'r',
      reason: 'role_mismatch',
      tokenId: 'jti',
      tokenExpiresAt: NOW,
    });
    await suite.store.decisions.append([]);
    await suite.store.decisions.append([full]);
    expect((await suite.store.decisions.list({}, { limit: 5 })).items).to.deep.equal([full]);
  });

  const FITTING = {
    id: 'here',
    outcome: 'deny',
    cluster: 'c',
    namespace: 'n',
    serviceAccount: 's',
    pod: 'p',
    podUid: 'u',
    audience: 'a',
    role: 'r',
    reason: 'role_mismatch',
    tokenId: 't',
  } as const;
  for (const member of Object.keys(FITTING) as (keyof typeof FITTING)[]) {
    it(`finds by ${member} what fits, and not the near miss`, async () => {
      const fitting = sampleDecision('here', FITTING);
      const change = member === 'outcome' ? { outcome: 'allow' as const } : { [member]: 'other' };
      await suite.store.decisions.append([fitting, { ...fitting, ...change }]);
      const { items } = await suite.store.decisions.list(
        { [member]: FITTING[member] },
        { limit: 5 },
      );
      expect(items).to.deep.equal([fitting]);
    });
  }

  it('finds those at or after a moment', async () => {
    const at = NOW * 1000;
    await suite.store.decisions.append([
      sampleDecision('before', { at: at - 1 }),
      sampleDecision('then', { at }),
    ]);
    const { items } = await suite.store.decisions.list({ since: at }, { limit: 5 });
    expect(items.map(({ id }) => id)).to.deep.equal(['then']);
  });
}

function describeSweep(suite: Suite): void {
  it('takes out what ended an hour ago, and nothing else', async () => {
    const { tokens, denials } = suite.store;
    await tokens.insert(sampleToken('old', { expiresAt: NOW }));
    await tokens.insert(sampleToken('newer', { expiresAt: NOW + 1 }));
    await denials.add(sampleDenial('old', { until: NOW }));
    await denials.add(sampleDenial('newer', { until: NOW + 1 }));
    await suite.database.clock.advance(3600_000 - 90_000);
    await suite.store.sweep();
    expect(await tokens.findByHash(sampleToken('old').hash)).to.not.equal(undefined);
    await suite.database.clock.advance(90_000);
    await suite.store.sweep();
    expect(await tokens.findByHash(sampleToken('old').hash)).to.equal(undefined);
    expect(await tokens.findByHash(sampleToken('newer').hash)).to.not.equal(undefined);
    expect(await denials.list(0)).to.deep.equal([sampleDenial('newer', { until: NOW + 1 })]);
  });

  it('keeps the newest decisions, within both bounds', async () => {
    await suite.store.close();
    const store = await suite.database.open({ maxDecisions: 5 });
    const at = NOW * 1000;
    await store.decisions.append([
      sampleDecision('too-old', { at: at - 3600_001 }),
      ...Array.from({ length: 7 }, (_, i) => sampleDecision(`d${i}`, { at: at - 1000 + i })),
    ]);
    expect(await store.sweep()).to.equal(3);
    const { items } = await store.decisions.list({}, { limit: 20 });
    expect(items.map(({ id }) => id)).to.deep.equal(['d6', 'd5', 'd4', 'd3', 'd2']);
  });

  it('happens by itself every minute', async () => {
    await suite.store.tokens.insert(sampleToken('old', { expiresAt: NOW - 3600 }));
    await suite.database.clock.advance(60_000);
    const isGone = async () =>
      (await suite.store.tokens.findByHash(sampleToken('old').hash)) === undefined;
    for (let i = 0; i < 400 && !(await isGone()); i++) await new Promise((r) => setTimeout(r, 5));
    expect(await isGone()).to.equal(true);
  });
}

function describeSchema(backend: Backend): void {
  let database: Database;
  beforeEach(async () => {
    database = await backend.create();
  });
  afterEach(() => database.close());
  const names = Object.keys(MIGRATIONS);

  for (let count = 0; count < names.length; count++) {
    const from = count === 0 ? 'nothing' : names[count - 1];
    it(`comes up from ${from}, and keeps what is there`, async () => {
      const dialect = database.dialect();
      await dialect.open();
      await migrate(dialect, Object.fromEntries(Object.entries(MIGRATIONS).slice(0, count)));
      await dialect.close();
      const store = await database.open();
      await store.tokens.insert(sampleToken('a'));
      expect(await store.tokens.findByHash(sampleToken('a').hash)).to.not.equal(undefined);
    });
  }

  it('refuses a database that a newer program made, by the name of its step', async () => {
    const dialect = database.dialect();
    await dialect.open();
    await migrate(dialect, { ...MIGRATIONS, '9999-future': async () => undefined });
    await dialect.close();
    const opening = database.open();
    expect(await findRefusal(opening)).to.equal('conflict');
    expect(await opening.catch((error: Error) => error.message)).to.include('9999-future');
  });

  it('finds everything again after it was closed', async () => {
    const first = await database.open();
    await first.tokens.insert(sampleToken('a'));
    await first.close();
    const second = await database.open();
    expect(await second.tokens.findByHash(sampleToken('a').hash)).to.deep.equal(sampleToken('a'));
  });
}
