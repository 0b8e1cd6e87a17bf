// Whose request begins when. A crowd is begun a few at a time, addresses in turn, so that what is under way goes on. A
// request that proves nothing is charged to the address it came from. One that has used up its share is not locked out,
// since good pods may stand behind it (SNAT): its requests take turns behind everybody else's, and its refusals are counted
// instead of written down one by one.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, Random } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { createBuckets } from './buckets.ts';
import { BrokerError, type Reason } from './errors.ts';
import { createFairQueue, type FairQueue } from './identity/fair-queue.ts';
import { findPeer, type Networks, toSource } from './peer.ts';
import { createSampler } from './sampler.ts';

/** One request of a source. */
export interface Visit {
  /** It proved nothing. */
  charge(): void;
  /**
   * Whether its refusal is to be written to log and audit; where not, it was counted.
   * @param isUnproven it is the caller's fault, and nobody knows who the caller is
   */
  mayRecord(reason: Reason, isUnproven: boolean): boolean;
}

export interface Sources {
  /**
   * At once, or when its turn has come. Check `response.destroyed` after a wait.
   * @throws BrokerError `too_many_requests` where too many of its source wait
   */
  admit(request: IncomingMessage, response: ServerResponse): Visit | Promise<Visit>;
  /** How many of exhausted sources wait for their turn. */
  waiting(): number;
}

/** Nothing of the request was looked at; it is counted and has no line of its own. */
export class TurnedAway extends BrokerError {
  constructor(retryAfterSeconds: number) {
    super('too_many_requests', 'too many requests of this address wait for their turn', {
      retryAfterSeconds,
    });
  }
}

export interface SourcesOptions {
  /** Requests that prove nothing, of one source; the burst is ten seconds of it. 0: no limit. */
  readonly refusalsPerSecond: number;
  readonly proxies?: Networks | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: SourceMetrics;
}

export interface SourceMetrics {
  countTurnedAway(): void;
  countDelayed(): void;
  countUnrecorded(reason: Reason): void;
}

interface Waiter {
  settle(isServed: boolean): void;
}

interface Coming {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

export const BURST_SECONDS = 10;
/** About 100 bytes each. */
const MAX_SOURCES = 20_000;
/** Begun between two looks at all connections: a few milliseconds of work. What is under way (a review) needs several. */
const PER_TURN = 8;
/** So many may be begun without counting in which turn: a look for each request would cost it some microseconds. */
const FEW = 4;
/** Of all sources that are not exhausted; a request that waits holds its connection anyway. */
const MAX_CROWD = 8192;
/** Of all that are. */
const MAX_WAITING = 1024;
/** Of those at least one has its turn each time, and more where many wait. */
const ROUNDS = 256;
const RECORDED_PER_SECOND = 10;
const ALARM_EVERY_MS = 10_000;
/** So much of a body is read and dropped, so that the connection can be kept: a new one costs us more than them. */
const MAX_DROPPED_BYTES = 64 * 1024;
/**
 * Said whoever asks, so that anybody can have as many of them as they like while it lasts: they must not fill disks, nor the
 * audit so that nothing is issued any more.
 */
const FLOODS: readonly Reason[] = [
  'too_many_requests',
  'keys_unavailable',
  'kube_unavailable',
  'store_unavailable',
  'audit_unavailable',
];

export function createSources(options: SourcesOptions): Sources {
  const { clock, random, log, metrics, proxies } = options;
  const spent = createBuckets({
    perSecond: options.refusalsPerSecond,
    burstSeconds: BURST_SECONDS,
    maxKeys: MAX_SOURCES,
    clock,
  });
  const crowd = createFairQueue<Waiter>(MAX_CROWD);
  const lane = createFairQueue<Waiter>(MAX_WAITING);
  let begun = 0;
  let isScheduled = false;
  const isSampled = createSampler(clock, RECORDED_PER_SECOND);
  const alarm = createAlarm(clock, log);

  function toVisit(source: string): Visit {
    return {
      charge: () => spent.take(source),
      mayRecord: (reason, isUnproven) => {
        const isFlood = FLOODS.includes(reason) || (isUnproven && spent.isEmpty(source));
        if (!isFlood || isSampled()) return true;
        metrics.countUnrecorded(reason);
        alarm(source);
        return false;
      },
    };
  }

  /** The event loop looks at all connections before the next one of these. */
  function schedule(): void {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(startTurn);
  }

  function startTurn(): void {
    isScheduled = false;
    begun = Math.min(PER_TURN, crowd.size);
    for (let turn = begun; turn > 0; turn -= 1) crowd.next()?.settle(true);
    const late = Math.ceil(lane.size / ROUNDS);
    for (let turn = late; turn > 0; turn -= 1) lane.next()?.settle(true);
    if (begun + crowd.size + lane.size > 0) schedule();
  }

  /** Resolves to false where the source has too many waiting; it gives way itself, or by a later one. */
  async function waitIn(
    queue: FairQueue<Waiter>,
    source: string,
    response: ServerResponse,
  ): Promise<boolean> {
    const turn = { group: source, member: '' };
    const { promise, resolve: settle } = Promise.withResolvers<boolean>();
    const waiter = { settle };
    const leave = () => {
      queue.remove(turn, waiter);
      settle(true);
    };
    response.once('close', leave);
    schedule();
    queue.add(turn, waiter)?.settle(false);
    try {
      return await promise;
    } finally {
      response.off('close', leave);
    }
  }

  async function admitLate(
    source: string,
    { request, response, queue }: Coming & { queue: FairQueue<Waiter> },
  ): Promise<Visit> {
    if (queue === lane) metrics.countDelayed();
    if (await waitIn(queue, source, response)) return toVisit(source);
    metrics.countTurnedAway();
    alarm(source);
    await dropBody(request);
    throw new TurnedAway(1 + Math.floor(random() * 3));
  }

  return {
    waiting: () => lane.size,
    admit: (request, response) => {
      const source = toSource(findPeer(request, proxies));
      if (spent.isEmpty(source)) return admitLate(source, { request, response, queue: lane });
      if (begun >= PER_TURN || crowd.size > 0)
        return admitLate(source, { request, response, queue: crowd });
      begun += 1;
      if (begun >= FEW) schedule();
      return toVisit(source);
    },
  };
}

/** Says every now and then that somebody floods, and how much was not written down. */
function createAlarm(clock: Clock, log: Logger): (source: string) => void {
  let unrecorded = 0;
  let alarmedAt = Number.NEGATIVE_INFINITY;
  return (source) => {
    unrecorded += 1;
    if (clock.now() - alarmedAt < ALARM_EVERY_MS) return;
    alarmedAt = clock.now();
    log.warn(
      { source, unrecorded },
      'refusals are counted and not written down one by one: too many come',
    );
    unrecorded = 0;
  };
}

/** Resolves when it was read, or the connection is gone, or it is not worth reading. */
function dropBody(request: IncomingMessage): Promise<void> {
  const { headers, complete, destroyed } = request;
  // In chunks it may go on for minutes.
  const isEndless = headers['transfer-encoding'] !== undefined;
  const isLong = isEndless || !(Number(headers['content-length'] ?? 0) <= MAX_DROPPED_BYTES);
  if (complete || destroyed || isLong) return Promise.resolve();
  return new Promise((resolve) => {
    request
      .once('end', resolve)
      .once('close', resolve)
      .once('error', () => resolve());
    request.resume();
  });
}
