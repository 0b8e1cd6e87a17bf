// What is sqlite's alone: whose file it takes, how many may have it open, and that what was acknowledged survives the
// sudden end of the process.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { backup, DatabaseSync } from 'node:sqlite';
import { expect } from 'chai';
import { createDatabaseStore, type DatabaseStore } from '../../../broker/store/database.ts';
import { createSqliteDialect } from '../../../broker/store/dialect-sqlite.ts';
import { SQLITE_END_OLDEST } from '../../../broker/store/token-statements.ts';
import { createLogger } from '../../../common/log.ts';
import { createFakeClock } from '../../support/clock.ts';
import { findRefusal } from './backends.ts';
import { sampleToken } from './samples.ts';

const silent = createLogger({
  level: 'error',
  process: 'broker',
  stream: { write: () => undefined },
});

function createStore(file: string): DatabaseStore {
  const clock = createFakeClock();
  return createDatabaseStore(createSqliteDialect({ file, clock }), {
    clock,
    log: silent,
    holder: 'test',
    keepDecisionsSeconds: 3600,
    maxDecisions: 100,
  });
}

describe('sqlite store', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-sqlite-'));
    file = path.join(folder, 'store.db');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const refuse = async (): Promise<{ kind: string; message: string }> => {
    const store = createStore(file);
    const error = (await store.start().catch((thrown: unknown) => thrown)) as Error & {
      kind: string;
    };
    await store.close();
    return { kind: error.kind, message: error.message };
  };

  it('is a file that only its owner can read', async () => {
    const store = createStore(file);
    await store.start();
    await store.tokens.insert(sampleToken('a'));
    for (const name of [file, `${file}-wal`, `${file}.lock`])
      expect(statSync(name).mode & 0o777, name).to.equal(0o600);
    await store.close();
  });

  it('is refused while another has it open, and taken once that one closed it', async () => {
    const first = createStore(file);
    await first.start();
    const { kind, message } = await refuse();
    expect(kind).to.equal('conflict');
    expect(message).to.include('another process has this sqlite store open');
    await first.tokens.insert(sampleToken('a'));
    await first.close();
    const second = createStore(file);
    await second.start();
    expect(await second.tokens.findByHash(sampleToken('a').hash)).to.not.equal(undefined);
    await second.close();
  });

  it('is refused while another process has it open', async () => {
    const child = await startWriter(file);
    expect((await refuse()).kind).to.equal('conflict');
    child.kill();
    await child.gone;
  });

  it('does not take the database of another program', async () => {
    const other = new DatabaseSync(file);
    other.exec('CREATE TABLE bookmarks (url TEXT)');
    other.close();
    const { kind, message } = await refuse();
    expect(kind).to.equal('conflict');
    expect(message).to.include('another program');
    const after = new DatabaseSync(file);
    expect(after.prepare('SELECT name FROM sqlite_schema').all()).to.deep.equal([
      Object.assign(Object.create(null), { name: 'bookmarks' }),
    ]);
    after.close();
  });

  it('does not take a file that is no database', async () => {
    writeFileSync(file, 'apiVersion: v1\n'.repeat(300));
    const { kind, message } = await refuse();
    expect(kind).to.equal('conflict');
    expect(message).to.include('no SQLite database');
  });

  it('says unavailable where the folder is not there, and works once it is', async () => {
    const missing = path.join(folder, 'volume/store.db');
    const store = createStore(missing);
    expect(await findRefusal(store.start())).to.equal('unavailable');
    await store.close();
  });

  it('can be copied by sqlite while it is written to, and the copy is whole', async () => {
    const store = createStore(file);
    await store.start();
    await store.tokens.insert(sampleToken('before'));
    const source = new DatabaseSync(file, { readOnly: true });
    const copy = path.join(folder, 'copy.db');
    const copying = backup(source, copy);
    await Promise.all(
      Array.from({ length: 50 }, (_, i) => store.tokens.insert(sampleToken(`during ${i}`))),
    );
    await copying;
    source.close();
    await store.close();
    const restored = createStore(copy);
    await restored.start();
    expect(await restored.tokens.findByHash(sampleToken('before').hash)).to.not.equal(undefined);
    await restored.close();
  });

  it('finds, counts and revokes the few among many that no index leads to', async () => {
    const store = createStore(file);
    await store.start();
    const rare = ['oldest', 'middle', 'newest'].map((name) => sampleToken(name, { role: 'rare' }));
    for (const token of rare) {
      await store.tokens.insert(token);
      if (token !== rare.at(-1)) fill(file, 12_500);
    }
    await store.tokens.insert(sampleToken('ci', { kind: 'static', name: 'ci' }));
    const first = await store.tokens.list({ role: 'rare' }, { limit: 2 });
    expect(first.items).to.deep.equal([rare[2], rare[1]]);
    const second = await store.tokens.list({ role: 'rare' }, { limit: 2, after: first.next ?? '' });
    expect(second).to.deep.equal({ items: [rare[0]] });
    expect((await store.tokens.list({ kind: 'static' }, { limit: 2 })).items).to.have.length(1);
    expect(await store.tokens.count()).to.deep.equal({ client: 25_003, static: 1 });
    expect(await store.tokens.revokeWhere({ role: 'rare' })).to.equal(3);
    expect(await store.tokens.revokeWhere({ role: 'rare' })).to.equal(0);
    expect(await store.tokens.revokeWhere({ role: 'common' })).to.equal(25_000);
    await store.close();
  });

  it('leads every hot question by an index, without statistics', async () => {
    const store = createStore(file);
    await store.start();
    const database = new DatabaseSync(file, { readOnly: true });
    const plan = database.prepare(`EXPLAIN QUERY PLAN ${SQLITE_END_OLDEST}`).all('[]', 0, 1);
    const steps = plan.map(({ detail }) => String(detail));
    const index = 'USING INDEX coatcheck_tokens_by_pod_uid_subject_seq (pod_uid=? AND subject=?';
    expect(steps.filter((step) => step.includes(index))).to.have.length(2);
    expect(steps.filter((step) => step.includes('expires_at'))).to.deep.equal([]);
    database.close();
    await store.close();
  });

  it('has every acknowledged write after fifty kills', async function () {
    // A minute where the machine has much else to do.
    this.timeout(240_000);
    // Two files at a time: most of it is waiting for a process to come up.
    const files = [file, path.join(folder, 'second.db')];
    const lanes = files.map(async (one, lane) => {
      const acknowledged = await killTwentyFiveTimes(one, lane);
      expect(acknowledged.length).to.be.greaterThan(250);
      expect(await findLost(one, acknowledged)).to.deep.equal([]);
    });
    await Promise.all(lanes);
  });
});

/** So many tokens of the role `common`, past the store. */
function fill(file: string, count: number): void {
  const columns =
    'hash, accessor, kind, subject, pod_uid, role, scopes, policies, issued_at, expires_at, max_expires_at, facts';
  const expiresAt = sampleToken('any').expiresAt;
  const database = new DatabaseSync(file);
  database.exec(`WITH RECURSIVE row(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM row WHERE n < ${count})
    INSERT INTO coatcheck_tokens (${columns}) SELECT hex(randomblob(32)), hex(randomblob(12)), 'client', 'k8s:local:shop:many',
    hex(randomblob(16)), 'common', '[]', '[]', 0, ${expiresAt} + n / 100, ${expiresAt} + n, '{}' FROM row`);
  database.close();
}

/** The names of all that was acknowledged. */
async function killTwentyFiveTimes(file: string, lane: number): Promise<readonly string[]> {
  const acknowledged: string[] = [];
  for (let round = 0; round < 25; round++) {
    const child = await startWriter(file);
    // At another place of the work each time.
    while (child.count() < 1 + ((round * 7 + lane * 3) % 40)) await once(child.lines, 'line');
    child.kill();
    await child.gone;
    acknowledged.push(...child.acknowledged());
  }
  return acknowledged;
}

async function findLost(file: string, names: readonly string[]): Promise<readonly string[]> {
  const database = new DatabaseSync(file);
  expect(database.prepare('PRAGMA integrity_check').get()?.integrity_check).to.equal('ok');
  database.close();
  const store = createStore(file);
  await store.start();
  const lost: string[] = [];
  for (const name of names)
    if (!(await store.tokens.findByHash(sampleToken(name).hash))) lost.push(name);
  await store.close();
  return lost;
}

interface Writer {
  readonly lines: ReturnType<typeof createInterface>;
  count(): number;
  acknowledged(): readonly string[];
  kill(): void;
  readonly gone: Promise<unknown>;
}

/** Resolves at its first acknowledgement. */
async function startWriter(file: string): Promise<Writer> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'writer.ts'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Half of its start is compiling the same files again.
    env: { ...process.env, NODE_COMPILE_CACHE: path.join(path.dirname(file), 'compiled') },
  });
  const gone = once(child, 'close');
  const names: string[] = [];
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => void names.push(line));
  await Promise.race([once(lines, 'line'), gone]);
  if (names.length === 0) throw new Error('the writer ended before it wrote');
  return {
    lines,
    count: () => names.length,
    acknowledged: () => names,
    kill: () => child.kill('SIGKILL'),
    gone,
  };
}
