// What is PostgreSQL's alone: replicas that start together, changes that reach the other replica, and outages. Each
// outage is a real one: the server is stopped, killed, or its sessions are cut.
import { expect } from 'chai';
import pg from 'pg';
import type { DatabaseStore } from '../../../broker/store/database.ts';
import { createPostgresDialect } from '../../../broker/store/dialect-postgres.ts';
import type { StoreChange } from '../../../broker/store/store.ts';
import { systemClock } from '../../../common/clock.ts';
import { createLogger } from '../../../common/log.ts';
import { Secret } from '../../../common/secret.ts';
import { getPostgres, type TestPostgres } from '../../support/postgres.ts';
import { BACKENDS, type Database, findRefusal, waitUntil } from './backends.ts';
import { sampleDenial, sampleKey, sampleToken } from './samples.ts';

const backend = BACKENDS.find(({ kind }) => kind === 'postgres');

/** A token that is alive by the real clock. */
function freshToken(name: string) {
  const now = Math.floor(systemClock.now() / 1000);
  return sampleToken(name, { issuedAt: now, expiresAt: now + 900, maxExpiresAt: now + 900 });
}

describe('postgres store', function () {
  if (!backend || backend.lack !== undefined) {
    it.skip(`(${backend?.lack})`);
    return;
  }
  this.timeout(120_000);
  let postgres: TestPostgres;
  let database: Database;
  before(async () => {
    postgres = await getPostgres();
  });
  beforeEach(async () => {
    database = await backend.create();
  });
  afterEach(async () => {
    await postgres.start();
    await database.close();
  });
  const open = () => database.open({ clock: systemClock });

  function listen(store: DatabaseStore): StoreChange[] {
    const changes: StoreChange[] = [];
    store.onChange((change) => void changes.push(change));
    return changes;
  }

  it('comes up where four replicas start at once, again and again', async () => {
    for (let round = 0; round < 12; round++) {
      const fresh = await backend.create();
      const stores = await Promise.all(
        Array.from({ length: 4 }, () => fresh.open({ clock: systemClock })),
      );
      await Promise.all(stores.map((store, i) => store.tokens.insert(freshToken(`t${i}`))));
      expect((await stores[0]?.tokens.count())?.client).to.equal(4);
      await fresh.close();
    }
  });

  it('makes one first key where two replicas want to, again and again', async () => {
    const [one, two] = [await open(), await open()];
    for (let round = 0; round < 15; round++) {
      const results = await Promise.all(
        [one, two].map((store, i) =>
          findRefusal(store.keys.insert(sampleKey(`k${i}`), { onlyIfNone: true })),
        ),
      );
      expect(results.filter((result) => result === 'conflict')).to.have.length(1);
      for (const { kid } of await one.keys.list()) await one.keys.remove(kid);
    }
  });

  it('sweeps on one replica at a time', async () => {
    const [one, two] = [await open(), await open()];
    await one.sweep();
    const old = Math.floor(systemClock.now() / 1000) - 7200;
    await one.tokens.insert({ ...freshToken('old'), expiresAt: old });
    expect(await two.sweep()).to.equal(0);
    expect(await one.sweep()).to.equal(1);
  });

  const client = { id: 'orders', secretHashes: [], createdAt: 1, createdBy: 'x' };
  const role = { name: 'a', document: {}, updatedAt: 1, updatedBy: 'x' };
  const CHANGES: readonly {
    what: string;
    change: (store: DatabaseStore) => Promise<unknown>;
    expected: StoreChange;
  }[] = [
    {
      what: 'a revocation',
      change: (store) => store.tokens.revoke(freshToken('a').hash),
      expected: { topic: 'tokens', hash: freshToken('a').hash },
    },
    {
      what: 'a revocation in bulk',
      change: (store) => store.tokens.revokeWhere({ namespace: 'many' }),
      expected: { topic: 'tokens' },
    },
    {
      what: 'a denial',
      change: (store) => store.denials.add(sampleDenial('d')),
      expected: { topic: 'denials', ids: ['d'] },
    },
    { what: 'a role', change: (store) => store.roles.put(role), expected: { topic: 'roles' } },
    {
      what: 'a key',
      change: (store) => store.keys.insert(sampleKey('k')),
      expected: { topic: 'keys' },
    },
    {
      what: 'a client',
      change: (store) => store.clients.put(client),
      expected: { topic: 'clients' },
    },
  ];
  for (const { what, change, expected } of CHANGES) {
    it(`tells the other replica of ${what}`, async () => {
      const [here, there] = [await open(), await open()];
      const changes = listen(there);
      await here.tokens.insert(freshToken('a'));
      await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          here.tokens.insert({ ...freshToken(`m${i}`), namespace: 'many' }),
        ),
      );
      expect(changes).to.deep.equal([]);
      await change(here);
      await waitUntil('the change arrives', () => changes.length > 0);
      expect(changes).to.deep.equal([expected]);
    });
  }

  it('names no denial where there are too many for one message', async () => {
    const [here, there] = [await open(), await open()];
    const changes = listen(there);
    await Promise.all(
      Array.from({ length: 200 }, (_, i) =>
        here.denials.add(sampleDenial(`${i}`.padStart(60, 'x'))),
      ),
    );
    await waitUntil('the change arrives', () => changes.length > 0);
    expect(changes).to.deep.include({ topic: 'denials' });
  });

  it('tells nobody of what was rolled back', async () => {
    const [here, there] = [await open(), await open()];
    const changes = listen(there);
    await here.roles.put(role, 0);
    expect(await findRefusal(here.roles.put(role, 0))).to.equal('conflict');
    expect(await findRefusal(here.keys.update('none', { sealed: 'x' }))).to.equal('not_found');
    await here.clients.put(client);
    await waitUntil('the last change arrives', () =>
      changes.some(({ topic }) => topic === 'clients'),
    );
    expect(changes).to.deep.equal([{ topic: 'roles' }, { topic: 'clients' }]);
  });

  it('takes what a stranger says on the channel for a reason to read everything', async () => {
    const store = await open();
    const changes = listen(store);
    const stranger = database.dialect(systemClock);
    const { sql } = await import('kysely');
    await sql`SELECT pg_notify('coatcheck_changes', 'not json')`.execute(stranger.db);
    await stranger.close();
    await waitUntil('the change arrives', () => changes.length > 0);
    expect(changes).to.deep.equal([{ topic: 'all' }]);
  });

  for (const how of ['stop', 'kill'] as const) {
    it(`loses nothing acknowledged over a ${how}, says unavailable meanwhile, and recovers by itself`, async () => {
      const store = await open();
      const changes = listen(store);
      const acknowledged: string[] = [];
      const refusals: (string | undefined)[] = [];
      let isOver = false;
      const worker = async (id: number) => {
        for (let i = 0; !isOver; i++) {
          const name = `${how}-${id}-${i}`;
          const refusal = await findRefusal(store.tokens.insert(freshToken(name)));
          if (refusal === undefined) acknowledged.push(name);
          else refusals.push(refusal);
          // An attempt that is refused at once must not starve what would end the outage.
          await new Promise((resolve) => setTimeout(resolve, 2));
        }
      };
      const working = Promise.all(Array.from({ length: 6 }, (_, id) => worker(id)));
      await waitUntil('writes go', () => acknowledged.length > 50);
      await postgres[how]();
      await waitUntil('it is noticed', () => store.findAwaySince() !== undefined);
      await waitUntil('it is said', () => refusals.length > 20);
      const before = acknowledged.length;
      await postgres.start();
      await waitUntil('writes go again', () => acknowledged.length > before + 50);
      await waitUntil('it is over', () => store.findAwaySince() === undefined);
      isOver = true;
      await working;
      expect(new Set(refusals)).to.deep.equal(new Set(['unavailable']));
      expect(changes).to.deep.include({ topic: 'all' });
      const lost: string[] = [];
      for (const name of acknowledged)
        if (!(await store.tokens.findByHash(freshToken(name).hash))) lost.push(name);
      expect(lost).to.deep.equal([]);
    });
  }

  it('sees what changed while only its listening was cut off', async () => {
    const [here, there] = [await open(), await open()];
    const changes = listen(there);
    await postgres.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %'",
    );
    await here.denials.add(sampleDenial('meanwhile'));
    await waitUntil('it reads everything', () => changes.some(({ topic }) => topic === 'all'));
    expect(await there.denials.findMany(['meanwhile'])).to.have.length(1);
  });

  it('refuses at once while it knows that the database is away', async () => {
    const store = await open();
    await postgres.stop();
    await waitUntil('it is noticed', () => store.findAwaySince() !== undefined);
    await waitUntil('it is sure', () => systemClock.now() - (store.findAwaySince() ?? 0) > 600);
    const startedAt = performance.now();
    for (let i = 0; i < 100; i++)
      expect(await findRefusal(store.tokens.insert(freshToken(`x${i}`)))).to.equal('unavailable');
    expect(performance.now() - startedAt).to.be.lessThan(1000);
  });

  it('cannot be started while the database is away, and can be started again after', async () => {
    await postgres.stop();
    const log = createLogger({
      level: 'error',
      process: 'broker',
      stream: { write: () => undefined },
    });
    const url = new Secret(database.choice);
    const { createDatabaseStore } = await import('../../../broker/store/database.ts');
    const store = createDatabaseStore(
      createPostgresDialect({ url, clock: systemClock, random: () => 0.5, log }),
      { clock: systemClock, log, holder: 'x', keepDecisionsSeconds: 1, maxDecisions: 1 },
    );
    expect(await findRefusal(store.start())).to.equal('unavailable');
    await postgres.start();
    await store.start();
    await store.tokens.insert(freshToken('a'));
    await store.close();
  });

  it('is durable also where the database would not be by default', async () => {
    const name = new URL(database.choice).pathname.slice(1);
    await postgres.query(`ALTER DATABASE ${name} SET synchronous_commit = off`);
    const dialect = database.dialect(systemClock);
    await dialect.open();
    const { sql } = await import('kysely');
    const { rows } = await sql`SHOW synchronous_commit`.execute(dialect.db);
    expect(rows).to.deep.equal([{ synchronous_commit: 'on' }]);
    await dialect.close();
  });

  it('bounds the tokens of an identity without a walk through those of its ServiceAccount, from the first one on', async () => {
    const store = await open();
    for (let group = 0; group < 40; group++) {
      const pods = Array.from({ length: 25 }, (_, i) => `pod-${group}-${i}`);
      await Promise.all(
        pods.map((podUid) =>
          store.tokens.insert({ ...freshToken(podUid), podUid }, { maxPerIdentity: 2 }),
        ),
      );
    }
    // The counters of a session are sure to be seen when it has ended.
    await store.close();
    const client = new pg.Client({ connectionString: database.choice });
    await client.connect();
    const { rows } = await client.query<{ read: string }>(
      "SELECT sum(idx_tup_read) AS read FROM pg_stat_user_indexes WHERE relname = 'coatcheck_tokens'",
    );
    await client.end();
    // Each insert looks at its own: a thousand of them, and some. The walk would read a hundred times as many.
    expect(Number(rows[0]?.read)).to.be.within(1000, 10_000);
  });
});

describe('URL of the postgres store', () => {
  it('is refused where it names a certificate that is not there, and is not quoted', () => {
    const url = new Secret(
      'postgres://u:s3cret@127.0.0.1/x?sslmode=verify-full&sslrootcert=/none.pem',
    );
    const log = createLogger({
      level: 'error',
      process: 'broker',
      stream: { write: () => undefined },
    });
    expect(() => createPostgresDialect({ url, clock: systemClock, random: () => 0, log }))
      .to.throw(/cannot be used \(ENOENT\)/)
      .with.property('message')
      .that.does.not.include('s3cret');
  });
});
