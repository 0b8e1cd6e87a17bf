// How a broker comes to its store and leaves it: it waits for one that is away, gives up in the end, takes a refusal at
// once, and holds the file no longer than it lives.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { startStore } from '../../../broker/store/lifecycle.ts';
import { createMirror } from '../../../broker/store/mirror.ts';
import { openStore, parseStoreChoice } from '../../../broker/store/open.ts';
import { type Store, StoreError } from '../../../broker/store/store.ts';
import { createLogger } from '../../../common/log.ts';
import { createFakeClock } from '../../support/clock.ts';
import { startIssuer } from '../../support/issuer.ts';
import { startTestBroker } from '../harness.ts';
import { findRefusal } from './backends.ts';
import { sampleDenial } from './samples.ts';

interface Given {
  store: Store;
  clock: ReturnType<typeof createFakeClock>;
  lines: Record<string, unknown>[];
}

async function openSqlite(file: string): Promise<Given> {
  const lines: Record<string, unknown>[] = [];
  const clock = createFakeClock();
  const log = createLogger({
    level: 'debug',
    process: 'broker',
    stream: { write: (line) => void lines.push(JSON.parse(line)) },
  });
  const choice = parseStoreChoice(`sqlite:${file}`);
  if (choice.kind === 'none') throw new TypeError('a store was asked for');
  const store = await openStore(choice, {
    clock,
    log,
    random: () => 0.5,
    newId: () => 'replica',
    keepDecisionsSeconds: 60,
    maxDecisions: 10,
  });
  return { store, clock, lines };
}

async function start({ store, clock, lines }: Given, signal?: AbortSignal): Promise<void> {
  const log = createLogger({
    level: 'debug',
    process: 'broker',
    stream: { write: (line) => void lines.push(JSON.parse(line)) },
  });
  const mirror = createMirror({ store, toRoleTag: String, maxAwaySeconds: 300, clock, log });
  try {
    await startStore({ store, mirror, clock, log, signal });
  } finally {
    await mirror.stop();
  }
}

describe('start with a store', () => {
  let folder: string;
  let file: string;
  let given: Given;
  beforeEach(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-start-'));
    file = path.join(folder, 'store.db');
    given = await openSqlite(file);
  });
  afterEach(async () => {
    await given.store.close();
    rmSync(folder, { recursive: true });
  });

  /** The store, but that so many starts fail. */
  const failing = (times: number): Given => {
    let left = times;
    const store = {
      ...given.store,
      start: async () => {
        left -= 1;
        if (left >= 0) throw new StoreError('unavailable', 'it is away');
        await given.store.start();
      },
    };
    return { ...given, store };
  };

  it('waits for a store that is away, and says so each time', async () => {
    const starting = start(failing(3));
    await given.clock.advance(3500);
    await starting;
    const waits = given.lines
      .filter(({ level }) => level === 'warn')
      .map(({ retryInMs }) => retryInMs);
    expect(waits).to.deep.equal([500, 1000, 2000]);
  });

  it('gives up after five minutes', async () => {
    const starting = findRefusal(start(failing(1000)));
    await given.clock.advance(301_000);
    expect(await starting).to.equal('unavailable');
  });

  it('ends its waiting when the process is told to stop', async () => {
    const stopping = new AbortController();
    const starting = start(failing(1000), stopping.signal);
    await given.clock.advance(100);
    stopping.abort(new Error('it was stopped'));
    const error = await starting.catch((thrown: Error) => thrown.message);
    expect(error).to.equal('it was stopped');
  });

  it('takes a refusal at once', async () => {
    writeFileSync(file, 'not a database, and long enough to be seen as none'.repeat(100));
    expect(await findRefusal(start(given))).to.equal('conflict');
    expect(given.lines.filter(({ level }) => level === 'warn')).to.deep.equal([]);
  });
});

describe('broker with a store', () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-broker-store-'));
    file = path.join(folder, 'store.db');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is ready with it, tells of it in its metrics, and gives it back when it stops', async () => {
    const { store } = await openSqlite(file);
    const broker = await startTestBroker('store', { store });
    const get = async (target: string) => {
      const response = await fetch(broker.running.operationsUrl + target);
      return { status: response.status, text: await response.text() };
    };
    expect((await get('/readyz')).status).to.equal(200);
    await store.denials.add(sampleDenial('d', { tokenId: 'jti-1' }));
    const { text } = await get('/metrics');
    expect(text).to.match(/^coatcheck_broker_store_up 1$/m);
    expect(text).to.match(/^coatcheck_broker_store_away_seconds 0$/m);
    expect(text).to.match(/^coatcheck_broker_store_mirror_age_seconds 0$/m);
    expect(text).to.match(/^coatcheck_broker_tokens_live\{kind="client"\} 0$/m);
    expect(text).to.match(
      /^coatcheck_broker_store_operation_duration_seconds_count\{operation="denials.add",outcome="ok"\} 1$/m,
    );
    expect(
      broker.running.broker.mirror?.findDenial({ tokenId: 'jti-1', subject: 's', issuedAt: 1 })?.id,
    ).to.equal('d');
    await broker.stop();
    const again = await openSqlite(file);
    await again.store.start();
    await again.store.close();
  });

  it('does not start on a store that refuses it, and closes its ports', async () => {
    const first = await openSqlite(file);
    await first.store.start();
    const second = await openSqlite(file);
    // The harness closes an issuer of its own only with a broker that started.
    const fake = await startIssuer();
    const starting = startTestBroker('store', { store: second.store, fake });
    expect(await findRefusal(starting)).to.equal('conflict');
    await fake.close();
    await first.store.close();
  });
});
