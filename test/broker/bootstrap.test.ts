// The bootstrap token: how strong it must be, and that it is taken into use once for ever.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { findBootstrapProblem, readBootstrapToken } from '../../broker/bootstrap.ts';
import { newOpaqueToken } from '../../broker/tokens/opaque.ts';
import { systemClock } from '../../common/clock.ts';
import { Secret } from '../../common/secret.ts';
import { noteToken } from '../support/tokens.ts';
import { type AdminUnderTest, startAdmin } from './dialects/admin/harness.ts';
import { BACKENDS, type Database } from './store/backends.ts';

/** Runs like the system's, and jumps ahead when told: servers and stores sleep on it. */
function createShiftedClock() {
  let shift = 0;
  return {
    now: () => systemClock.now() + shift,
    sleep: systemClock.sleep,
    advance: (ms: number) => {
      shift += ms;
    },
  };
}

const newText = () => noteToken(randomBytes(16).toString('hex'));

describe('bootstrap token: its form', () => {
  const opaque = noteToken(newOpaqueToken(randomBytes).token.reveal());
  const good: readonly string[] = [
    newText(),
    opaque,
    noteToken(randomBytes(32).toString('base64')),
  ];
  for (const [index, text] of good.entries())
    it(`takes a random one (${index})`, () =>
      expect(findBootstrapProblem(text)).to.equal(undefined));

  const bad: readonly [title: string, text: string][] = [
    ['nothing', ''],
    ['31 characters', newText().slice(1)],
    ['a word often enough', 'password'.repeat(5)],
    ['one letter', 'a'.repeat(40)],
    ['two lines', `${newText()}\n${newText()}`],
    ['blanks', `${newText()} ${newText()}`],
    ['other letters than ASCII', `${newText()}ä`],
    [
      'one of our form with a wrong checksum',
      `${opaque.slice(0, -1)}${opaque.endsWith('0') ? '1' : '0'}`,
    ],
    ['more than 512 characters', newText().repeat(17)],
  ];
  for (const [title, text] of bad)
    it(`refuses ${title}`, () => expect(findBootstrapProblem(text)).to.be.a('string'));

  it('is read from a file without its newline, and problems quote nothing of it', () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-bootstrap-'));
    const file = path.join(folder, 'token');
    const text = newText();
    writeFileSync(file, `${text}\n`);
    expect(readBootstrapToken(file).reveal()).to.equal(text);
    writeFileSync(file, 'hunter2');
    expect(() => readBootstrapToken(file))
      .to.throw(/must be 32 to 512/)
      .with.property('message')
      .not.include('hunter2');
    expect(() => readBootstrapToken(path.join(folder, 'none'))).to.throw(
      /cannot be read \(ENOENT\)/,
    );
    rmSync(folder, { recursive: true });
  });
});

for (const backend of BACKENDS) {
  describe(`bootstrap token: its life (${backend.kind})`, function () {
    this.timeout(30_000);
    let database: Database;
    beforeEach(async function () {
      if (backend.lack !== undefined) {
        console.error(`SKIPPED: ${backend.lack}`);
        this.skip();
      }
      database = await backend.create();
    });
    afterEach(() => database?.close());

    const start = (name: string, token: Secret, clock = createShiftedClock()) =>
      startAdmin(`bootstrap ${name}`, {
        storeChoice: database.choice,
        bootstrapToken: token,
        ttlSeconds: 600,
        clock,
      });
    const status = async (admin: AdminUnderTest) => (await admin.call('GET /api/v1/roles')).status;
    const messages = (admin: AdminUnderTest) => admin.broker.log.map(({ msg }) => String(msg));

    it('opens everything until it ends, and never again after a restart', async () => {
      const token = new Secret(newText());
      const clock = createShiftedClock();
      const first = await start('first', token, clock);
      expect(await status(first)).to.equal(200);
      expect(messages(first).join()).to.include('bootstrap token taken into use');
      clock.advance(590_000);
      expect(await status(first)).to.equal(200);
      clock.advance(10_000);
      expect(await status(first)).to.equal(401);
      await first.stop();
      const second = await start('second', token, clock);
      expect(await status(second)).to.equal(401);
      expect(messages(second).join()).to.include('bootstrap token refused');
      await second.stop();
    });

    it('goes on after a restart with the life it had', async () => {
      const token = newOpaqueToken(randomBytes).token;
      const clock = createShiftedClock();
      const first = await start('before restart', token, clock);
      await first.stop();
      clock.advance(300_000);
      const second = await start('after restart', token, clock);
      expect(await status(second)).to.equal(200);
      expect(messages(second).join()).to.include('in use already');
      clock.advance(300_000);
      expect(await status(second)).to.equal(401);
      await second.stop();
    });

    it('is never taken again once it was revoked', async () => {
      const token = new Secret(newText());
      const first = await start('revoked', token);
      expect((await first.call('DELETE /api/v1/tokens/self')).status).to.equal(200);
      expect(await status(first)).to.equal(401);
      await first.stop();
      const second = await start('after revocation', token);
      expect(await status(second)).to.equal(401);
      await second.stop();
    });

    it('waits while another bootstrap token lives', async () => {
      const clock = createShiftedClock();
      const first = await start('the one', new Secret(newText()), clock);
      const later = new Secret(newText());
      await first.stop();
      const second = await start('the other', later, clock);
      expect(await status(second)).to.equal(401);
      await second.stop();
      clock.advance(601_000);
      const third = await start('the other again', later, clock);
      expect(await status(third)).to.equal(200);
      await third.stop();
    });

    it('makes the administrator after it, who outlives it', async () => {
      const clock = createShiftedClock();
      const again = await start('heir', newOpaqueToken(randomBytes).token, clock);
      const made = await again.makeToken(['root'], { name: 'admin', ttl: '24h' });
      noteToken(made);
      clock.advance(601_000);
      expect(await status(again)).to.equal(401);
      expect((await again.call('GET /api/v1/roles', { token: made })).status).to.equal(200);
      const longer = await again.call('POST /api/v1/tokens', {
        token: made,
        body: { name: 'heir', policies: ['root'], ttl: '24h' },
      });
      expect(longer.status, 'root lives as long as it was made for').to.equal(403);
      await again.stop();
    });
  });
}

describe('bootstrap token: two replicas', () => {
  const backend = BACKENDS.find(({ kind }) => kind === 'postgres');
  it('is one token to both, and what one revokes the other refuses', async function () {
    this.timeout(30_000);
    if (!backend || backend.lack !== undefined) {
      console.error(`SKIPPED: ${backend?.lack ?? 'no PostgreSQL'}`);
      this.skip();
    }
    const database = await backend.create();
    const token = new Secret(newText());
    const setup = { storeChoice: database.choice, bootstrapToken: token };
    const [a, b] = await Promise.all([
      startAdmin('replica a', setup),
      startAdmin('replica b', setup),
    ]);
    const ask = async (admin: AdminUnderTest) => (await admin.call('GET /api/v1/roles')).status;
    expect([await ask(a), await ask(b)]).to.deep.equal([200, 200]);
    const taken = [a, b].filter(({ broker }) =>
      broker.log.some(({ msg }) => String(msg).includes('taken into use')),
    );
    expect(taken).to.have.length(1);
    const puts = await Promise.all(
      [a, b].map((admin) =>
        admin.call('PUT /api/v1/roles/raced?version=0', {
          body: {
            apiVersion: 'auth.example.io/v1alpha1',
            kind: 'TokenRole',
            metadata: { name: 'raced' },
            spec: {
              audience: `of-${admin === a}`,
              subjects: [{ namespace: 'n', serviceAccount: 's' }],
            },
          },
        }),
      ),
    );
    expect(puts.map(({ status }) => status).sort()).to.deep.equal([200, 412]);
    expect((await a.call('DELETE /api/v1/tokens/self')).status).to.equal(200);
    const deadline = performance.now() + 2000;
    while ((await ask(b)) !== 401 && performance.now() < deadline);
    expect(await ask(b)).to.equal(401);
    await Promise.all([a.stop(), b.stop()]);
    await database.close();
  });
});
