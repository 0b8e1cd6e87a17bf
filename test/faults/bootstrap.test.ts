// The bootstrap token at real processes: once it has ended or was revoked, no start and no other replica takes it again.
import { expect } from 'chai';
import pg from 'pg';
import { findPostgresLack, getPostgres } from '../support/postgres.ts';
import { type BrokerProcess, createInstallation, type Installation } from './installation.ts';
import { waitUntil } from './traffic.ts';

const HOUR_MS = 3_600_000;
const ROUTE = '/api/v1/roles';

const stores: readonly { kind: string; lack: string | undefined; create: () => Promise<string> }[] =
  [
    { kind: 'sqlite', lack: undefined, create: async () => 'sqlite' },
    {
      kind: 'postgres',
      lack: findPostgresLack(),
      create: async () => (await getPostgres()).createDatabase(),
    },
  ];

for (const { kind, lack, create } of stores) {
  (lack === undefined ? describe : describe.skip)(
    `the bootstrap token of a process (${kind})`,
    function () {
      this.timeout(60_000);
      let installation: Installation;
      let store: string;
      beforeEach(async () => {
        store = await create();
        installation = createInstallation(`bootstrap-${kind}`, store);
      });
      afterEach(() => installation.remove());

      const status = (broker: BrokerProcess, bearer = installation.bootstrapToken) =>
        broker.http
          .send({ method: 'GET', path: ROUTE, headers: { Authorization: `Bearer ${bearer}` } })
          .then((answer) => answer?.status);
      const says = (broker: BrokerProcess, text: string) =>
        broker.log().some(({ msg }) => String(msg).includes(text));

      it('opens the admin API, after a restart too, and nothing like it does', async () => {
        const first = await installation.start('first');
        expect(await status(first)).to.equal(200);
        expect(await status(first, `${installation.bootstrapToken}0`)).to.equal(401);
        expect(says(first, 'bootstrap token taken into use')).to.equal(true);
        // Not even time to say goodbye.
        await first.kill();
        const second = await installation.start('second');
        expect(await status(second)).to.equal(200);
        expect(says(second, 'bootstrap token is in use already')).to.equal(true);
      });

      it('is refused for ever once its hour is over', async () => {
        await (await installation.start('in its hour')).stop();
        const late = await installation.start('at its last minute', { aheadMs: HOUR_MS - 60_000 });
        expect(await status(late)).to.equal(200);
        await late.stop();
        for (const hours of [1, 2, 24 * 365]) {
          const after = await installation.start(`after ${hours} h`, { aheadMs: hours * HOUR_MS });
          expect(await status(after)).to.equal(401);
          expect(says(after, 'bootstrap token refused')).to.equal(true);
          await after.stop();
        }
        // And a clock that is set back does not bring it to life for longer than it had.
        const again = await installation.start('by a clock that was set back');
        expect(says(again, 'bootstrap token taken into use')).to.equal(false);
      });

      it('is refused for ever once it was revoked', async () => {
        const first = await installation.start('revoking');
        const revoked = await first.http.send({
          method: 'DELETE',
          path: '/api/v1/tokens/self',
          headers: { Authorization: `Bearer ${installation.bootstrapToken}` },
        });
        expect(revoked?.status).to.equal(200);
        expect(await status(first)).to.equal(401);
        await first.kill();
        const second = await installation.start('after it');
        expect(await status(second)).to.equal(401);
        expect(says(second, 'bootstrap token refused')).to.equal(true);
      });

      if (kind !== 'postgres') return;

      it('is one token to two replicas: taken once, and dead on both when one of them was told so', async () => {
        const [a, b] = await Promise.all([installation.start('a'), installation.start('b')]);
        expect([await status(a), await status(b)]).to.deep.equal([200, 200]);
        const takers = [a, b].filter((one) => says(one, 'bootstrap token taken into use'));
        expect(takers).to.have.length(1);
        await a.http.send({
          method: 'DELETE',
          path: '/api/v1/tokens/self',
          headers: { Authorization: `Bearer ${installation.bootstrapToken}` },
        });
        await waitUntil('B refuses it', async () => (await status(b)) === 401);
        await b.kill();
        const later = await installation.start('b again');
        expect([await status(a), await status(later)]).to.deep.equal([401, 401]);
      });

      it('is remembered when nothing of it is left but that it was used', async () => {
        await (await installation.start('first')).stop();
        const client = new pg.Client({ connectionString: store });
        await client.connect();
        // What the sweep does an hour after its end.
        const { rowCount } = await client.query('DELETE FROM coatcheck_tokens');
        await client.end();
        expect(rowCount).to.equal(1);
        const second = await installation.start('second');
        expect(await status(second)).to.equal(401);
        expect(says(second, 'bootstrap token refused')).to.equal(true);
      });
    },
  );
}
