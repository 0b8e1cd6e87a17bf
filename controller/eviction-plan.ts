// Whom to evict next, so that its owner makes an injected one in its place: one pod of an owner at a time, the next when the
// one before is ready, and never on for an owner whose new pods are no better. Knows what was seen; asks nobody anything.
import type { ItemChange } from '../common/kube/collection.ts';
import { isPlainlyRefused } from '../common/protocol/missed.ts';
import { type Admission, findAdmission } from './missed.ts';
import type { TrackedPod } from './pods.ts';
import { createWebhookEvidence } from './webhook-evidence.ts';

/** Why no further pod of an owner is evicted. */
export type StopReason = Exclude<Admission, 'injected'> | 'absent' | 'unready';
/** What came of an eviction in the end. */
export type SuccessorOutcome = 'ready' | StopReason;

export interface EvictionPlanOptions {
  readonly isCovered: (namespace: string) => boolean;
  /** `pod` is the one that was evicted. */
  readonly onOutcome: (pod: TrackedPod, outcome: SuccessorOutcome) => void;
}

export interface EvictionPlan {
  /** Every change of a pod, from the first list on, whether or not this replica acts. */
  apply(change: ItemChange<TrackedPod>, now: number): void;
  /** The pod to evict now; from then on it counts as evicted, until one of the others says otherwise. */
  next(missed: ReadonlyMap<string, TrackedPod>, now: number): TrackedPod | undefined;
  /** It was not evicted: a budget, no answer. Its owner is left alone for a while, longer each time. */
  holdBack(pod: TrackedPod, now: number, atLeastMs?: number): void;
  /** Whether it was evicted is not known; what is seen of it will tell. */
  doubt(pod: TrackedPod): void;
  countStopped(): number;
}

interface Owned {
  /** Of evictions that changed nothing, since the last one that did. */
  fruitless: number;
  heldTimes: number;
  state:
    | { step: 'free' }
    | { step: 'held'; until: number }
    | { step: 'evicted'; pod: TrackedPod; at: number; goneAt?: number; isDoubtful?: true }
    | { step: 'starting'; pod: TrackedPod; uid: string; at: number }
    | { step: 'stopped'; pod: TrackedPod; why: StopReason; at: number; uid?: string };
}

const EVICTABLE: readonly string[] = ['ReplicaSet', 'StatefulSet', 'DaemonSet'];
/** They make another one as soon as a pod is told to end; the others when it is gone. */
const AT_ONCE: readonly (string | undefined)[] = ['ReplicaSet', 'ReplicationController'];
const FIRST_HOLD_MS = 10_000;
const MAX_HOLD_MS = 5 * 60_000;
/** A successor comes within a second, unless it is refused: then nobody else's pod is evicted, */
export const SILENCE_MS = 20_000;
/** and after this long its owner is given up. */
export const SUCCESSOR_MS = 5 * 60_000;
export const READY_MS = 10 * 60_000;
export const DOUBT_MS = 30_000;
const UNDER_WAY_MS = 15 * 60_000;
/** With evidence in between that the webhook works for others. */
export const MAX_FRUITLESS = 2;
const MAX_OWNERS = 10_000;

/**
 * Whether its owner makes another one that may be injected, at no price but the restart. Not a Job: it counts the pod as
 * failed and does its work again. Not a bare pod, nor one of an owner that nobody here knows; nor what the webhook would
 * refuse: nothing would come in its place.
 */
export function isEvictable(pod: Pick<TrackedPod, 'owner' | 'annotations'>): boolean {
  const { apiVersion = '', kind = '' } = pod.owner ?? {};
  const isKnown =
    apiVersion === 'v1'
      ? kind === 'ReplicationController'
      : apiVersion.startsWith('apps/') && EVICTABLE.includes(kind);
  return isKnown && !isPlainlyRefused(pod);
}

export function createEvictionPlan({ isCovered, onOutcome }: EvictionPlanOptions): EvictionPlan {
  const owners = new Map<string, Owned>();
  const webhook = createWebhookEvidence();

  function take(pod: TrackedPod): Owned {
    const key = toKey(pod);
    const known = owners.get(key);
    if (known) return known;
    const [oldest] = owners.keys();
    if (owners.size >= MAX_OWNERS && oldest !== undefined) owners.delete(oldest);
    const made: Owned = { fruitless: 0, heldTimes: 0, state: { step: 'free' } };
    owners.set(key, made);
    return made;
  }

  function stop(owned: Owned, why: StopReason, { now, uid }: { now: number; uid?: string }): void {
    const { state } = owned;
    if (state.step !== 'evicted' && state.step !== 'starting') return;
    owned.fruitless += 1;
    if (why === 'missed' || (why === 'absent' && !webhook.worksSince(state.at)))
      webhook.fail(why === 'absent', now);
    const { pod } = state;
    owned.state = { step: 'stopped', pod, why, at: now, ...(uid !== undefined && { uid }) };
    onOutcome(pod, why);
  }

  function finish(pod: TrackedPod, owned: Owned): void {
    owners.delete(toKey(pod));
    if (owned.state.step === 'starting') onOutcome(owned.state.pod, 'ready');
  }

  function seeArrival(pod: TrackedPod, now: number): void {
    const admission = findAdmission(pod);
    if (!admission) return;
    if (admission !== 'unannotated' && isCovered(pod.namespace))
      webhook.see(admission === 'injected', now);
    const owned = owners.get(toKey(pod));
    if (!owned) return;
    const { state } = owned;
    const isAwaited = state.step === 'evicted' || state.step === 'stopped';
    if (admission !== 'injected') {
      if (isAwaited) stop(owned, admission, { now });
      return;
    }
    // Its template and the webhook are as they should be now.
    owned.fruitless = 0;
    if (isAwaited) owned.state = { step: 'starting', pod: state.pod, uid: pod.uid, at: now };
  }

  function seeGone(pod: TrackedPod, now: number): void {
    const owned = owners.get(toKey(pod));
    if (!owned) return;
    const { state } = owned;
    if (state.step === 'evicted' && state.pod.uid === pod.uid) state.goneAt = now;
    // Another one will come, or not.
    if (state.step === 'starting' && state.uid === pod.uid)
      owned.state = { step: 'evicted', pod: state.pod, at: now, goneAt: now };
  }

  function seeReady(pod: TrackedPod): void {
    const owned = owners.get(toKey(pod));
    if (!owned) return;
    const { state } = owned;
    if ((state.step === 'starting' || state.step === 'stopped') && state.uid === pod.uid)
      finish(pod, owned);
  }

  /** What became overdue. */
  function settle(owned: Owned, now: number): void {
    const { state } = owned;
    if (isSilent(owned, now, SUCCESSOR_MS)) stop(owned, 'absent', { now });
    if (state.step === 'starting' && now - state.at >= READY_MS)
      stop(owned, 'unready', { now, uid: state.uid });
    if (state.step === 'held' && now >= state.until) owned.state = { step: 'free' };
    if (state.step === 'stopped' && isLifted(owned, state)) owned.state = { step: 'free' };
  }

  /** Something has changed: since it was stopped, somebody else's pod was injected. */
  function isLifted({ fruitless }: Owned, { why, at }: { why: StopReason; at: number }): boolean {
    return why === 'missed' && fruitless < MAX_FRUITLESS && webhook.worksSince(at);
  }

  /** One whose pod takes its time to end holds up its owner alone. */
  const countUnderWay = (now: number) =>
    [...owners.values()].filter(
      ({ state }) =>
        (state.step === 'evicted' || state.step === 'starting') && now - state.at < UNDER_WAY_MS,
    ).length;

  function countAllowed(now: number): number {
    // A webhook that does not answer refuses all.
    const isQuiet = [...owners.values()].some(
      (one) =>
        one.state.step === 'evicted' &&
        isSilent(one, now, SILENCE_MS) &&
        !webhook.worksSince(one.state.at),
    );
    return isQuiet ? 0 : webhook.countAllowed(now);
  }

  return {
    apply: ({ before, after }, now) => {
      if (before && before.uid !== after?.uid) seeGone(before, now);
      if (!after) return;
      if (before?.uid !== after.uid) seeArrival(after, now);
      if (after.isReady) seeReady(after);
    },
    next: (missed, now) => {
      for (const owned of owners.values()) {
        if (isDisproved(owned, missed, now)) hold(owned, now);
        settle(owned, now);
      }
      if (countUnderWay(now) >= countAllowed(now)) return undefined;
      for (const pod of missed.values()) {
        if (!isFree(owners.get(toKey(pod))) || !isEvictable(pod)) continue;
        take(pod).state = { step: 'evicted', pod, at: now };
        return pod;
      }
      return undefined;
    },
    holdBack: (pod, now, atLeastMs) => hold(take(pod), now, atLeastMs),
    doubt: (pod) => {
      const { state } = owners.get(toKey(pod)) ?? {};
      if (state?.step === 'evicted') state.isDoubtful = true;
    },
    countStopped: () => [...owners.values()].filter(({ state }) => state.step === 'stopped').length,
  };
}

/** Evicted, and for so long the time has come for a successor, which is not there. */
function isSilent({ state }: Owned, now: number, ms: number): boolean {
  if (state.step !== 'evicted') return false;
  const isAtOnce = AT_ONCE.includes(state.pod.owner?.kind) && !state.isDoubtful;
  const since = state.goneAt ?? (isAtOnce ? state.at : undefined);
  return since !== undefined && now - since >= ms;
}

function isFree(owned: Owned | undefined): boolean {
  return !owned || owned.state.step === 'free';
}

/** An eviction without an answer, whose pod is there as before. */
function isDisproved(
  { state }: Owned,
  missed: ReadonlyMap<string, TrackedPod>,
  now: number,
): boolean {
  if (state.step !== 'evicted' || !state.isDoubtful) return false;
  return now - state.at >= DOUBT_MS && missed.has(state.pod.uid);
}

function hold(owned: Owned, now: number, atLeastMs = 0): void {
  const pause = Math.min(FIRST_HOLD_MS * 2 ** Math.min(owned.heldTimes, 10), MAX_HOLD_MS);
  owned.heldTimes += 1;
  owned.state = { step: 'held', until: now + Math.max(pause, atLeastMs) };
}

/** With the namespace: who writes an owner's uid into a pod of another namespace says nothing about that owner. */
function toKey({ namespace, owner }: TrackedPod): string {
  return owner ? `${namespace}/${owner.uid}` : '';
}
