// ServiceAccount tokens by the API server's own TokenRequest: what the kubelet does for a projected volume.
import { noteToken } from '../../support/tokens.ts';
import type { Cluster } from './cluster.ts';

export interface TokenWish {
  namespace: string;
  serviceAccount: string;
  /** None: the API server's own. */
  audiences?: readonly string[];
  /** At least 600; the API server's own bound. */
  expirationSeconds?: number;
  pod?: { name: string; uid: string };
}

/** @throws Error with the API server's message where it refuses. */
export async function requestToken(cluster: Cluster, wish: TokenWish): Promise<string> {
  const { namespace, serviceAccount, audiences, expirationSeconds = 600, pod } = wish;
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`;
  const { status, body } = await cluster.request('POST', path, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {
      expirationSeconds,
      ...(audiences && { audiences }),
      ...(pod && { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod } }),
    },
  });
  if (status !== 201) throw new Error(`TokenRequest: ${status} ${String(body.message)}`);
  return noteToken((body.status as { token: string }).token);
}
