// A validator over fake issuers and API servers, as broker.ts wires a real one; what it logs and refuses with is kept for
// the leak scan.
import type { Reason } from '../../broker/errors.ts';
import { BrokerError } from '../../broker/errors.ts';
import { createClusterKeys } from '../../broker/identity/cluster-keys.ts';
import type { Cluster } from '../../broker/identity/clusters.ts';
import type { ReviewEvent } from '../../broker/identity/reviewer.ts';
import {
  createValidator,
  type Proof,
  type Validation,
  type Validator,
} from '../../broker/identity/validate.ts';
import { createVerifier } from '../../broker/identity/verify.ts';
import { createLogger } from '../../common/log.ts';
import { Secret } from '../../common/secret.ts';
import { createFakeClock, type FakeClock } from './clock.ts';
import { keep } from './tokens.ts';
import { OWN_ISSUER } from './verifying.ts';

export interface TestValidator {
  readonly clock: FakeClock;
  readonly validator: Validator;
  readonly events: readonly ReviewEvent[];
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  validate(token: string, audience?: string): Promise<Proof>;
  /** All the way, as authorize() goes it. */
  confirm(token: string, audience?: string): Promise<Validation>;
  /** `fresh`, `cached` and so on, `offline`, or the reason of the refusal. */
  judge(token: string, audience?: string): Promise<string>;
  /** Fails if it is accepted. */
  refuse(token: string, audience?: string): Promise<BrokerError>;
  /** Another table, as a running broker takes it. */
  update(clusters: readonly Cluster[]): void;
  close(): Promise<void>;
}

/** The clock stands at the real time, so that minted tokens hold. */
export function createTestValidator(
  clusters: readonly Cluster[],
  more: { reviewTimeoutMs?: number; asksForReviews?: boolean } = {},
): TestValidator {
  const clock = createFakeClock(Date.now());
  const events: ReviewEvent[] = [];
  const lines: Record<string, unknown>[] = [];
  const log = createLogger({
    level: 'debug',
    process: 'test',
    stream: {
      write: (line) => {
        keep('validator.log', line);
        lines.push(JSON.parse(line) as Record<string, unknown>);
      },
    },
  });
  const keys = createClusterKeys({ clusters, clock, log });
  const verifier = createVerifier({ keys, clock, ownIssuers: [OWN_ISSUER] });
  const validator = createValidator({
    clusters,
    verifier,
    ownIssuers: [OWN_ISSUER],
    clock,
    log,
    onEvent: (event) => events.push(event),
    ...more,
  });
  const validate = (token: string, audience?: string) =>
    validator.validate(new Secret(token), { audience });
  const confirm = async (token: string, audience = 'payments') =>
    (await validate(token, audience)).confirm(audience);
  const tryTo = (token: string, audience?: string) =>
    confirm(token, audience).catch((error: unknown) => {
      if (!(error instanceof BrokerError)) throw error;
      const { reason, detail, failed, message, stack, cause } = error;
      keep('refusal.json', JSON.stringify({ reason, detail, failed, message, stack }));
      keep('cause.txt', String((cause as Error | undefined)?.stack));
      return error;
    });
  return {
    clock,
    validator,
    events,
    lines,
    validate,
    confirm,
    judge: async (token, audience) => {
      const outcome = await tryTo(token, audience);
      if (outcome instanceof BrokerError) return outcome.reason satisfies Reason;
      return outcome.review ?? outcome.mode;
    },
    refuse: async (token, audience) => {
      const outcome = await tryTo(token, audience);
      if (outcome instanceof BrokerError) return outcome;
      throw new Error('not refused');
    },
    update: (next) => {
      keys.update(next);
      verifier.update();
      validator.update(next);
    },
    close: async () => {
      validator.close();
      await keys.stop();
    },
  };
}
