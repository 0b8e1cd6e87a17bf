// Who is dead: per cluster the uids that were reported dead, and the last complete set of the living. State and clock
// alone; whoever hands reports in (death-reports.ts) sees to store, caches and replicas.
import type { Clock } from '../../common/clock.ts';
import { BrokerError } from '../errors.ts';
import type { Identity, VerifiedSubject } from './identity.ts';

export type MortalKind = 'Pod' | 'ServiceAccount';

/** One that is gone. uids are never given twice, so it stays dead. */
export interface Dead {
  readonly kind: MortalKind;
  readonly uid: string;
  /** When it died, and when a broker heard of it; milliseconds since the epoch. */
  readonly diedAt: number;
  readonly reportedAt: number;
}

/** Everything that lives in a cluster at one moment. */
export interface LiveSet {
  /** Before the list was asked for; milliseconds since the epoch. */
  readonly takenAt: number;
  readonly pods: Iterable<string>;
  readonly serviceAccounts: Iterable<string>;
}

/** Why a token is refused. */
export interface Death {
  readonly kind: MortalKind;
  readonly uid: string;
  /** `absent`: it was not in the last complete set, which was taken after the token was issued. */
  readonly how: 'reported' | 'absent';
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** What is known of a cluster's last complete set. */
export interface LiveReport {
  readonly takenAt: number;
  readonly receivedAt: number;
  readonly pods: number;
  readonly serviceAccounts: number;
}

export interface Liveness {
  /** @param issuedAt `iat` of the token, seconds since the epoch */
  findDeath(who: Identity, issuedAt: number): Death | undefined;
  /** Adds to the dead; returns those that were not known to be. */
  addDead(cluster: string, dead: readonly Dead[]): readonly Dead[];
  /**
   * Takes a complete set for the last one. Whoever was in the one before and is not in this one is dead from now on.
   * @returns those; undefined where a later set is known, and nothing was changed
   */
  replaceLive(cluster: string, set: LiveSet): readonly Dead[] | undefined;
  /** Undefined for a cluster that never reported. */
  findReport(cluster: string): LiveReport | undefined;
  /** Forgets of clusters that are gone what can be about no token any more. */
  sweep(isThere: (cluster: string) => boolean): void;
  /** How many dead are remembered. */
  countDead(cluster: string): number;
}

export type FindDeath = Liveness['findDeath'];

/** @throws BrokerError `subject_dead` */
export function checkAlive(
  { identity, issuedAt }: Pick<VerifiedSubject, 'identity' | 'issuedAt'>,
  findDeath: FindDeath | undefined,
): void {
  const death = findDeath?.(identity, issuedAt);
  if (!death) return;
  const { kind, uid, how, at } = death;
  const time = new Date(at).toISOString();
  const detail =
    how === 'reported'
      ? `the ${kind} was reported dead, since ${time}`
      : `the ${kind} is not among those that lived at ${time}, after the token was issued`;
  throw new BrokerError('subject_dead', detail, {
    failed: { claim: CLAIMS[kind], got: uid, want: 'alive' },
  });
}

const CLAIMS: Readonly<Record<MortalKind, string>> = {
  Pod: 'kubernetes.io.pod.uid',
  ServiceAccount: 'kubernetes.io.serviceaccount.uid',
};

export interface LivenessOptions {
  readonly clock: Clock;
  /** No token lives that long after the death of whom it names; so long the dead are remembered. */
  readonly keepSeconds: number;
  /** Of one cluster and kind; beyond it the oldest are forgotten, about 100 bytes each. */
  readonly maxDead?: number;
}

/** By so much the clocks of API server, controller and broker may differ. */
export const SKEW_SECONDS = 30;
/** A set taken so long after a report of death covers every token that names the dead, whoever's clock it is by. */
export const COVERED_AFTER_MS = 300_000;
const MAX_DEAD = 500_000;

interface Living {
  readonly takenAt: number;
  readonly receivedAt: number;
  readonly uids: Readonly<Record<MortalKind, ReadonlySet<string>>>;
}

interface ClusterState {
  /** By uid, in the order in which they were reported. */
  readonly dead: Readonly<Record<MortalKind, Map<string, Dead>>>;
  living?: Living;
}

const KINDS: readonly MortalKind[] = ['Pod', 'ServiceAccount'];

export function createLiveness(options: LivenessOptions): Liveness {
  const { clock, maxDead = MAX_DEAD } = options;
  const keepMs = options.keepSeconds * 1000;
  const states = new Map<string, ClusterState>();

  function getState(cluster: string): ClusterState {
    const state = states.get(cluster) ?? { dead: { Pod: new Map(), ServiceAccount: new Map() } };
    states.set(cluster, state);
    return state;
  }

  const isOver = ({ reportedAt }: Dead) => clock.now() >= reportedAt + keepMs;

  /** The set says as much about every token there can be, and goes on doing so. */
  function isCovered({ kind, uid, diedAt, reportedAt }: Dead, living: Living | undefined): boolean {
    if (!living || living.uids[kind].has(uid)) return false;
    return living.takenAt > Math.max(diedAt, reportedAt) + COVERED_AFTER_MS;
  }

  function forget({ dead, living }: ClusterState): void {
    for (const kind of KINDS) {
      for (const [uid, one] of dead[kind]) {
        if (isOver(one) || isCovered(one, living)) dead[kind].delete(uid);
      }
    }
  }

  function add({ dead, living }: ClusterState, one: Dead): boolean {
    const known = dead[one.kind];
    if (known.has(one.uid) || isOver(one) || isCovered(one, living)) return false;
    known.set(one.uid, one);
    if (known.size <= maxDead) return true;
    const [oldest] = known.keys();
    if (oldest !== undefined) known.delete(oldest);
    return true;
  }

  function findOf(
    { dead, living }: ClusterState,
    { kind, uid, issuedAt }: { kind: MortalKind; uid: string; issuedAt: number },
  ): Death | undefined {
    const reported = dead[kind].get(uid);
    if (reported && !isOver(reported)) return { kind, uid, how: 'reported', at: reported.diedAt };
    const isTold = living !== undefined && living.takenAt > (issuedAt + SKEW_SECONDS) * 1000;
    if (!isTold || living.uids[kind].has(uid)) return undefined;
    return { kind, uid, how: 'absent', at: living.takenAt };
  }

  return {
    findDeath: (who, issuedAt) => {
      const state = who.kind === 'workload' ? states.get(who.cluster) : undefined;
      if (!state || who.kind !== 'workload') return undefined;
      const { pod, serviceAccountUid } = who;
      return (
        (pod && findOf(state, { kind: 'Pod', uid: pod.uid, issuedAt })) ??
        findOf(state, { kind: 'ServiceAccount', uid: serviceAccountUid, issuedAt })
      );
    },
    addDead: (cluster, dead) => {
      const state = getState(cluster);
      return dead.filter((one) => add(state, one));
    },
    replaceLive: (cluster, set) => {
      const state = getState(cluster);
      const before = state.living;
      if (before && set.takenAt < before.takenAt) return undefined;
      state.living = toLiving(set, clock.now());
      const gone = before ? findGone(before, state.living) : [];
      const added = gone.filter((one) => add(state, one));
      forget(state);
      return added;
    },
    findReport: (cluster) => {
      const living = states.get(cluster)?.living;
      return (
        living && {
          takenAt: living.takenAt,
          receivedAt: living.receivedAt,
          pods: living.uids.Pod.size,
          serviceAccounts: living.uids.ServiceAccount.size,
        }
      );
    },
    sweep: (isThere) => {
      for (const [cluster, state] of states) {
        if (isThere(cluster)) continue;
        forget(state);
        const { dead, living } = state;
        if (living && clock.now() >= living.receivedAt + keepMs) delete state.living;
        if (!state.living && KINDS.every((kind) => dead[kind].size === 0)) states.delete(cluster);
      }
    },
    countDead: (cluster) => {
      const { dead } = states.get(cluster) ?? {};
      return dead ? dead.Pod.size + dead.ServiceAccount.size : 0;
    },
  };
}

function toLiving({ takenAt, pods, serviceAccounts }: LiveSet, receivedAt: number): Living {
  return {
    takenAt,
    receivedAt,
    uids: { Pod: toSet(pods), ServiceAccount: toSet(serviceAccounts) },
  };
}

/** Alive in one set, not in the later one. */
function findGone(before: Living, after: Living): readonly Dead[] {
  const gone: Dead[] = [];
  // Without a copy of either: they hold a hundred thousand.
  for (const kind of KINDS)
    for (const uid of before.uids[kind])
      if (!after.uids[kind].has(uid))
        gone.push({ kind, uid, diedAt: after.takenAt, reportedAt: after.receivedAt });
  return gone;
}

/** Whoever made a set of many in pieces hands that in. */
function toSet(uids: Iterable<string>): ReadonlySet<string> {
  return uids instanceof Set ? (uids as ReadonlySet<string>) : new Set(uids);
}
