// How often one identity that proved itself may ask for tokens: a pod in a tight loop must not take what all share.
import type { Clock } from '../common/clock.ts';
import { createBuckets } from './buckets.ts';
import { BrokerError } from './errors.ts';
import { type Identity, toSubject } from './identity/identity.ts';
import { BURST_SECONDS } from './sources.ts';

/** About 100 bytes each; only those that asked of late are of interest. */
const MAX_IDENTITIES = 50_000;

export interface IdentityLimitOptions {
  /** The burst is ten seconds of it; 0: no limit. */
  readonly perSecond: number;
  readonly clock: Clock;
  readonly onRefused: () => void;
}

/** @returns takes one for the identity: a pod, or a ServiceAccount without one. @throws BrokerError `too_many_requests` */
export function createIdentityLimit(options: IdentityLimitOptions): (identity: Identity) => void {
  const { perSecond, clock, onRefused } = options;
  const asked = createBuckets({
    perSecond,
    burstSeconds: BURST_SECONDS,
    maxKeys: MAX_IDENTITIES,
    clock,
  });
  return (identity) => {
    const key = toKey(identity);
    if (asked.isEmpty(key)) {
      onRefused();
      throw new BrokerError(
        'too_many_requests',
        `this identity asks for more than ${perSecond} tokens a second`,
        { retryAfterSeconds: Math.max(1, Math.ceil(asked.secondsUntilNext(key))) },
      );
    }
    asked.take(key);
  };
}

function toKey(identity: Identity): string {
  if (identity.kind !== 'workload') return toSubject(identity);
  return `${identity.cluster} ${identity.pod?.uid ?? identity.serviceAccountUid}`;
}
