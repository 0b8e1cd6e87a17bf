// `/api/v1/clusters`: whom the broker believes, and how it stands with their keys. Those of the API are written here
// (put-cluster.ts) and deleted; the operator's own stand in a file.
import { z } from 'zod';
import { BrokerError } from '../../errors.ts';
import type { EntryReport } from '../../identity/cluster-table.ts';
import { findEntry, toClusterView } from './cluster-views.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { checkClusterName, putCluster } from './put-cluster.ts';
import { defineRoute } from './route.ts';
import { clusterDeleted, clusterView, flag, listOf, paging } from './schemas.ts';
import { toTime } from './views.ts';

const PATH = '/api/v1/clusters';
const byName = z.strictObject({ name: z.string().max(63) });

const list = defineRoute({
  method: 'GET',
  path: PATH,
  operation: 'listClusters',
  summary: 'The table of clusters and issuers, with the state of their keys',
  needs: { resource: 'clusters', verb: 'list' },
  audited: false,
  needsStore: false,
  query: z.strictObject(paging),
  answers: {
    200: {
      description: 'Those of the file in its order, then those of the API by name',
      schema: listOf(clusterView),
    },
  },
  run: async ({ query: { limit, after } }, deps) => {
    const all = deps.clusterRegistry.table.reports();
    const from = all.findIndex((report) => toKey(report) === after) + 1;
    const page = all.slice(from, from + limit);
    const last = page.at(-1);
    const hasMore = from + limit < all.length;
    const items = page.map((report) => toClusterView(report, deps));
    return { body: { items, ...(hasMore && last && { next: toKey(last) }) } };
  },
});

const get = defineRoute({
  method: 'GET',
  path: `${PATH}/{name}`,
  operation: 'getCluster',
  summary: 'One cluster or issuer; where the file and the API have the name, the one that counts',
  needs: { resource: 'clusters', verb: 'get' },
  audited: false,
  needsStore: false,
  params: byName,
  answers: { 200: { description: 'The cluster', schema: clusterView } },
  refusals: ['not_found'],
  run: async ({ params: { name } }, deps) => {
    const report = findEntry(name, deps);
    if (!report) throw new BrokerError('not_found');
    const view = toClusterView(report, deps);
    const row = report.source === 'api' ? deps.clusterRegistry.findStored(name) : undefined;
    return { body: row ? { ...view, document: row.document } : view };
  },
});

const remove = defineRoute({
  method: 'DELETE',
  path: `${PATH}/{name}`,
  operation: 'deleteCluster',
  summary: 'Deletes a cluster of the API: nothing of it is believed from then on',
  description:
    'Its tokens are refused, and so are client tokens of ours that were given for them, wherever the broker is asked; a JWT that a receiver verifies itself holds until it ends. Where an entry of the name comes back, what of these has not ended counts again: `revoke` ends them for good.',
  needs: { resource: 'clusters', verb: 'delete' },
  audited: true,
  needsStore: true,
  params: byName,
  query: z.strictObject({
    revoke: flag.optional().meta({
      description:
        'Its live client tokens too; needs the right to delete tokens. Of Kubernetes clusters alone',
    }),
  }),
  answers: { 200: { description: 'What was done', schema: clusterDeleted } },
  refusals: ['conflict', 'not_found'],
  run: async ({ params: { name }, query, caller }, deps) => {
    const isRevoking = query.revoke === true;
    if (isRevoking && !(await deps.capabilities.can(caller, 'delete', 'tokens')))
      throw new BrokerError('bearer_forbidden', 'may not delete tokens');
    if (isRevoking) checkRevocable(name, deps);
    if (!(await deps.clusterRegistry.remove(name))) {
      checkClusterName(name, deps);
      throw new BrokerError('not_found');
    }
    // First its end, then that of its tokens: none is made in between.
    if (!isRevoking) return { body: { name } };
    const { tokens: revoked, denial } = await deps.revoker.revokeWhere(
      { cluster: name },
      caller.subject,
    );
    const deniedBefore = denial?.issuedBefore;
    return {
      body: {
        name,
        revoked,
        ...(deniedBefore !== undefined && { deniedBefore: toTime(deniedBefore) }),
      },
      facts: { revoked },
    };
  },
});

export const clusterRoutes = [list, get, putCluster, remove];

/** Tokens are found by their cluster; those of an OIDC issuer have none. An entry of the file has its name still. */
function checkRevocable(name: string, deps: AdminDeps): void {
  const reports = deps.clusterRegistry.table.reports().filter((one) => one.name === name);
  checkClusterName(name, deps);
  if (reports.every(({ cluster }) => cluster?.kind !== 'oidc')) return;
  throw new RequestRefused('document_invalid', [
    { path: 'revoke', problem: 'goes with Kubernetes clusters alone, not with an OIDC issuer' },
  ]);
}

function toKey({ source, name }: EntryReport): string {
  return `${source}:${name}`;
}
