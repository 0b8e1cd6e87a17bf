// The controller's metrics: names, labels and their values in one place. The label `broker` is an address of a replica.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Death } from './deaths.ts';

export interface ControllerMetrics {
  readonly registry: Registry;
  countDeath(kind: Death['kind']): void;
  /** From the watch event to the last replica's acknowledgement. */
  observePush(seconds: number): void;
  countSetPush(broker: string): void;
  /** `reason`: the status of the answer, or `unreachable`. */
  countPushFailure(broker: string, reason: string): void;
  /** A replica that is gone has no series. */
  forgetBroker(broker: string): void;
  /** What is asked when somebody reads the metrics. */
  follow(state: ControllerState): void;
}

export interface ControllerState {
  isLeading(): boolean;
  countPods(): number;
  countServiceAccounts(): number;
  isWatching(collection: (typeof COLLECTIONS)[number]): boolean;
  countQueued(): number;
  /** Undefined where none was taken in this term. */
  findSetAge(): number | undefined;
}

const COLLECTIONS = ['pods', 'serviceaccounts'] as const;
const KINDS = ['Pod', 'ServiceAccount'] as const;

export function createMetrics(): ControllerMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const deaths = new Counter({
    name: 'coatcheck_controller_deaths_total',
    help: 'Pods and ServiceAccounts that were seen to die, whether or not this replica acts',
    labelNames: ['kind'],
    registers,
  });
  const push = new Histogram({
    name: 'coatcheck_controller_push_seconds',
    help: 'Time from the watch event of a death until every replica of the broker has acknowledged it',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 120],
    registers,
  });
  const sets = new Counter({
    name: 'coatcheck_controller_live_sets_total',
    help: 'Complete sets of the living that a replica of the broker has acknowledged',
    labelNames: ['broker'],
    registers,
  });
  const failures = new Counter({
    name: 'coatcheck_controller_push_failures_total',
    help: 'Reports that a replica of the broker did not take, by status of its answer',
    labelNames: ['broker', 'reason'],
    registers,
  });
  // A series that appears with its first event cannot be alerted on.
  for (const kind of KINDS) deaths.inc({ kind }, 0);
  const reasonsOf = new Map<string, Set<string>>();
  return {
    registry,
    countDeath: (kind) => deaths.inc({ kind }),
    observePush: (seconds) => push.observe(seconds),
    countSetPush: (broker) => sets.inc({ broker }),
    countPushFailure: (broker, reason) => {
      reasonsOf.set(broker, (reasonsOf.get(broker) ?? new Set()).add(reason));
      failures.inc({ broker, reason });
    },
    forgetBroker: (broker) => {
      sets.remove({ broker });
      for (const reason of reasonsOf.get(broker) ?? []) failures.remove({ broker, reason });
      reasonsOf.delete(broker);
    },
    follow: (state) => followState(registry, state),
  };
}

function followState(registry: Registry, state: ControllerState): void {
  const addGauge = (name: string, help: string, read: () => number | undefined) => {
    const gauge: Gauge = new Gauge({
      name: `coatcheck_controller_${name}`,
      help,
      registers: [registry],
      collect: () => {
        const value = read();
        if (value === undefined) gauge.reset();
        else gauge.set(value);
      },
    });
  };
  addGauge('leader', '1 where this replica holds the Lease and acts', () =>
    Number(state.isLeading()),
  );
  addGauge('pods', 'Pods that are tracked', state.countPods);
  addGauge('service_accounts', 'ServiceAccounts that are tracked', state.countServiceAccounts);
  addGauge('queued_deaths', 'Deaths that wait for the slowest replica', state.countQueued);
  addGauge(
    'live_set_age_seconds',
    'Age of the last complete set of the living; 0 where this replica does not act',
    state.findSetAge,
  );
  const watching: Gauge<'collection'> = new Gauge({
    name: 'coatcheck_controller_watching',
    help: '1 where the collection is listed and its changes are followed',
    labelNames: ['collection'],
    registers: [registry],
    collect: () => {
      for (const collection of COLLECTIONS)
        watching.set({ collection }, Number(state.isWatching(collection)));
    },
  });
}
