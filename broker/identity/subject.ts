// The claims of a token, all checked, as a subject. Whether they are the issuer's own words is for whoever calls this.
import { type Clock, nowSeconds } from '../../common/clock.ts';
import { BrokerError } from '../errors.ts';
import {
  type Checked,
  checkAudiences,
  checkTimes,
  checkTokenId,
  checkValidity,
  checkWorkload,
} from './claims.ts';
import type { WorkloadSubject } from './identity.ts';
import type { TokenFacts } from './refusal.ts';

export type Facts = { -readonly [Name in keyof TokenFacts]: TokenFacts[Name] };

/**
 * Checks claims in order; what was found is in `facts` at once, so that a refusal knows all before it.
 * @throws BrokerError
 */
export function readSubject(
  claims: Readonly<Record<string, unknown>>,
  facts: Facts & { cluster: string; issuer: string },
  clock: Clock,
): WorkloadSubject {
  const identity = unwrap(checkWorkload(claims, facts.cluster));
  facts.identity = identity;
  const tokenId = unwrap(checkTokenId(claims));
  if (tokenId !== undefined) facts.tokenId = tokenId;
  const audiences = unwrap(checkAudiences(claims));
  facts.audiences = audiences;
  const validity = unwrap(checkTimes(claims));
  unwrap(checkValidity(validity, nowSeconds(clock)));
  return {
    identity,
    issuer: facts.issuer,
    audiences,
    issuedAt: validity.issuedAt,
    expiresAt: validity.expiresAt,
    ...(tokenId === undefined ? {} : { tokenId }),
    fingerprint: facts.fingerprint,
    claims,
  };
}

function unwrap<T>(checked: Checked<T>): T {
  if (checked.ok) return checked.value;
  const { reason, detail, failed } = checked;
  throw new BrokerError(reason, detail, failed ? { failed } : {});
}
