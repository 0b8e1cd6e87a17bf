// What changes under a running broker: roles over HTTP, signing keys, and what a broken file does and does not.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { createReloads } from '../../broker/reload.ts';
import { openKeyFolder, PUBLISH_BEFORE_USE_MS } from '../../broker/tokens/key-folder.ts';
import { generateSigningKey } from '../../broker/tokens/keys.ts';
import { nowSeconds } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { createFakeClock } from '../support/clock.ts';
import { decodeHeader, ROLES, startTestBroker, type TestBroker } from './harness.ts';

describe('hot reload of roles', () => {
  let broker: TestBroker;
  beforeEach(async () => {
    broker = await startTestBroker('reload');
  });
  afterEach(() => broker.stop());

  const ask = async (audience = 'payments') => {
    const answer = await broker.exchange({
      subject_token: broker.issuer.token({ audiences: [audience] }),
    });
    return answer.status === 200 ? 'served' : answer.body.reason;
  };

  it('serves a role that was written a moment ago', async () => {
    expect(await ask('late')).to.equal('no_role');
    await broker.writeRoles(
      'late.yaml',
      `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: late }
spec: { audience: late, subjects: [{ namespace: shop, serviceAccount: checkout }] }
`,
    );
    expect(await ask('late')).to.equal('served');
  });

  it('keeps the last good roles of a broken file, says so, and forgets them once the file is mended', async () => {
    await broker.writeRoles('roles.yaml', 'this: is not a role');
    expect(await ask()).to.equal('served');
    expect(
      broker.log.findLast(({ msg }) => String(msg).startsWith('roles have problems')),
    ).to.deep.include({ level: 'warn' });
    const metrics = await (await fetch(`${broker.running.operationsUrl}/metrics`)).text();
    expect(metrics).to.match(/coatcheck_broker_role_problems [1-9]/);
    await broker.writeRoles(
      'roles.yaml',
      ROLES.replace('name: payments-checkout', 'name: payments').replace(
        'audience: payments',
        'audience: other',
      ),
    );
    expect(await ask()).to.equal('no_role');
    expect(await ask('other')).to.equal('served');
  });

  it('says what deserves a second look, with the own cluster in mind', () => {
    const line = broker.log.find(({ msg }) => msg === 'roles deserve a second look');
    const findings = line?.findings as { kind: string; role: string; other: string }[];
    expect(findings.map(({ kind, role, other }) => [kind, role, other])).to.deep.equal([
      ['ambiguous', 'twin-a', 'twin-b'],
    ]);
  });

  it('takes away what was deleted', async () => {
    rmSync(path.join(broker.rolesDir, 'roles.yaml'));
    await broker.running.broker.roles.reload();
    expect(await ask()).to.equal('no_role');
  });
});

describe('hot reload of signing keys', () => {
  it('publishes before it signs, and keeps the old key for the tokens that live', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-signing-'));
    const clock = createFakeClock();
    const put = (file: string) =>
      writeFileSync(
        path.join(folder, file),
        String(generateSigningKey().privateKey.export({ type: 'pkcs8', format: 'pem' })),
      );
    put('1.pem');
    const keys = openKeyFolder(folder, clock);
    if ('problems' in keys) throw new Error(keys.problems.join());
    const broker = await startTestBroker('signing-keys', { keys, clock });
    try {
      const kids = async () =>
        ((await broker.request('/oauth2/jwks')).body.keys as { kid: string }[]).map(
          ({ kid }) => kid,
        );
      const signer = async () =>
        decodeHeader(
          (
            await broker.exchange({
              subject_token: broker.issuer.token({ issuedAt: nowSeconds(clock) }),
            })
          ).body.access_token,
        ).kid;
      const [first] = await kids();
      put('2.pem');
      keys.reload();
      const [, second] = await kids();
      expect(await signer()).to.equal(first);
      await clock.advance(PUBLISH_BEFORE_USE_MS);
      keys.reload();
      expect(await signer()).to.equal(second);
      expect(await kids()).to.deep.equal([first, second]);
    } finally {
      await broker.stop();
      rmSync(folder, { recursive: true });
    }
  });
});

describe('reload loop', () => {
  it('says a failure once, counts each, goes on, and says when it works again', async () => {
    const clock = createFakeClock();
    const lines: Record<string, unknown>[] = [];
    const log = createLogger({
      level: 'info',
      process: 'broker',
      stream: { write: (line) => void lines.push(JSON.parse(line)) },
    });
    const reloads = createReloads({ clock, log, everyMs: 1000 });
    let problem: string | undefined;
    let count = 0;
    reloads.add('tls', () => {
      if (problem !== undefined) throw new Error(problem);
      return [];
    });
    reloads.start((what) => {
      expect(what).to.equal('tls');
      count += 1;
    });
    await clock.advance(2000);
    problem = 'half written';
    await clock.advance(3000);
    problem = undefined;
    await clock.advance(1000);
    await reloads.stop();
    await clock.advance(5000);
    expect(count).to.equal(3);
    expect(lines.map(({ level, msg, problems }) => ({ level, msg, problems }))).to.deep.equal([
      {
        level: 'error',
        msg: 'reload failed; the last good content stays in use',
        problems: ['half written'],
      },
      { level: 'info', msg: 'reload works again', problems: undefined },
    ]);
  });
});
