// A refused subject token, with what may be said about it in log and audit: its fingerprint always, the rest only once
// the signature was good.
import { BrokerError, type FailedClaim, type Reason } from '../errors.ts';
import type { Identity } from './identity.ts';

export interface TokenFacts {
  /** First 16 hex of the token's SHA-256. */
  readonly fingerprint: string;
  /** Present once the signature was verified. */
  readonly cluster?: string;
  /** Name of the OIDC entry whose key it was, where it is no cluster. */
  readonly issuerName?: string;
  readonly issuer?: string;
  readonly identity?: Identity;
  readonly audiences?: readonly string[];
  readonly tokenId?: string;
}

export interface RefusalOptions {
  readonly detail: string | undefined;
  readonly facts: TokenFacts;
  readonly failed?: FailedClaim | undefined;
  readonly cause?: unknown;
}

/** What the verifier throws, and nothing else. */
export class TokenRefused extends BrokerError {
  readonly facts: TokenFacts;

  constructor(reason: Reason, { detail, facts, failed, cause }: RefusalOptions) {
    super(reason, detail, {
      ...(cause === undefined ? {} : { cause }),
      ...(failed ? { failed } : {}),
    });
    this.name = 'TokenRefused';
    this.facts = facts;
  }
}
