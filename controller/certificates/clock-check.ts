// Whether the time of day can be believed: by a wrong one an authority ends that lives, and another begins in years to come.
// The API server's answers say its time; nothing is planned where the two differ.

/** More than a slow answer and clocks that drift make up; nothing of certificates needs more. */
export const MAX_DIFFERENCE_MS = 5 * 60_000;

/**
 * @param now of this process, milliseconds since the epoch
 * @param apiServer the API server's, the same; undefined where it does not say it: there is nothing to compare with
 * @returns what this clock is; undefined where the two agree
 */
export function findClockTrouble(
  now: number,
  apiServer: number | undefined,
): 'ahead' | 'behind' | undefined {
  if (apiServer === undefined || Math.abs(now - apiServer) <= MAX_DIFFERENCE_MS) return undefined;
  return now > apiServer ? 'ahead' : 'behind';
}
