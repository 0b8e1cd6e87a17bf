// Metrics of missed pods, their Events and their evictions. No label names a namespace or a pod: those have no bound.
import { Counter, Gauge, type Registry } from 'prom-client';
import type { EventOutcome } from './events.ts';
import type { SuccessorOutcome } from './eviction-plan.ts';
import type { EvictionOutcome } from './evictions.ts';

export interface MissedMetrics {
  countEvent(outcome: EventOutcome): void;
  countEviction(outcome: EvictionOutcome): void;
  countSuccessor(outcome: SuccessorOutcome): void;
  follow(state: { countMissed(): number; countStopped(): number }): void;
}

const EVENTS: readonly EventOutcome[] = ['stored', 'known', 'refused', 'failed', 'dropped'];
const EVICTIONS: readonly EvictionOutcome[] = [
  'accepted',
  'held_back',
  'gone',
  'forbidden',
  'failed',
];
const SUCCESSORS: readonly SuccessorOutcome[] = [
  'ready',
  'missed',
  'unannotated',
  'absent',
  'unready',
];

export function createMissedMetrics(registry: Registry): MissedMetrics {
  const addCounter = (name: string, help: string, outcomes: readonly string[]) => {
    const counter = new Counter({
      name: `coatcheck_controller_${name}`,
      help,
      labelNames: ['outcome'],
      registers: [registry],
    });
    // A series that appears with its first event cannot be alerted on.
    for (const outcome of outcomes) counter.inc({ outcome }, 0);
    return counter;
  };
  const events = addCounter('events_total', 'Kubernetes Events, by what became of them', EVENTS);
  const evictions = addCounter(
    'evictions_total',
    'Evictions of pods that missed injection, by the answer of the API server',
    EVICTIONS,
  );
  const successors = addCounter(
    'evicted_successors_total',
    'What came in the place of evicted pods; anything but ready stops evictions for its owner',
    SUCCESSORS,
  );
  return {
    countEvent: (outcome) => events.inc({ outcome }),
    countEviction: (outcome) => evictions.inc({ outcome }),
    countSuccessor: (outcome) => successors.inc({ outcome }),
    follow: ({ countMissed, countStopped }) => {
      const addGauge = (name: string, help: string, read: () => number) => {
        const gauge: Gauge = new Gauge({
          name: `coatcheck_controller_${name}`,
          help,
          registers: [registry],
          collect: () => gauge.set(read()),
        });
      };
      addGauge('missed_pods', 'Pods that ask for a token and were not injected', countMissed);
      addGauge(
        'eviction_stopped_owners',
        'Owners of missed pods for whom evictions did not help',
        countStopped,
      );
    },
  };
}
