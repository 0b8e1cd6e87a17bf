// `/api/v1/clusters/{name}/live`: which pods and ServiceAccounts of a cluster live, and which died, from that cluster's
// controller (docs/liveness.md). The audit record has the counts alone.
import { z } from 'zod';
import { BrokerError } from '../../errors.ts';
import { SKEW_SECONDS } from '../../identity/liveness.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { defineRoute } from './route.ts';
import { deadReport, deadReported, liveSet, liveSetTaken, MAX_UIDS } from './schemas.ts';

const PATH = '/api/v1/clusters/{name}/live';
const params = z.strictObject({ name: z.string().max(63) });

/** 200,000 uids of 36 characters; as many pods as the largest clusters have, and their ServiceAccounts. */
export const MAX_LIVE_BYTES = 8 * 1024 * 1024;

const put = defineRoute({
  method: 'PUT',
  path: PATH,
  operation: 'replaceLive',
  summary: 'Takes the complete set of what lives in the cluster',
  description:
    'A token that was issued before `takenAt` and names a uid that is not among these is refused. `takenAt` is the time before the list was asked for. 409 where a later set is known; 429 while another set of the cluster is read, or where it told of too many deaths. Up to 8 MiB.',
  needs: 'controller',
  audited: true,
  needsStore: false,
  maxBodyBytes: MAX_LIVE_BYTES,
  longLists: { names: ['pods', 'serviceAccounts'], maxItems: MAX_UIDS },
  params,
  body: liveSet,
  answers: { 200: { description: 'It holds on this replica from now on', schema: liveSetTaken } },
  refusals: ['not_found', 'conflict', 'store_unavailable'],
  run: async ({ params: { name }, body }, deps) => {
    checkCluster(name, deps);
    const takenAt = toPast(body.takenAt, 'takenAt', deps);
    const died = await deps.deaths.reportLive(name, { ...body, takenAt });
    if (died === undefined)
      throw new RequestRefused('conflict', [
        { path: 'takenAt', problem: 'is older than that of the set that is known' },
      ]);
    const counts = {
      pods: body.pods.length,
      serviceAccounts: body.serviceAccounts.length,
      died,
    };
    return { body: counts, facts: counts };
  },
});

const patch = defineRoute({
  method: 'PATCH',
  path: PATH,
  operation: 'reportDead',
  summary: 'Takes pods and ServiceAccounts that died',
  description:
    'Their tokens are refused on this replica before the answer, on the others by the store. A uid that died stays dead. 429 where a cluster told of more than 250,000 and goes on with more than 50 a second.',
  needs: 'controller',
  audited: true,
  needsStore: false,
  params,
  body: deadReport,
  answers: { 200: { description: 'They hold from now on', schema: deadReported } },
  refusals: ['not_found', 'store_unavailable'],
  run: async ({ params: { name }, body }, deps) => {
    checkCluster(name, deps);
    const dead = body.dead.map(({ kind, uid, at }, index) => ({
      kind,
      uid,
      diedAt: toPast(at, `dead[${index}].at`, deps),
    }));
    const counts = { dead: dead.length, news: await deps.deaths.reportDead(name, dead) };
    return { body: counts, facts: counts };
  },
});

export const liveRoutes = [put, patch];

/** Only clusters of Kubernetes have pods. */
function checkCluster(name: string, { clusters }: AdminDeps): void {
  if (!clusters.some((one) => one.name === name && one.kind === 'kubernetes'))
    throw new BrokerError('not_found', 'no Kubernetes cluster of this name');
}

/** Of a set that is dated ahead, the pods that start meanwhile would be missing. */
function toPast(text: string, path: string, { clock }: AdminDeps): number {
  const time = Date.parse(text);
  if (time <= clock.now() + SKEW_SECONDS * 1000) return time;
  throw new RequestRefused('document_invalid', [
    { path, problem: `is more than ${SKEW_SECONDS} s ahead of the broker's clock` },
  ]);
}
