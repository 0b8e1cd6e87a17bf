// Signing keys in the store, from the settings to the JWKS: a broker process on an embedded store, and `coatcheck keys` at it.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { generateSigningKey } from '../../broker/tokens/keys.ts';
import { newOpaqueToken } from '../../broker/tokens/opaque.ts';
import type { KeyList, KeyView } from '../../common/protocol/admin-api.ts';
import { waitUntil } from '../broker/store/backends.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';
import { coatcheck, type Ended } from './shell.ts';

const MAIN = path.join(import.meta.dirname, '../../cli/main.ts');

interface RunningProcess {
  readonly child: ChildProcess;
  output(): string;
  stop(): Promise<number | null>;
}

describe('coatcheck keys', function () {
  this.timeout(30_000);
  let folder: string;
  let issuer: FakeIssuer;
  let port: number;
  const running: RunningProcess[] = [];
  const at = (name: string) => path.join(folder, name);
  const sealing = (name: string) => at(path.join('sealing', name));

  before(async () => {
    issuer = await startIssuer();
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-cli-keys-'));
    for (const name of ['sealing', 'keys', 'roles']) mkdirSync(at(name));
    writeFileSync(sealing('2026-10'), randomBytes(32).toString('base64'));
    const { privateKey } = generateSigningKey();
    writeFileSync(at('keys/1.pem'), String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
    const { token } = newOpaqueToken(randomBytes);
    writeFileSync(at('bootstrap'), noteToken(token.reveal()));
    writeFileSync(
      at('clusters.yaml'),
      `clusters: [{ name: local, kind: kubernetes, issuer: "${issuer.issuer}", keys: { url: "${issuer.jwksUrl}" } }]`,
    );
    port = await findFreePort();
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.stop();
  });
  after(async () => {
    await issuer.close();
    rmSync(folder, { recursive: true });
  });

  const flags = (more: readonly string[]) => [
    'broker',
    '--issuer',
    `http://127.0.0.1:${port}`,
    '--insecure-plain-http',
    '--clusters-file',
    at('clusters.yaml'),
    '--roles-path',
    at('roles'),
    '--listen',
    `127.0.0.1:${port}`,
    '--operations-listen',
    '127.0.0.1:0',
    ...more,
  ];
  const STORE = () => [
    '--store',
    `sqlite:${at('store.db')}`,
    '--bootstrap-token-file',
    at('bootstrap'),
  ];
  const SEALED = () => [...STORE(), '--key-encryption-keys-dir', at('sealing')];

  async function start(more: readonly string[]): Promise<RunningProcess> {
    const child = spawn(process.execPath, [MAIN, ...flags(more)], { env: {} });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
    const one: RunningProcess = {
      child,
      output: () => text,
      stop: async () => {
        child.kill('SIGTERM');
        const code = await closed;
        expect(text).not.to.contain('PRIVATE KEY');
        keep('broker with stored keys', text);
        return code;
      },
    };
    running.push(one);
    await waitUntil('the broker listens', () => {
      if (child.exitCode !== null) throw new Error(`the broker ended: ${text}`);
      return text.includes('broker is listening');
    });
    return one;
  }

  const keys = (...args: readonly string[]): Promise<Ended> =>
    coatcheck(['keys', ...args], {
      environment: {
        COATCHECK_SERVER: `http://127.0.0.1:${port}`,
        COATCHECK_TOKEN_FILE: at('bootstrap'),
      },
    });
  const list = async (): Promise<KeyList> =>
    JSON.parse((await keys('list', '-o', 'json')).stdout) as KeyList;
  const fetchKids = async (): Promise<string[]> => {
    const response = await fetch(`http://127.0.0.1:${port}/oauth2/jwks`);
    return ((await response.json()) as { keys: { kid: string }[] }).keys.map(({ kid }) => kid);
  };

  it('shows the key that the first start made, which a restart finds again', async () => {
    const first = await start(SEALED());
    const [kid, ...more] = await fetchKids();
    expect(more).to.deep.equal([]);
    const listed = await keys('list');
    expect(listed.code, listed.stderr).to.equal(0);
    expect(listed.stdout).to.match(new RegExp(`^${kid}\\s+ES256\\s+signing\\s.*\\s2026-10$`, 'm'));
    expect(await first.stop()).to.equal(0);
    running.splice(0);
    await start(SEALED());
    expect(await fetchKids()).to.deep.equal([kid]);
  });

  it('announces a new key, once', async () => {
    await start(SEALED());
    const before = await fetchKids();
    const rotated = await keys('rotate', '-o', 'json');
    expect(rotated.code, rotated.stderr).to.equal(0);
    const key = JSON.parse(rotated.stdout) as KeyView;
    expect(key.state).to.equal('upcoming');
    expect(await fetchKids()).to.deep.equal([...before, key.kid]);
    const again = await keys('rotate');
    expect(again.code).to.equal(1);
    expect(again.stderr).to.contain('a new signing key is announced already');
    expect(await fetchKids()).to.have.lengthOf(2);
  });

  it('seals everything anew with a sealing key that appeared while the broker ran', async () => {
    const broker = await start(SEALED());
    const kids = await fetchKids();
    writeFileSync(sealing('2026-11'), randomBytes(32));
    await waitUntil('the sealing key is seen', () =>
      broker.output().includes('sealing keys have changed'),
    );
    const done = await keys('rewrap');
    expect(done.stdout, done.stderr)
      .to.match(/^rewrapped\s+2$/m)
      .and.to.match(/^sealed by\s+2026-11$/m);
    expect((await list()).items.map(({ sealedBy }) => sealedBy)).to.deep.equal([
      '2026-11',
      '2026-11',
    ]);
    unlinkSync(sealing('2026-10'));
    await broker.stop();
    running.splice(0);
    await start(SEALED());
    expect(await fetchKids()).to.deep.equal(kids);
  });

  it('says that the folder rules where the keys are files, and changes nothing', async () => {
    await start([...STORE(), '--signing-keys-dir', at('keys')]);
    const listed = await keys('list');
    expect(listed.stdout).to.match(/ES256\s+signing/);
    expect(listed.stderr).to.contain('The keys are files of a folder');
    for (const verb of ['rotate', 'rewrap']) {
      const refused = await keys(verb);
      expect(refused.code, verb).to.equal(1);
      expect(refused.stderr).to.contain('are files of a folder, and are changed there');
    }
  });

  it('does not let a broker start whose sealing key is another one', async () => {
    mkdirSync(at('other'));
    writeFileSync(at('other/2027-01'), randomBytes(32));
    const { code, stderr } = await coatcheck(
      flags([...STORE(), '--key-encryption-keys-dir', at('other')]),
    );
    expect(code).to.equal(1);
    expect(stderr).to.match(
      /none of the 2 signing keys in the store opens: they name 2026-11 .* here is 2027-01/,
    );
  });

  const wrong: readonly { name: string; more: () => readonly string[]; says: string }[] = [
    {
      name: 'neither folder',
      more: STORE,
      says: 'COATCHECK_SIGNING_KEYS_DIR (signing keys are files) or',
    },
    {
      name: 'both folders',
      more: () => [...SEALED(), '--signing-keys-dir', at('keys')],
      says: 'exclude one another',
    },
    {
      name: 'sealing keys without a store',
      more: () => ['--key-encryption-keys-dir', at('sealing')],
      says: 'needs a store',
    },
    {
      name: 'rotation by the minute',
      more: () => [...SEALED(), '--signing-key-rotation-seconds', '60'],
      says: 'must be 0 or at least 3600',
    },
    {
      name: 'a folder without sealing keys',
      more: () => [...STORE(), '--key-encryption-keys-dir', at('roles')],
      says: 'holds no sealing key',
    },
  ];
  for (const { name, more, says } of wrong) {
    it(`does not let a broker start with ${name}`, async () => {
      const { code, stderr } = await coatcheck(flags(more()));
      expect(stderr).to.contain(says);
      expect(code).to.equal(2);
    });
  }
});

async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
