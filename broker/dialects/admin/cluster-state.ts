// How it stands with a cluster: its keys, its last review, and what is wrong.
import type { ClusterKeys } from '../../identity/cluster-keys.ts';
import { type Cluster, hasKeySource } from '../../identity/clusters.ts';
import type { ClusterState } from './deps.ts';

export interface StateSources {
  readonly clusters: readonly Cluster[];
  readonly clusterKeys: ClusterKeys;
  readonly findLastReviewAt: (cluster: string) => number | undefined;
}

export function findClusterState(
  name: string,
  { clusters, clusterKeys, findLastReviewAt }: StateSources,
): ClusterState {
  const cluster = clusters.find((one) => one.name === name);
  const lastReviewAt = findLastReviewAt(name);
  const review = lastReviewAt === undefined ? {} : { lastReviewAt };
  if (!cluster || !hasKeySource(cluster)) return { ...review, problems: [] };
  const withKeys = clusterKeys.clusters.find((one) => one.name === name);
  const keysLoadedAt = withKeys?.findLoadedAt();
  const isUsable = withKeys?.hasUsableKeys() ?? false;
  return {
    ...review,
    keys: (withKeys?.usableKeys() ?? []).map(({ kid, algorithms }) => ({
      ...(kid !== undefined && { kid }),
      algorithms,
    })),
    ...(keysLoadedAt !== undefined && { keysLoadedAt }),
    problems: isUsable ? [] : [toProblem(keysLoadedAt)],
  };
}

function toProblem(loadedAt: number | undefined): string {
  return loadedAt === undefined
    ? 'its keys were not loaded yet: tokens of it cannot be checked'
    : 'its keys are too old to be used: tokens of it cannot be checked';
}
