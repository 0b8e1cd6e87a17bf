// Decisions written behind into a store: in batches, bounded, in order, and never in the way of a request.
import { expect } from 'chai';
import type { DecisionRecord } from '../../broker/decision-record.ts';
import { createDecisionWriter, toStoredDecision } from '../../broker/decisions.ts';
import { type StoredDecision, StoreError } from '../../broker/store/store.ts';
import { createLogger } from '../../common/log.ts';
import { createFakeClock, type FakeClock } from '../support/clock.ts';

const RECORD: DecisionRecord = {
  time: '2026-11-22T12:00:00.000Z',
  correlationId: 'id',
  dialect: 'oauth',
  action: 'exchange',
  outcome: 'allow',
  subject: 'k8s:local:shop:checkout',
};
const toRecord = (at: number): DecisionRecord => ({ ...RECORD, correlationId: String(at) });

describe('decisions written behind', () => {
  let clock: FakeClock;
  let batches: (readonly string[])[];
  let dropped: [number, string][];
  let lines: Record<string, unknown>[];
  let append: (batch: readonly StoredDecision[]) => Promise<void>;

  beforeEach(() => {
    clock = createFakeClock();
    batches = [];
    dropped = [];
    lines = [];
    append = async (batch) => void batches.push(batch.map(({ id }) => id));
  });

  function create(maxQueued?: number) {
    return createDecisionWriter({
      store: { append: (batch) => append(batch), list: () => Promise.reject(new Error('no')) },
      clock,
      log: createLogger({
        level: 'debug',
        process: 'test',
        stream: { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
      }),
      onDropped: (count, reason) => void dropped.push([count, reason]),
      ...(maxQueued !== undefined && { maxQueued }),
    });
  }
  const away = () => Promise.reject(new StoreError('unavailable', 'away'));
  const add = (writer: ReturnType<typeof create>, from: number, to: number) => {
    for (let at = from; at < to; at++) writer.add(toRecord(at));
  };

  it('waits 200 ms for company, and keeps the order', async () => {
    const writer = create();
    add(writer, 0, 2);
    await clock.advance(199);
    expect(batches).to.deep.equal([]);
    writer.add(toRecord(2));
    await clock.advance(1);
    expect(batches).to.deep.equal([['0', '1', '2']]);
    expect(writer.pending()).to.equal(0);
    writer.add(toRecord(3));
    await clock.advance(200);
    expect(batches[1]).to.deep.equal(['3']);
  });

  it('writes a full batch of 500 without waiting', async () => {
    const writer = create();
    add(writer, 0, 501);
    await clock.advance(0);
    expect(batches.map((batch) => batch.length)).to.deep.equal([500]);
    await clock.advance(200);
    expect(batches.map((batch) => batch.length)).to.deep.equal([500, 1]);
  });

  it('keeps them while the store is away, the newest where there are too many, and says so once', async () => {
    append = away;
    const writer = create(10);
    add(writer, 0, 8);
    await clock.advance(200);
    add(writer, 8, 13);
    await clock.advance(1000);
    expect(writer.pending()).to.equal(10);
    expect(dropped).to.deep.equal([
      [1, 'queue_full'],
      [1, 'queue_full'],
      [1, 'queue_full'],
    ]);
    expect(lines.map(({ msg, level }) => [level, msg])).to.deep.equal([
      ['warn', 'the store is away; decisions wait, the oldest may be lost'],
    ]);
    append = async (batch) => void batches.push(batch.map(({ id }) => id));
    await clock.advance(1000);
    expect(batches).to.deep.equal([Array.from({ length: 10 }, (_, i) => String(i + 3))]);
    expect(lines.at(-1)?.msg).to.equal('decisions are written to the store again');
  });

  it('holds up nobody while the store does not answer', async () => {
    append = () => new Promise(() => undefined);
    const writer = create(5);
    add(writer, 0, 3);
    await clock.advance(200);
    add(writer, 3, 10);
    expect(writer.pending()).to.equal(5);
    expect(dropped).to.have.length(2);
  });

  it('gives up a batch that the store will never take, and goes on', async () => {
    append = () => Promise.reject(new Error('a column is missing'));
    const writer = create();
    add(writer, 0, 3);
    await clock.advance(200);
    expect(dropped).to.deep.equal([[3, 'store_failed']]);
    expect(lines.at(-1)).to.include({ level: 'error', count: 3 });
    append = async (batch) => void batches.push(batch.map(({ id }) => id));
    writer.add(toRecord(3));
    await clock.advance(200);
    expect(batches).to.deep.equal([['3']]);
  });

  it('writes out the rest when it stops', async () => {
    const writer = create();
    add(writer, 0, 700);
    await writer.stop();
    expect(batches.flat()).to.have.length(700);
    expect(dropped).to.deep.equal([]);
  });

  it('stops all the same while the store is away, and counts what is lost', async () => {
    append = away;
    const writer = create();
    add(writer, 0, 7);
    await writer.stop();
    expect(dropped).to.deep.equal([[7, 'store_failed']]);
  });

  it('stops after two seconds where the store does not answer', async () => {
    append = () => new Promise(() => undefined);
    const writer = create();
    add(writer, 0, 600);
    await clock.advance(0);
    const stopped = writer.stop();
    await clock.advance(2000);
    await stopped;
    expect(dropped).to.deep.equal([[100, 'store_failed']]);
  });

  it('keeps ten a second of requests that proved nothing, and all that did', async () => {
    const writer = create();
    const { subject: _, ...unproven } = RECORD;
    for (let at = 0; at < 30; at++) writer.add({ ...unproven, correlationId: `x${at}` });
    add(writer, 0, 30);
    await clock.advance(1000);
    writer.add({ ...unproven, correlationId: 'next second' });
    await clock.advance(1000);
    expect(batches.flat()).to.have.length(41);
    expect(batches.flat().at(-1)).to.equal('next second');
    expect(dropped).to.have.length(20);
    expect(dropped[0]).to.deep.equal([1, 'unproven']);
  });

  it('finds a record by what it is about', () => {
    const record: DecisionRecord = {
      ...RECORD,
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      pod: 'checkout-1',
      podUid: 'uid',
      audience: 'payments',
      role: 'pay',
      tokenId: 'jti',
      expiresAt: '2026-11-22T12:15:00.000Z',
    };
    expect(toStoredDecision(record)).to.deep.equal({
      id: 'id',
      at: Date.UTC(2026, 10, 22, 12),
      outcome: 'allow',
      cluster: 'local',
      namespace: 'shop',
      serviceAccount: 'checkout',
      pod: 'checkout-1',
      podUid: 'uid',
      audience: 'payments',
      role: 'pay',
      tokenId: 'jti',
      tokenExpiresAt: Date.UTC(2026, 10, 22, 12, 15) / 1000,
      record,
    });
    expect(toStoredDecision(RECORD)).to.have.all.keys('id', 'at', 'outcome', 'record');
  });
});
