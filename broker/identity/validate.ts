// The whole validation of a subject token, by the mode of its cluster: what the broker can check alone comes first, the
// API server is asked last and only about tokens that passed. docs/decisions/0010 has the reasons.
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { type Secret, tokenFingerprint } from '../../common/secret.ts';
import { BrokerError } from '../errors.ts';
import type { ValidationMode } from './cluster-review.ts';
import { type Cluster, hasKeySource } from './clusters.ts';
import {
  type Identity,
  isWorkload,
  type VerifiedSubject,
  type WorkloadSubject,
} from './identity.ts';
import { checkUniqueMembers, type ParsedToken, parseToken } from './jose.ts';
import { checkAlive, type FindDeath } from './liveness.ts';
import { type TokenFacts, TokenRefused } from './refusal.ts';
import type { Dead } from './review-cache.ts';
import { createReviewer, type ReviewEvent, type Reviewer, type ReviewKind } from './reviewer.ts';
import { readSubject } from './subject.ts';
import type { Verifier } from './verify.ts';

/** How a subject token was validated; `review` is absent where the cluster's mode asks for none. */
export interface Validation {
  readonly mode: ValidationMode;
  /** `not_asked`: it is due, and nobody asked: in `coatcheck explain`, or a refusal came first. */
  readonly review?: ReviewKind | 'not_asked';
}

/** A subject, proven as far as the broker can without asking, and the step that is left. */
export interface Proof {
  readonly subject: VerifiedSubject;
  /** What holds so far. */
  readonly validation: Validation;
  /**
   * The last step before anything is given out.
   * @param audience the one decided on: the role's, found in the token's `aud`
   * @throws BrokerError where the API server does not vouch for the token, or cannot be asked
   */
  confirm(audience: string): Promise<Validation>;
}

export type Validate = (
  token: Secret,
  wanted: { readonly audience?: string | undefined },
) => Promise<Proof>;

export interface Validator {
  /** @throws TokenRefused, and nothing else */
  readonly validate: Validate;
  /** Something of this cluster is gone: answers from before do not count any more. */
  evict(cluster: string, dead: Dead): void;
  /** The table is another one: tokens of entries that changed or went are judged anew. After the verifier's own. */
  update(clusters: readonly Cluster[]): void;
  close(): void;
}

export interface ValidatorOptions {
  readonly clusters: readonly Cluster[];
  readonly verifier: Verifier;
  /** Our own issuer, and former ones: their tokens are never subjects. */
  readonly ownIssuers: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
  /** False: no API server is asked about tokens; `confirm` says `not_asked`. For `coatcheck explain`. */
  readonly asksForReviews?: boolean;
  readonly onEvent?: ((event: ReviewEvent) => void) | undefined;
  readonly reviewTimeoutMs?: number;
  /** Asked ahead of the cache and of the API server, and again after it answered. Absent: nobody is known to be dead. */
  readonly findDeath?: FindDeath | undefined;
}

interface Entry {
  readonly cluster: Cluster;
  readonly reviewer: Reviewer | undefined;
}

/** @throws Error if an entry of the clusters table has an issuer of our own. */
export function createValidator(options: ValidatorOptions): Validator {
  const { clusters, verifier, ownIssuers, clock, findDeath } = options;
  let entries: ReadonlyMap<string, Entry> = new Map();
  let keyless: readonly Entry[] = [];
  update(clusters);

  function update(table: readonly Cluster[]): void {
    if (table.some(({ issuers }) => issuers.some((issuer) => ownIssuers.includes(issuer))))
      throw new Error("a cluster has the broker's own issuer");
    const before = new Set(entries.values());
    entries = new Map(
      table.map((cluster) => {
        const known = entries.get(cluster.name);
        if (known?.cluster !== cluster)
          return [cluster.name, { cluster, reviewer: findReviewer(cluster, options) }];
        before.delete(known);
        return [cluster.name, known];
      }),
    );
    keyless = [...entries.values()].filter(({ cluster }) => !hasKeySource(cluster));
    // With them go their caches: what an API server said under other settings counts no more.
    for (const { reviewer } of before) reviewer?.close();
  }

  /**
   * A token that was verified by an entry is believed only while that entry is in the table.
   * @throws TokenRefused
   */
  function checkCurrent({ name, entry, facts }: Standing): void {
    const current = entries.get(name);
    if (entry !== undefined && current === entry) return;
    if (current)
      throw new TokenRefused('keys_unavailable', {
        detail: `the entry ${name} of the clusters table changed while the token was checked`,
        facts,
      });
    throw new TokenRefused('token_issuer', {
      detail: `the entry ${name} is in the clusters table no more`,
      facts,
    });
  }

  function whileCurrent(proof: Proof, standing: Standing): Proof {
    checkCurrent(standing);
    return {
      ...proof,
      confirm: async (audience) => {
        const validation = await proof.confirm(audience);
        checkCurrent(standing);
        return validation;
      },
    };
  }

  return {
    update,
    validate: async (token, { audience }) => {
      const raw = token.reveal();
      const claimed = keyless.length > 0 ? findClaimed(raw, keyless) : undefined;
      if (claimed) {
        const { entry } = claimed;
        const proof = await validateByReview(raw, { ...claimed, audience, clock, findDeath });
        const facts = { fingerprint: proof.subject.fingerprint };
        return whileCurrent(proof, { name: entry.cluster.name, entry, facts });
      }
      const before = entries;
      const subject = await verifier.verify(token);
      const { identity, fingerprint } = subject;
      const name = identity.kind === 'workload' ? identity.cluster : toEntryName(identity);
      const entry = before.get(name);
      const standing = { name, entry, facts: { fingerprint, identity } };
      if (!isWorkloadSubject(subject)) return whileCurrent(toSignedProof(subject), standing);
      checkCurrent(standing);
      refuseDead(subject, findDeath);
      return whileCurrent(toProof(raw, { subject, entry: entry as Entry, findDeath }), standing);
    },
    evict: (cluster, dead) => entries.get(cluster)?.reviewer?.evict(dead),
    close: () => {
      for (const { reviewer } of entries.values()) reviewer?.close();
    },
  };
}

interface Standing {
  readonly name: string;
  /** By which the token was checked. */
  readonly entry: Entry | undefined;
  readonly facts: TokenFacts;
}

/** The verifier vouches for nobody else. */
function toEntryName(identity: Identity): string {
  if (identity.kind === 'oidc') return identity.issuer;
  throw new TypeError('a subject of no entry of the table');
}

function isWorkloadSubject(subject: VerifiedSubject): subject is WorkloadSubject {
  return isWorkload(subject.identity);
}

/** An OIDC issuer's signature is all there is: nobody can be asked whether the token still holds. */
function toSignedProof(subject: VerifiedSubject): Proof {
  const validation: Validation = { mode: 'offline' };
  return { subject, validation, confirm: () => Promise.resolve(validation) };
}

function findReviewer(cluster: Cluster, options: ValidatorOptions): Reviewer | undefined {
  const { clock, log, onEvent, asksForReviews = true, reviewTimeoutMs } = options;
  if (!cluster.review || !asksForReviews) return undefined;
  return createReviewer({
    cluster: cluster.name,
    mode: cluster.validation,
    settings: cluster.review,
    clock,
    log,
    onEvent,
    ...(reviewTimeoutMs !== undefined && { timeoutMs: reviewTimeoutMs }),
  });
}

/** Signature and claims are known to be good; the API server is asked when everything else has been decided. */
function toProof(
  raw: string,
  { subject, entry, findDeath }: { subject: WorkloadSubject; entry: Entry } & Mortality,
): Proof {
  const { cluster, reviewer } = entry;
  const mode = cluster.validation;
  const validation: Validation = cluster.review ? { mode, review: 'not_asked' } : { mode };
  return {
    subject,
    validation,
    confirm: async (audience) => {
      if (!reviewer) return validation;
      const review = await reviewer.review(raw, { subject, audience });
      // Whoever died meanwhile may have been alive when the API server looked.
      checkAlive(subject, findDeath);
      return { mode, review };
    },
  };
}

interface Mortality {
  readonly findDeath: FindDeath | undefined;
}

/** @throws TokenRefused */
function refuseDead(subject: WorkloadSubject, findDeath: FindDeath | undefined): void {
  try {
    checkAlive(subject, findDeath);
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    const { fingerprint, identity, issuer, audiences, tokenId } = subject;
    const facts = {
      fingerprint,
      cluster: identity.cluster,
      identity,
      issuer,
      audiences,
      ...(tokenId !== undefined && { tokenId }),
    };
    const { reason, detail, failed } = error;
    throw new TokenRefused(reason, { detail, failed, facts });
  }
}

interface Claimed {
  readonly token: ParsedToken;
  readonly issuer: string;
  readonly entry: Entry;
}

/** The cluster without keys whose issuer the token states; nothing of the token is believed yet. */
function findClaimed(raw: string, keyless: readonly Entry[]): Claimed | undefined {
  let token: ParsedToken;
  try {
    token = parseToken(raw);
  } catch {
    // The verifier says what is wrong with it.
    return undefined;
  }
  const { iss } = token.payload;
  if (typeof iss !== 'string') return undefined;
  const entry = keyless.find(({ cluster }) => cluster.issuers.includes(iss));
  return entry && { token, issuer: iss, entry };
}

/**
 * `review` without keys: nobody may learn which roles exist by a token that nobody vouches for, so the API server is asked
 * before any role is looked at. Its yes covers the whole payload, because it checked the signature over it; the payload is
 * read before only to spare it tokens that cannot be good, and its own words must then be the same.
 */
async function validateByReview(
  raw: string,
  step: Claimed & Mortality & { audience: string | undefined; clock: Clock },
): Promise<Proof> {
  const fingerprint = tokenFingerprint(raw);
  try {
    const subject = readClaimed(step, fingerprint);
    // A forger learns no more than that the API server would have refused.
    checkAlive(subject, step.findDeath);
    const { cluster, reviewer } = step.entry;
    const reviewed = chooseReviewed(subject, step.audience);
    const validation: Validation = {
      mode: cluster.validation,
      review: reviewer ? await reviewer.review(raw, { subject, audience: reviewed }) : 'not_asked',
    };
    checkAlive(subject, step.findDeath);
    return {
      subject,
      validation,
      confirm: async (audience) => {
        if (audience === reviewed) return validation;
        throw new TypeError('another audience was decided on than was reviewed');
      },
    };
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error;
    // Without what failed and without facts: both would be of a token that is not proven.
    const { reason, detail, cause } = error;
    throw new TokenRefused(reason, { detail, facts: { fingerprint }, cause });
  }
}

function readClaimed(
  { token, issuer, entry: { cluster }, clock }: Claimed & { clock: Clock },
  fingerprint: string,
): WorkloadSubject {
  if (!cluster.algorithms.includes(token.alg)) {
    throw new BrokerError('token_signature', 'the algorithm is none of the cluster');
  }
  checkUniqueMembers(token.payloadText, token.payload, 'payload');
  return readSubject(token.payload, { fingerprint, cluster: cluster.name, issuer }, clock);
}

/** The audience that authorize() will decide on. */
function chooseReviewed({ audiences }: VerifiedSubject, requested: string | undefined): string {
  const [only] = audiences;
  if (requested !== undefined) {
    if (audiences.includes(requested)) return requested;
    throw new BrokerError('target_refused', 'the requested audience is not in the subject token');
  }
  if (only !== undefined && audiences.length === 1) return only;
  throw new BrokerError('token_audience', 'no audience was asked for and the token has several');
}
