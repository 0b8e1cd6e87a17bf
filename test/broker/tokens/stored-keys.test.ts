// Signing keys in a real store, for two replicas: who signs with what, what the JWKS of each holds, minute by minute; and
// what a writer to the database, or the loss of a sealing key, can do to them.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { METADATA_MAX_AGE_SECONDS } from '../../../broker/dialects/oauth/metadata.ts';
import { type Store, type StoredKey, StoreError } from '../../../broker/store/store.ts';
import { ANNOUNCE_SECONDS, OVERLAP_SECONDS } from '../../../broker/tokens/key-schedule.ts';
import { generateSigningKey, type SigningAlgorithm } from '../../../broker/tokens/keys.ts';
import { openSealingFolder, type SealingFolder } from '../../../broker/tokens/sealing.ts';
import { sealKey } from '../../../broker/tokens/stored-key.ts';
import { createStoredKeys, type StoredKeys } from '../../../broker/tokens/stored-keys.ts';
import type { Clock } from '../../../common/clock.ts';
import { createLogger } from '../../../common/log.ts';
import { keep } from '../../support/tokens.ts';
import { BACKENDS, type Database, findRefusal } from '../store/backends.ts';

const MINUTE_MS = 60_000;
const TTL_SECONDS = 3600;

interface Replica {
  readonly keys: StoredKeys;
  /** While true the replica does not reach the store. */
  isCutOff: boolean;
}

for (const backend of BACKENDS) {
  describe(`signing keys in ${backend.kind}`, function () {
    this.timeout(60_000);
    let database: Database;
    let folder: string;
    let lines: string[];
    let replicas: Replica[];
    let stores: Store[];

    before(function () {
      if (backend.lack !== undefined) {
        console.log(`!!! SKIPPED: ${backend.lack}`);
        this.skip();
      }
    });
    beforeEach(async () => {
      database = await backend.create();
      folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-sealing-'));
      writeFileSync(path.join(folder, '2026-10'), randomBytes(32));
      lines = [];
      replicas = [];
      // An embedded database has one process, so one store, however many look at it.
      const first = await database.open();
      stores = [first, backend.kind === 'sqlite' ? first : await database.open()];
    });
    afterEach(async () => {
      for (const { keys } of replicas) await keys.stop();
      await database.close();
      rmSync(folder, { recursive: true });
      const text = lines.join('');
      expect(text).not.to.contain('PRIVATE KEY');
      expect(text).not.to.match(/"d":"/);
      keep('stored keys log', text);
    });

    const openSealing = (): SealingFolder => {
      const opened = openSealingFolder(folder);
      if ('problems' in opened) throw new Error(opened.problems.join('\n'));
      return opened;
    };

    function create(
      at: 0 | 1,
      options: {
        sealing?: SealingFolder;
        rotationSeconds?: number;
        skewMs?: number;
        algorithm?: SigningAlgorithm;
      } = {},
    ): Replica {
      const store = stores[at] as Store;
      const replica: { keys?: StoredKeys; isCutOff: boolean } = { isCutOff: false };
      const reach = <T>(work: () => Promise<T>): Promise<T> =>
        replica.isCutOff
          ? Promise.reject(new StoreError('unavailable', 'cut off by the test'))
          : work();
      const clock: Clock = {
        ...database.clock,
        now: () => database.clock.now() + (options.skewMs ?? 0),
      };
      replica.keys = createStoredKeys({
        store: {
          keys: {
            list: () => reach(() => store.keys.list()),
            insert: (key, how) => reach(() => store.keys.insert(key, how)),
            update: (kid, change) => reach(() => store.keys.update(kid, change)),
            remove: (kid) => reach(() => store.keys.remove(kid)),
          },
          onChange: (listener) =>
            store.onChange((change) => (replica.isCutOff ? undefined : listener(change))),
        },
        sealing: options.sealing ?? openSealing(),
        algorithm: options.algorithm ?? 'ES256',
        rotationSeconds: options.rotationSeconds ?? 0,
        maxTokenTtlSeconds: TTL_SECONDS,
        clock,
        log: createLogger({
          level: 'debug',
          process: 'broker',
          stream: { write: (line) => void lines.push(line) },
        }),
      });
      const made = replica as Replica;
      replicas.push(made);
      return made;
    }

    async function start(at: 0 | 1, options: Parameters<typeof create>[1] = {}): Promise<Replica> {
      const replica = create(at, options);
      await replica.keys.start();
      return replica;
    }

    const signing = ({ keys }: Replica) => keys.current().signing.kid;
    const published = ({ keys }: Replica) => keys.current().published.map(({ kid }) => kid);
    const list = () => (stores[0] as Store).keys.list();
    const seconds = () => Math.floor(database.clock.now() / 1000);

    async function pass(ms: number): Promise<void> {
      for (let left = ms; left > 0; left -= MINUTE_MS) {
        await database.clock.advance(Math.min(left, MINUTE_MS));
        for (const { keys } of replicas) await keys.refresh();
      }
    }

    it('make one key when two replicas start at once, and both sign with it at once', async () => {
      const both = [create(0), create(1)];
      await Promise.all(both.map(({ keys }) => keys.start()));
      const rows = await list();
      expect(rows).to.have.lengthOf(1);
      expect(both.map(signing)).to.deep.equal([rows[0]?.kid, rows[0]?.kid]);
      expect(both.map(published)).to.deep.equal([[rows[0]?.kid], [rows[0]?.kid]]);
    });

    it('are the same after a restart', async () => {
      const first = await start(0);
      const kid = signing(first);
      await first.keys.stop();
      expect(signing(await start(1))).to.equal(kid);
    });

    it('are in the store sealed, and in no other form', async () => {
      const { keys } = await start(0);
      const [row] = await list();
      const { privateKey } = keys.current().signing;
      const secret = (privateKey.export({ format: 'jwk' }) as { d: string }).d;
      expect(row?.sealed).to.match(/^v1\.2026-10\./);
      expect(JSON.stringify(row)).not.to.contain(secret);
      const bytes = Buffer.from(secret, 'base64url');
      expect(Buffer.from(row?.sealed.split('.')[3] ?? '', 'base64url').includes(bytes)).to.equal(
        false,
      );
    });

    it('publish a new key at once on every replica and sign with it ten minutes later', async () => {
      const [a, b] = [await start(0), await start(1)];
      const before = signing(a);
      await pass(20 * MINUTE_MS);
      const report = await a.keys.admin.rotate();
      expect(report).to.include({ state: 'upcoming', signsFrom: seconds() + ANNOUNCE_SECONDS });
      await b.keys.refresh();
      expect([published(a), published(b)]).to.deep.equal([
        [before, report.kid],
        [before, report.kid],
      ]);
      await pass(ANNOUNCE_SECONDS * 1000 - 1);
      expect([signing(a), signing(b)]).to.deep.equal([before, before]);
      await pass(1000);
      expect([signing(a), signing(b)]).to.deep.equal([report.kid, report.kid]);
      expect(published(a)).to.deep.equal([before, report.kid]);
    });

    it('stay published until their last token has ended, and are then gone from the store', async () => {
      const a = await start(0);
      const before = signing(a);
      await pass(20 * MINUTE_MS);
      const { kid } = await a.keys.admin.rotate();
      await pass((ANNOUNCE_SECONDS + OVERLAP_SECONDS + TTL_SECONDS) * 1000);
      expect(published(a)).to.deep.equal([before, kid]);
      await pass(2 * MINUTE_MS);
      expect(published(a)).to.deep.equal([kid]);
      expect((await list()).map((row) => row.kid)).to.deep.equal([kid]);
    });

    it('refuse a rotation while another new key waits', async () => {
      const a = await start(0);
      await a.keys.admin.rotate();
      expect(await findRefusal(a.keys.admin.rotate())).to.equal('conflict');
      expect(await list()).to.have.lengthOf(2);
    });

    it('end up with one new key where two replicas rotate at the same moment', async () => {
      const [a, b] = [await start(0), await start(1)];
      await Promise.allSettled([a.keys.admin.rotate(), b.keys.admin.rotate()]);
      await pass(2 * MINUTE_MS);
      expect(await list()).to.have.lengthOf(2);
      expect(published(a)).to.deep.equal(published(b));
    });

    it('are rotated by age once, by whichever replica sees it first', async () => {
      const rotationSeconds = 4 * 3600;
      const [a, b] = [await start(0, { rotationSeconds }), await start(1, { rotationSeconds })];
      const before = signing(a);
      await pass(rotationSeconds * 1000 - MINUTE_MS);
      expect(await list()).to.have.lengthOf(1);
      await pass(2 * MINUTE_MS);
      expect(await list()).to.have.lengthOf(2);
      await pass(11 * MINUTE_MS);
      expect(signing(a)).to.equal(signing(b)).and.not.to.equal(before);
    });

    it('are of the algorithm that is set, from the next one on', async () => {
      const a = await start(0, { algorithm: 'EdDSA' });
      expect(a.keys.current().signing.algorithm).to.equal('EdDSA');
    });

    it('sign on while the store is away, and are read again when it is back', async () => {
      const [a, b] = [await start(0), await start(1)];
      const kid = signing(a);
      b.isCutOff = true;
      await pass(30 * MINUTE_MS);
      expect(signing(b)).to.equal(kid);
      const next = await a.keys.admin.rotate();
      await b.keys.refresh();
      expect(published(b)).to.deep.equal([kid]);
      b.isCutOff = false;
      await b.keys.refresh();
      expect(published(b)).to.deep.equal([kid, next.kid]);
      expect(lines.filter((line) => line.includes('could not be read'))).to.have.lengthOf(1);
    });

    it('sign on where somebody empties the table', async () => {
      const a = await start(0);
      const kid = signing(a);
      await (stores[0] as Store).keys.remove(kid);
      await pass(MINUTE_MS);
      expect(signing(a)).to.equal(kid);
    });

    interface Moment {
      readonly signing: readonly string[];
      readonly published: readonly (readonly string[])[];
    }

    /** Every token signed at any moment is in every JWKS from five minutes before until its end. */
    function checkMoments(moments: readonly Moment[]): void {
      const missing = moments.flatMap((moment, i) => {
        const from = Math.max(0, i - METADATA_MAX_AGE_SECONDS / 60);
        return moments
          .slice(from, i + TTL_SECONDS / 60 + 1)
          .flatMap(({ published: sets }, offset) =>
            sets
              .filter((kids) => !moment.signing.every((kid) => kids.includes(kid)))
              .map(() => `signed at minute ${i}, unknown at minute ${from + offset}`),
          );
      });
      expect(missing).to.deep.equal([]);
    }

    const schedules: readonly {
      name: string;
      skewMs?: number;
      /** What happens, by minute since the start. */
      events?: (world: {
        a: () => Replica;
        b: () => Replica;
        restart: () => Promise<void>;
      }) => Readonly<Record<number, () => Promise<void> | void>>;
    }[] = [
      { name: 'rotation by age alone' },
      { name: 'a replica whose clock is 90 s ahead', skewMs: 90_000 },
      { name: 'a replica whose clock is 90 s behind', skewMs: -90_000 },
      {
        name: 'a replica that restarts as the new key begins to sign, and again an hour later',
        events: ({ restart }) => ({ 131: restart, 133: restart, 190: restart, 195: restart }),
      },
      {
        name: 'a store that is away for everybody from the moment a key was announced',
        events: ({ a, b }) => ({
          59: () => {
            b().isCutOff = true;
          },
          60: async () => {
            await a().keys.admin.rotate();
            a().isCutOff = true;
          },
          95: () => {
            a().isCutOff = false;
          },
          96: () => {
            b().isCutOff = false;
          },
        }),
      },
      {
        name: 'a replica that restarts while the other has not read a new key yet',
        events: ({ a, b, restart }) => ({
          59: () => {
            b().isCutOff = true;
          },
          60: async () => {
            await a().keys.admin.rotate();
            a().isCutOff = true;
          },
          80: async () => {
            a().isCutOff = false;
            await restart();
          },
          81: () => {
            b().isCutOff = false;
          },
        }),
      },
    ];
    // The schedule is the same over either database; what differs is how fast a replica hears of a key.
    const own = backend.kind === 'sqlite' ? schedules : schedules.filter(({ events }) => events);
    for (const { name, skewMs = 0, events } of own) {
      it(`verify every token by any JWKS of the last five minutes: ${name}`, async () => {
        const rotationSeconds = 2 * 3600;
        let a = await start(0, { rotationSeconds });
        const b = await start(1, { rotationSeconds, skewMs });
        const restart = async () => {
          await a.keys.stop();
          replicas.splice(replicas.indexOf(a), 1);
          a = await start(0, { rotationSeconds });
        };
        const plan = events?.({ a: () => a, b: () => b, restart }) ?? {};
        const moments: Moment[] = [];
        for (let minute = 0; minute < 330; minute++) {
          await plan[minute]?.();
          moments.push({
            signing: [signing(a), signing(b)],
            published: [published(a), published(b)],
          });
          await pass(MINUTE_MS);
        }
        expect(new Set(moments.flatMap((moment) => moment.signing)).size).to.be.greaterThan(2);
        checkMoments(moments);
      });
    }

    describe('and a writer to the database', () => {
      const plants: readonly {
        name: string;
        plant: (sealing: SealingFolder, own: StoredKey) => StoredKey;
      }[] = [
        {
          name: 'a private key in the clear',
          plant: () => {
            const key = generateSigningKey();
            const sealed = String(key.privateKey.export({ type: 'pkcs8', format: 'pem' }));
            return { kid: key.kid, sealed, createdAt: 1, signsFrom: 1 };
          },
        },
        {
          name: 'a key sealed by a key of the same name',
          plant: () => {
            const other = mkdtempSync(path.join(tmpdir(), 'coatcheck-sealing-'));
            writeFileSync(path.join(other, '2026-10'), randomBytes(32));
            const opened = openSealingFolder(other);
            rmSync(other, { recursive: true });
            if ('problems' in opened) throw new Error('cannot be opened');
            return sealKey(opened, { key: generateSigningKey(), createdAt: 1, signsFrom: 1 });
          },
        },
        {
          name: 'our own sealed key under another kid',
          plant: (_sealing, own) => ({ ...own, kid: generateSigningKey().kid }),
        },
        {
          name: 'another key sealed for the kid of a third',
          plant: (sealing) => {
            const [key, named] = [generateSigningKey(), generateSigningKey()];
            return sealKey(sealing, {
              key: { ...key, kid: named.kid },
              createdAt: 1,
              signsFrom: 1,
            });
          },
        },
        {
          name: 'a true key that is to sign earlier than it was sealed for',
          plant: (sealing) => {
            const key = generateSigningKey();
            const sealed = sealKey(sealing, { key, createdAt: 1, signsFrom: 2_000_000_000_000 });
            return { ...sealed, signsFrom: 1 };
          },
        },
        {
          name: 'a kid that is no kid, and garbage',
          plant: () => ({ kid: '"<script>', sealed: 'v1.2026-10.x', createdAt: 1, signsFrom: 1 }),
        },
      ];
      for (const { name, plant } of plants) {
        it(`cannot plant ${name}: it is told, counted and never published`, async () => {
          const sealing = openSealing();
          const a = await start(0, { sealing });
          const kid = signing(a);
          const [own] = await list();
          const planted = plant(sealing, own as StoredKey);
          await (stores[1] as Store).keys.insert(planted);
          await pass(30 * MINUTE_MS);
          expect({ published: published(a), signing: signing(a) }).to.deep.equal({
            published: [kid],
            signing: kid,
          });
          expect(a.keys.countUnreadable()).to.equal(1);
          const told = lines.filter((line) => line.includes('cannot be opened'));
          expect(told).to.have.lengthOf(1);
          expect(told[0]).to.contain('"level":"error"').and.not.to.contain('script');
          const states = (await a.keys.admin.list()).map(({ state }) => state);
          expect(states).to.deep.equal(['signing', 'unreadable']);
          // Nor does it keep a rotation from happening.
          await a.keys.admin.rotate();
          await pass(12 * MINUTE_MS);
          expect(signing(a)).not.to.equal(kid);
        });
      }

      it('can make nothing of a first start: a planted row keeps it from signing at all', async () => {
        await (stores[0] as Store).keys.insert({
          kid: 'k',
          sealed: 'x',
          createdAt: 1,
          signsFrom: 1,
        });
        const a = create(0);
        let message = '';
        await a.keys.start().catch((error: Error) => {
          message = error.message;
        });
        expect(message).to.match(/none of the 1 signing keys in the store opens/);
        expect(() => a.keys.current()).to.throw('no signing key has been loaded');
      });
    });

    describe('and the sealing key', () => {
      it('that is another one stops the start and says which is missing', async () => {
        await (await start(0)).keys.stop();
        unlinkSync(path.join(folder, '2026-10'));
        writeFileSync(path.join(folder, '2026-11'), randomBytes(32));
        const other = create(1);
        let message = '';
        await other.keys.start().catch((error: Error) => {
          message = error.message;
        });
        expect(message).to.contain('2026-10').and.to.contain('2026-11');
        expect(await list()).to.have.lengthOf(1);
      });

      it('is rotated by a new file, a rewrap, and the old file taken away', async () => {
        const sealing = openSealing();
        const [a, b] = [await start(0, { sealing }), await start(1)];
        const kid = signing(a);
        writeFileSync(path.join(folder, '2026-11'), randomBytes(32));
        sealing.reload();
        expect(await a.keys.admin.rewrap()).to.deep.equal({
          rewrapped: 1,
          unreadable: 0,
          sealedBy: '2026-11',
        });
        expect((await list()).map(({ sealed }) => sealed.split('.')[1])).to.deep.equal(['2026-11']);
        // The other replica's mount is a minute behind: what it had opened it goes on with.
        await b.keys.refresh();
        expect(signing(b)).to.equal(kid);
        expect(b.keys.countUnreadable()).to.equal(1);
        expect(
          (await b.keys.admin.list()).map(({ state, sealedBy }) => [state, sealedBy]),
        ).to.deep.equal([['signing', '2026-11']]);
        unlinkSync(path.join(folder, '2026-10'));
        expect(signing(await start(1))).to.equal(kid);
      });

      it('may be the older one on a replica that then opens the new key as soon as it is mounted', async () => {
        const mounted = openSealing();
        const b = await start(1, { sealing: mounted });
        writeFileSync(path.join(folder, '2026-11'), randomBytes(32));
        const a = await start(0);
        const { kid } = await a.keys.admin.rotate();
        await b.keys.refresh();
        expect(published(b)).not.to.contain(kid);
        mounted.reload();
        await b.keys.refresh();
        expect(published(b)).to.contain(kid);
        expect(b.keys.countUnreadable()).to.equal(0);
      });
    });
  });
}
