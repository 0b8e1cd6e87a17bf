// The admin API put together, and the bootstrap token it begins with.
import type { RequestHandler } from 'express';
import type { Clock } from '../common/clock.ts';
import type { AccessReviews } from '../common/kube/access.ts';
import type { Logger } from '../common/log.ts';
import type { Secret } from '../common/secret.ts';
import type { AuditSink } from './audit.ts';
import { type AuthorizeDeps, createAuthorize } from './authorize.ts';
import { takeBootstrapToken } from './bootstrap.ts';
import { createCapabilities } from './capabilities.ts';
import type { ClusterRegistry } from './cluster-registry.ts';
import type { DeathReports } from './death-reports.ts';
import type { Desk } from './desk.ts';
import { findClusterState } from './dialects/admin/cluster-state.ts';
import type { AdminDeps } from './dialects/admin/deps.ts';
import { createAdminRouter } from './dialects/admin/router.ts';
import { ROUTES } from './dialects/admin/routes.ts';
import { type BrokerError, REASONS } from './errors.ts';
import type { ClusterKeys } from './identity/cluster-keys.ts';
import type { VerifiedSubject } from './identity/identity.ts';
import type { Liveness } from './identity/liveness.ts';
import type { ReviewEvent } from './identity/reviewer.ts';
import type { Metrics } from './metrics.ts';
import type { Receivers } from './receivers.ts';
import type { RoleRegistry } from './roles/registry.ts';
import { createRoleParser, type RoleLimits } from './roles/schema.ts';
import { createStaticTokens } from './static-tokens.ts';
import type { Mirror } from './store/mirror.ts';
import type { Store } from './store/store.ts';
import type { TokenServices } from './token-services.ts';
import type { KeyAdmin } from './tokens/key-admin.ts';
import type { RandomBytes } from './tokens/opaque.ts';

export interface BootstrapOptions {
  readonly token: Secret;
  readonly ttlSeconds: number;
}

export interface AdminOptions {
  readonly services: Pick<TokenServices, 'authenticate' | 'revoker'>;
  readonly desk: Pick<Desk, 'renew'>;
  /** Of the one door: explain goes through it too. */
  readonly authorizing: AuthorizeDeps;
  readonly roles: RoleRegistry;
  readonly roleLimits?: RoleLimits | undefined;
  readonly clusterRegistry: ClusterRegistry;
  readonly clusterKeys: ClusterKeys;
  readonly ownCluster: string;
  readonly findReceivers?: (() => Receivers | undefined) | undefined;
  /** What the API server of the own cluster says; absent: ServiceAccounts have no power here. */
  readonly access?: Pick<AccessReviews, 'can'> | undefined;
  /** Both, or neither. */
  readonly store?: Store | undefined;
  readonly mirror?: Mirror | undefined;
  readonly keyAdmin?: KeyAdmin | undefined;
  readonly bootstrap?: BootstrapOptions | undefined;
  /** The operator's ceiling; {@link DEFAULT_STATIC_TTL_SECONDS} unless stated. */
  readonly maxStaticTokenTtlSeconds?: number | undefined;
  readonly audit: AuditSink;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  readonly randomBytes: RandomBytes;
  /** When a TokenReview of the cluster last ended; milliseconds since the epoch. */
  readonly findLastReviewAt: (cluster: string) => number | undefined;
  readonly deaths: DeathReports;
  readonly liveness: Pick<Liveness, 'findReport'>;
}

export const DEFAULT_STATIC_TTL_SECONDS = 90 * 86_400;

export interface Admin {
  /** Answers everything below `/api`, and calls `next` for the rest. */
  readonly handler: RequestHandler;
  /** Takes the bootstrap token into use. The store has started before. @throws StoreError */
  start(): Promise<void>;
}

export function createAdmin(options: AdminOptions): Admin {
  const { store, clock, log, randomBytes, bootstrap } = options;
  return {
    handler: createAdminRouter(ROUTES, toDeps(options)),
    start: async () => {
      if (!store || !bootstrap) return;
      const { token, ttlSeconds } = bootstrap;
      await takeBootstrapToken(token, {
        tokens: store.tokens,
        clock,
        log,
        randomBytes,
        ttlSeconds,
      });
    },
  };
}

function toDeps(options: AdminOptions): AdminDeps {
  const { services, authorizing, store, mirror, clock, randomBytes, ownCluster } = options;
  const { access, keyAdmin, roles, roleLimits = {} } = options;
  const { table } = options.clusterRegistry;
  const maxStaticTokenTtlSeconds = options.maxStaticTokenTtlSeconds ?? DEFAULT_STATIC_TTL_SECONDS;
  const { findDeath: _findDeath, ...supposing } = authorizing;
  return {
    authenticate: ({ headers }) => services.authenticate({ authorization: headers.authorization }),
    capabilities: createCapabilities({ ...(access && { reviews: access }), ownCluster, clock }),
    ...(store && {
      store,
      staticTokens: createStaticTokens({
        tokens: store.tokens,
        clock,
        randomBytes,
        maxTtlSeconds: maxStaticTokenTtlSeconds,
      }),
    }),
    ...(mirror && { mirror }),
    revoker: services.revoker,
    renew: (token, context) =>
      options.desk.renew({ stored: token, tokenId: token.accessor }, context),
    roles: {
      reports: roles.reports,
      findByName: roles.findByName,
      findAmbiguities: roles.findAmbiguities,
      all: () => roles.current().all,
      parse: createRoleParser(roleLimits),
    },
    ...(keyAdmin && { keys: keyAdmin }),
    get clusters() {
      return table.current();
    },
    clusterRegistry: options.clusterRegistry,
    findClusterState: (name) => findClusterState(name, { ...options, clusters: table.current() }),
    deaths: options.deaths,
    findLiveReport: options.liveness.findReport,
    longReports: new Set(),
    ownCluster,
    findReceivers: options.findReceivers ?? (() => undefined),
    authorize: createAuthorize(authorizing),
    authorizeSubject: (subject) =>
      // It has uids that were made up, or are of who was.
      createAuthorize({ ...supposing, validate: () => Promise.resolve(toProof(subject)) }),
    audit: options.audit,
    metrics: options.metrics,
    logRefusal: createRefusalLog(options.log),
    clock,
    randomBytes,
    reservedAudiences: roleLimits.reservedAudiences ?? [],
    maxStaticTokenTtlSeconds,
    maxTokenTtlSeconds: authorizing.maxTtlSeconds,
  };
}

/** When each cluster's API server last answered a review, or did not. */
export function createReviewTimes(clock: Clock): {
  note(event: ReviewEvent): void;
  find(cluster: string): number | undefined;
} {
  const times = new Map<string, number>();
  return {
    note: (event) => {
      if (event.kind === 'ended') times.set(event.cluster, clock.now());
    },
    find: (cluster) => times.get(cluster),
  };
}

/** What was only supposed is confirmed by nobody. */
function toProof(subject: VerifiedSubject) {
  const validation = { mode: 'offline', review: 'not_asked' } as const;
  return { subject, validation, confirm: () => Promise.resolve(validation) };
}

function createRefusalLog(log: Logger): AdminDeps['logRefusal'] {
  return (error: BrokerError, correlationId) => {
    const { reason, detail } = error;
    const { level } = REASONS[reason];
    const fields = { correlationId, dialect: 'admin', reason, detail };
    if (level === 'info') log.info(fields, 'request refused');
    else log[level]({ ...fields, err: error.cause ?? error }, 'request failed');
  };
}
