// Evicts pods that missed injection, through the Eviction API, which honours PodDisruptionBudgets. Whom and when is the
// plan's to say (eviction-plan.ts); here are the requests, and what people are told.
import type { Clock } from '../common/clock.ts';
import type { KubeClient } from '../common/kube/client.ts';
import { KubeError } from '../common/kube/error.ts';
import type { Logger } from '../common/log.ts';
import type { EventObject, EventRecorder } from './events.ts';
import type { EvictionPlan, StopReason, SuccessorOutcome } from './eviction-plan.ts';
import { toOwnerObject, toPodObject } from './missed-report.ts';
import type { TrackedPod } from './pods.ts';

/** `held_back`: by a PodDisruptionBudget, or the API server has too much to do. `gone`: the pod went by itself. */
export type EvictionOutcome = 'accepted' | 'held_back' | 'gone' | 'forbidden' | 'failed';

export interface Evictions {
  /** Evicts until the signal is aborted. Never rejects. */
  lead(signal: AbortSignal): Promise<void>;
}

export interface EvictionsOptions {
  readonly client: Pick<KubeClient, 'post'>;
  readonly missed: ReadonlyMap<string, TrackedPod>;
  readonly plan: EvictionPlan;
  readonly events: EventRecorder;
  readonly perMinute: number;
  readonly onOutcome: (outcome: EvictionOutcome) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

const LOOK_MS = 1000;
/** What is under way when the Lease is lost ends before anybody else holds it. */
const WITHIN_MS = 4000;
const FORBIDDEN_MS = 5 * 60_000;
const OUTCOMES: Readonly<Record<number, EvictionOutcome>> = {
  403: 'forbidden',
  404: 'gone',
  409: 'gone',
  429: 'held_back',
};

export function createEvictions(options: EvictionsOptions): Evictions {
  const { client, missed, plan, events, clock, log } = options;

  function tell(regarding: EventObject | undefined, said: Said): void {
    const { isWarning = false, reason, note } = said;
    const type = isWarning ? 'Warning' : 'Normal';
    if (regarding) events.record({ regarding, type, reason, action: 'Evicting', note });
  }

  async function evict(pod: TrackedPod): Promise<EvictionOutcome> {
    const { namespace, name, uid } = pod;
    try {
      await client.post(
        toPath(pod),
        {
          apiVersion: 'policy/v1',
          kind: 'Eviction',
          metadata: { namespace, name },
          // Never another one that has its name by now: a StatefulSet's next pod.
          deleteOptions: { preconditions: { uid } },
        },
        WITHIN_MS,
      );
    } catch (error) {
      return refuse(pod, error);
    }
    log.info({ namespace, pod: name, uid }, 'evicted a pod that missed injection');
    const note = `evicted pod ${name}, which was admitted without injection`;
    tell(toPodObject(pod), { reason: 'EvictedForInjection', note });
    tell(toOwnerObject(pod), { reason: 'EvictedForInjection', note });
    return 'accepted';
  }

  function refuse(pod: TrackedPod, error: unknown): EvictionOutcome {
    const { status, retryAfterSeconds = 0 } = error instanceof KubeError ? error : {};
    const outcome = OUTCOMES[status ?? 0] ?? 'failed';
    const now = clock.now();
    // Without an answer it may have been done all the same.
    if (status === undefined) plan.doubt(pod);
    else plan.holdBack(pod, now, outcome === 'forbidden' ? FORBIDDEN_MS : retryAfterSeconds * 1000);
    const about = { namespace: pod.namespace, pod: pod.name, outcome };
    if (outcome === 'held_back') {
      log.info(about, 'an eviction has to wait');
      tell(toPodObject(pod), {
        reason: 'EvictionHeldBack',
        note: 'is to be evicted because it missed injection, but a PodDisruptionBudget or the API server does not allow it now; it is tried again',
      });
    } else if (outcome !== 'gone') {
      log.warn({ err: error, ...about }, 'a pod that missed injection could not be evicted');
    }
    return outcome;
  }

  return {
    lead: async (signal) => {
      while (!signal.aborted) {
        const pod = plan.next(missed, clock.now());
        const outcome = pod && (await evict(pod));
        if (outcome) options.onOutcome(outcome);
        const pause = outcome === 'accepted' ? 60_000 / options.perMinute : LOOK_MS;
        await clock.sleep(pause, signal).catch(() => undefined);
      }
    },
  };
}

interface Said {
  readonly isWarning?: boolean;
  readonly reason: string;
  readonly note: string;
}

const STOPPED: Readonly<Record<StopReason, string>> = {
  missed:
    'its successor was admitted without injection, too: either the webhook is away or it does not see this namespace',
  unannotated:
    'its successor does not carry the annotation: put it into the pod template, not on the pod',
  absent:
    'no successor came within 5 minutes: whoever makes it may be refused, by the webhook (coatcheck lint), a quota, or was scaled down',
  unready:
    'its successor was injected but is not ready after 10 minutes: kubectl describe shows what its exchange says',
};

/** What is said where an eviction was of no use. */
export function createStopTeller({
  events,
  log,
}: {
  events: EventRecorder;
  log: Logger;
}): (pod: TrackedPod, outcome: SuccessorOutcome) => void {
  return (pod, outcome) => {
    if (outcome === 'ready') return;
    const { namespace, name, owner } = pod;
    const about = { namespace, pod: name, owner: owner && `${owner.kind}/${owner.name}` };
    log.warn({ ...about, why: outcome }, 'an eviction did not help; its owner is left alone');
    const regarding = toOwnerObject(pod);
    const note = `pod ${name} was evicted because it missed injection, but ${STOPPED[outcome]}. No further pod is evicted until a new one is injected.`;
    if (!regarding) return;
    events.record({
      regarding,
      type: 'Warning',
      reason: 'EvictionStopped',
      action: 'Evicting',
      note,
    });
  };
}

function toPath({ namespace, name }: TrackedPod): string {
  const [place, pod] = [namespace, name].map(encodeURIComponent);
  return `/api/v1/namespaces/${place}/pods/${pod}/eviction`;
}
