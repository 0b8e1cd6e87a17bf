// When a signing key of the store signs and how long it is published: pure. One rule holds everything together: nothing
// signs that another replica, or a receiver with a JWKS of five minutes ago, might not know yet.
import { PUBLISH_BEFORE_USE_MS } from './key-folder.ts';
import type { SigningKey } from './keys.ts';

/** From the moment a key is stored until it may sign. */
export const ANNOUNCE_SECONDS = PUBLISH_BEFORE_USE_MS / 1000;

/**
 * How long the key before may still sign after its successor may: a replica that has just started, or that had lost the
 * store, cannot know what the others have read, and goes on with the older key until it has watched for a while.
 */
export const OVERLAP_SECONDS = 3600;

/** Leeway of receivers' clocks on `exp`. */
const LEEWAY_SECONDS = 60;

/** Each replica reads the keys this often, besides what the store tells by itself. */
export const READ_EVERY_MS = 60_000;

/** A longer silence between two reads is a time in which another replica may have missed a key as well. */
const MAX_GAP_SECONDS = 150;

/** Times in seconds since the epoch. */
export interface ScheduledKey {
  readonly key: SigningKey;
  readonly createdAt: number;
  readonly signsFrom: number;
  readonly retiresAt?: number | undefined;
}

/** What one replica knows of its own reading of the store; times in seconds since the epoch. */
export interface Reading {
  /** Begin of the row of reads without a gap. */
  readonly since: number;
  readonly last: number;
}

/** The row of reads after one more, at `now`. */
export function addRead(reading: Reading | undefined, now: number): Reading {
  const isRow = reading !== undefined && now - reading.last <= MAX_GAP_SECONDS;
  return { since: isRow ? reading.since : now, last: now };
}

/** When a key may go, where its successor begins to sign at `successorSignsFrom`: when its last token has ended. */
export function toRetirement(successorSignsFrom: number, maxTokenTtlSeconds: number): number {
  return successorSignsFrom + OVERLAP_SECONDS + maxTokenTtlSeconds + LEEWAY_SECONDS;
}

/**
 * Those that are published at `now`, in the order in which they (are to) sign. A key whose successor has begun has an end,
 * whether or not somebody has written it down yet.
 */
export function toPublished(
  keys: readonly ScheduledKey[],
  given: { now: number; maxTokenTtlSeconds: number },
): readonly ScheduledKey[] {
  const ends = new Map(findUnretired(keys, given).map(({ kid, retiresAt }) => [kid, retiresAt]));
  return keys
    .map((one) => ({ ...one, retiresAt: one.retiresAt ?? ends.get(one.key.kid) }))
    .filter(({ retiresAt }) => retiresAt === undefined || retiresAt > given.now)
    .sort(compare);
}

function compare(a: ScheduledKey, b: ScheduledKey): number {
  return a.signsFrom - b.signsFrom || (a.key.kid < b.key.kid ? -1 : 1);
}

/**
 * The one that signs at `now` on this replica, of those that are published; undefined only where there is none.
 * @param adoptedKid what signed before: a key once in use is known to everybody
 */
export function chooseSigning(
  published: readonly ScheduledKey[],
  given: {
    now: number;
    reading: Reading;
    maxTokenTtlSeconds: number;
    adoptedKid: string | undefined;
  },
): ScheduledKey | undefined {
  const { now, reading, maxTokenTtlSeconds, adoptedKid } = given;
  const begun = published.filter(({ signsFrom }) => signsFrom <= now);
  // What is signed now must be verifiable until it ends.
  const lasting = begun.filter(
    ({ retiresAt }) =>
      retiresAt === undefined || retiresAt >= now + maxTokenTtlSeconds + LEEWAY_SECONDS,
  );
  const hasWatched =
    now - reading.last <= MAX_GAP_SECONDS && now - reading.since >= ANNOUNCE_SECONDS;
  const known = lasting.findLast(({ key }) => hasWatched || key.kid === adoptedKid);
  return known ?? lasting[0] ?? begun.at(-1) ?? published[0];
}

/**
 * Keys announced by mistake: two replicas that rotate at the same moment make one each. The first stays, the others have
 * never signed and go, unless it is so late that somebody's clock may have begun to sign with one.
 */
export function findSurplus(keys: readonly ScheduledKey[], now: number): readonly ScheduledKey[] {
  const [, ...surplus] = keys
    .filter(({ signsFrom }) => signsFrom > now)
    .sort((a, b) => a.createdAt - b.createdAt || compare(a, b));
  return surplus.filter(({ signsFrom }) => signsFrom - now > ANNOUNCE_SECONDS / 2);
}

/** Keys whose successor has begun and that have no end yet, with the end they are to get. */
export function findUnretired(
  keys: readonly ScheduledKey[],
  { now, maxTokenTtlSeconds }: { now: number; maxTokenTtlSeconds: number },
): readonly { readonly kid: string; readonly retiresAt: number }[] {
  const begun = keys.filter(({ signsFrom }) => signsFrom <= now).sort(compare);
  return begun.flatMap(({ key, retiresAt }, i) => {
    const successor = begun[i + 1];
    return successor && retiresAt === undefined
      ? [{ kid: key.kid, retiresAt: toRetirement(successor.signsFrom, maxTokenTtlSeconds) }]
      : [];
  });
}
