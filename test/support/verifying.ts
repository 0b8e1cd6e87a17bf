// A verifier over fake issuers, as main.ts wires a real one; what it logs and refuses with is kept for the leak scan.

import type { Reason } from '../../broker/errors.ts';
import { type ClusterKeys, createClusterKeys } from '../../broker/identity/cluster-keys.ts';
import type { Cluster } from '../../broker/identity/clusters.ts';
import type { WorkloadSubject } from '../../broker/identity/identity.ts';
import type { KeysEvent } from '../../broker/identity/jwks.ts';
import { TokenRefused } from '../../broker/identity/refusal.ts';
import { createVerifier } from '../../broker/identity/verify.ts';
import type { Clock } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { Secret } from '../../common/secret.ts';
import { createFakeClock, type FakeClock } from './clock.ts';
import type { FakeIssuer } from './issuer.ts';
import { keep } from './tokens.ts';

export interface TestVerifier {
  readonly clock: FakeClock;
  readonly keys: ClusterKeys;
  readonly events: readonly KeysEvent[];
  /** Log lines so far. */
  readonly lines: readonly Readonly<Record<string, unknown>>[];
  verify(token: string): Promise<WorkloadSubject>;
  /** The refusal of a token; fails if it is accepted or anything else is thrown. */
  refuse(token: string): Promise<TokenRefused>;
  /** `accepted`, or the reason of the refusal. */
  judge(token: string): Promise<Reason | 'accepted'>;
}

/** An entry of the clusters table over a fake issuer's JWKS. */
export function toCluster(issuer: FakeIssuer, more: Partial<Cluster> = {}): Cluster {
  return {
    name: 'here',
    kind: 'kubernetes',
    own: true,
    issuers: [issuer.issuer],
    validation: 'offline',
    keys: { from: 'url', url: issuer.jwksUrl },
    algorithms: ['RS256', 'ES256', 'ES384', 'ES512'],
    refreshSeconds: 300,
    maxStalenessSeconds: 3600,
    cooldownSeconds: 10,
    ...more,
  };
}

export const OWN_ISSUER = 'https://broker.test';

/** Makes the verifier; the clock stands at the real time, so that minted tokens hold. */
export function createTestVerifier(clusters: readonly Cluster[]): TestVerifier {
  const clock = createFakeClock(Date.now());
  const events: KeysEvent[] = [];
  const lines: Record<string, unknown>[] = [];
  const stream = {
    write: (line: string) => {
      keep('verifier.log', line);
      lines.push(JSON.parse(line) as Record<string, unknown>);
    },
  };
  const log = createLogger({ level: 'debug', process: 'test', stream });
  const keys = createClusterKeys({
    clusters,
    clock: clock as Clock,
    log,
    onEvent: (event) => events.push(event),
  });
  const verifier = createVerifier({ keys, clock, ownIssuers: [OWN_ISSUER] });
  const verify = (token: string) => verifier.verify(new Secret(token));
  async function refuse(token: string): Promise<TokenRefused> {
    const subject = await verify(token).catch((error: unknown) => error);
    if (!(subject instanceof TokenRefused)) throw new Error('not refused', { cause: subject });
    const { reason, detail, failed, facts, message } = subject;
    keep('refusal.json', JSON.stringify({ reason, detail, failed, facts, message }));
    return subject;
  }
  return {
    clock,
    keys,
    events,
    lines,
    verify,
    refuse,
    judge: async (token) => {
      const outcome = await verify(token).then(
        () => 'accepted' as const,
        () => undefined,
      );
      return outcome ?? (await refuse(token)).reason;
    },
  };
}
