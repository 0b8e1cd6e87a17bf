// Whether the webhook seems to be there, by what became of new annotated pods: the controller may not create any to find out.

export interface WebhookEvidence {
  /** A new annotated pod was stored. */
  see(isInjected: boolean, now: number): void;
  /** An eviction was of no use. `isSilent`: no other pod came, which a webhook that does not answer looks like. */
  fail(isSilent: boolean, now: number): void;
  /** Whether the newest pod was injected, and stored after this time. */
  worksSince(at: number): boolean;
  /** How many owners may be without their pod at a time. */
  countAllowed(now: number): number;
}

/** While nobody knows whether the webhook is back, one eviction tries; each that fails doubles the time to the next. */
export const AWAY_MS = 10 * 60_000;
const MAX_AWAY_MS = 6 * 60 * 60_000;
const MAX_UNDER_WAY = 10;

export function createWebhookEvidence(): WebhookEvidence {
  /** Of the newest annotated pod; nothing where none came since the start. */
  let newest: { works: boolean; at: number } | undefined;
  let failedTrials = 0;
  return {
    see: (works, now) => {
      newest = { works, at: now };
      if (works) failedTrials = 0;
    },
    fail: (isSilent, now) => {
      failedTrials += 1;
      if (isSilent) newest = { works: false, at: now };
    },
    worksSince: (at) => newest?.works === true && newest.at > at,
    countAllowed: (now) => {
      if (!newest) return 1;
      if (newest.works) return MAX_UNDER_WAY;
      const pause = Math.min(AWAY_MS * 2 ** Math.min(failedTrials, 10), MAX_AWAY_MS);
      return now - newest.at >= pause ? 1 : 0;
    },
  };
}
