// A bound on the deny list: a JWT costs its holder nothing to get and nothing to revoke, and each one revoked is a row in
// the store and an entry in the memory of every replica until it would have ended.
import type { Clock } from '../../common/clock.ts';
import { BrokerError } from '../errors.ts';
import type { TokenOwner } from '../store/store.ts';

/** Far more than anybody gives back: a pod has eight tokens at a time. A CI system's jobs may share one subject. */
export const MAX_PER_WINDOW = 1000;
const WINDOW_MS = 3_600_000;
/** Some 20 MiB. Whoever was forgotten counts from the beginning. */
const MAX_OWNERS = 100_000;

export interface SelfRevocations {
  /**
   * Counts one JWT that its holder revokes.
   * @throws BrokerError `too_many_requests` where the identity revoked {@link MAX_PER_WINDOW} within the hour here
   */
  take(owner: Pick<TokenOwner, 'subject' | 'podUid'>): void;
}

export function createSelfRevocations({ clock }: { readonly clock: Clock }): SelfRevocations {
  // A Map keeps the order of insertion: the first began its hour before the others.
  const counted = new Map<string, { count: number; readonly since: number }>();

  return {
    take: ({ subject, podUid = '' }) => {
      const key = `${podUid} ${subject}`;
      const now = clock.now();
      const known = counted.get(key);
      if (known && now - known.since < WINDOW_MS) {
        if (known.count >= MAX_PER_WINDOW)
          throw new BrokerError(
            'too_many_requests',
            `one identity revokes more than ${MAX_PER_WINDOW} JWTs an hour one by one`,
          );
        known.count += 1;
        return;
      }
      counted.delete(key);
      counted.set(key, { count: 1, since: now });
      const [oldest] = counted.keys();
      if (counted.size > MAX_OWNERS && oldest !== undefined) counted.delete(oldest);
    },
  };
}
