// Everything about pods that missed injection behind one door: told of every change of a pod, it counts them, tells people of
// them, and evicts them where that is wished.
import type { Clock } from '../common/clock.ts';
import type { KubeClient } from '../common/kube/client.ts';
import type { ItemChange } from '../common/kube/collection.ts';
import type { Logger } from '../common/log.ts';
import type { EventRecorder } from './events.ts';
import { createEvictionPlan } from './eviction-plan.ts';
import { createEvictions, createStopTeller } from './evictions.ts';
import { createCoverage, createMissedPods } from './missed.ts';
import type { MissedMetrics } from './missed-metrics.ts';
import { createMissedReport } from './missed-report.ts';
import type { TrackedPod } from './pods.ts';
import type { ControllerSettings } from './settings.ts';

export interface MissedWatch {
  /** The first complete list; before the first term. */
  begin(all: Iterable<TrackedPod>): void;
  apply(change: ItemChange<TrackedPod>): void;
  /** Tells and evicts until the signal is aborted. Never rejects. */
  lead(signal: AbortSignal): Promise<void>;
}

export interface MissedWatchOptions {
  readonly settings: Pick<
    ControllerSettings,
    'prefix' | 'excludeNamespaces' | 'missedNamespaces' | 'evictMissed' | 'evictionsPerMinute'
  >;
  readonly client: Pick<KubeClient, 'post'>;
  readonly events: EventRecorder;
  readonly metrics: MissedMetrics;
  /** Its time must never be put back. */
  readonly clock: Clock;
  readonly log: Logger;
}

export function createMissedWatch(options: MissedWatchOptions): MissedWatch {
  const { settings, client, events, metrics, clock, log } = options;
  const { excludeNamespaces: excluded, missedNamespaces: names } = settings;
  const isCovered = createCoverage({ excluded, names });
  const missed = createMissedPods(isCovered);
  const tellStop = createStopTeller({ events, log });
  const plan = createEvictionPlan({
    isCovered,
    onOutcome: (pod, outcome) => {
      metrics.countSuccessor(outcome);
      tellStop(pod, outcome);
    },
  });
  const { prefix, evictMissed: isEvicting, evictionsPerMinute: perMinute } = settings;
  const report = createMissedReport({ missed, events, prefix, isEvicting, clock, log });
  const evictions = createEvictions({
    ...{ client, missed: missed.pods, plan, events, perMinute, clock, log },
    onOutcome: metrics.countEviction,
  });
  metrics.follow({ countMissed: () => missed.pods.size, countStopped: plan.countStopped });
  return {
    begin: missed.begin,
    apply: (change) => {
      missed.apply(change);
      plan.apply(change, clock.now());
    },
    lead: async (signal) => {
      await Promise.all([report.lead(signal), isEvicting && evictions.lead(signal)]);
    },
  };
}
