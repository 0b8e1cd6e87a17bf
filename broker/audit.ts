// The audit trail: one JSON line per decision on standard output, handed over before the caller gets its answer. A line
// is a DecisionRecord and `kind`, or a record of what was done at the admin API; nothing else ever leaves.
import { scrubTokens } from '../common/secret.ts';
import type { Decision } from './authorize.ts';
import {
  type DecisionRecord,
  type IssuedFacts,
  sealRecord,
  toDecisionRecord,
} from './decision-record.ts';

/** A decision's line. `kind` tells these lines from log lines on the same stream. */
export type AuditRecord = { readonly kind: 'decision' } & DecisionRecord;

/** A change or a refusal at the admin API; the members that every one has. No token, no secret, no document. */
export interface AdminRecord {
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly correlationId: string;
  readonly outcome: 'allow' | 'deny' | 'failure';
  /** What was asked: `create`, `update`, `delete`, `revoke` … */
  readonly action: string;
  /** Of what: `roles`, `tokens`, `clients`, `clusters`, `keys`. */
  readonly resource: string;
  /** Who asked, as `sub` says it; absent while nobody is known. */
  readonly subject?: string;
  readonly [fact: string]: unknown;
}

/** Where lines go. A stream that buffers says how much it has not written yet. */
export interface AuditStream {
  write(line: string): unknown;
  flush?(done: (error?: Error | null) => void): void;
  pendingBytes?(): number;
}

export interface AuditSink {
  /** Writes the decision's line; returns what it says. */
  record(decision: Decision, issued?: IssuedFacts): DecisionRecord;
  /** Writes a line of kind `admin`. */
  recordAdmin(record: AdminRecord): void;
  /** Bytes on their way to the stream: records, and log lines where they share it. */
  pendingBytes(): number;
  /** False while too much is pending: then nothing may be issued, since nobody could tell afterwards. */
  isKeepingUp(): boolean;
  flush(): Promise<void>;
}

/** Some 30,000 records: seconds of full load, and a bound on memory while nobody reads our standard output. */
export const MAX_PENDING_BYTES = 32 * 1024 * 1024;

/** The sink of one process. `stream` gets whole lines, each with its newline. */
export function createAuditSink(
  stream: AuditStream,
  maxPendingBytes = MAX_PENDING_BYTES,
): AuditSink {
  const pendingBytes = () => stream.pendingBytes?.() ?? 0;
  return {
    record: (decision, issued) => {
      const { json, record } = sealRecord(toDecisionRecord(decision, issued));
      stream.write(`{"kind":"decision",${json.slice(1)}\n`);
      return record;
    },
    recordAdmin: (record) => {
      stream.write(`${scrubTokens(JSON.stringify({ kind: 'admin', ...record }))}\n`);
    },
    pendingBytes,
    isKeepingUp: () => pendingBytes() < maxPendingBytes,
    flush: () =>
      new Promise((resolve, reject) => {
        if (!stream.flush) resolve();
        else stream.flush((error) => (error ? reject(error) : resolve()));
      }),
  };
}
