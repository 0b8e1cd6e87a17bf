// What is remembered of good reviews: that a token was accepted a moment ago, and that a pod was alive within the last
// minutes. Both bounded; both forgotten by deaths and by a change of settings. Bad answers are never remembered: an API
// server may lag behind a new pod.
import type { Clock } from '../../common/clock.ts';
import type { WorkloadIdentity } from './identity.ts';

/** How long ago a pod's last good review may be for `onReviewUnavailable: recent`. */
export const RECENT_MS = 15 * 60_000;
const MAX_ACCEPTED = 10_000;
const MAX_RECENT = 50_000;

/** Uids of what is gone; one is enough. */
export interface Dead {
  readonly podUid?: string;
  readonly serviceAccountUid?: string;
  /** Many at once, of pods and ServiceAccounts: one way through the caches. */
  readonly uids?: ReadonlySet<string>;
}

export interface ReviewCache {
  isAccepted(key: string): boolean;
  wasRecent(identity: WorkloadIdentity): boolean;
  /** To be called before a review; what it returns stores the good answer, unless something was forgotten meanwhile. */
  begin(): (accepted: Accepted) => void;
  forgetPod(identity: WorkloadIdentity): void;
  evict(dead: Dead): void;
  clear(): void;
}

export interface Accepted {
  readonly key: string;
  readonly identity: WorkloadIdentity;
  /** Milliseconds since the epoch; not after it. */
  readonly until: number;
}

export function createReviewCache(clock: Clock): ReviewCache {
  const accepted = new Map<string, Accepted>();
  const recent = new Map<string, { readonly at: number; readonly identity: WorkloadIdentity }>();
  let forgotten = 0;

  const forget = (isGone: (identity: WorkloadIdentity) => boolean) => {
    forgotten += 1;
    for (const [key, { identity }] of accepted) if (isGone(identity)) accepted.delete(key);
    for (const [key, { identity }] of recent) if (isGone(identity)) recent.delete(key);
  };

  return {
    isAccepted: (key) => {
      const entry = accepted.get(key);
      if (!entry) return false;
      accepted.delete(key);
      if (clock.now() >= entry.until) return false;
      // Last in, last out: the one that was not asked for longest makes room.
      accepted.set(key, entry);
      return true;
    },
    wasRecent: (identity) => {
      const entry = identity.pod && recent.get(identity.pod.uid);
      return (
        entry !== undefined &&
        entry.identity.serviceAccountUid === identity.serviceAccountUid &&
        clock.now() - entry.at <= RECENT_MS
      );
    },
    begin: () => {
      const before = forgotten;
      return (entry) => {
        // A death that came during the review must not be undone by an answer from before it.
        if (forgotten !== before) return;
        if (entry.until > clock.now()) put(accepted, { key: entry.key, entry, max: MAX_ACCEPTED });
        const { identity } = entry;
        if (!identity.pod) return;
        put(recent, {
          key: identity.pod.uid,
          entry: { at: clock.now(), identity },
          max: MAX_RECENT,
        });
      };
    },
    forgetPod: ({ pod }) => {
      if (pod) recent.delete(pod.uid);
    },
    evict: ({ podUid, serviceAccountUid, uids }) =>
      forget(
        (identity) =>
          (podUid !== undefined && identity.pod?.uid === podUid) ||
          (serviceAccountUid !== undefined && identity.serviceAccountUid === serviceAccountUid) ||
          (uids !== undefined &&
            (uids.has(identity.serviceAccountUid) || uids.has(identity.pod?.uid ?? ''))),
      ),
    clear: () => forget(() => true),
  };
}

function put<T>(
  map: Map<string, T>,
  { key, entry, max }: { key: string; entry: T; max: number },
): void {
  map.delete(key);
  map.set(key, entry);
  if (map.size <= max) return;
  const [oldest] = map.keys();
  if (oldest !== undefined) map.delete(oldest);
}
