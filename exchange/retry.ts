// When to try again. Pure: time left, randomness and failure come in, milliseconds come out.
import type { Random } from '../common/clock.ts';

/** fast: may pass by itself at any moment. slow: may become true when someone acts. never: trying again is useless. */
export type Pace = 'fast' | 'slow' | 'never';

interface Curve {
  floorMs: number;
  baseMs: number;
  capMs: number;
}

const DAY_MS = 86_400_000;
const CURVES: Readonly<Record<'fast' | 'slow', Curve>> = {
  fast: { floorMs: 0, baseMs: 500, capMs: 10_000 },
  slow: { floorMs: 2_000, baseMs: 1_000, capMs: 13_000 },
};

/** Full jitter over an exponentially growing span: `failures` is 1 after the first one. */
export function backoff(curve: Curve, failures: number, random: Random): number {
  // 2^30 is beyond every cap; larger exponents would only risk Infinity.
  const span = Math.min(curve.capMs, curve.baseMs * 2 ** Math.min(failures - 1, 30));
  return Math.floor(curve.floorMs + random() * span);
}

export interface FailedTry {
  pace: Pace;
  /** Failures in a row, this one included. */
  failures: number;
  retryAfterMs: number | undefined;
  random: Random;
}

/**
 * How long to wait before the next try of a first exchange; undefined where none is worth it any more.
 * @param leftMs until the deadline.
 * @param reserveMs what one last try needs: a wait that would reach into it is cut, so that there is a last try.
 */
export function nextWait(
  failed: FailedTry,
  { leftMs, reserveMs }: { leftMs: number; reserveMs: number },
): number | undefined {
  if (failed.pace === 'never' || leftMs <= reserveMs) return undefined;
  const own = backoff(CURVES[failed.pace], failed.failures, failed.random);
  return Math.min(withRetryAfter(own, failed), leftMs - reserveMs);
}

/**
 * How long to wait before the next try of a renewal. There is always a next one: a refusal that cannot pass by itself
 * may pass when the operator has put something right, and a restart of this container would not help either.
 * @param lifeLeftMs of the token that is still in the file; negative once it has expired.
 */
export function nextRenewalWait(failed: FailedTry, lifeLeftMs: number): number {
  const isExpired = lifeLeftMs <= 0;
  // Several tries must fit into what is left of a short life; without a token the app stands still.
  const capMs = isExpired ? 10_000 : Math.min(30_000, Math.max(1_000, lifeLeftMs / 4));
  const curve =
    failed.pace === 'fast'
      ? { floorMs: 0, baseMs: 500, capMs }
      : {
          floorMs: Math.min(5_000, capMs),
          baseMs: 2_000,
          capMs: failed.pace === 'slow' ? capMs : capMs * 2,
        };
  return Math.min(withRetryAfter(backoff(curve, failed.failures, failed.random), failed), 300_000);
}

/** Jitter on top of Retry-After: otherwise all pods that were told the same second come back in it. */
function withRetryAfter(own: number, { retryAfterMs, random }: FailedTry): number {
  if (retryAfterMs === undefined) return own;
  return Math.max(own, Math.floor(retryAfterMs + random() * Math.min(1_000, retryAfterMs / 5)));
}

/** Milliseconds of a Retry-After header (RFC 9110 §10.2.3: seconds or an HTTP date); undefined if it is neither. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(value)) return Math.min(Number(value) * 1000, DAY_MS);
  const date = /[A-Za-z]{3}/.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.min(Math.max(0, date - nowMs), DAY_MS);
}

/** When to renew: 60–75 % of the token's life after it was asked for. Milliseconds since the epoch. */
export function toRenewalTime(life: { startMs: number; endMs: number }, random: Random): number {
  return life.startMs + (life.endMs - life.startMs) * (0.6 + 0.15 * random());
}
