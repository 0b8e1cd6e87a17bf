// Every metric of the broker: names, labels, meaning. Labels take a handful of values each (reasons, dialects, routes,
// statuses, clusters of the table); nothing a caller writes becomes one. docs/broker.md lists them, generated from here.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Decision } from './authorize.ts';
import type { DropReason } from './decisions.ts';
import type { KeysEvent } from './identity/jwks.ts';
import type { Dead, LiveReport } from './identity/liveness.ts';
import type { ReviewEvent } from './identity/reviewer.ts';
import type { SourceMetrics } from './sources.ts';
import { type WatchedStore, watchStore } from './store-metrics.ts';

export const METRICS_PREFIX = 'coatcheck_broker_';

// 1 ms is a busy exchange, 10 s the longest a key fetch may take.
const BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** What is read at scrape time. */
export interface Gauges {
  readonly roles: () => number;
  readonly roleProblems: () => number;
  /** Undefined where no API server is asked. */
  readonly rightsMissing?: () => number | undefined;
  readonly signingKeys: () => number;
  /** Undefined where the store keeps none. */
  readonly unreadableSigningKeys?: () => number | undefined;
  readonly auditPendingBytes: () => number;
  /** Of sources that flood; undefined where nobody counts. */
  readonly delayedRequests?: () => number | undefined;
  /** Undefined without a store. */
  readonly decisionsPending?: () => number | undefined;
  /** Seconds since the epoch; undefined without TLS. */
  readonly certificateNotAfter: () => number | undefined;
  /** Of each entry of the clusters table whose keys were ever fetched: when they last were, seconds since the epoch. */
  readonly clusterKeysLoadedAt?: () => ReadonlyMap<string, number>;
  /** Entries of the clusters table, and those of the API that do not count. */
  readonly clusters?: () => number;
  readonly clusterProblems?: () => number;
  /** Of each cluster that ever reported who lives. */
  readonly liveReports?: () => ReadonlyMap<string, LiveReport & { readonly ageSeconds: number }>;
}

export type ReloadedThing =
  | 'signingKeys'
  | 'keyEncryptionKeys'
  | 'tls'
  | 'caBundle'
  | 'receivers'
  | 'clusters';

export interface Metrics {
  readonly registry: Registry;
  countDecision(decision: Pick<Decision, 'dialect' | 'outcome' | 'reason'>): void;
  /** `route` is one of the server's own patterns. */
  observeRequest(route: string, status: number, seconds: number): void;
  countReloadFailure(what: ReloadedThing): void;
  countIssued(type: 'jwt' | 'opaque'): void;
  countIntrospection(outcome: 'active' | 'inactive' | 'refused' | 'failure'): void;
  countRevocation(way: 'possession' | 'accessor' | 'token_id' | 'bulk'): void;
  countDroppedDecisions(count: number, reason: DropReason): void;
  countKeysEvent(event: KeysEvent): void;
  countKeyPush(cluster: string, outcome: 'changed' | 'unchanged' | 'refused'): void;
  countReviewEvent(event: ReviewEvent): void;
  countDeaths(cluster: string, dead: readonly Pick<Dead, 'kind'>[]): void;
  /** Somebody who proved who it is asks too often. */
  countLimitedIdentity(): void;
  countRefusedConnection(): void;
  readonly sources: SourceMetrics;
  /** A credential that a dialect asked for was missing or no good. */
  countAuthenticationFailure(dialect: string): void;
  /** Follows a store: whether it is up, how its operations go, what is in it. */
  watchStore(store: WatchedStore): void;
  /** To be called once the things exist that the gauges read. */
  watch(gauges: Gauges): void;
}

/** A registry of its own per broker, so that two in one process (tests, `coatcheck dev`) do not meet. */
export function createMetrics(options: { withProcess: boolean }): Metrics {
  const registry = new Registry();
  if (options.withProcess) collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const name = (end: string) => `${METRICS_PREFIX}${end}`;
  const decisions = new Counter({
    name: name('decisions_total'),
    help: 'Decisions by dialect, outcome (allow, deny, failure) and exact reason.',
    labelNames: ['dialect', 'outcome', 'reason'],
    registers,
  });
  const requests = new Histogram({
    name: name('request_duration_seconds'),
    help: 'Time from the request head to the end of the answer, by route and status; 499: the caller went away.',
    labelNames: ['route', 'status'],
    buckets: BUCKETS,
    registers,
  });
  const reloads = new Counter({
    name: name('reload_failures_total'),
    help: 'Reads of a watched file or folder (signingKeys, keyEncryptionKeys, tls, caBundle, receivers, clusters) that failed; the last good content stays in use.',
    labelNames: ['what'],
    registers,
  });
  const keysEvents = new Counter({
    name: name('cluster_keys_events_total'),
    help: 'What happened to the public keys of a cluster or issuer: loaded, failed, credential_refused, shared_key.',
    labelNames: ['cluster', 'event'],
    registers,
  });
  const keyPushes = new Counter({
    name: name('cluster_key_pushes_total'),
    help: "Key sets that clusters' controllers pushed, by cluster and outcome: changed, unchanged, refused.",
    labelNames: ['cluster', 'outcome'],
    registers,
  });
  const issued = new Counter({
    name: name('tokens_issued_total'),
    help: 'Client tokens given out, by type: jwt, opaque.',
    labelNames: ['type'],
    registers,
  });
  const introspections = new Counter({
    name: name('introspections_total'),
    help: 'Introspections by outcome: active, inactive, refused (the caller may not ask), failure (ours).',
    labelNames: ['outcome'],
    registers,
  });
  const revocations = new Counter({
    name: name('revocations_total'),
    help: 'Revocations that did something, by way: possession, accessor, token_id, bulk.',
    labelNames: ['way'],
    registers,
  });
  const dropped = new Counter({
    name: name('decisions_dropped_total'),
    help: 'Decisions that are in the audit trail and not in the store, by reason: queue_full, store_failed, unproven (requests without a good token, of which ten a second are kept).',
    labelNames: ['reason'],
    registers,
  });
  const failedAuthentications = new Counter({
    name: name('authentication_failures_total'),
    help: 'Requests whose credential was missing or no good, by dialect; a rising rate is somebody who guesses.',
    labelNames: ['dialect'],
    registers,
  });
  const limited = new Counter({
    name: name('limited_requests_total'),
    help: 'Requests that a limit touched: identity (429: one pod asks too often), source_delayed (its address has proved nothing too often; it took its turn behind the others), source_refused (429: too many of them wait), connection (hung up on: too many are open).',
    labelNames: ['limit'],
    registers,
  });
  const unrecorded = new Counter({
    name: name('unrecorded_refusals_total'),
    help: 'Refusals in a flood that have no line in log and audit, by reason; ten a second have.',
    labelNames: ['reason'],
    registers,
  });
  const deaths = new Counter({
    name: name('deaths_total'),
    help: 'Pods and ServiceAccounts that this replica came to know are dead, by cluster and kind.',
    labelNames: ['cluster', 'kind'],
    registers,
  });
  return {
    registry,
    countDecision: ({ dialect, outcome, reason = 'none' }) =>
      decisions.inc({ dialect, outcome, reason }),
    observeRequest: (route, status, seconds) => requests.observe({ route, status }, seconds),
    countReloadFailure: (what) => reloads.inc({ what }),
    countKeyPush: (cluster, outcome) => keyPushes.inc({ cluster, outcome }),
    countIssued: (type) => issued.inc({ type }),
    countIntrospection: (outcome) => introspections.inc({ outcome }),
    countRevocation: (way) => revocations.inc({ way }),
    countDroppedDecisions: (count, reason) => dropped.inc({ reason }, count),
    countKeysEvent: ({ cluster, kind }) => keysEvents.inc({ cluster, event: kind }),
    countReviewEvent: createReviewCounters({ registers, name }),
    countDeaths: (cluster, dead) => {
      for (const { kind } of dead) deaths.inc({ cluster, kind });
    },
    countLimitedIdentity: () => limited.inc({ limit: 'identity' }),
    countRefusedConnection: () => limited.inc({ limit: 'connection' }),
    sources: {
      countDelayed: () => limited.inc({ limit: 'source_delayed' }),
      countTurnedAway: () => limited.inc({ limit: 'source_refused' }),
      countUnrecorded: (reason) => unrecorded.inc({ reason }),
    },
    countAuthenticationFailure: (dialect) => failedAuthentications.inc({ dialect }),
    watchStore: (watched) => watchStore(watched, { registers, name, buckets: BUCKETS }),
    watch: (gauges) => addGauges(gauges, { registers, name }),
  };
}

export interface MetricDescription {
  readonly name: string;
  readonly labels: readonly string[];
  readonly help: string;
}

/** Our metrics as they are documented, without those of the process. */
export function describeMetrics(): readonly MetricDescription[] {
  const metrics = createMetrics({ withProcess: false });
  const none = () => undefined;
  metrics.watch({
    roles: () => 0,
    roleProblems: () => 0,
    signingKeys: () => 0,
    auditPendingBytes: () => 0,
    certificateNotAfter: none,
  });
  metrics.watchStore({
    store: {
      findAwaySince: none,
      onOperation: none,
      tokens: { count: async () => ({ client: 0, static: 0 }) },
    },
    mirror: { findAgeSeconds: none },
    clock: { now: () => 0 },
  });
  return metrics.registry.getMetricsAsArray().map((metric) => ({
    name: metric.name,
    help: metric.help,
    labels: (metric as unknown as { labelNames: readonly string[] }).labelNames,
  }));
}

interface Naming {
  readonly registers: Registry[];
  readonly name: (end: string) => string;
}

function createReviewCounters({ registers, name }: Naming): (event: ReviewEvent) => void {
  const reviews = new Counter({
    name: name('token_reviews_total'),
    help: 'TokenReviews by cluster and outcome: accepted, refused, unavailable, credential_refused.',
    labelNames: ['cluster', 'outcome'],
    registers,
  });
  const seconds = new Histogram({
    name: name('token_review_duration_seconds'),
    help: 'Time from the turn of a TokenReview to its answer; the wait for the turn is not in it.',
    labelNames: ['cluster'],
    buckets: BUCKETS,
    registers,
  });
  const waits = new Histogram({
    name: name('token_review_wait_seconds'),
    help: 'How long a TokenReview waited for its turn before it was asked.',
    labelNames: ['cluster'],
    buckets: BUCKETS,
    registers,
  });
  const inFlight = new Gauge({
    name: name('token_reviews_in_flight'),
    help: 'TokenReviews sent and not yet answered.',
    labelNames: ['cluster'],
    registers,
  });
  const waiting = new Gauge({
    name: name('token_reviews_waiting'),
    help: 'TokenReviews that wait for their turn.',
    labelNames: ['cluster'],
    registers,
  });
  const turnedAway = new Counter({
    name: name('token_reviews_turned_away_total'),
    help: 'TokenReviews that were not asked, so that the caller got 429: full (too many wait, and its namespace the most), late (no turn within reviewQueueSeconds).',
    labelNames: ['cluster', 'why'],
    registers,
  });
  const spared = new Counter({
    name: name('token_reviews_spared_total'),
    help: 'Validations without a TokenReview of their own: cached, shared, recent (the API server did not answer).',
    labelNames: ['cluster', 'by'],
    registers,
  });
  return (event) => {
    const { cluster } = event;
    if (event.kind === 'spared') spared.inc({ cluster, by: event.by });
    else if (event.kind === 'waiting') waiting.set({ cluster }, event.count);
    else if (event.kind === 'turned_away') turnedAway.inc({ cluster, why: event.why });
    else if (event.kind === 'started') {
      inFlight.inc({ cluster });
      waits.observe({ cluster }, event.waitedSeconds);
    } else {
      inFlight.dec({ cluster });
      reviews.inc({ cluster, outcome: event.outcome });
      seconds.observe({ cluster }, event.seconds);
    }
  };
}

function addClusterKeysGauge(
  read: () => ReadonlyMap<string, number>,
  { registers, name }: Naming,
): void {
  new Gauge({
    name: name('cluster_keys_loaded_timestamp_seconds'),
    help: 'When the keys of a cluster or issuer were last fetched, or pushed, seconds since the epoch.',
    labelNames: ['cluster'],
    registers,
    collect() {
      // Of entries that went, nothing is to be said any more.
      this.reset();
      for (const [cluster, seconds] of read()) this.set({ cluster }, seconds);
    },
  });
}

function addLiveReportGauges(
  read: NonNullable<Gauges['liveReports']>,
  { registers, name }: Naming,
): void {
  new Gauge({
    name: name('live_report_age_seconds'),
    help: "Since when the last complete set of a cluster's living pods and ServiceAccounts is here; rising, its controller is silent. Absent for a cluster that never reported.",
    labelNames: ['cluster'],
    registers,
    collect() {
      for (const [cluster, { ageSeconds }] of read()) this.set({ cluster }, ageSeconds);
    },
  });
  new Gauge({
    name: name('live_pods'),
    help: 'Pods in that set.',
    labelNames: ['cluster'],
    registers,
    collect() {
      for (const [cluster, { pods }] of read()) this.set({ cluster }, pods);
    },
  });
}

function addGauges(gauges: Gauges, { registers, name }: Naming): void {
  addClusterKeysGauge(gauges.clusterKeysLoadedAt ?? (() => new Map()), { registers, name });
  addLiveReportGauges(gauges.liveReports ?? (() => new Map()), { registers, name });
  const add = (end: string, help: string, read: () => number | undefined) =>
    new Gauge({
      name: name(end),
      help,
      registers,
      collect() {
        const value = read();
        if (value !== undefined) this.set(value);
      },
    });
  add('roles', 'Roles in use.', gauges.roles);
  add(
    'role_problems',
    'Problems with roles of all sources: files (the last good roles of a broken one stay in use), TokenRoles, and selectors of namespaces whose labels are not known.',
    gauges.roleProblems,
  );
  add(
    'clusters',
    'Clusters and issuers in the table, of the file and of the API.',
    gauges.clusters ?? (() => undefined),
  );
  add(
    'cluster_problems',
    'Clusters of the API that do not count: the file has their name, or they do not go together with another entry.',
    gauges.clusterProblems ?? (() => undefined),
  );
  add(
    'rights_missing',
    'Rights that the own API server does not give the broker although its configuration needs them; a line in the log names each.',
    gauges.rightsMissing ?? (() => undefined),
  );
  add('signing_keys', 'Published signing keys.', gauges.signingKeys);
  add(
    'signing_keys_unreadable',
    'Signing keys in the store that no sealing key here opens; above zero, somebody must look.',
    gauges.unreadableSigningKeys ?? (() => undefined),
  );
  add(
    'audit_pending_bytes',
    'Audit records made and not yet written to standard output.',
    gauges.auditPendingBytes,
  );
  add(
    'delayed_requests',
    'Requests of addresses that flood, waiting for their turn behind all others.',
    gauges.delayedRequests ?? (() => undefined),
  );
  add(
    'decisions_pending',
    'Decisions on their way to the store.',
    gauges.decisionsPending ?? (() => undefined),
  );
  add(
    'certificate_not_after_seconds',
    'When the serving certificate ends, seconds since the epoch.',
    gauges.certificateNotAfter,
  );
}
