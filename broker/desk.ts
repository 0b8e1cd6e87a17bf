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
import { extend, type IssuedToken, type IssuingDeps, issue } from './issuing.ts';
import type { Metrics } from './metrics.ts';
import { type RevokedToken, toRevocation } from './revocation.ts';
import type { Visit } from './sources.ts';
import type { StoredToken } from './store/store.ts';
import type { LiveToken } from './tokens/live.ts';
import { toProvenSubject } from './tokens/records.ts';

export interface RequestContext extends DecisionContext {
  /** What the caller sent as X-Request-Id: its own text, shortened and cleaned, for the log alone. */
  readonly callerRequestId?: string;
  /** Where it came from; absent where nobody counts that. */
  readonly visit?: Visit;
}

/** How a request ended. */
export interface Settled {
  readonly decision: Decision;
  /** There exactly where an exchange was allowed. */
  readonly issued?: IssuedToken;
  /** There exactly where a renewal was allowed. */
  readonly renewed?: RenewedToken;
  /** There exactly where a token was revoked. */
  readonly revoked?: Pick<LiveToken, 'tokenId'>;
}

export interface RenewedToken {
  readonly tokenId: string;
  /** `expiry` holds the new end. */
  readonly grant: Grant;
}

export interface Desk {
  /** Never rejects. */
  grant(request: GrantRequest, context: RequestContext): Promise<Settled>;
  /** Gives a live stored token more life, decided anew by what its subject proved. Never rejects. */
  renew(token: Pick<LiveToken, 'stored' | 'tokenId'>, context: RequestContext): Promise<Settled>;
  /** Records that a token was revoked. */
  recordRevoked(token: RevokedToken, context: RequestContext): Settled;
  /** Records the refusal of a request that never came to a decision. */
  refuse(error: unknown, context: RequestContext): Settled;
}

export interface DeskDeps extends IssuingDeps {
  readonly authorize: Authorize;
  readonly audit: AuditSink;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly clock: Clock;
}

export function createDesk(deps: DeskDeps): Desk {
  const settle = (settled: Settled, context: RequestContext): Settled => {
    const { decision, issued } = settled;
    deps.metrics.countDecision(decision);
    if (!mayRecord(decision, context)) return settled;
    deps.audit.record(decision, issued ?? settled.renewed ?? settled.revoked);
    if (decision.outcome !== 'allow') logRefusal(deps.log, decision, context);
    return settled;
  };
  const toRefused = (error: unknown, context: RequestContext): Decision =>
    toRefusal(error, context, { clock: deps.clock });
  const toFailed = (decision: Decision, error: unknown, context: RequestContext): Decision => {
    const { grant, ...draft } = decision;
    return toRefusal(error, context, { clock: deps.clock, draft });
  };
  return {
    grant: async (request, context) => {
      const decision = await deps.authorize(request, context);
      if (!decision.grant) return settle({ decision }, context);
      try {
        const made = issue(decision.grant, deps);
        // A JWT waits for nothing, not even for its turn.
        const issued = made instanceof Promise ? await made : made;
        deps.metrics.countIssued(decision.grant.role.token.type);
        return settle({ decision, issued }, context);
      } catch (error) {
        return settle({ decision: toFailed(decision, error, context) }, context);
      }
    },
    renew: async (token, given) => {
      const context = { ...given, action: 'renew' } as const;
      const { stored, tokenId } = token;
      if (stored?.kind !== 'client')
        return settle({ decision: toRefused(notRenewable(), context) }, context);
      const decision = await deps.authorize(toRenewal(stored), context);
      if (!decision.grant) return settle({ decision }, context);
      try {
        await extend(stored, decision.grant, deps);
        return settle({ decision, renewed: { tokenId, grant: decision.grant } }, context);
      } catch (error) {
        return settle({ decision: toFailed(decision, error, context) }, context);
      }
    },
    recordRevoked: (token, context) =>
      settle({ decision: toRevocation(token, context, deps.clock), revoked: token }, context),
    refuse: (error, context) => settle({ decision: toRefused(error, context) }, context),
  };
}

/** Charges whoever proved nothing, and says whether log and audit are to hear of it: always, unless somebody floods. */
function mayRecord(
  { outcome, action, validation, reason = 'internal' }: Decision,
  { visit }: RequestContext,
): boolean {
  if (!visit || outcome === 'allow') return true;
  // Validated was a token that its cluster vouches for; whoever renews was let in before.
  const isUnproven = outcome === 'deny' && validation === undefined && action !== 'renew';
  if (isUnproven) visit.charge();
  return visit.mayRecord(reason, isUnproven);
}

function notRenewable(): BrokerError {
  return new BrokerError(
    'token_type_unsupported',
    'only opaque client tokens are renewed; a JWT is replaced by another exchange',
  );
}

/** The same role, audience and scopes once more, asked for by what was proved when the token was issued. */
function toRenewal(stored: StoredToken): GrantRequest {
  const { audience, role, scopes } = stored;
  return {
    subject: { proven: toProvenSubject(stored) },
    ...(audience !== undefined && { audience }),
    ...(role !== undefined && { roleName: role }),
    scopes,
  };
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
