// The metrics of a broker's store. They exist only where there is one; broker/metrics.ts has the rest.
import { Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '../common/clock.ts';
import type { Mirror } from './store/mirror.ts';
import type { Store, TokenStore } from './store/store.ts';

/** What the metrics of a store are read from. */
export interface WatchedStore {
  readonly store: Pick<Store, 'findAwaySince' | 'onOperation'> & {
    readonly tokens: Pick<TokenStore, 'count'>;
  };
  readonly mirror: Pick<Mirror, 'findAgeSeconds'>;
  readonly clock: Pick<Clock, 'now'>;
}

export interface StoreNaming {
  readonly registers: Registry[];
  readonly name: (end: string) => string;
  readonly buckets: number[];
}

/** Adds them to the broker's; once per broker that has a store. */
export function watchStore(
  { store, mirror, clock }: WatchedStore,
  { registers, name, buckets }: StoreNaming,
): void {
  const operations = new Histogram({
    name: name('store_operation_duration_seconds'),
    help: 'Time that an operation of the store took, by operation and outcome (ok, not_found, conflict, unavailable, failure).',
    labelNames: ['operation', 'outcome'],
    buckets,
    registers,
  });
  store.onOperation(({ operation, outcome, seconds }) =>
    operations.observe({ operation, outcome }, seconds),
  );
  const findAwaySeconds = () => {
    const since = store.findAwaySince();
    return since === undefined ? 0 : Math.max(0, clock.now() - since) / 1000;
  };
  new Gauge({
    name: name('store_up'),
    help: '1 while the store answers, 0 while it does not.',
    registers,
    collect() {
      this.set(store.findAwaySince() === undefined ? 1 : 0);
    },
  });
  new Gauge({
    name: name('store_away_seconds'),
    help: 'Since when the store does not answer, in seconds; 0 while it does.',
    registers,
    collect() {
      this.set(findAwaySeconds());
    },
  });
  new Gauge({
    name: name('store_mirror_age_seconds'),
    help: 'Since when the deny list and the API roles in memory may be out of date, in seconds; 0 while they are kept.',
    registers,
    collect() {
      const age = mirror.findAgeSeconds();
      if (age !== undefined) this.set(age);
    },
  });
  new Gauge({
    name: name('tokens_live'),
    help: 'Live tokens in the store by kind (client, static), counted at most every 30 seconds; the same on every replica.',
    labelNames: ['kind'],
    registers,
    async collect() {
      // A scrape must not fail, or wait, because the store does; the last count stays.
      const count = await store.tokens.count().catch(() => undefined);
      for (const [kind, value] of Object.entries(count ?? {})) this.set({ kind }, value);
    },
  });
}
