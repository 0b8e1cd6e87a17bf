// A revocation as a decision, so that it leaves the same record as what gave the token out.
import type { Clock } from '../common/clock.ts';
import { type Decision, type DecisionContext, toFrame } from './authorize.ts';
import type { LiveToken } from './tokens/live.ts';

/** A token that was live until now, with the first 16 hex of its SHA-256 as whoever revoked it showed it. */
export type RevokedToken = LiveToken & { readonly fingerprint: string };

/** The decision that ended a token, asked for by whoever had it. */
export function toRevocation(
  { identity, audience, role, scopes, name, fingerprint }: RevokedToken,
  context: DecisionContext,
  clock: Clock,
): Decision {
  return {
    ...toFrame({ ...context, action: 'revoke' }, clock),
    outcome: 'allow',
    tried: [],
    ...(name !== undefined && { detail: `the static token ${name}` }),
    subject: {
      fingerprint,
      ...(identity && { identity }),
      ...(identity?.kind === 'workload' && { cluster: identity.cluster }),
    },
    ...(audience !== undefined && { audience }),
    ...(role !== undefined && { role }),
    scopes,
  };
}
