// PostgreSQL goes away and comes back, under traffic: what the brokers say meanwhile is true or 503, and everything goes on
// by itself afterwards. And a broker that is cut off alone, while another one revokes.
import { expect } from 'chai';
import { findPostgresLack, startPostgres, type TestPostgres } from '../support/postgres.ts';
import { type BrokerProcess, createInstallation, type Installation } from './installation.ts';
import { createLedger, type Ledger } from './ledger.ts';
import { startProxy } from './proxy.ts';
import { createRequests, type Requests } from './requests.ts';
import { createRandom, toMedian, waitUntil } from './traffic.ts';

const WORKERS = 10;
const PODS = 100;
/** So often each kind of request is answered in each phase before the next one begins. */
const ANSWERS_PER_PHASE = 40;
/** "At once": without waiting for any of the time limits of the database's driver, which are seconds. */
const AT_ONCE_MS = 250;
const AWAY_SECONDS = 4;

const lack = findPostgresLack();
(lack === undefined ? describe : describe.skip)('an outage of PostgreSQL', function () {
  this.timeout(240_000);
  let postgres: TestPostgres;
  let store: string;
  let installation: Installation;
  let a: BrokerProcess;
  let b: BrokerProcess;
  let requests: Requests;
  before(async () => {
    postgres = await startPostgres();
    store = await postgres.createDatabase();
    installation = createInstallation('store-outage', store);
    [a, b] = await Promise.all([installation.start('a'), installation.start('b')]);
    requests = await createRequests(installation, a);
  });
  after(async () => {
    await installation.remove();
    await postgres.stop();
  });

  for (const [title, end] of [
    ['stopped as an administrator does it', () => postgres.stop()],
    ['killed (kill -9)', () => postgres.kill()],
  ] as const) {
    it(`makes no broker lie and loses nothing that was answered: ${title}`, async () => {
      const ledger = createLedger(requests);
      const traffic = createTraffic([a, b], { requests, ledger });
      const running = traffic.run();
      await traffic.enough('up');
      traffic.enter('changing');
      await end();
      traffic.enter('down');
      await traffic.enough('down');
      traffic.enter('changing');
      const startedAt = performance.now();
      await postgres.start();
      for (const broker of [a, b])
        await waitUntil(`${broker.name} issues again`, async () => {
          const issued = await requests.issue(broker, 'opaque', 0);
          return typeof issued !== 'string';
        });
      const recoveredMs = performance.now() - startedAt;
      traffic.enter('again');
      await traffic.enough('again');
      traffic.stop();
      await running;
      const counts = await ledger.checkAll(a);
      await ledger.checkAll(b);
      const { seen, refusalMs } = traffic;
      console.log(
        `      ${counts.live} live tokens and ${counts.revoked} revocations answered, all found on both; ` +
          `back ${Math.round(recoveredMs)} ms after the start of the database; 503 for an opaque token after ${toMedian(refusalMs).toFixed(1)} ms (median), ${Math.max(...refusalMs).toFixed(1)} ms (worst)\n` +
          `      while it was away: ${renderCounts(seen.get('down'))}`,
      );
      expect(ledger.lies).to.deep.equal([]);
      for (const phase of ['up', 'again'] as const)
        expect(toTroubles(seen.get(phase)), phase).to.deep.equal([]);
      const down = [...(seen.get('down')?.keys() ?? [])];
      expect(down).to.include.members(['introspection active', 'issue opaque 503', 'revoke 503']);
      expect(down, 'a JWT needs no store')
        .to.include('issue jwt 200')
        .and.not.include('issue jwt 503');
      expect(down, 'nothing can be durable').to.not.include.members(['issue opaque 200']);
      expect(down).to.not.include('revoke 200');
      expect(toMedian(refusalMs)).to.be.below(AT_ONCE_MS);
    });
  }

  it('is told as such once it lasts longer than the operator allows, and a revocation from elsewhere is seen after it', async () => {
    const proxy = await startProxy(store);
    const c = await installation.start('c', {
      store: proxy.url,
      settings: { COATCHECK_STORE_AWAY_SECONDS: String(AWAY_SECONDS) },
    });
    const obtain = async (kind: 'opaque' | 'jwt') => {
      const issued = await requests.issue(a, kind, 1);
      if (typeof issued === 'string') throw new Error(issued);
      expect(await requests.introspect(c, issued.token)).to.equal('active');
      return issued.token;
    };
    const revoked = [await obtain('opaque'), await obtain('jwt')];
    const kept = [await obtain('opaque'), await obtain('jwt')];
    const askC = (tokens: readonly string[]) =>
      Promise.all(tokens.map((token) => requests.introspect(c, token)));

    const cutAt = performance.now();
    await proxy.cut();
    expect(await askC(kept), 'from the mirror').to.deep.equal(['active', 'active']);
    for (const token of revoked) expect(await requests.revoke(a, token)).to.equal('revoked');
    // What it cannot know it may say wrong for so long, and what it does know never.
    const answers = new Set<string>();
    await waitUntil('c does not answer for tokens any more', async () => {
      const told = await askC(kept);
      for (const answer of told) answers.add(answer);
      return told.every((answer) => answer === 'unavailable');
    });
    const limitMs = performance.now() - cutAt;
    expect([...answers].sort()).to.deep.equal(['active', 'unavailable']);
    expect(limitMs).to.be.at.least(AWAY_SECONDS * 1000);
    expect(await askC(revoked)).to.deep.equal(['unavailable', 'unavailable']);
    expect(await requests.revoke(c, kept[0] ?? '')).to.equal('unavailable');
    expect(await requests.issue(c, 'opaque', 2)).to.equal('unavailable');
    expect(await requests.issue(c, 'jwt', 2), 'a JWT needs no store').to.have.property('token');

    await proxy.restore();
    const backMs = await waitUntil('c answers for tokens again', async () =>
      (await askC(kept)).every((answer) => answer === 'active'),
    );
    // The deny list is read anew at once; a look at it a moment earlier is what the outage was.
    const seenMs = await waitUntil('c knows of the revocations', async () =>
      (await askC(revoked)).every((answer) => answer === 'inactive'),
    );
    console.log(
      `      answered from memory for ${Math.round(limitMs)} ms (limit ${AWAY_SECONDS} s), then 503; ` +
        `${Math.round(backMs)} ms after the way was free it answered again, ${Math.round(seenMs)} ms later it knew of the revocations`,
    );
    expect(await c.stop()).to.equal(0);
    await proxy.close();
  });
});

type Phase = 'up' | 'changing' | 'down' | 'again';
type Seen = Map<Phase, Map<string, number>>;

function createTraffic(
  brokers: readonly [BrokerProcess, BrokerProcess],
  { requests, ledger }: { requests: Requests; ledger: Ledger },
) {
  const random = createRandom(3);
  const seen: Seen = new Map();
  const refusalMs: number[] = [];
  let phase: Phase = 'up';
  let isStopped = false;

  /** Answers count for a phase that did not change while they were waited for. */
  function note(asked: Phase, what: string): void {
    if (asked !== phase) return;
    const counts = seen.get(asked) ?? new Map<string, number>();
    seen.set(asked, counts);
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }

  async function issue(on: BrokerProcess, kind: 'opaque' | 'jwt'): Promise<void> {
    const asked = phase;
    const startedAt = performance.now();
    const issued = await requests.issue(on, kind, Math.floor(random() * PODS));
    if (typeof issued !== 'string') ledger.add(issued.token, kind);
    else if (asked === 'down') refusalMs.push(performance.now() - startedAt);
    note(asked, `issue ${kind} ${toStatus(typeof issued === 'string' ? issued : 'ok')}`);
  }

  async function revoke(on: BrokerProcess): Promise<void> {
    const asked = phase;
    const entry = ledger.pick(random);
    if (entry?.state !== 'live') return;
    note(asked, `revoke ${toStatus(await ledger.revoke(entry, on))}`);
  }

  async function ask(on: BrokerProcess): Promise<void> {
    const asked = phase;
    const entry = ledger.pick(random);
    if (entry) note(asked, `introspection ${await ledger.check(entry, on)}`);
  }

  async function act(worker: number): Promise<void> {
    const on = brokers[worker % 2] as BrokerProcess;
    const chance = random();
    if (chance < 0.3) return issue(on, 'opaque');
    if (chance < 0.5) return issue(on, 'jwt');
    return chance < 0.65 ? revoke(on) : ask(on);
  }

  return {
    seen,
    refusalMs,
    enter: (next: Phase) => {
      phase = next;
    },
    /** Resolves when each kind of request was answered often enough in this phase, on whichever broker. */
    enough: async (which: Phase) => {
      await waitUntil(`enough answers while ${which}`, async () =>
        ['issue opaque', 'issue jwt', 'revoke', 'introspection'].every((kind) => {
          const counts = [...(seen.get(which) ?? [])].filter(([what]) => what.startsWith(kind));
          return counts.reduce((sum, [, count]) => sum + count, 0) >= ANSWERS_PER_PHASE;
        }),
      );
    },
    stop: () => {
      isStopped = true;
    },
    run: async () => {
      await Promise.all(
        Array.from({ length: WORKERS }, async (_, worker) => {
          while (!isStopped) await act(worker);
        }),
      );
    },
  };
}

function toStatus(answer: string): string {
  if (answer === 'unanswered') return 'unanswered';
  return answer === 'unavailable' ? '503' : '200';
}

function toTroubles(counts: ReadonlyMap<string, number> | undefined): string[] {
  return [...(counts?.keys() ?? [])].filter((what) => /503|unavailable|unanswered/.test(what));
}

function renderCounts(counts: ReadonlyMap<string, number> | undefined): string {
  return [...(counts ?? [])]
    .map(([what, count]) => `${what} ×${count}`)
    .sort()
    .join(', ');
}
