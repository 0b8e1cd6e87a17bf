// The `iat` of what is about to be issued. A revocation in bulk says "issued before second n", and n is the second after
// it was asked for; a token issued right after it in the same second would be born dead. So its issue waits for second n.
import { type Clock, nowSeconds } from '../common/clock.ts';
import { BrokerError } from './errors.ts';
import type { DeniableToken } from './store/deny-index.ts';
import type { Mirror } from './store/mirror.ts';

/** A rule dated further ahead comes from a replica whose clock is ahead: waiting for it would hold up the caller. */
export const MAX_WAIT_MS = 2000;

export interface IssueTimeDeps {
  /** Absent with `store: none`: nothing can be revoked. */
  readonly findDenial?: Mirror['findDenial'];
  readonly clock: Clock;
}

/**
 * @returns the time in seconds since the epoch; later than now only by having waited
 * @throws BrokerError `revocation_pending`
 */
export async function chooseIssueTime(
  token: () => Omit<DeniableToken, 'issuedAt' | 'tokenId'>,
  { findDenial, clock }: IssueTimeDeps,
): Promise<number> {
  const issuedAt = nowSeconds(clock);
  if (!findDenial) return issuedAt;
  const about = { ...token(), tokenId: '' };
  const until = clock.now() + MAX_WAIT_MS;
  for (let at = issuedAt; ; at = nowSeconds(clock)) {
    const denial = findDenial({ ...about, issuedAt: at });
    if (!denial) return at;
    const opensAt = (denial.issuedBefore ?? Number.POSITIVE_INFINITY) * 1000;
    if (opensAt > until)
      throw new BrokerError(
        'revocation_pending',
        `denial ${denial.id} is dated ahead of our clock`,
      );
    await clock.sleep(Math.max(1, opensAt - clock.now()));
  }
}
