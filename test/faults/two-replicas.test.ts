// Two broker processes that start at once on an empty PostgreSQL, and how soon one refuses what the other revoked. The
// times are printed; the bound on their median is the contract's.
import { expect } from 'chai';
import pg from 'pg';
import { findPostgresLack, getPostgres } from '../support/postgres.ts';
import {
  type BrokerProcess,
  createInstallation,
  type Installation,
  type TokenKind,
} from './installation.ts';
import { createRequests, type Requests } from './requests.ts';
import { toMedian } from './traffic.ts';

const ROUNDS = 20;
const MAX_MS = 100;
const FIRST_STARTS = 3;

const lack = findPostgresLack();
(lack === undefined ? describe : describe.skip)(
  'two broker processes on one PostgreSQL',
  function () {
    this.timeout(120_000);
    let installation: Installation;
    let store: string;
    let a: BrokerProcess;
    let b: BrokerProcess;
    let requests: Requests;
    before(async () => {
      store = await (await getPostgres()).createDatabase();
      installation = createInstallation('two-replicas', store);
      [a, b] = await startTwo(installation, store);
      requests = await createRequests(installation, a);
    });
    after(() => installation.remove());

    it('make one schema and one signing key when they start at once on an empty database', async () => {
      const databases = [store];
      await expectOneOfEach([a, b], store);
      for (let i = 1; i < FIRST_STARTS; i++) {
        const empty = await (await getPostgres()).createDatabase();
        databases.push(empty);
        const both = await startTwo(installation, empty);
        await expectOneOfEach(both, empty);
        await Promise.all(both.map((one) => one.stop()));
      }
      console.log(`      ${databases.length} empty databases, two starts at once each`);
    });

    it('end on SIGTERM with 0 and take up again where they were', async () => {
      const issued = await requests.issue(b, 'opaque', 0);
      if (typeof issued === 'string') throw new Error(issued);
      expect(await b.stop()).to.equal(0);
      b = await installation.start('b again');
      expect(await requests.introspect(b, issued.token)).to.equal('active');
    });

    for (const kind of ['opaque', 'jwt'] satisfies TokenKind[]) {
      it(`refuse on B what was revoked on A within ${MAX_MS} ms (${kind})`, async () => {
        const times: number[] = [];
        for (let pod = 0; pod < ROUNDS; pod++) {
          const issued = await requests.issue(a, kind, pod);
          if (typeof issued === 'string') throw new Error(issued);
          const { token } = issued;
          // B has seen it and remembers it.
          expect(await requests.introspect(b, token)).to.equal('active');
          expect(await requests.revoke(a, token)).to.equal('revoked');
          times.push(await measureUntilInactive(() => requests.introspect(b, token)));
          expect(await requests.introspect(a, token)).to.equal('inactive');
        }
        console.log(
          `      ${kind}, from A's answer to B's first refusal: median ${toMedian(times).toFixed(1)} ms, worst ${Math.max(...times).toFixed(1)} ms; ` +
            `all: ${times.map((ms) => ms.toFixed(1)).join(' ')}`,
        );
        expect(toMedian(times)).to.be.below(MAX_MS);
      });
    }
  },
);

async function startTwo(
  installation: Installation,
  store: string,
): Promise<[BrokerProcess, BrokerProcess]> {
  return Promise.all([installation.start('a', { store }), installation.start('b', { store })]);
}

async function expectOneOfEach(brokers: readonly BrokerProcess[], store: string): Promise<void> {
  const kids = await Promise.all(
    brokers.map(async ({ http }) => {
      const answer = await http.send({ method: 'GET', path: '/oauth2/jwks' });
      return ((answer?.body.keys ?? []) as { kid: string }[]).map(({ kid }) => kid);
    }),
  );
  const client = new pg.Client({ connectionString: store });
  await client.connect();
  try {
    const { rows: stored } = await client.query<{ kid: string }>('SELECT kid FROM coatcheck_keys');
    expect(stored).to.have.length(1);
    expect(kids).to.deep.equal(brokers.map(() => [stored[0]?.kid]));
    const { rows: tables } = await client.query<{ name: string }>(
      "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE tablename LIKE 'coatcheck%'",
    );
    expect(tables.map(({ name }) => name)).to.include('public.coatcheck_tokens');
    expect(tables.every(({ name }) => name.startsWith('public.'))).to.equal(true);
    const { rows: steps } = await client.query<{ name: string }>(
      'SELECT name FROM coatcheck_migrations',
    );
    expect(steps.length).to.be.above(0);
    expect(new Set(steps.map(({ name }) => name)).size).to.equal(steps.length);
  } finally {
    await client.end();
  }
  const made = brokers.flatMap((one) =>
    one.log().filter(({ msg }) => msg === 'the first signing key was made'),
  );
  expect(made).to.have.length(1);
}

async function measureUntilInactive(ask: () => Promise<string>): Promise<number> {
  const startedAt = performance.now();
  for (;;) {
    const answer = await ask();
    if (answer === 'inactive') return performance.now() - startedAt;
    if (answer !== 'active') throw new Error(`the broker did not say: ${answer}`);
    // It would be wrong for ever, and the test would say only that it took too long.
    if (performance.now() - startedAt > 10_000) throw new Error('B goes on to call it active');
  }
}
