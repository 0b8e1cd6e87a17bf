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
  type Validity,
} from './claims.ts';
import type { Identity, OidcIdentity, VerifiedSubject, WorkloadSubject } from './identity.ts';
import { checkAge, checkOidcIdentity } from './oidc-claims.ts';
import type { TokenFacts } from './refusal.ts';

export type Facts = { -readonly [Name in keyof TokenFacts]: TokenFacts[Name] };

type Claims = Readonly<Record<string, unknown>>;

/**
 * Checks the claims of a ServiceAccount token in order; what was found is in `facts` at once, so that a refusal knows all
 * before it.
 * @throws BrokerError
 */
export function readSubject(
  claims: Claims,
  facts: Facts & { cluster: string; issuer: string },
  clock: Clock,
): WorkloadSubject {
  const identity = unwrap(checkWorkload(claims, facts.cluster));
  return readRest(claims, { identity, facts, now: nowSeconds(clock) });
}

/** The same for a token of an OIDC issuer. @throws BrokerError */
export function readOidcSubject(
  claims: Claims,
  facts: Facts & { issuerName: string; issuer: string },
  { clock, maxAgeSeconds }: { clock: Clock; maxAgeSeconds: number },
): VerifiedSubject<OidcIdentity> {
  const identity = unwrap(checkOidcIdentity(claims, facts.issuerName));
  const now = nowSeconds(clock);
  return readRest(claims, {
    identity,
    facts,
    now,
    checkMore: (validity) => checkAge(validity, { now, maxAgeSeconds }),
  });
}

function readRest<Who extends Identity>(
  claims: Claims,
  step: {
    readonly identity: Who;
    readonly facts: Facts & { issuer: string };
    readonly now: number;
    readonly checkMore?: (validity: Validity) => Checked<undefined>;
  },
): VerifiedSubject<Who> {
  const { identity, facts, now, checkMore } = step;
  facts.identity = identity;
  const tokenId = unwrap(checkTokenId(claims));
  if (tokenId !== undefined) facts.tokenId = tokenId;
  const audiences = unwrap(checkAudiences(claims));
  facts.audiences = audiences;
  const validity = unwrap(checkTimes(claims));
  unwrap(checkValidity(validity, now));
  if (checkMore) unwrap(checkMore(validity));
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
