// A verifier over fake issuers, as main.ts wires a real one; what it logs and refuses with is kept for the leak scan.

import type { Reason } from '../../broker/errors.ts';
import { type ClusterKeys, createClusterKeys } from '../../broker/identity/cluster-keys.ts';
import type { Cluster, KubernetesCluster, OidcIssuer } from '../../broker/identity/clusters.ts';
import type { VerifiedSubject, WorkloadSubject } from '../../broker/identity/identity.ts';
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
  /** Of a cluster's token. */
  verify(token: string): Promise<WorkloadSubject>;
  verifyAny(token: string): Promise<VerifiedSubject>;
  /** The refusal of a token; fails if it is accepted or anything else is thrown. */
  refuse(token: string): Promise<TokenRefused>;
  /** Another table, as a running broker takes it. */
  update(clusters: readonly Cluster[]): void;
  /** `accepted`, or the reason of the refusal. */
  judge(token: string): Promise<Reason | 'accepted'>;
}

/** An entry of the clusters table over a fake issuer's JWKS. */
export function toCluster(
  issuer: FakeIssuer,
  more: Partial<KubernetesCluster> = {},
): KubernetesCluster {
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

/** An entry for a fake issuer outside Kubernetes, by discovery. */
export function toOidcIssuer(issuer: FakeIssuer, more: Partial<OidcIssuer> = {}): OidcIssuer {
  return {
    name: 'github',
    kind: 'oidc',
    own: false,
    issuers: [issuer.issuer],
    validation: 'offline',
    keys: { from: 'discovery', url: issuer.issuer },
    algorithms: ['RS256', 'ES256'],
    maxTokenAgeSeconds: 86_400,
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
  const verifyAny = (token: string) => verifier.verify(new Secret(token));
  const verify = async (token: string): Promise<WorkloadSubject> => {
    const { identity, ...rest } = await verifyAny(token);
    if (identity.kind !== 'workload') throw new TypeError('no workload');
    return { ...rest, identity };
  };
  async function refuse(token: string): Promise<TokenRefused> {
    const subject = await verifyAny(token).catch((error: unknown) => error);
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
    verifyAny,
    update: (next) => {
      keys.update(next);
      verifier.update();
    },
    refuse,
    judge: async (token) => {
      const outcome = await verifyAny(token).then(
        () => 'accepted' as const,
        () => undefined,
      );
      return outcome ?? (await refuse(token)).reason;
    },
  };
}
