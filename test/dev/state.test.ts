// `coatcheck dev` with a store: what survives a restart, who its administrator is, and what it refuses to touch.
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect } from 'chai';
import { openStore } from '../../broker/store/open.ts';
import { openSealingFolder } from '../../broker/tokens/sealing.ts';
import { createStoredKeys } from '../../broker/tokens/stored-keys.ts';
import { systemClock, systemRandom } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { SettingsError } from '../../common/settings.ts';
import { readDevSettings } from '../../dev/settings.ts';
import { keep, noteToken } from '../support/tokens.ts';
import { type Ended, type Running, start, waitForOutput } from './program.ts';

const READY = /^coatcheck dev ready (http:\/\/\S+)\n/;

interface Dev {
  readonly url: string;
  readonly tokenFile: string | undefined;
  stop(): Promise<Ended>;
}

describe('coatcheck dev and what it keeps', function () {
  // Two or three processes one after the other, on a machine that does other things too.
  this.timeout(40_000);
  let folder: string;
  const running: Running[] = [];
  const at = (name: string) => path.join(folder, name);

  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-test-'));
  });
  afterEach(async () => {
    for (const one of running.splice(0)) {
      one.process.kill('SIGKILL');
      await one.ended;
    }
    rmSync(folder, { recursive: true });
  });

  async function launch(
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Dev> {
    const listen = args.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
    // A server that is killed leaves its own folder behind, here to be removed.
    const dev = start('cli/main.ts', ['dev', ...listen, ...args], {
      TMPDIR: folder,
      ...environment,
    });
    running.push(dev);
    const [, url = ''] = await waitForOutput(dev, READY);
    const tokenFile = /COATCHECK_TOKEN_FILE=(\S+)$/m.exec(dev.output.stderr)?.[1];
    if (tokenFile) noteToken(readFileSync(tokenFile, 'utf8').trim());
    return {
      url,
      tokenFile,
      stop: async () => {
        dev.process.kill('SIGTERM');
        return dev.ended;
      },
    };
  }

  async function ask(dev: Dev, target: string, token: string): Promise<Response> {
    return fetch(`${dev.url}${target}`, { headers: { Authorization: `Bearer ${token}` } });
  }

  async function getPolicies(dev: Dev, token: string): Promise<unknown> {
    const response = await ask(dev, '/api/v1/whoami', token);
    const text = await response.text();
    keep('dev-whoami', text);
    return response.status === 200 ? (JSON.parse(text) as { policies: unknown }).policies : 'none';
  }

  const readToken = (dev: Dev) => readFileSync(dev.tokenFile ?? '', 'utf8').trim();

  it('makes the administrator’s token in a file of mode 0600 that ends with it, and nobody else is let in', async () => {
    const dev = await launch([]);
    const file = dev.tokenFile ?? '';
    expect(statSync(file).mode & 0o777).to.equal(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).to.equal(0o700);
    expect(await getPolicies(dev, readToken(dev))).to.deep.equal(['root']);
    expect(await getPolicies(dev, noteToken(`cc_${'A'.repeat(73)}`))).to.equal('none');
    expect((await dev.stop()).code).to.equal(0);
    expect(existsSync(path.dirname(file))).to.equal(false);
  });

  const given: readonly {
    name: string;
    args: (file: string, token: string) => string[];
    environment?: (token: string) => Record<string, string>;
  }[] = [
    { name: 'the flag', args: (_file, token) => ['--bootstrap-token', token] },
    {
      name: 'COATCHECK_BOOTSTRAP_TOKEN',
      args: () => [],
      environment: (token) => ({ COATCHECK_BOOTSTRAP_TOKEN: token }),
    },
    { name: 'a file', args: (file) => ['--bootstrap-token-file', file] },
  ];
  for (const { name, args, environment } of given) {
    it(`takes the administrator’s token from ${name}, prints none, and makes none`, async () => {
      const token = noteToken(randomBytes(24).toString('hex'));
      writeFileSync(at('token'), token);
      const dev = await launch(args(at('token'), token), environment?.(token));
      expect(dev.tokenFile).to.equal(undefined);
      expect(await getPolicies(dev, token)).to.deep.equal(['root']);
      expect(await getPolicies(dev, noteToken(`${token}x`))).to.equal('none');
    });
  }

  it('takes a short token as other makers’ clients have it, for as long as nothing stays', async () => {
    const dev = await launch(['--bootstrap-token', 'root']);
    expect(await getPolicies(dev, 'root')).to.deep.equal(['root']);
    expect(await getPolicies(dev, 'roof')).to.equal('none');
  });

  it('ignores the other variables of a real broker', async () => {
    const dev = await launch([], { COATCHECK_ISSUER: 'https://real.example', COATCHECK_STORE: '' });
    expect(await getPolicies(dev, readToken(dev))).to.deep.equal(['root']);
  });

  it('keeps roles, keys and its administrator in a database that stays; the keys say dev there, too', async () => {
    const store = ['--store', `sqlite:${at('dev.db')}`];
    const first = await launch(store);
    expect(first.tokenFile).to.equal(at('dev.db.bootstrap-token'));
    const token = readToken(first);
    const [before] = await getKids(first, token);
    expect(before).to.match(/^dev-[\w-]{43}$/);
    const put = await fetch(`${first.url}/api/v1/roles/ledger`, {
      method: 'PUT',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({
        apiVersion: 'auth.example.io/v1alpha1',
        kind: 'TokenRole',
        metadata: { name: 'ledger' },
        spec: { audience: 'ledger', subjects: [{ namespace: 'shop', serviceAccount: 'a' }] },
      }),
    });
    expect(put.status).to.be.oneOf([200, 201]);
    await first.stop();
    const second = await launch(store);
    expect(readToken(second)).to.equal(token);
    expect(await getPolicies(second, token)).to.deep.equal(['root']);
    expect(await getKids(second, token)).to.deep.equal([before]);
    expect((await ask(second, '/api/v1/roles/ledger', token)).status).to.equal(200);
    const jwks = (await (await fetch(`${second.url}/oauth2/jwks`)).json()) as {
      keys: { kid: string }[];
    };
    expect(jwks.keys.map(({ kid }) => kid)).to.deep.equal([before]);
  });

  async function getKids(dev: Dev, token: string): Promise<string[]> {
    const response = await ask(dev, '/api/v1/keys', token);
    const { items } = (await response.json()) as { items: { kid: string }[] };
    return items.map(({ kid }) => kid);
  }

  it('has no administrator and no opaque tokens with --store none, and exchanges all the same', async () => {
    const dev = await launch(['--store', 'none']);
    expect(dev.tokenFile).to.equal(undefined);
    expect((await fetch(`${dev.url}/oauth2/jwks`)).status).to.equal(200);
    expect(await getPolicies(dev, noteToken(`cc_${'B'.repeat(73)}`))).to.equal('none');
  });

  it('does not start on the database of a broker whose keys it cannot open, and leaves it as it was', async () => {
    await makeRealDatabase(at('real.db'));
    const ended = await startAndEnd(['--store', `sqlite:${at('real.db')}`]);
    expect(ended.code).to.equal(1);
    expect(ended.stderr).to.contain('none of the 1 signing keys in the store opens');
    expect(ended.stderr).to.contain('2026-11');
    expect(existsSync(at('real.db.bootstrap-token'))).to.equal(false);
  });

  it('does not touch the database of another program', async () => {
    const other = new DatabaseSync(at('other.db'));
    other.exec('CREATE TABLE music (song TEXT)');
    other.close();
    const ended = await startAndEnd(['--store', `sqlite:${at('other.db')}`]);
    expect(ended.code).to.equal(1);
    expect(ended.stderr).to.contain('is the database of another program');
    expect(existsSync(at('other.db.bootstrap-token'))).to.equal(false);
  });

  it('shares no sqlite file with another one, whose administrator stays', async () => {
    const store = ['--store', `sqlite:${at('dev.db')}`];
    const first = await launch(store);
    const ended = await startAndEnd(store);
    expect(ended.code).to.equal(1);
    expect(ended.stderr).to.contain('another process has this sqlite store open');
    expect(await getPolicies(first, readToken(first))).to.deep.equal(['root']);
  });

  const refusals: readonly { args: readonly string[]; says: string }[] = [
    { args: ['--store', 'mysql://x'], says: '--store must be none, sqlite:PATH or postgres://' },
    { args: ['--store', 'sqlite:/nonexistent/dev.db'], says: 'a folder that does not exist' },
    { args: ['--store-file', '/nonexistent'], says: '--store-file cannot be read (ENOENT)' },
    { args: ['--store', 'none', '--bootstrap-token', 'root'], says: 'needs a store' },
    {
      args: ['--store', 'postgres://u@localhost/d'],
      says: 'outlives this process: give the token',
    },
    { args: ['--bootstrap-token', 'ro ot'], says: 'must be one line of printable ASCII' },
    { args: ['--receivers', '/nonexistent'], says: '--receivers must be a file' },
    {
      args: ['--store', 'sqlite:dev.db', '--bootstrap-token', 'root'],
      says: 'the bootstrap token must be 32 to 512 characters',
    },
    {
      args: ['--bootstrap-token', 'root', '--bootstrap-token-file', 'x'],
      says: 'exclude each other',
    },
  ];
  for (const { args, says } of refusals) {
    it(`refuses ${args.join(' ')}`, () => {
      expect(() => readDevSettings(args)).to.throw(SettingsError, says);
    });
  }

  it('ends at once on SIGTERM while it waits for its database, and quotes no password', async () => {
    const password = noteToken(randomBytes(12).toString('hex'));
    writeFileSync(at('store'), `postgres://u:${password}@127.0.0.1:1/d`);
    const dev = start(
      'cli/main.ts',
      ['dev', '--listen', '127.0.0.1:0', '--store-file', at('store')],
      {
        COATCHECK_BOOTSTRAP_TOKEN: noteToken(randomBytes(24).toString('hex')),
      },
    );
    running.push(dev);
    await new Promise<void>((resolve) => {
      dev.process.stderr?.on('data', () => {
        if (dev.output.stderr.includes('the start waits for it')) resolve();
      });
    });
    dev.process.kill('SIGTERM');
    const { code, stdout } = await dev.ended;
    expect(code).to.be.oneOf([0, 1]);
    expect(stdout).to.equal('');
  });

  function startAndEnd(args: readonly string[]): Promise<Ended> {
    return start('cli/main.ts', ['dev', '--listen', '127.0.0.1:0', ...args]).ended;
  }

  async function makeRealDatabase(file: string): Promise<void> {
    mkdirSync(at('sealing'));
    writeFileSync(at('sealing/2026-11'), randomBytes(32));
    const sealing = openSealingFolder(at('sealing'));
    if ('problems' in sealing) throw new Error(sealing.problems.join());
    const around = {
      clock: systemClock,
      random: systemRandom,
      log: createLogger({ level: 'error', process: 'test' }),
      newId: () => 'one',
    };
    const store = await openStore(
      { kind: 'sqlite', file },
      { ...around, keepDecisionsSeconds: 60, maxDecisions: 10 },
    );
    await store.start();
    const keys = createStoredKeys({
      ...around,
      store,
      sealing,
      algorithm: 'ES256',
      rotationSeconds: 0,
      maxTokenTtlSeconds: 3600,
    });
    await keys.start();
    await keys.stop();
    await store.close();
  }
});
