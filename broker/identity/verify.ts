// The verifier: a subject token in, a verified subject or a refusal out. Order: shape, issuer by exact match, signature
// by a key of that issuer's entries, claims, times. Nothing outside the clusters table causes a fetch.
import type { Clock } from '../../common/clock.ts';
import { type Secret, tokenFingerprint } from '../../common/secret.ts';
import { BrokerError } from '../errors.ts';
import type { ClusterKeys, ClusterWithKeys, Found } from './cluster-keys.ts';
import type { VerifiedSubject } from './identity.ts';
import { checkUniqueMembers, type ParsedToken, parseToken } from './jose.ts';
import { TokenRefused } from './refusal.ts';
import { type Facts, readOidcSubject, readSubject } from './subject.ts';

export interface Verifier {
  /**
   * Verifies a subject token.
   * @throws TokenRefused for every token that is not accepted, and where the broker cannot decide.
   */
  verify(token: Secret): Promise<VerifiedSubject>;
  /** The clusters of the keys are others. */
  update(): void;
}

export interface VerifierOptions {
  keys: Pick<ClusterKeys, 'clusters' | 'findSharing'>;
  /** Our own issuer, and former ones: their tokens are never subjects. */
  ownIssuers: readonly string[];
  clock: Clock;
}

/**
 * Makes the verifier of a process.
 * @throws Error if an entry of the clusters table has an issuer of our own.
 */
export function createVerifier({ keys, ownIssuers, clock }: VerifierOptions): Verifier {
  let byIssuer = groupByIssuer(keys.clusters);
  const own = ownIssuers.find((issuer) => byIssuer.has(issuer));
  if (own !== undefined) {
    throw new Error(
      "a cluster has the broker's own issuer; the broker never accepts its own tokens as a subject",
    );
  }

  async function verify(raw: string, facts: Facts): Promise<VerifiedSubject> {
    const token = parseToken(raw);
    const { iss } = token.payload;
    const clusters = typeof iss === 'string' ? byIssuer.get(iss) : undefined;
    if (!clusters) throw new BrokerError('token_issuer', describeIssuer(iss, ownIssuers));
    const { cluster, key } = await findSigner(token, clusters);
    if (cluster.kind === 'oidc') facts.issuerName = cluster.name;
    else facts.cluster = cluster.name;
    facts.issuer = iss as string;
    const shared = keys.findSharing(cluster.name, key);
    if (shared !== undefined) {
      throw new BrokerError(
        'keys_unavailable',
        `its key is in the entries ${cluster.name} and ${shared}`,
      );
    }
    checkUniqueMembers(token.payloadText, token.payload, 'payload');
    return readClaims(token, facts, cluster);
  }

  function readClaims(
    { payload }: ParsedToken,
    facts: Facts,
    { kind, maxTokenAgeSeconds = 0 }: ClusterWithKeys,
  ): VerifiedSubject {
    if (kind === 'kubernetes')
      return readSubject(payload, facts as Facts & { cluster: string; issuer: string }, clock);
    return readOidcSubject(payload, facts as Facts & { issuerName: string; issuer: string }, {
      clock,
      maxAgeSeconds: maxTokenAgeSeconds,
    });
  }

  async function findSigner(
    token: ParsedToken,
    clusters: readonly ClusterWithKeys[],
  ): Promise<Found> {
    const found = findIn(token, clusters) ?? (await findAfterRefresh(token, clusters));
    if (found) return found;
    // With one cluster's keys missing nobody can say that the token is bad.
    const failure = clusters
      .map((cluster) => cluster.findFailure(token))
      .find((one) => one !== undefined);
    if (failure) throw new BrokerError(failure, 'no usable key that may have signed the token');
    throw new BrokerError('token_signature', 'no key of the issuer verifies the signature');
  }

  return {
    update: () => {
      byIssuer = groupByIssuer(keys.clusters);
    },
    verify: async (secret) => {
      const raw = secret.reveal();
      const facts: Facts = { fingerprint: tokenFingerprint(raw) };
      try {
        return await verify(raw, facts);
      } catch (error) {
        if (!(error instanceof BrokerError)) throw error;
        const { reason, detail, failed, cause } = error;
        throw new TokenRefused(reason, { detail, facts, failed, cause });
      }
    },
  };
}

function findIn(token: ParsedToken, clusters: readonly ClusterWithKeys[]): Found | undefined {
  for (const cluster of clusters) {
    const found = cluster.findSigner(token);
    if (found) return found;
  }
  return undefined;
}

/** Asks once more for keys where the token names one that is not known; a known key's bad signature costs no fetch. */
async function findAfterRefresh(
  token: ParsedToken,
  clusters: readonly ClusterWithKeys[],
): Promise<Found | undefined> {
  const incomplete = clusters.filter((cluster) => cluster.mayLackKey(token));
  if (incomplete.length === 0) return undefined;
  await Promise.all(incomplete.map((cluster) => cluster.refresh()));
  return findIn(token, incomplete);
}

function groupByIssuer(
  clusters: readonly ClusterWithKeys[],
): ReadonlyMap<string, readonly ClusterWithKeys[]> {
  const groups = new Map<string, ClusterWithKeys[]>();
  for (const cluster of clusters) {
    for (const issuer of cluster.issuers)
      groups.set(issuer, [...(groups.get(issuer) ?? []), cluster]);
  }
  return groups;
}

function describeIssuer(iss: unknown, ownIssuers: readonly string[]): string {
  if (typeof iss !== 'string') return 'iss is not a text';
  if (ownIssuers.includes(iss)) return "a token of the broker's own";
  // The operator needs to see it, to put it in the table or to find the trailing slash.
  return `iss ${JSON.stringify(iss.slice(0, 200))} is in no entry of the clusters table`;
}
