// Where a dialect hands in a request and gets the outcome: decide, issue, record, count, log, in that order and always
// all of it. No dialect can give out a token without its audit record, which is handed over before the caller's answer.

import type { Clock } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import type { AuditSink } from './audit.ts';
import {
  type Authorize,
  type Decision,
  type DecisionContext,
  type Grant,
  type GrantRequest,
  toRefusal,
} from './authorize.ts';
import { BrokerError, REASONS } from './errors.ts';
import type { Metrics } from './metrics.ts';
import { issueJwt } from './tokens/issue.ts';
import type { KeySource } from './tokens/keys.ts';

export interface RequestContext extends DecisionContext {
  /** What the caller sent as X-Request-Id: its own text, shortened and cleaned, for the log alone. */
  readonly callerRequestId?: string;
}

export interface IssuedToken {
  /** The token itself; goes into the answer and nowhere else. */
  readonly token: string;
  readonly tokenId: string;
  readonly grant: Grant;
}

/** How a request ended; `issued` is there exactly where the decision is `allow`. */
export interface Settled {
  readonly decision: Decision;
  readonly issued?: IssuedToken;
}

export interface Desk {
  /** Never rejects. */
  grant(request: GrantRequest, context: RequestContext): Promise<Settled>;
  /** Records the refusal of a request that never came to a decision. */
  refuse(error: unknown, context: RequestContext): Settled;
}

export interface DeskDeps {
  readonly authorize: Authorize;
  readonly keys: KeySource;
  readonly issuer: string;
  readonly audit: AuditSink;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
  /** A new `jti`: unguessable and never twice. */
  readonly newTokenId: () => string;
}

export function createDesk(deps: DeskDeps): Desk {
  const settle = (settled: Settled, context: RequestContext): Settled => {
    const { decision, issued } = settled;
    deps.audit.record(decision, issued);
    deps.metrics.countDecision(decision);
    if (decision.outcome !== 'allow') logRefusal(deps.log, decision, context);
    return settled;
  };
  return {
    grant: async (request, context) => {
      const decision = await deps.authorize(request, context);
      if (!decision.grant) return settle({ decision }, context);
      try {
        return settle({ decision, issued: issue(decision.grant, deps) }, context);
      } catch (error) {
        const { grant, ...draft } = decision;
        return settle(
          { decision: toRefusal(error, context, { clock: deps.clock, draft }) },
          context,
        );
      }
    },
    refuse: (error, context) =>
      settle({ decision: toRefusal(error, context, { clock: deps.clock }) }, context),
  };
}

function issue(grant: Grant, { keys, issuer, audit, newTokenId }: DeskDeps): IssuedToken {
  // A token of which no record can be written must not exist.
  if (!audit.isKeepingUp())
    throw new BrokerError('audit_unavailable', 'the audit trail is not being written fast enough');
  const { subject, role, audience, scopes, issuedAt, expiry } = grant;
  const tokenId = newTokenId();
  const token = issueJwt(
    {
      issuer,
      identity: subject.identity,
      audience,
      scopes,
      policies: role.token.policies,
      claims: role.token.claims,
      jwtType: role.token.jwtType,
      issuedAt,
      expiresAt: expiry.expiresAt,
      tokenId,
    },
    keys.current().signing,
  );
  return { token, tokenId, grant };
}

function logRefusal(log: Logger, decision: Decision, { callerRequestId }: RequestContext): void {
  const { reason = 'internal', id: correlationId, dialect, detail, error } = decision;
  const fields = {
    correlationId,
    dialect,
    reason,
    detail,
    callerRequestId,
    ...(error !== undefined && { err: error }),
  };
  const { level } = REASONS[reason];
  if (decision.outcome === 'failure') log[level](fields, 'request failed');
  else log[level](fields, 'request refused');
}
