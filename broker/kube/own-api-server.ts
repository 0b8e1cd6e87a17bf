// Where the API server of the broker's own cluster is, and whether there is one to ask at all.
import { existsSync } from 'node:fs';
import { IN_CLUSTER_API_SERVER } from '../identity/cluster-review.ts';
import type { Cluster } from '../identity/clusters.ts';
import type { BrokerSettings } from '../settings.ts';
import type { OwnClusterOptions } from './own-cluster.ts';

/** What the settings say about the own API server. */
export type OwnApiServer = Pick<
  OwnClusterOptions,
  'apiServer' | 'tokenRoles' | 'namespaceLabels' | 'needsTokenReviews' | 'random'
>;

/**
 * The API server of the settings, else the one that reviews tokens of the own cluster, else the one every pod finds.
 * Undefined where nothing asks for one and this process runs in no pod.
 */
export function findOwnApiServer(
  settings: Pick<
    BrokerSettings,
    'tokenRoles' | 'namespaceLabels' | 'apiServerUrl' | 'apiServerCaFile' | 'apiServerTokenFile'
  >,
  clusters: readonly Cluster[],
): Omit<OwnApiServer, 'random'> | undefined {
  const { apiServerUrl, apiServerCaFile, apiServerTokenFile, tokenRoles, namespaceLabels } =
    settings;
  const review = clusters.find(({ own }) => own)?.review;
  const usual = review ?? IN_CLUSTER_API_SERVER;
  const apiServer = {
    url: apiServerUrl ?? usual.url,
    caFile: apiServerCaFile ?? usual.caFile,
    tokenFile: apiServerTokenFile ?? usual.tokenFile,
  };
  const isAsked =
    tokenRoles ||
    review !== undefined ||
    apiServerUrl !== undefined ||
    apiServerTokenFile !== undefined ||
    existsSync(apiServer.tokenFile);
  if (!isAsked) return undefined;
  const needsTokenReviews = review !== undefined && review.url === apiServer.url;
  return { apiServer, tokenRoles, namespaceLabels, needsTokenReviews };
}
