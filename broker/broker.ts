// The broker put together, without a port: main.ts gives it one, `coatcheck dev` mounts it beside its local issuer,
// tests do either. Everything from outside (clock, keys, ids, streams) comes in here.
import { randomBytes } from 'node:crypto';
import type { RequestListener } from 'node:http';
import type { RequestHandler } from 'express';
import { type Clock, type Random, systemRandom } from '../common/clock.ts';
import type { AccessReviews } from '../common/kube/access.ts';
import type { Logger } from '../common/log.ts';
import { NO_TRACING, type Tracing } from '../common/tracing.ts';
import { type Admin, type BootstrapOptions, createAdmin, createReviewTimes } from './admin.ts';
import { type AuditSink, type AuditStream, createAuditSink } from './audit.ts';
import { type AuthorizeDeps, createAuthorize } from './authorize.ts';
import type { CaBundle } from './ca-bundle.ts';
import { createClusterRegistry } from './cluster-registry.ts';
import { createDeathReports, type DeathReports } from './death-reports.ts';
import { createDecisionWriter, withDecisions } from './decisions.ts';
import { createDesk } from './desk.ts';
import { createIntrospectionEndpoint } from './dialects/oauth/introspection-endpoint.ts';
import { createMetadata } from './dialects/oauth/metadata.ts';
import { createRevocationEndpoint } from './dialects/oauth/revocation-endpoint.ts';
import { createTokenEndpoint } from './dialects/oauth/token-endpoint.ts';
import { type ClusterKeys, createClusterKeys } from './identity/cluster-keys.ts';
import { type ClusterTable, createClusterTable } from './identity/cluster-table.ts';
import { type Cluster, hasKeySource } from './identity/clusters.ts';
import type { Identity } from './identity/identity.ts';
import { createLiveness, type Liveness } from './identity/liveness.ts';
import { createValidator, type Validator } from './identity/validate.ts';
import { createVerifier } from './identity/verify.ts';
import { createIdentityLimit } from './identity-limit.ts';
import type { OwnApiServer } from './kube/own-api-server.ts';
import { createOwnCluster } from './kube/own-cluster.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import type { Networks } from './peer.ts';
import type { Receivers } from './receivers.ts';
import { type NamespaceLabels, NO_NAMESPACES } from './roles/namespaces.ts';
import { createRegistry, type RoleRegistry } from './roles/registry.ts';
import { resolveRole } from './roles/resolve.ts';
import type { RoleLimits } from './roles/schema.ts';
import type { RoleSource } from './roles/source.ts';
import { createApiSource } from './roles/sources/api.ts';
import { createFileSource } from './roles/sources/file.ts';
import { createAdminApp, createApp } from './server.ts';
import { LONGEST_TOKEN_SECONDS } from './settings.ts';
import { createSources } from './sources.ts';
import { startStore } from './store/lifecycle.ts';
import { createMirror, type Mirror } from './store/mirror.ts';
import type { Store } from './store/store.ts';
import { createTokenServices } from './token-services.ts';
import type { KeyAdmin } from './tokens/key-admin.ts';
import type { KeySource } from './tokens/keys.ts';
import { hashToken, type RandomBytes } from './tokens/opaque.ts';
import type { StoredKeys } from './tokens/stored-keys.ts';
import { toRoleTag } from './tokens/token-id.ts';
import { traceValidate } from './tracing.ts';

const DEFAULT_STORE_AWAY_SECONDS = 300;
const DEFAULT_TOKENS_PER_IDENTITY = 64;
const DEFAULT_LIVE_REPORT_ALARM_SECONDS = 600;
/** The dead are remembered at least so long; the sets of the living, which come every few minutes, know the rest. */
const DEAD_FOR_SECONDS = 86_400;

export interface BrokerOptions {
  /** `iss` of our tokens, base of all metadata; no trailing slash. */
  readonly issuer: string;
  /** What `issuer` was before: tokens of ours from then are accepted, and are no subjects either. */
  readonly formerIssuers?: readonly string[];
  /** The operator's table at the start; {@link Broker.replaceClusters} takes another one. */
  readonly clusters: readonly Cluster[];
  /** Whether clusters of the API may have their keys at private addresses, and over http on loopback. */
  readonly allowsPrivateClusterAddresses?: boolean;
  /** Folder of role files, or one file. */
  readonly rolesPath: string;
  readonly roleLimits?: RoleLimits;
  /** Whence TokenRoles, labels of namespaces and what RBAC says of ServiceAccounts come; absent: from nowhere. */
  readonly ownApiServer?: OwnApiServer;
  /** Besides files, TokenRoles and, with a store, the API; started and stopped here. */
  readonly roleSources?: readonly RoleSource[];
  /** Labels of the own cluster's namespaces, instead of what `ownApiServer` has. Neither: no namespaceSelector ever fits. */
  readonly namespaces?: NamespaceLabels;
  readonly keys: KeySource;
  /** The same keys where the store keeps them: they are loaded once it has started. */
  readonly storedKeys?: StoredKeys;
  /** Absent: there is nothing to see or do about the keys but to use them. */
  readonly keyAdmin?: KeyAdmin;
  /** Absent: nothing is kept. It is started and closed here. */
  readonly store?: Store;
  /** So long the mirror is believed while the store does not answer. */
  readonly storeAwaySeconds?: number;
  /** Ends a start that waits for the store. */
  readonly startSignal?: AbortSignal;
  readonly maxTokenTtlSeconds: number;
  /** Opaque tokens of one pod (or other identity) that live at once; one more ends the oldest. */
  readonly maxTokensPerIdentity?: number;
  /** Who may introspect what; absent, or undefined: nobody anything. */
  readonly findReceivers?: () => Receivers | undefined;
  readonly findCaBundle?: () => CaBundle | undefined;
  readonly findCertificateNotAfter?: () => number | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly auditStream: AuditStream;
  /** Bound on audit records made and not yet written; beyond it nothing is issued. */
  readonly maxPendingAuditBytes?: number;
  /** Correlation ids and `jti`: unguessable, never twice. */
  readonly newId: () => string;
  /** For opaque tokens; the system's generator unless a test gives its own. */
  readonly randomBytes?: RandomBytes;
  /** What the API server of the own cluster says of ServiceAccounts at the admin API; absent: they have no power there. */
  readonly accessReviews?: Pick<AccessReviews, 'can'>;
  /** Only with a store. */
  readonly bootstrap?: BootstrapOptions;
  readonly maxStaticTokenTtlSeconds?: number;
  /** A cluster that reported who lives, and does not for so long, is an alarm. */
  readonly liveReportAlarmSeconds?: number;
  /** The admin API is not among what `handler` answers, but has one of its own. */
  readonly isAdminApart?: boolean;
  /** Requests that prove nothing, of one address and second; the rest takes its turn behind everybody else's. */
  readonly sourceRefusalsPerSecond?: number;
  /** Tokens that one identity may ask for in a second. */
  readonly identityRequestsPerSecond?: number;
  /** Whose X-Forwarded-For is believed; absent: nobody's. */
  readonly trustedProxies?: Networks | undefined;
  readonly random?: Random;
  /** Absent: no traces. Calls of the store are traced by whoever made it. */
  readonly tracing?: Tracing;
  /** Metrics of the process itself too; once per process. */
  readonly withProcessMetrics?: boolean;
}

export interface Broker {
  /** Answers every request of the token endpoint, the metadata, and whatever else comes. */
  readonly handler: RequestListener;
  /** Answers the admin API and nothing else. */
  readonly adminHandler: RequestListener;
  readonly metrics: Metrics;
  readonly audit: AuditSink;
  readonly roles: RoleRegistry;
  /** Present with a store. */
  readonly mirror?: Mirror;
  /** Reads the roles and fetches the clusters' keys; resolves when each was tried once. */
  start(): Promise<void>;
  /** The operator's table was read again. @throws Error, and nothing changes, where it cannot be taken without a restart */
  replaceClusters(clusters: readonly Cluster[]): void;
  /** A pod or ServiceAccount of a cluster is gone: what its API server said before counts no more. */
  readonly evict: Validator['evict'];
  /** Who died, and who lives, as the admin API takes it from a cluster's controller. */
  readonly deaths: Pick<DeathReports, 'reportDead' | 'reportLive'>;
  /** What keeps it from being ready, a sentence each. */
  findObstacles(): readonly string[];
  /** Ends what goes on in the background and writes out the audit trail. Requests must have ended before. */
  stop(): Promise<void>;
}

/** Builds a broker; nothing is read or fetched before `start`. */
export function createBroker(options: BrokerOptions): Broker {
  const { issuer, clock, log, keys: signingKeys, newId } = options;
  const issuers = [issuer, ...(options.formerIssuers ?? [])];
  const newBytes = options.randomBytes ?? randomBytes;
  const metrics = createMetrics({ withProcess: options.withProcessMetrics ?? false });
  const sink = createAuditSink(options.auditStream, options.maxPendingAuditBytes);
  const kept = options.store && keepStore(options.store, { options, metrics });
  const decisions =
    options.store &&
    createDecisionWriter({
      store: options.store.decisions,
      clock,
      log,
      onDropped: metrics.countDroppedDecisions,
    });
  const audit = decisions ? withDecisions(sink, decisions) : sink;
  const { table, clusterKeys, clusterRegistry, trust } = createClusters(options, {
    issuers,
    metrics,
  });
  const { roles, limits, roleContext, kube } = createRoles(options, table, kept?.mirror);
  const { ownCluster } = roleContext;
  const keepDeadSeconds = Math.max(options.maxTokenTtlSeconds, DEAD_FOR_SECONDS);
  const liveness = createLiveness({ clock, keepSeconds: keepDeadSeconds });
  const { findDeath } = liveness;
  const reviewTimes = createReviewTimes(clock);
  const verifier = createVerifier({ keys: clusterKeys, ownIssuers: issuers, clock });
  const validator = createValidator({
    clusters: table.current(),
    verifier,
    ownIssuers: issuers,
    findDeath,
    clock,
    log,
    onEvent: (event) => {
      metrics.countReviewEvent(event);
      reviewTimes.note(event);
    },
  });
  table.onChange(() => {
    // In one go: no request sees the table half changed.
    clusterKeys.update(table.current());
    verifier.update();
    validator.update(table.current());
    trust.update();
    clusterRegistry.applyKeys();
  });
  const { tracing = NO_TRACING } = options;
  const validate = traceValidate(validator.validate, tracing);
  const authorizing: AuthorizeDeps = {
    validate,
    resolve: (query) => resolveRole(roles.current(), query, roleContext),
    clock,
    maxTtlSeconds: options.maxTokenTtlSeconds,
    ...(kept && { findDenial: kept.mirror.findDenial }),
    findDeath,
  };
  const deaths = createDeathReports({
    liveness,
    store: options.store,
    evict: validator.evict,
    findClusters: () => namesOf(table.current(), 'kubernetes'),
    keepSeconds: keepDeadSeconds,
    alarmSeconds: options.liveReportAlarmSeconds ?? DEFAULT_LIVE_REPORT_ALARM_SECONDS,
    metrics,
    clock,
    log,
  });
  const { spend, sources } = createLimits(options, metrics);
  const authorize = createAuthorize({ ...authorizing, spend });
  const services = createTokenServices({
    keys: signingKeys,
    issuers,
    validate,
    store: options.store,
    mirror: kept?.mirror,
    findDeath,
    isTrusted: trust.isTrusted,
    longestSeconds: Math.max(options.maxTokenTtlSeconds, LONGEST_TOKEN_SECONDS),
    metrics,
    clock,
    newId,
    randomBytes: newBytes,
    isLookedUp: toLookedUp(options.bootstrap),
  });
  const desk = createDesk({
    authorize,
    keys: signingKeys,
    issuer,
    audit,
    metrics,
    log,
    clock,
    newTokenId: newId,
    randomBytes: newBytes,
    maxTokensPerIdentity: options.maxTokensPerIdentity ?? DEFAULT_TOKENS_PER_IDENTITY,
    step: tracing.step,
    ...(options.store && { store: options.store }),
  });
  const admin = createAdmin({
    services,
    desk,
    authorizing,
    roles,
    roleLimits: limits,
    clusterRegistry,
    clusterKeys,
    ownCluster,
    findReceivers: options.findReceivers,
    access: options.accessReviews ?? kube?.access,
    store: options.store,
    mirror: kept?.mirror,
    keyAdmin: findKeyAdmin(options),
    bootstrap: options.bootstrap,
    maxStaticTokenTtlSeconds: options.maxStaticTokenTtlSeconds,
    audit,
    metrics,
    log,
    clock,
    randomBytes: newBytes,
    findLastReviewAt: reviewTimes.find,
    deaths,
    liveness,
  });
  const handler = createApp({
    admin: chooseHandler(admin, options),
    tokenEndpoint: createTokenEndpoint({
      desk,
      checkClient: services.checkClient,
      findCaBundle: options.findCaBundle ?? (() => undefined),
    }),
    introspectionEndpoint: createIntrospectionEndpoint({
      ...services,
      findReceivers: options.findReceivers ?? (() => undefined),
      metrics,
      log,
    }),
    revocationEndpoint: createRevocationEndpoint({ ...services, desk }),
    findMetadata: createMetadata(issuer, signingKeys, { hasStore: options.store !== undefined }),
    metrics,
    log,
    clock,
    tracing,
    newCorrelationId: newId,
    sources,
  });
  metrics.watch({
    roles: () => roles.current().all.length,
    roleProblems: () => roles.problems().length + (kube?.problems().length ?? 0),
    rightsMissing: () => kube?.missingRights().length,
    signingKeys: () =>
      options.storedKeys?.countPublished() ?? signingKeys.current().published.length,
    unreadableSigningKeys: () => options.storedKeys?.countUnreadable(),
    auditPendingBytes: audit.pendingBytes,
    delayedRequests: sources.waiting,
    decisionsPending: () => decisions?.pending(),
    certificateNotAfter: options.findCertificateNotAfter ?? (() => undefined),
    clusterKeysLoadedAt: () => toLoadedAt(clusterKeys),
    clusters: () => table.current().length,
    clusterProblems: () => table.reports().filter(({ state }) => state !== 'Ready').length,
    liveReports: () => findLiveReports(table, { clock, liveness }),
  });
  return {
    handler,
    adminHandler: createAdminApp(admin.handler, {
      metrics,
      log,
      clock,
      tracing,
      newCorrelationId: newId,
      sources,
    }),
    metrics,
    audit,
    roles,
    ...(kept && { mirror: kept.mirror }),
    start: async () => {
      await kept?.start();
      await options.storedKeys?.start();
      await clusterRegistry.start();
      await deaths.start();
      await admin.start();
      await Promise.all([roles.start(), clusterKeys.start()]);
      await kube?.start(roles);
    },
    replaceClusters: table.replaceFile,
    evict: validator.evict,
    deaths,
    findObstacles: () => [
      ...(kept?.mirror.findObstacles() ?? []),
      ...roles.findObstacles(),
      // Such a process gives out nothing; another replica may.
      ...(audit.isKeepingUp() ? [] : ['the audit trail is not being written']),
      // Without keys there is nothing to load: the API server is asked about each token.
      ...(table.current().every(hasKeySource) ? findKeyObstacles(clusterKeys) : []),
    ],
    stop: async () => {
      await Promise.all([roles.stop(), clusterKeys.stop(), clusterRegistry.stop()]);
      await kube?.stop();
      await deaths.stop();
      validator.close();
      await audit.flush();
      await decisions?.stop();
      await options.storedKeys?.stop();
      await kept?.stop();
    },
  };
}

/** Who may ask how often; nobody is held to anything that was not set. */
function createLimits(options: BrokerOptions, metrics: Metrics) {
  const { clock, log, random = systemRandom } = options;
  return {
    spend: createIdentityLimit({
      perSecond: options.identityRequestsPerSecond ?? 0,
      clock,
      onRefused: metrics.countLimitedIdentity,
    }),
    sources: createSources({
      refusalsPerSecond: options.sourceRefusalsPerSecond ?? 0,
      proxies: options.trustedProxies,
      clock,
      random,
      log,
      metrics: metrics.sources,
    }),
  };
}

/** Roles of every source this broker has, and what their rules are held against. */
function createRoles(options: BrokerOptions, table: ClusterTable, mirror: Mirror | undefined) {
  const { clock, log, ownApiServer } = options;
  const ownCluster = table.current().find(({ own }) => own)?.name ?? '';
  // Opaque tokens are kept in the store, if anywhere.
  const limits: RoleLimits = { allowOpaque: mirror !== undefined, ...options.roleLimits };
  const kube = ownApiServer && createOwnCluster({ ...ownApiServer, limits, clock, log });
  const namespaces = options.namespaces ?? kube?.namespaces ?? NO_NAMESPACES;
  const roles = createRegistry({
    sources: [
      createFileSource({ path: options.rolesPath, limits, clock, log }),
      ...(kube?.source ? [kube.source] : []),
      ...(options.roleSources ?? []),
      ...(mirror ? [createApiSource({ stored: mirror, limits, log })] : []),
    ],
    ownCluster,
    // As they are when the roles are looked at.
    get clusters() {
      return namesOf(table.current(), 'kubernetes');
    },
    get issuers() {
      return namesOf(table.current(), 'oidc');
    },
    log,
  });
  if (kube) roles.onChange(kube.refresh);
  return { roles, limits, roleContext: { ownCluster, namespaces }, kube };
}

function namesOf(clusters: readonly Cluster[], kind: Cluster['kind']): readonly string[] {
  return clusters.filter((cluster) => cluster.kind === kind).map(({ name }) => name);
}

/** Whom the broker believes, as it changes; whoever is wired to it is told by the table. */
function createClusters(
  options: BrokerOptions,
  { issuers, metrics }: { issuers: readonly string[]; metrics: Metrics },
) {
  const {
    clusters,
    allowsPrivateClusterAddresses: allowsPrivate = false,
    store,
    clock,
    log,
  } = options;
  const table = createClusterTable({ clusters, ownIssuers: issuers });
  const onEvent = metrics.countKeysEvent;
  const clusterKeys = createClusterKeys({ clusters: table.current(), clock, log, onEvent });
  const rules = { allowsPrivate };
  const clusterRegistry = createClusterRegistry({ table, clusterKeys, store, rules, clock, log });
  return { table, clusterKeys, clusterRegistry, trust: createTrust(table) };
}

/** Whose tokens of ours count: an entry that is gone from the table vouches for nobody any more. */
function createTrust(table: ClusterTable) {
  const read = (): ReadonlySet<string> =>
    new Set(table.current().map(({ kind, name }) => `${kind} ${name}`));
  let trusted = read();
  return {
    update: () => {
      trusted = read();
    },
    isTrusted: (who: Identity): boolean => {
      if (who.kind === 'workload') return trusted.has(`kubernetes ${who.cluster}`);
      return who.kind !== 'oidc' || trusted.has(`oidc ${who.issuer}`);
    },
  };
}

interface KeptStore {
  readonly mirror: Mirror;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** The first to come and the last to go: everything else may need it. */
function keepStore(
  store: Store,
  { options, metrics }: { options: BrokerOptions; metrics: Metrics },
): KeptStore {
  const { clock, log, startSignal: signal } = options;
  const maxAwaySeconds = options.storeAwaySeconds ?? DEFAULT_STORE_AWAY_SECONDS;
  const mirror = createMirror({ store, toRoleTag, maxAwaySeconds, clock, log });
  metrics.watchStore({ store, mirror, clock });
  return {
    mirror,
    start: () => startStore({ store, mirror, clock, log, signal }),
    stop: async () => {
      await mirror.stop();
      await store.close();
    },
  };
}

/** One cluster that cannot be reached must not take the others' broker out of service. */
function findKeyObstacles(keys: ClusterKeys): readonly string[] {
  const isLoaded = keys.clusters.some((cluster) => cluster.findLoadedAt() !== undefined);
  if (!isLoaded) return ["no cluster's keys were loaded yet"];
  return keys.clusters.some((cluster) => cluster.hasUsableKeys())
    ? []
    : ["every cluster's keys are too old to be used"];
}

function toLoadedAt({ clusters }: ClusterKeys): ReadonlyMap<string, number> {
  const times = clusters.map(({ name, findLoadedAt }) => [name, findLoadedAt()] as const);
  return new Map(
    times.flatMap(([name, at]) => (at === undefined ? [] : [[name, Math.floor(at / 1000)]])),
  );
}

function findLiveReports(
  table: ClusterTable,
  { clock, liveness }: { clock: Clock; liveness: Liveness },
) {
  const now = clock.now();
  return new Map(
    namesOf(table.current(), 'kubernetes').flatMap((name) => {
      const report = liveness.findReport(name);
      return report
        ? [[name, { ...report, ageSeconds: Math.max(0, now - report.receivedAt) / 1000 }] as const]
        : [];
    }),
  );
}

/** A bootstrap token may have another form than ours. */
function toLookedUp(
  bootstrap: BootstrapOptions | undefined,
): ((hash: string) => boolean) | undefined {
  if (!bootstrap) return undefined;
  const bootstrapHash = hashToken(bootstrap.token.reveal());
  return (hash) => hash === bootstrapHash;
}

function chooseHandler(
  { handler }: Admin,
  { isAdminApart = false }: BrokerOptions,
): RequestHandler | undefined {
  return isAdminApart ? undefined : handler;
}

function findKeyAdmin({ keyAdmin, storedKeys }: BrokerOptions): KeyAdmin | undefined {
  return keyAdmin ?? storedKeys?.admin;
}
