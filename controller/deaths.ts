// When a pod or a ServiceAccount is dead: when its object is gone, or a pod is over. A pod that is only told to end lives:
// it drains, and needs its tokens for that.
import type { ItemChange } from '../common/kube/collection.ts';
import type { TrackedPod, TrackedServiceAccount } from './pods.ts';

export interface Death {
  readonly kind: 'Pod' | 'ServiceAccount';
  readonly uid: string;
  /** When it was seen, milliseconds since the epoch. */
  readonly at: number;
}

/** uids that died by this change. */
export function findDeadPods({ before, after }: ItemChange<TrackedPod>): readonly string[] {
  const dead: string[] = [];
  if (before && !isOver(before) && before.uid !== after?.uid) dead.push(before.uid);
  // Also one that was never seen alive: it may have got a token all the same.
  const wasKnownToBeOver = before !== undefined && before.uid === after?.uid && isOver(before);
  if (after && isOver(after) && !wasKnownToBeOver) dead.push(after.uid);
  return dead;
}

/** uids that died by this change: removed, or another one has the name. */
export function findDeadAccounts({
  before,
  after,
}: ItemChange<TrackedServiceAccount>): readonly string[] {
  return before && before.uid !== after?.uid ? [before.uid] : [];
}

/** Such a pod never runs again, though its object may stay for days. */
export function isOver({ phase }: Pick<TrackedPod, 'phase'>): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** Deaths of the last while, the oldest first. */
export interface DeathLog {
  /** @returns whether an older one had to be forgotten for it */
  add(death: Death): boolean;
  since(at: number): readonly Death[];
  /** Forgets what was before. */
  forgetBefore(at: number): void;
}

/** A node of 500 pods that goes is one hundredth of it. */
export const MAX_LOGGED = 50_000;

export function createDeathLog(max = MAX_LOGGED): DeathLog {
  const log = new Map<string, Death>();
  return {
    add: (death) => {
      log.set(death.uid, death);
      if (log.size <= max) return false;
      const [oldest] = log.keys();
      if (oldest !== undefined) log.delete(oldest);
      return true;
    },
    since: (at) => [...log.values()].filter((death) => death.at >= at),
    forgetBefore: (at) => {
      // In the order of their times: mostly there is nothing to do.
      for (const [uid, death] of log) {
        if (death.at >= at) return;
        log.delete(uid);
      }
    },
  };
}
