// The list of the dead over each database: kept once, told of once, found again, swept when nobody can need it.
import { expect } from 'chai';
import type { DatabaseStore } from '../../../broker/store/database.ts';
import type { StoreChange, StoredDeath } from '../../../broker/store/store.ts';
import { BACKENDS, type Database } from './backends.ts';
import { NOW, sampleToken } from './samples.ts';

function sampleDeath(uid: string, change: Partial<StoredDeath> = {}): StoredDeath {
  return {
    cluster: 'local',
    kind: 'Pod',
    uid,
    diedAt: NOW - 1,
    reportedAt: NOW,
    until: NOW + 900,
    ...change,
  };
}

for (const backend of BACKENDS) {
  describe(`deaths on ${backend.kind}`, function () {
    if (backend.lack !== undefined) {
      it.skip(`(${backend.lack})`);
      return;
    }
    this.timeout(20_000);
    let database: Database;
    let store: DatabaseStore;
    let changes: StoreChange[];
    beforeEach(async () => {
      database = await backend.create();
      store = await database.open();
      changes = [];
      store.onChange((change) => void changes.push(change));
    });
    afterEach(() => database.close());
    const list = (now = NOW, reportedSince = 0) => store.deaths.list({ now, reportedSince });
    // Each once: PostgreSQL tells a writer of its own changes again.
    const told = (): StoreChange[] =>
      [...new Set(changes.map((change) => JSON.stringify(change)))]
        .map((text) => JSON.parse(text) as StoreChange)
        .filter(({ topic }) => topic === 'deaths');

    it('gives back what was added, and says so', async () => {
      const deaths = [sampleDeath('a'), sampleDeath('b', { kind: 'ServiceAccount' })];
      expect(await store.deaths.add(deaths)).to.have.deep.members(deaths);
      expect(await list()).to.have.deep.members(deaths);
      expect(told()[0]).to.deep.equal({ topic: 'deaths', cluster: 'local', uids: ['a', 'b'] });
    });

    it('keeps the first report of one that is reported again, and tells of nothing then', async () => {
      await store.deaths.add([sampleDeath('a')]);
      expect(
        await store.deaths.add([sampleDeath('a', { until: NOW + 9999, reportedAt: NOW + 5 })]),
      ).to.deep.equal([]);
      expect(await list()).to.deep.equal([sampleDeath('a')]);
      expect(told()).to.have.length(1);
    });

    it('tells clusters, and pods and ServiceAccounts, of equal uids apart', async () => {
      const deaths = [
        sampleDeath('a'),
        sampleDeath('a', { cluster: 'edge' }),
        sampleDeath('a', { kind: 'ServiceAccount' }),
      ];
      expect(await store.deaths.add(deaths)).to.have.length(3);
      expect(await store.deaths.findMany('edge', ['a'])).to.deep.equal([deaths[1]]);
      expect(await store.deaths.findMany('local', ['a'])).to.have.length(2);
      expect(await store.deaths.findMany('local', ['b'])).to.deep.equal([]);
      expect(await store.deaths.findMany('local', [])).to.deep.equal([]);
    });

    it('lists those that were reported since a time and are not over', async () => {
      await store.deaths.add([
        sampleDeath('old', { reportedAt: NOW - 100 }),
        sampleDeath('over', { until: NOW }),
        sampleDeath('new'),
      ]);
      const uids = async (since: number) => (await list(NOW, since)).map(({ uid }) => uid);
      expect(await uids(0)).to.deep.equal(['old', 'new']);
      expect(await uids(NOW - 100)).to.deep.equal(['old', 'new']);
      expect(await uids(NOW - 99)).to.deep.equal(['new']);
    });

    it('takes a thousand at once, and names each of them to the others', async () => {
      const deaths = Array.from({ length: 1000 }, (_, i) => sampleDeath(`uid-${i}`));
      expect(await store.deaths.add(deaths)).to.have.length(1000);
      const named = told().flatMap((change) => ('uids' in change ? (change.uids ?? []) : []));
      expect(new Set(named).size).to.equal(1000);
    });

    it('sweeps those that are over for an hour, and no others', async () => {
      await store.deaths.add([sampleDeath('over', { until: NOW - 3600 }), sampleDeath('kept')]);
      await store.deaths.add([sampleDeath('grace', { until: NOW - 3599 })]);
      expect(await store.sweep()).to.equal(1);
      expect(await store.deaths.findMany('local', ['over', 'kept', 'grace'])).to.have.length(2);
    });

    it('is still there after it was closed and opened again', async () => {
      await store.deaths.add([sampleDeath('a')]);
      await store.close();
      store = await database.open();
      expect(await list()).to.deep.equal([sampleDeath('a')]);
    });

    it('refuses a NUL character, which only one of the databases would take', async () => {
      const error = await store.deaths.add([sampleDeath('a\0')]).catch((thrown: unknown) => thrown);
      expect(error).to.be.instanceOf(TypeError);
    });

    it('revokes the tokens of a pod by its uid', async () => {
      await store.tokens.insert(sampleToken('one', { podUid: 'a', cluster: 'local' }));
      await store.tokens.insert(sampleToken('two', { podUid: 'b', cluster: 'local' }));
      expect(await store.tokens.revokeWhere({ cluster: 'local', podUid: 'a' })).to.equal(1);
      expect(await store.tokens.findByHash(sampleToken('two').hash)).to.not.equal(undefined);
    });
  });
}
