// Tells people which pods missed injection: an Event on the pod and one on who made it, and one line in the log now and
// then. Only the replica that acts tells.
import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { findAskingKey, isPlainlyRefused } from '../common/protocol/missed.ts';
import type { EventObject, EventRecorder, ObjectEvent } from './events.ts';
import { isEvictable } from './eviction-plan.ts';
import type { MissedPods } from './missed.ts';
import type { PodOwner, TrackedPod } from './pods.ts';

export interface MissedReport {
  /** Tells until the signal is aborted. Never rejects. */
  lead(signal: AbortSignal): Promise<void>;
}

export interface MissedReportOptions {
  readonly missed: MissedPods;
  readonly events: EventRecorder;
  /** Of our annotations, with its slash. */
  readonly prefix: string;
  /** Whether they are evicted. */
  readonly isEvicting: boolean;
  readonly clock: Clock;
  readonly log: Logger;
}

export const LOOK_MS = 2000;
const LOGGED_EVERY_MS = 60_000;
/** More than these are counted and not named: at the rate of Events it takes an hour to tell as many. */
export const MAX_TOLD = 5000;

export function createMissedReport(options: MissedReportOptions): MissedReport {
  const { missed, events, clock, log } = options;
  let loggedAt = Number.NEGATIVE_INFINITY;
  let logged = 0;

  function tell(): void {
    let left = MAX_TOLD;
    for (const pod of missed.pods.values()) {
      if (left-- <= 0 || !tellOf(pod)) return;
    }
  }

  function tellOf(pod: TrackedPod): boolean {
    const onOwner = toOwnerEvent(pod, options);
    return events.record(toPodEvent(pod, options)) && (!onOwner || events.record(onOwner));
  }

  function tellLog(): void {
    const { size } = missed.pods;
    if (size === logged || clock.now() - loggedAt < LOGGED_EVERY_MS) return;
    loggedAt = clock.now();
    logged = size;
    const [first] = missed.pods.values();
    if (!first) log.info('no annotated pod is without injection any more');
    else {
      const example = `${first.namespace}/${first.name}`;
      log.warn({ missed: size, example }, 'annotated pods were admitted without injection');
    }
  }

  return {
    lead: async (signal) => {
      while (!signal.aborted) {
        tell();
        tellLog();
        await clock.sleep(LOOK_MS, signal).catch(() => undefined);
      }
    },
  };
}

export function toPodObject({ name, uid, namespace }: TrackedPod): EventObject {
  return { apiVersion: 'v1', kind: 'Pod', name, uid, namespace };
}

export function toOwnerObject({ owner, namespace }: TrackedPod): EventObject | undefined {
  if (!owner) return undefined;
  const { apiVersion, kind, name, uid } = owner;
  return { apiVersion, kind, name, uid, namespace };
}

type Wording = Pick<MissedReportOptions, 'prefix' | 'isEvicting'>;
const SAID = { type: 'Warning', reason: 'MissedInjection', action: 'Inspecting' } as const;

function toPodEvent(pod: TrackedPod, { prefix, isEvicting }: Wording): ObjectEvent {
  const annotation = `${prefix}${findAskingKey(pod) ?? ''}`;
  const cure = isEvicting && isEvictable(pod) ? toPromise(pod) : toCure(pod);
  return {
    ...SAID,
    regarding: toPodObject(pod),
    note: `carries ${annotation} but was admitted without injection, so it gets no client token: the webhook was away, does not see this namespace, or the annotation came later. ${cure}`,
  };
}

function toPromise({ owner }: TrackedPod): string {
  return `The controller evicts it as soon as it may; Events of its ${toKind(owner)} say what came of it.`;
}

function toCure(pod: TrackedPod): string {
  const { owner, namespace, name } = pod;
  if (isPlainlyRefused(pod))
    return 'Another one like it would be refused: correct its annotations first (coatcheck lint), then recreate it.';
  const deletion = `kubectl delete pod -n ${namespace} ${name}`;
  if (!owner) return `Recreate it: ${deletion}, and apply its manifest again.`;
  const more = owner.kind === 'Job' ? ', and counts this one as failed' : '';
  return `Recreate it: ${deletion}; its ${toKind(owner)} makes another one${more}.`;
}

/** Whoever writes a pod chooses the word; it must not become a sentence of ours. */
function toKind(owner: PodOwner | undefined): string {
  const { kind = '' } = owner ?? {};
  return /^[A-Za-z][A-Za-z0-9]{0,62}$/.test(kind) ? kind : 'owner';
}

function toOwnerEvent(pod: TrackedPod, { prefix }: Wording): ObjectEvent | undefined {
  const regarding = toOwnerObject(pod);
  if (!regarding) return undefined;
  const annotation = `${prefix}${findAskingKey(pod) ?? ''}`;
  const list = `kubectl get events -n ${pod.namespace} --field-selector reason=${SAID.reason}`;
  return {
    ...SAID,
    regarding,
    note: `pods of it carry ${annotation} but were admitted without injection, so they get no client token; recreate them. Which: ${list}`,
  };
}
