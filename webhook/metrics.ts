// The webhook's metrics: names, labels and their values in one place. No label takes a value from a request.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Answer } from './review.ts';

/** Outcomes beside those of a review: the request never became one. */
export type HttpOutcome = Answer['outcome'] | 'bad_request' | 'too_large' | 'aborted';

export interface WebhookMetrics {
  readonly registry: Registry;
  /** One answered request; seconds from its last body byte to the answer. */
  count(outcome: HttpOutcome, seconds: number, warnings: number): void;
  /** Requests being worked on: +1 at the start, -1 at the end. */
  addInFlight(change: 1 | -1): void;
  /** Seconds since the epoch at which the certificate served now ends. */
  setCertificateEnd(seconds: number): void;
  /** A changed file was taken (`ok`) or refused. */
  countReload(file: 'certificate' | 'broker_ca', result: 'ok' | 'refused'): void;
}

const OUTCOMES: readonly HttpOutcome[] = [
  'injected',
  'unchanged',
  'denied',
  'not_matched',
  'bad_review',
  'failed',
  'bad_request',
  'too_large',
  'aborted',
];

export function createMetrics(): WebhookMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  // Plain numbers while requests come, prom-client's when somebody looks: it costs more than the counting.
  const counts = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    HttpOutcome,
    number
  >;
  let working = 0;
  new Counter({
    name: 'coatcheck_webhook_requests_total',
    help: 'Requests to /mutate by outcome',
    labelNames: ['outcome'],
    registers,
    collect() {
      this.reset();
      for (const outcome of OUTCOMES) this.inc({ outcome }, counts[outcome]);
    },
  });
  const duration = new Histogram({
    name: 'coatcheck_webhook_duration_seconds',
    help: 'Time from the last byte of a review to its answer',
    // The handler takes tens of microseconds, the API server waits for 5 s.
    buckets: [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5],
    registers,
  });
  const warnings = new Counter({
    name: 'coatcheck_webhook_warnings_total',
    help: 'Admission warnings given',
    registers,
  });
  new Gauge({
    name: 'coatcheck_webhook_requests_in_flight',
    help: 'Requests to /mutate that are not answered yet',
    registers,
    collect() {
      this.set(working);
    },
  });
  const certificateEnd = new Gauge({
    name: 'coatcheck_webhook_certificate_not_after_seconds',
    help: 'End of the serving certificate, seconds since the epoch',
    registers,
  });
  const reloads = new Counter({
    name: 'coatcheck_webhook_reloads_total',
    help: 'Changed files that were taken, and looks that found some that cannot be used',
    labelNames: ['file', 'result'],
    registers,
  });
  return {
    registry,
    count: (outcome, seconds, given) => {
      counts[outcome] += 1;
      duration.observe(seconds);
      if (given > 0) warnings.inc(given);
    },
    addInFlight: (change) => {
      working += change;
    },
    setCertificateEnd: (seconds) => certificateEnd.set(seconds),
    countReload: (file, result) => reloads.inc({ file, result }),
  };
}
