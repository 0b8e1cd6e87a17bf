// Everything that lives, from one consistent list of pods and one of ServiceAccounts, apart from the watch: a set that
// repeated the watch's own mistakes would mend none.
import type { Clock } from '../common/clock.ts';
import type { KubeClient } from '../common/kube/client.ts';
import { KubeError } from '../common/kube/error.ts';
import { listObjects } from '../common/kube/list.ts';
import type { Death } from './deaths.ts';

export const PODS_PATH = '/api/v1/pods';
export const SERVICE_ACCOUNTS_PATH = '/api/v1/serviceaccounts';
const ALIVE = 'status.phase!=Succeeded,status.phase!=Failed';

export interface Census {
  /**
   * Before the first list was asked for, milliseconds since the epoch: whatever was stored until then and lives is in it.
   * A token is bound to an object that was stored before the token was issued; so one issued before then (skew of the
   * clocks apart) whose object is not in it names the dead.
   */
  readonly takenAt: number;
  readonly pods: ReadonlySet<string>;
  readonly serviceAccounts: ReadonlySet<string>;
  /** Those that died since are not in it any more: a set with fewer is as true. */
  strike(death: Pick<Death, 'kind' | 'uid'>): void;
}

/** @throws KubeError, also where what came cannot be all; the signal's reason */
export async function takeCensus({
  client,
  clock,
  signal,
}: {
  client: Pick<KubeClient, 'get'>;
  clock: Pick<Clock, 'now'>;
  signal: AbortSignal;
}): Promise<Census> {
  const takenAt = clock.now();
  const listUids = async (path: string, fieldSelector?: string) => {
    const uids = new Set<string>();
    const listing = { client, path, metadataOnly: true, signal };
    await listObjects({ ...listing, ...(fieldSelector && { fieldSelector }) }, (object) => {
      const { uid } = object.metadata;
      if (typeof uid !== 'string' || uid === '')
        throw new KubeError('unavailable', 'listed an object without uid');
      uids.add(uid);
    });
    return uids;
  };
  const pods = await listUids(PODS_PATH, ALIVE);
  const serviceAccounts = await listUids(SERVICE_ACCOUNTS_PATH);
  // Whoever asks runs in a pod. An empty list is a mistake that would end every token there is.
  if (pods.size === 0 || serviceAccounts.size === 0)
    throw new KubeError('unavailable', 'listed no pod, or no ServiceAccount, at all');
  return {
    takenAt,
    pods,
    serviceAccounts,
    strike: ({ kind, uid }) => (kind === 'Pod' ? pods : serviceAccounts).delete(uid),
  };
}
