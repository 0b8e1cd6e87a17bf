// The audit trail: one JSON line per decision on standard output, handed over before the caller gets its answer. Only the
// fields of AuditRecord ever leave; a token is there by its fingerprint. docs/broker.md has the table.
import { scrubTokens } from '../common/secret.ts';
import type { Decision } from './authorize.ts';
import type { FailedClaim } from './errors.ts';
import { toSubject, type WorkloadIdentity } from './identity/identity.ts';
import type { TriedRole } from './roles/resolve.ts';

/** One line. What does not apply is left out. Times are RFC 3339 in UTC. */
export interface AuditRecord {
  /** Tells these lines from log lines on the same stream. */
  readonly kind: 'decision';
  readonly time: string;
  readonly correlationId: string;
  readonly dialect: string;
  readonly outcome: 'allow' | 'deny' | 'failure';
  readonly reason?: string;
  /** `sub` of what is or would be issued: `k8s:…`, `oidc:…`, `client:…`, `user:…`. */
  readonly subject?: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly serviceAccountUid?: string;
  readonly pod?: string;
  readonly podUid?: string;
  readonly node?: string;
  readonly subjectIssuer?: string;
  readonly subjectTokenId?: string;
  readonly subjectFingerprint?: string;
  /** `offline`, `review` or `hybrid`: the mode of the cluster. */
  readonly validation?: string;
  /** Whether its API server was asked: `fresh`, `shared`, `cached`, `recent`, `not_asked`. */
  readonly review?: string;
  readonly audience?: string;
  readonly role?: string;
  readonly scopes?: readonly string[];
  readonly tokenId?: string;
  readonly expiresAt?: string;
  readonly expiryCap?: string;
  readonly failedClaim?: string;
  readonly got?: unknown;
  readonly want?: unknown;
  /** Of a refusal: the roles tried, each with the first thing that did not fit; at most {@link MAX_TRIED}. */
  readonly tried?: readonly TriedInAudit[];
}

interface TriedInAudit {
  readonly role: string;
  readonly ok: boolean;
  readonly failed?: FailedClaim;
}

/** A hundred roles for one audience must not make a refusal cost a hundred times its request. */
const MAX_TRIED = 20;

/** Where lines go. A stream that buffers says how much it has not written yet. */
export interface AuditStream {
  write(line: string): unknown;
  flush?(done: (error?: Error | null) => void): void;
  pendingBytes?(): number;
}

export interface AuditSink {
  record(decision: Decision, tokenId?: string): void;
  /** Bytes on their way to the stream: records, and log lines where they share it. */
  pendingBytes(): number;
  /** False while too much is pending: then nothing may be issued, since nobody could tell afterwards. */
  isKeepingUp(): boolean;
  flush(): Promise<void>;
}

/** Some 40,000 records: seconds of full load, and a bound on memory while nobody reads our standard output. */
export const MAX_PENDING_BYTES = 32 * 1024 * 1024;

/** The sink of one process. `stream` gets whole lines, each with its newline. */
export function createAuditSink(
  stream: AuditStream,
  maxPendingBytes = MAX_PENDING_BYTES,
): AuditSink {
  const pendingBytes = () => stream.pendingBytes?.() ?? 0;
  return {
    record: (decision, tokenId) => {
      const line = `${scrubTokens(JSON.stringify(toAuditRecord(decision, tokenId)))}\n`;
      stream.write(line);
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

/** The record of a decision; `tokenId` is the `jti` of what was issued. */
export function toAuditRecord(decision: Decision, tokenId?: string): AuditRecord {
  const { subject, failed, expiry } = decision;
  const who = subject?.identity;
  const identity: Partial<WorkloadIdentity> = who?.kind === 'workload' ? who : {};
  const record: { [Name in keyof AuditRecord]: AuditRecord[Name] | undefined } = {
    kind: 'decision',
    time: decision.time,
    correlationId: decision.id,
    dialect: decision.dialect,
    outcome: decision.outcome,
    reason: decision.reason,
    subject: who && toSubject(who),
    cluster: identity.cluster ?? subject?.cluster,
    namespace: identity.namespace,
    serviceAccount: identity.serviceAccount,
    serviceAccountUid: identity.serviceAccountUid,
    pod: identity.pod?.name,
    podUid: identity.pod?.uid,
    node: identity.node?.name,
    subjectIssuer: subject?.issuer,
    subjectTokenId: subject?.tokenId,
    subjectFingerprint: subject?.fingerprint,
    validation: decision.validation?.mode,
    review: decision.validation?.review,
    audience: decision.audience,
    role: decision.role,
    scopes: decision.scopes,
    tokenId,
    expiresAt: expiry && new Date(expiry.expiresAt * 1000).toISOString(),
    expiryCap: expiry?.cap,
    failedClaim: failed?.claim,
    got: failed?.got,
    want: failed?.want,
    tried:
      decision.outcome === 'allow' || decision.tried.length === 0
        ? undefined
        : decision.tried.slice(0, MAX_TRIED).map(toTried),
  };
  // JSON.stringify leaves out what is undefined; the type of a record says the same.
  return record as AuditRecord;
}

function toTried({ role, ok, failed }: TriedRole): TriedInAudit {
  return { role, ok, ...(failed && { failed }) };
}
