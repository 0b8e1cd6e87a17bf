// Decisions on their way into the store, where people look them up: written behind in batches, bounded, and never waited
// for. What is lost here is lost to look-ups alone; the audit line on standard output is the record.
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import type { AuditSink } from './audit.ts';
import type { DecisionRecord } from './decision-record.ts';
import { createSampler } from './sampler.ts';
import { type DecisionStore, type StoredDecision, StoreError } from './store/store.ts';

/** Why decisions never reach the store. */
export type DropReason = 'queue_full' | 'unproven' | 'store_failed';

export interface DecisionWriter {
  /** Takes a record; returns at once, whatever the store does. */
  add(record: DecisionRecord): void;
  pending(): number;
  /** Writes out what waits, as far as the store answers within {@link STOP_MS}. */
  stop(): Promise<void>;
}

export interface DecisionWriterOptions {
  readonly store: DecisionStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onDropped: (count: number, reason: DropReason) => void;
  readonly maxQueued?: number;
}

/** A few seconds of full load, some 10 MB. */
const MAX_QUEUED = 10_000;
const BATCH_ROWS = 500;
const BATCH_MS = 200;
/** Until the next try where the store did not answer. */
const RETRY_MS = 1000;
const STOP_MS = 2000;
/** Nobody without a good token may fill a table: of requests that prove nothing, a sample is kept. */
const MAX_UNPROVEN_PER_SECOND = 10;

/** The audit sink, and every decision that it writes goes to the writer too. */
export function withDecisions(sink: AuditSink, writer: DecisionWriter): AuditSink {
  return {
    ...sink,
    record: (decision, issued) => {
      const record = sink.record(decision, issued);
      writer.add(record);
      return record;
    },
  };
}

export function createDecisionWriter(options: DecisionWriterOptions): DecisionWriter {
  const { store, clock, log, onDropped, maxQueued = MAX_QUEUED } = options;
  const stopping = new AbortController();
  const isSampled = createSampler(clock, MAX_UNPROVEN_PER_SECOND);
  let queue: DecisionRecord[] = [];
  let running: Promise<void> | undefined;
  let wake: (() => void) | undefined;
  let isAway = false;

  /** Goes on until the queue is empty. */
  async function run(): Promise<void> {
    while (queue.length > 0 && !stopping.signal.aborted) {
      if (isAway) await pause(RETRY_MS);
      else if (queue.length < BATCH_ROWS) await pause(BATCH_MS);
      if (!stopping.signal.aborted) await writeBatch();
    }
  }

  /** Until then, or until there is a whole batch. */
  async function pause(ms: number): Promise<void> {
    const early = new AbortController();
    const signal = AbortSignal.any([stopping.signal, early.signal]);
    if (!isAway) wake = () => early.abort();
    await clock.sleep(ms, signal).catch(() => undefined);
    wake = undefined;
  }

  /** Resolves to whether the store took it, or never will. */
  async function writeBatch(): Promise<boolean> {
    const batch = queue.slice(0, BATCH_ROWS);
    queue = queue.slice(BATCH_ROWS);
    try {
      await store.append(batch.map(toStoredDecision));
      if (isAway) log.info('decisions are written to the store again');
      isAway = false;
      return true;
    } catch (error) {
      return giveBack(batch, error);
    }
  }

  function giveBack(batch: readonly DecisionRecord[], error: unknown): boolean {
    if (!(error instanceof StoreError) || error.kind !== 'unavailable') {
      // It would fail again, and hold up all that come after it.
      log.error({ err: error, count: batch.length }, 'decisions could not be written to the store');
      onDropped(batch.length, 'store_failed');
      return true;
    }
    if (!isAway)
      log.warn({ err: error }, 'the store is away; decisions wait, the oldest may be lost');
    isAway = true;
    queue = [...batch, ...queue];
    dropOldest();
    return false;
  }

  function dropOldest(): void {
    const excess = queue.length - maxQueued;
    if (excess <= 0) return;
    queue.splice(0, excess);
    onDropped(excess, 'queue_full');
  }

  async function writeRest(): Promise<void> {
    await running;
    while (queue.length > 0) if (!(await writeBatch())) return;
  }

  return {
    pending: () => queue.length,
    add: (record) => {
      if (record.subject === undefined && !isSampled()) return onDropped(1, 'unproven');
      queue.push(record);
      dropOldest();
      if (queue.length >= BATCH_ROWS) wake?.();
      running ??= run().finally(() => {
        running = undefined;
      });
    },
    stop: async () => {
      stopping.abort();
      const timeout = new AbortController();
      await Promise.race([
        writeRest(),
        clock.sleep(STOP_MS, timeout.signal).catch(() => undefined),
      ]);
      timeout.abort();
      if (queue.length > 0) onDropped(queue.length, 'store_failed');
      queue = [];
    },
  };
}

/** A record with the columns it is found by. */
export function toStoredDecision(record: DecisionRecord): StoredDecision {
  const columns = {
    cluster: record.cluster,
    namespace: record.namespace,
    serviceAccount: record.serviceAccount,
    pod: record.pod,
    podUid: record.podUid,
    audience: record.audience,
    role: record.role,
    reason: record.reason,
    tokenId: record.tokenId,
    tokenExpiresAt:
      record.tokenId !== undefined && record.expiresAt !== undefined
        ? Math.floor(Date.parse(record.expiresAt) / 1000)
        : undefined,
  };
  return {
    id: record.correlationId,
    at: Date.parse(record.time),
    outcome: record.outcome,
    ...(Object.fromEntries(
      Object.entries(columns).filter(([, value]) => value !== undefined),
    ) as Partial<StoredDecision>),
    record,
  };
}
