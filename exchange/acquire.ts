// The first exchange: all audiences at once, one deadline over everything, all of them or none.
import type { Clock, Random } from '../common/clock.ts';
import type { PodAudience } from '../common/protocol/pod.ts';
import type { Exchanger, IssuedToken } from './exchange.ts';
import { createFailure, type Failure } from './failure.ts';
import type { Log } from './log.ts';
import { nextWait } from './retry.ts';

export interface AudienceFailure {
  readonly audience: PodAudience;
  readonly failure: Failure;
  readonly serviceAccount: string | undefined;
  readonly tries: number;
  /** final: another try is useless. deadline: time was up. abandoned: another audience had failed for good. */
  readonly why: 'final' | 'deadline' | 'abandoned';
}

export interface AcquireOptions {
  exchanger: Pick<Exchanger, 'tryOnce'>;
  deadlineMs: number;
  /** Monotonic: a clock that is set while a node starts must not eat the deadline. */
  uptime: Clock;
  random: Random;
  log: Log;
  /** Aborted when the process is told to end. */
  signal: AbortSignal;
}

export type Acquired =
  | { ok: true; tokens: ReadonlyMap<string, IssuedToken> }
  | { ok: false; failures: readonly AudienceFailure[] };

/** Resolves within the deadline. `tokens` is by the audience's name. */
export async function acquireAll(
  audiences: readonly PodAudience[],
  options: AcquireOptions,
): Promise<Acquired> {
  const stop = new AbortController();
  const end = () => stop.abort();
  options.signal.addEventListener('abort', end, { once: true });
  const endMs = options.uptime.now() + options.deadlineMs;
  const timer = options.uptime.sleep(options.deadlineMs, stop.signal).then(
    () => stop.abort(),
    () => undefined,
  );
  const results = await Promise.all(
    audiences.map(async (audience) => {
      const result = await acquire(audience, { ...options, endMs, signal: stop.signal });
      if (!result.ok) stop.abort();
      return result;
    }),
  );
  stop.abort();
  await timer;
  options.signal.removeEventListener('abort', end);
  const failures = results.flatMap((result) => (result.ok ? [] : [result.failed]));
  if (failures.length > 0) return { ok: false, failures };
  return {
    ok: true,
    tokens: new Map(results.flatMap((result) => (result.ok ? [[result.name, result.token]] : []))),
  };
}

type One = { ok: true; name: string; token: IssuedToken } | { ok: false; failed: AudienceFailure };

async function acquire(
  audience: PodAudience,
  options: AcquireOptions & { endMs: number },
): Promise<One> {
  const { exchanger, uptime, random, log, endMs, signal } = options;
  let last: Pick<AudienceFailure, 'failure' | 'serviceAccount'> | undefined;
  for (let tries = 1; ; tries++) {
    log.info('asking the broker for a token', {
      audience: audience.audience,
      role: audience.role,
      try: tries,
    });
    const outcome = await exchanger.tryOnce(audience, signal);
    if (outcome.ok) return { ok: true, name: audience.name, token: outcome.token };
    const { failure, serviceAccount } = outcome;
    // A try that the deadline cut off says less than the one before it.
    last = signal.aborted && last ? last : { failure, serviceAccount };
    const leftMs = endMs - uptime.now();
    const waitMs = signal.aborted
      ? undefined
      : nextWait(
          { pace: failure.pace, failures: tries, retryAfterMs: failure.retryAfterMs, random },
          { leftMs, reserveMs: Math.min(2_000, options.deadlineMs / 5) },
        );
    logFailure(log, { audience, failure, waitMs, leftMs });
    if (waitMs === undefined || !(await isSlept(uptime, waitMs, signal))) {
      return {
        ok: false,
        failed: { audience, ...last, tries, why: toWhy(failure, endMs - uptime.now(), signal) },
      };
    }
  }
}

function toWhy(failure: Failure, leftMs: number, signal: AbortSignal): AudienceFailure['why'] {
  if (!signal.aborted) return failure.pace === 'never' ? 'final' : 'deadline';
  return leftMs > 0 ? 'abandoned' : 'deadline';
}

async function isSlept(uptime: Clock, ms: number, signal: AbortSignal): Promise<boolean> {
  try {
    await uptime.sleep(ms, signal);
    return true;
  } catch {
    return false;
  }
}

interface FailureLine {
  audience: PodAudience;
  failure: Failure;
  waitMs: number | undefined;
  leftMs: number;
}

function logFailure(log: Log, { audience, failure, waitMs, leftMs }: FailureLine): void {
  const fields = { audience: audience.audience, ...toFields(failure) };
  if (waitMs === undefined) log.error('no token; giving up', { ...fields, advice: failure.advice });
  else
    log.warn('no token yet; trying again', {
      ...fields,
      wait: toSeconds(waitMs),
      left: toSeconds(leftMs),
    });
}

/** A failure as fields of a log line. */
export function toFields(failure: Failure): Record<string, string | number | undefined> {
  const { code, text, status, correlationId } = failure;
  return { reason: code, text, status, correlation_id: correlationId };
}

/** `2.1s`, for lines that people read. */
export function toSeconds(ms: number): string {
  return `${(Math.max(0, ms) / 1000).toFixed(1)}s`;
}

/** What a failure to write is to the loops. */
export function toWriteFailure(error: unknown): Failure {
  const { code } = error as NodeJS.ErrnoException;
  return createFailure(
    'write_failed',
    `the token files could not be written (${code ?? 'unknown error'})`,
  );
}
