// `/api/v1/clusters`: whom the broker believes, and how it stands with their keys. Read-only: the table is a file.
import { z } from 'zod';
import { BrokerError } from '../../errors.ts';
import type { Cluster } from '../../identity/clusters.ts';
import type { AdminDeps } from './deps.ts';
import { defineRoute } from './route.ts';
import { clusterView, listOf, paging } from './schemas.ts';
import { toDefined } from './views.ts';

const PATH = '/api/v1/clusters';

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listClusters',
  summary: 'The table of clusters and issuers, with the state of their keys',
  needs: { resource: 'clusters', verb: 'list' },
  audited: false,
  needsStore: false,
  query: z.strictObject(paging),
  answers: { 200: { description: 'In the order of the table', schema: listOf(clusterView) } },
  run: async ({ query: { limit, after } }, deps) => {
    const from = deps.clusters.findIndex(({ name }) => name === after) + 1;
    const items = deps.clusters.slice(from, from + limit);
    const last = items.at(-1);
    const hasMore = from + limit < deps.clusters.length;
    const body = {
      items: items.map((cluster) => toClusterView(cluster, deps)),
      ...(hasMore && last && { next: last.name }),
    };
    return { body };
  },
});

const get = defineRoute({
  method: 'GET',
  path: `${PATH}/{name}`,
  operation: 'getCluster',
  summary: 'One cluster or issuer',
  needs: { resource: 'clusters', verb: 'get' },
  audited: false,
  needsStore: false,
  params: z.strictObject({ name: z.string().max(63) }),
  answers: { 200: { description: 'The cluster', schema: clusterView } },
  refusals: ['not_found'],
  run: async ({ params }, deps) => {
    const cluster = deps.clusters.find(({ name }) => name === params.name);
    if (!cluster) throw new BrokerError('not_found');
    return { body: toClusterView(cluster, deps) };
  },
});

export const clusterRoutes = [list, get];

function toClusterView(
  cluster: Cluster,
  { findClusterState, findLiveReport, clock }: AdminDeps,
): object {
  const { name, kind, own, issuers, validation, keys } = cluster;
  const state = findClusterState(name);
  const { keysLoadedAt, lastReviewAt } = state;
  const live = findLiveReport(name);
  return toDefined({
    name,
    kind,
    own,
    issuer: issuers[0],
    issuers,
    validation,
    keysFrom: keys?.from,
    keys: state.keys,
    keysLoadedAt: toTime(keysLoadedAt),
    keysAgeSeconds:
      keysLoadedAt === undefined ? undefined : Math.floor((clock.now() - keysLoadedAt) / 1000),
    lastReviewAt: toTime(lastReviewAt),
    live: live && {
      ...live,
      takenAt: toTime(live.takenAt),
      receivedAt: toTime(live.receivedAt),
    },
    problems: state.problems,
  });
}

function toTime(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}
