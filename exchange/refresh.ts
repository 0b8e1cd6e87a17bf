// Keeps one token fresh for as long as the pod lives: renews at 60–75 % of its life, survives outages, never gives up.
import type { Clock, Random } from '../common/clock.ts';
import type { PodAudience } from '../common/protocol/pod.ts';
import { toFields, toSeconds, toWriteFailure } from './acquire.ts';
import type { Exchanger, IssuedToken, Outcome } from './exchange.ts';
import type { Failure } from './failure.ts';
import type { Log } from './log.ts';
import { nextRenewalWait, toRenewalTime } from './retry.ts';
import type { Watchdog } from './watchdog.ts';

/** A broker that gives tokens of a second must not be asked in a tight loop. */
const MIN_RENEWAL_MS = 500;
/** Sleeps are cut into these, and the clocks looked at between them: a suspended node then renews when it wakes. */
const MAX_SLEEP_MS = 30_000;

export interface Life {
  readonly startMs: number;
  readonly endMs: number;
}

export interface RefreshOptions {
  exchanger: Pick<Exchanger, 'tryOnce'>;
  /** @throws what the file system throws. */
  write: (audience: PodAudience, token: IssuedToken) => void;
  tryTimeoutMs: number;
  clock: Clock;
  /** Monotonic: setting the system's clock does not move it. */
  uptime: Clock;
  random: Random;
  watchdog: Watchdog;
  log: Log;
  signal: AbortSignal;
}

/** Never resolves; rejects with the signal's reason. `life` is that of the token in the file. */
export async function keepFresh(
  audience: PodAudience,
  life: Life,
  options: RefreshOptions,
): Promise<never> {
  const { clock, random, log } = options;
  let current = life;
  for (;;) {
    const at = Math.max(toRenewalTime(current, random), clock.now() + MIN_RENEWAL_MS);
    log.info('next renewal planned', {
      audience: audience.audience,
      in: toSeconds(at - clock.now()),
      expires: new Date(current.endMs).toISOString(),
    });
    await sleepUntil(at, audience, options);
    current = await renew(audience, current, options);
  }
}

async function renew(audience: PodAudience, current: Life, options: RefreshOptions): Promise<Life> {
  const { clock, random, log, signal } = options;
  for (let failures = 1; ; failures++) {
    log.info('renewing the token', { audience: audience.audience, try: failures });
    const outcome = await tryAndWrite(audience, options);
    if (outcome.ok) return outcome.token;
    signal.throwIfAborted();
    const { failure } = outcome;
    const leftMs = current.endMs - clock.now();
    const waitMs = nextRenewalWait(
      { pace: failure.pace, failures, retryAfterMs: failure.retryAfterMs, random },
      leftMs,
    );
    logFailure(log, { audience, failure, waitMs, leftMs });
    await sleepUntil(clock.now() + waitMs, audience, options);
  }
}

async function tryAndWrite(audience: PodAudience, options: RefreshOptions): Promise<Outcome> {
  const { exchanger, write, watchdog, tryTimeoutMs, signal } = options;
  // Two dials at most (name, fallback address), each with a timeout of its own: the third is the margin.
  watchdog.expect(audience.name, 3 * tryTimeoutMs);
  const outcome = await exchanger.tryOnce(audience, signal);
  if (!outcome.ok) return outcome;
  try {
    write(audience, outcome.token);
    return outcome;
  } catch (error) {
    return { ok: false, failure: toWriteFailure(error), serviceAccount: undefined };
  }
}

/**
 * Sleeps until either clock says so. The wall clock alone would sleep for hours after it was set back (a node that starts
 * before it has the time), the other one alone through a suspension of the machine, which it does not count.
 */
async function sleepUntil(
  atMs: number,
  audience: PodAudience,
  options: RefreshOptions,
): Promise<void> {
  const { clock, uptime, watchdog, tryTimeoutMs, signal } = options;
  const endMs = uptime.now() + (atMs - clock.now());
  const left = () => Math.min(atMs - clock.now(), endMs - uptime.now());
  for (let leftMs = left(); leftMs > 0; leftMs = left()) {
    const ms = Math.ceil(Math.min(leftMs, MAX_SLEEP_MS));
    watchdog.expect(audience.name, ms + 3 * tryTimeoutMs);
    await clock.sleep(ms, signal);
  }
}

interface FailureLine {
  audience: PodAudience;
  failure: Failure;
  waitMs: number;
  leftMs: number;
}

function logFailure(log: Log, { audience, failure, waitMs, leftMs }: FailureLine): void {
  const fields = { audience: audience.audience, ...toFields(failure), wait: toSeconds(waitMs) };
  if (leftMs > 0) {
    log.warn('not renewed; the old token is still valid', {
      ...fields,
      valid_for: toSeconds(leftMs),
    });
  } else {
    log.error('not renewed and the token has expired; still trying', {
      ...fields,
      expired_for: toSeconds(-leftMs),
      advice: failure.advice,
    });
  }
}
