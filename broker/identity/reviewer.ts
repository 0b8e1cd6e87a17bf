// Asks one cluster's API server about tokens: one review at a time per token, a bounded number at once, namespaces in
// turn, good answers kept for a moment. That the API server does not answer, or refuses our own credential, is never the caller's fault.
import { createHash } from 'node:crypto';
import type { Clock } from '../../common/clock.ts';
import { createKubeClient, KUBE_TIMEOUT_MS, type KubeClient } from '../../common/kube/client.ts';
import { KubeError } from '../../common/kube/error.ts';
import type { Logger } from '../../common/log.ts';
import { BrokerError } from '../errors.ts';
import type { ReviewSettings, ValidationMode } from './cluster-review.ts';
import type { WorkloadSubject } from './identity.ts';
import { createLimiter, LimiterFull } from './limiter.ts';
import {
  checkReview,
  parseReview,
  type ReviewQuestion,
  TOKEN_REVIEWS_PATH,
  toTokenReview,
} from './review-answer.ts';
import { createReviewCache, type Dead } from './review-cache.ts';

/** `shared`: another request's review of the same token; `recent`: none, its pod had one within 15 minutes. */
export type ReviewKind = 'fresh' | 'shared' | 'cached' | 'recent';

/** For metrics; called from requests, must not throw. */
export type ReviewEvent =
  | { readonly kind: 'started'; readonly cluster: string; readonly waitedSeconds: number }
  | {
      readonly kind: 'ended';
      readonly cluster: string;
      readonly outcome: 'accepted' | 'refused' | 'unavailable' | 'credential_refused';
      readonly seconds: number;
    }
  | { readonly kind: 'waiting'; readonly cluster: string; readonly count: number }
  | { readonly kind: 'turned_away'; readonly cluster: string; readonly why: LimiterFull['why'] }
  | {
      readonly kind: 'spared';
      readonly cluster: string;
      readonly by: Exclude<ReviewKind, 'fresh'>;
    };

export interface Reviewer {
  /**
   * @throws BrokerError `review_refused`, `review_mismatch`, `token_audience` where the API server does not vouch for
   *   the token; `kube_unavailable` where it cannot be asked, `too_many_requests` where too many ask at once.
   */
  review(
    token: string,
    question: { subject: WorkloadSubject; audience: string },
  ): Promise<ReviewKind>;
  /** A pod or ServiceAccount is gone: no answer from before counts any more. */
  evict(dead: Dead): void;
  close(): void;
}

export interface ReviewerOptions {
  readonly cluster: string;
  readonly mode: ValidationMode;
  readonly settings: ReviewSettings;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onEvent?: ((event: ReviewEvent) => void) | undefined;
  readonly timeoutMs?: number;
}

/** What may wait for its turn: a thousand pods at once beside as many of whoever floods, and a bound on memory. */
const MAX_WAITING = 2048;
/** Wait and review together stay below the 10 s after which an exchange gives a try up; a review has at least 2 s. */
const TOTAL_MS = 9000;
const SHORTEST_REVIEW_MS = 2000;
/** One line is enough to act on; every refused request has its own anyway. */
const ALARM_EVERY_MS = 60_000;

export function createReviewer(options: ReviewerOptions): Reviewer {
  const { cluster, mode, settings, clock, onEvent } = options;
  const cache = createReviewCache(clock);
  const limiter = createLimiter({
    maxInFlight: settings.maxConcurrent,
    maxWaiting: MAX_WAITING,
    maxWaitMs: settings.queueSeconds * 1000,
    clock,
    onWaiting: (count) => onEvent?.({ kind: 'waiting', cluster, count }),
  });
  const flights = new Map<string, Promise<void>>();
  let generation = 0;
  // What was believed before of an API server is not believed of the next one behind the same address.
  const startGeneration = () => {
    generation += 1;
    flights.clear();
    cache.clear();
  };
  const client = createKubeClient({
    ...settings,
    maxConnections: settings.maxConcurrent,
    onCaChanged: startGeneration,
    ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
  });
  const ask = createAsk({ ...options, client });

  function reviewOnce(key: string, question: Question): Promise<void> {
    const remember = cache.begin();
    const { namespace: group, serviceAccount: member } = question.subject.identity;
    const flight: Promise<void> = limiter
      .run({ group, member }, (waitedMs) => ask(question, waitedMs))
      .then(
        () => remember({ key, identity: question.subject.identity, until: toEnd(question) }),
        (error: unknown) => {
          // The API server has spoken: what it said before of this pod counts no more.
          if (error instanceof BrokerError) cache.forgetPod(question.subject.identity);
          if (error instanceof LimiterFull)
            onEvent?.({ kind: 'turned_away', cluster, why: error.why });
          throw toFailure(error, cluster);
        },
      )
      .finally(() => {
        if (flights.get(key) === flight) flights.delete(key);
      });
    flights.set(key, flight);
    return flight;
  }

  function toKey({ token, audience }: Question): string {
    const digest = createHash('sha256').update(token).digest('base64url');
    return `${digest} ${cluster} ${mode} ${generation} ${audience}`;
  }

  function toEnd({ subject }: Question): number {
    return Math.min(clock.now() + settings.positiveCacheSeconds * 1000, subject.expiresAt * 1000);
  }

  function spare(by: Exclude<ReviewKind, 'fresh'>): ReviewKind {
    onEvent?.({ kind: 'spared', cluster, by });
    return by;
  }

  /** Our own queue being full is no reason to believe anybody: who floods it would decide what is checked. */
  function mayPassAsRecent(error: unknown, { subject }: Question): boolean {
    return (
      settings.onUnavailable === 'recent' &&
      error instanceof BrokerError &&
      error.reason === 'kube_unavailable' &&
      cache.wasRecent(subject.identity)
    );
  }

  return {
    review: async (token, { subject, audience }) => {
      const question = { token, subject, audience };
      const key = toKey(question);
      if (cache.isAccepted(key)) return spare('cached');
      const flight = flights.get(key);
      try {
        await (flight ?? reviewOnce(key, question));
      } catch (error) {
        if (mayPassAsRecent(error, question)) return spare('recent');
        throw error;
      }
      return flight ? spare('shared') : 'fresh';
    },
    evict: (dead) => {
      // Whoever comes now must not join a review that was asked before the death.
      flights.clear();
      cache.evict(dead);
    },
    close: client.close,
  };
}

type Question = ReviewQuestion & { readonly subject: WorkloadSubject };

/** One TokenReview, counted and timed. */
function createAsk({
  cluster,
  clock,
  log,
  onEvent,
  client,
}: ReviewerOptions & { client: KubeClient }): (
  question: Question,
  waitedMs: number,
) => Promise<void> {
  let alarmedAt: number | undefined;
  const alarm = (error: KubeError) => {
    if (alarmedAt !== undefined && clock.now() - alarmedAt < ALARM_EVERY_MS) return;
    alarmedAt = clock.now();
    log.error(
      { cluster, err: error, needs: NEEDS[error.kind] },
      'the API server refuses the credential of the broker',
    );
  };
  return async (question, waitedMs) => {
    onEvent?.({ kind: 'started', cluster, waitedSeconds: waitedMs / 1000 });
    const startedAt = clock.now();
    const within = Math.max(SHORTEST_REVIEW_MS, Math.min(KUBE_TIMEOUT_MS, TOTAL_MS - waitedMs));
    let outcome: Extract<ReviewEvent, { kind: 'ended' }>['outcome'] = 'unavailable';
    try {
      const text = await client.post(TOKEN_REVIEWS_PATH, toTokenReview(question), within);
      const checked = checkReview(parseReview(text), question);
      outcome = checked.ok ? 'accepted' : 'refused';
      if (checked.ok) return;
      const { reason, detail, failed } = checked;
      throw new BrokerError(reason, detail, failed ? { failed } : {});
    } catch (error) {
      if (error instanceof KubeError && error.kind !== 'unavailable') {
        outcome = 'credential_refused';
        alarm(error);
      }
      throw error;
    } finally {
      onEvent?.({ kind: 'ended', cluster, outcome, seconds: (clock.now() - startedAt) / 1000 });
    }
  };
}

const NEEDS: Readonly<Record<KubeError['kind'], string>> = {
  unauthorized: 'a token of a ServiceAccount that exists, in the token file of this cluster',
  forbidden:
    'the right to create tokenreviews of authentication.k8s.io (ClusterRole system:auth-delegator has it)',
  unreadable: 'the token file and the CA file of this cluster',
  unavailable: 'an API server that answers',
};

function toFailure(error: unknown, cluster: string): unknown {
  if (error instanceof LimiterFull) {
    return new BrokerError('too_many_requests', `cluster ${cluster}: reviews: ${error.message}`, {
      retryAfterSeconds: error.retryAfterSeconds,
    });
  }
  if (!(error instanceof KubeError)) return error;
  const { message } = error;
  return new BrokerError('kube_unavailable', `cluster ${cluster}: TokenReview: ${message}`, {
    cause: error,
  });
}
