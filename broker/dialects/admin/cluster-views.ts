// Clusters as the admin API shows them: what the table says of each, how it stands with their keys and their living, and
// what the store adds to those of the API.
import type { ClusterView } from '../../../common/protocol/admin-api.ts';
import type { EntryReport } from '../../identity/cluster-table.ts';
import type { Cluster } from '../../identity/clusters.ts';
import type { AdminDeps } from './deps.ts';
import { toDefined, toTime } from './views.ts';

/** The one that counts, where the file and the API have the name. */
export function findEntry(name: string, { clusterRegistry }: AdminDeps): EntryReport | undefined {
  const found = clusterRegistry.table.reports().filter((one) => one.name === name);
  return found.find(({ state }) => state === 'Ready') ?? found[0];
}

export function toClusterView(report: EntryReport, deps: AdminDeps): ClusterView {
  const { name, source, state, message, cluster } = report;
  const row = source === 'api' ? deps.clusterRegistry.findStored(name) : undefined;
  return toDefined({
    name,
    kind: cluster?.kind ?? 'unknown',
    own: cluster?.own ?? false,
    source,
    state,
    message,
    issuers: [],
    ...(cluster && describe(cluster)),
    ...(cluster && state === 'Ready' ? describeState(cluster, deps) : { problems: [] }),
    version: row?.version,
    updatedAt: row && toTime(row.updatedAt),
    updatedBy: row?.updatedBy,
  }) as ClusterView;
}

function describe(cluster: Cluster): object {
  const { issuers, validation, keys, maxStalenessSeconds } = cluster;
  const controller = cluster.kind === 'kubernetes' ? cluster.controller : undefined;
  return {
    issuer: issuers[0],
    issuers,
    validation,
    keysFrom: keys?.from,
    maxStalenessSeconds: keys && maxStalenessSeconds,
    controller: controller && `${controller.namespace}/${controller.serviceAccount}`,
  };
}

function describeState({ name, keys }: Cluster, deps: AdminDeps): object {
  const { clock, clusterRegistry } = deps;
  const state = deps.findClusterState(name);
  const { keysLoadedAt, lastReviewAt } = state;
  const push = keys?.from === 'pushed' ? clusterRegistry.findPush(name) : undefined;
  const live = deps.findLiveReport(name);
  return {
    keys: state.keys,
    keysLoadedAt: toMoment(keysLoadedAt),
    keysAgeSeconds:
      keysLoadedAt === undefined ? undefined : Math.floor((clock.now() - keysLoadedAt) / 1000),
    lastPushAt: push && toTime(push.pushedAt),
    pushedBy: push?.pushedBy,
    lastReviewAt: toMoment(lastReviewAt),
    live: live && {
      ...live,
      takenAt: toMoment(live.takenAt),
      receivedAt: toMoment(live.receivedAt),
    },
    problems: state.problems,
  };
}

function toMoment(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
