// `PUT /api/v1/clusters/{name}`: whoever has a cluster's keys can be everybody in it, so an entry hands on every role that
// fits its name, and must lie within what the caller has itself.
import { z } from 'zod';
import type { ClusterApplied } from '../../../common/protocol/admin-api.ts';
import { BrokerError } from '../../errors.ts';
import type { Cluster } from '../../identity/clusters.ts';
import { findRolesOf } from '../../roles/of-cluster.ts';
import { type StoredCluster, StoreError } from '../../store/store.ts';
import { findBeyond } from '../../within.ts';
import { toRefusal } from './cluster-keys.ts';
import { toClusterView } from './cluster-views.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { findExpected, isSameJson } from './replacing.ts';
import { type AdminAnswer, type Call, defineRoute } from './route.ts';
import { clusterApplied, clusterDocument, flag, version } from './schemas.ts';

export const putCluster = defineRoute({
  method: 'PUT',
  path: '/api/v1/clusters/{name}',
  operation: 'putCluster',
  summary: 'Registers a cluster or issuer, or replaces it',
  description:
    'The body is an entry of the clusters table (docs/clusters.md) without `name` and `own`; it names no file of the broker, no API server to be asked, and no private address. Keys that are to be fetched are fetched before it is accepted. Whoever registers a cluster can have every token that roles grant to its name: each of these roles must lie within what the caller has itself, who must be allowed to write roles; so must be who registers a name that receivers have. `version`, or `If-Match: "<version>"`, names the version that is replaced; 0: there must be none. Keys that the cluster pushed stay while its first key set is the same.',
  needs: { resource: 'clusters', verb: 'update' },
  audited: true,
  needsStore: true,
  takesIfMatch: true,
  params: z.strictObject({ name: z.string().max(63) }),
  query: z.strictObject({
    version: version.optional(),
    dryRun: flag.optional().meta({ description: 'Checks all and writes nothing' }),
  }),
  body: clusterDocument,
  answers: { 200: { description: 'What was done', schema: clusterApplied } },
  refusals: ['beyond_own', 'conflict', 'key_conflict', 'version_mismatch'],
  run: async (call, deps) => {
    try {
      return await applyCluster(call, deps);
    } catch (error) {
      throw toRefusal(error);
    }
  },
});

interface PutQuery {
  readonly version?: number | undefined;
  readonly dryRun?: boolean | undefined;
}
type Put = Call<{ name: string }, PutQuery, object>;

/** Every check comes before the write; a dry run is all of them. */
async function applyCluster(call: Put, deps: AdminDeps): Promise<AdminAnswer> {
  const { params, query, body } = call;
  const { name } = params;
  const { clusterRegistry } = deps;
  const parsed = clusterRegistry.parse(name, body);
  if (!parsed.ok) throw new RequestRefused('document_invalid', parsed.problems);
  const { cluster } = parsed;
  await checkWithin(cluster, call, deps);
  checkClusterName(name, deps);
  const before = clusterRegistry.findStored(name);
  const expectedVersion = await checkBefore(before, call, deps);
  const conflict = clusterRegistry.table.findConflict(cluster);
  if (conflict) throw new RequestRefused('conflict', [conflict]);
  const document = toDocument(body, cluster);
  // Too old to prove anything: whoever registers it says anew what its keys are.
  const startsAnew = cluster.keys?.from === 'pushed' && clusterRegistry.isStale(name);
  const result = startsAnew && before ? 'changed' : toResult(before, document);
  if (result !== 'unchanged') await clusterRegistry.checkKeys(cluster);
  const dryRun = query.dryRun === true;
  const written =
    dryRun || result === 'unchanged'
      ? before
      : await write({ call, document, cluster, expectedVersion }, deps);
  const applied: ClusterApplied = {
    result,
    dryRun,
    cluster: {
      ...toClusterView({ name, source: 'api', state: 'Ready', cluster }, deps),
      document,
    },
  };
  return { body: applied, facts: { result, dryRun, ...(written && { version: written.version }) } };
}

function toResult(before: StoredCluster | undefined, document: object): ClusterApplied['result'] {
  if (!before) return 'created';
  return isSameJson(before.document, document) ? 'unchanged' : 'changed';
}

/** As it was sent, but for its key set: of that the public members alone are kept. */
function toDocument(body: object, { keys }: Cluster): object {
  if (keys?.from !== 'pushed') return body;
  return { ...body, keys: { pushed: { jwks: JSON.parse(keys.first) as object } } };
}

/** The file goes before the API: its entries cannot be replaced here. */
export function checkClusterName(name: string, { clusterRegistry }: AdminDeps): void {
  const reports = clusterRegistry.table.reports();
  if (!reports.some((one) => one.name === name && one.source === 'file')) return;
  throw new RequestRefused('conflict', [
    { path: 'name', problem: 'is that of an entry in the clusters file, which is changed there' },
  ]);
}

/** The version that the write must find: that of the request, or none where the caller means to create. */
async function checkBefore(
  before: StoredCluster | undefined,
  call: Put,
  deps: AdminDeps,
): Promise<number | undefined> {
  if (!before && !(await deps.capabilities.can(call.caller, 'create', 'clusters')))
    throw new BrokerError('bearer_forbidden', 'may not create clusters');
  const expected = findExpected(call);
  if (expected !== undefined && expected !== (before?.version ?? 0))
    throw new BrokerError('version_mismatch');
  return expected ?? (before ? undefined : 0);
}

/** The roles are not named: who may register clusters may not therefore see them. */
async function checkWithin(cluster: Cluster, { caller }: Put, deps: AdminDeps): Promise<void> {
  const roles = findRolesOf(cluster, deps.roles.all());
  // Whoever has the keys can also be a receiver, and see what tokens say.
  if (roles.length === 0 && !deps.findReceivers()?.isAbout(cluster)) return;
  if (!(await deps.capabilities.can(caller, 'update', 'roles')))
    throw toBeyond('is one that roles or receivers fit, and the caller may not write roles');
  const paths = { policies: 'name', audience: 'name', scopes: 'name', ttl: 'name' };
  for (const { audience, token } of roles) {
    const { policies, scopes, maxTtlSeconds: ttlSeconds } = token;
    const wanted = { policies, scopes, audience, ttlSeconds };
    const beyond = await findBeyond(caller, { wanted, paths }, deps);
    if (beyond.length > 0)
      throw toBeyond('is one that a role fits which grants more than the caller has itself');
  }
}

function toBeyond(problem: string): RequestRefused {
  return new RequestRefused('beyond_own', [{ path: 'name', problem }]);
}

async function write(
  {
    call: { params, caller },
    document,
    cluster,
    expectedVersion,
  }: {
    call: Put;
    document: object;
    cluster: Cluster;
    expectedVersion: number | undefined;
  },
  deps: AdminDeps,
): Promise<StoredCluster> {
  const row = {
    name: params.name,
    document,
    updatedAt: Math.floor(deps.clock.now() / 1000),
    updatedBy: caller.subject,
  };
  try {
    return await deps.clusterRegistry.put(row, { parsed: cluster, expectedVersion });
  } catch (error) {
    if (error instanceof StoreError && error.kind === 'conflict')
      throw new BrokerError('version_mismatch', error.message, { cause: error });
    throw error;
  }
}
