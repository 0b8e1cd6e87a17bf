// `/api/v1/clusters/{name}/keys`: the public keys of a cluster that the broker cannot reach, from that cluster's controller
// (docs/clusters.md). It shows a token under a key that is known already, and can replace the keys of its own cluster alone.
import { z } from 'zod';
import { REFUSALS, RegistrationRefused } from '../../cluster-registry.ts';
import { BrokerError } from '../../errors.ts';
import { MAX_PUSHED_KEYS, parseKeySet } from '../../identity/key-set.ts';
import type { AdminDeps } from './deps.ts';
import { RequestRefused } from './errors.ts';
import { type AdminAnswer, type Call, defineRoute } from './route.ts';
import { keysPushed, pushedKeys } from './schemas.ts';

/** {@link MAX_PUSHED_KEYS} RSA keys of 8192 bits, and as much again. */
const MAX_KEYS_BYTES = 64 * 1024;

const put = defineRoute({
  method: 'PUT',
  path: '/api/v1/clusters/{name}/keys',
  operation: 'pushClusterKeys',
  summary: "Takes a cluster's public keys, instead of those before",
  description: `For entries whose keys are \`pushed\`. The body is a JWKS of 1 to ${MAX_PUSHED_KEYS} public keys, each for an algorithm of the entry; nothing else may be in it. The bearer is a token that verifies under a key that is known already. Keys that are left out count no more when this is answered: on this replica, and on the others where there is a store. The same set again says that it is still right, and is worth sending every few minutes. 409 \`key_conflict\`: a key is another cluster's; 409 \`conflict\`: the keys come from elsewhere, or changed while the request was under way.`,
  needs: 'controller',
  audited: true,
  needsStore: false,
  maxBodyBytes: MAX_KEYS_BYTES,
  params: z.strictObject({ name: z.string().max(63) }),
  body: pushedKeys,
  answers: { 200: { description: 'They hold from now on', schema: keysPushed } },
  refusals: ['not_found', 'conflict', 'key_conflict', 'store_unavailable'],
  run: async (call, deps) => {
    const { name } = call.params;
    try {
      return await push(call, deps);
    } catch (error) {
      if (deps.clusters.some((one) => one.name === name))
        deps.metrics.countKeyPush(name, 'refused');
      throw toRefusal(error);
    }
  },
});

export const clusterKeyRoutes = [put];

type Push = Call<{ name: string }, unknown, object>;

async function push(
  { params: { name }, body, caller, keysGeneration }: Push,
  deps: AdminDeps,
): Promise<AdminAnswer> {
  const cluster = deps.clusters.find((one) => one.name === name);
  if (cluster?.kind !== 'kubernetes')
    throw new BrokerError('not_found', 'no Kubernetes cluster of this name');
  const set = parseKeySet(body, cluster.algorithms);
  if (!set.ok) throw new RequestRefused('document_invalid', set.problems);
  const by = { subject: caller.subject, generation: keysGeneration };
  const { changed } = await deps.clusterRegistry.pushKeys(name, set, by);
  deps.metrics.countKeyPush(name, changed ? 'changed' : 'unchanged');
  const facts = { keys: set.keys.length, changed };
  return { body: { cluster: name, ...facts }, facts };
}

/** What the registry refuses, as this API tells it. */
export function toRefusal(error: unknown): unknown {
  if (!(error instanceof RegistrationRefused)) return error;
  const { refusal } = error;
  const details = [{ path: 'keys', problem: REFUSALS[refusal] }];
  if (refusal === 'key_conflict') return new RequestRefused('key_conflict', details);
  return new RequestRefused(refusal === 'unreachable' ? 'document_invalid' : 'conflict', details);
}
