// Who floods us with requests that prove nothing. Each such request is charged to the address it came from. An address
// that has used up its share is not locked out, since good pods may stand behind it (SNAT): its requests take turns
// behind everybody else's, and its refusals are counted instead of written down one by one.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, Random } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { createBuckets } from './buckets.ts';
import { BrokerError, type Reason } from './errors.ts';
import { createFairQueue } from './identity/fair-queue.ts';
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
  /** How many wait for their turn. */
  waiting(): number;
}

/** Nothing of the request was looked at; it is counted and has no line of its own. */
export class TurnedAway extends BrokerError {
  constructor(retryAfterSeconds: number) {
    super('too_many_requests', 'too much of what came from this address proved nothing', {
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

export const BURST_SECONDS = 10;
/** About 100 bytes each. */
const MAX_SOURCES = 20_000;
/** Of all sources that wait; a request that waits holds its connection anyway. */
const MAX_WAITING = 1024;
/** Between two looks at the connections of everybody else at least one has its turn, and more where many wait. */
const ROUNDS = 256;
const RECORDED_PER_SECOND = 10;
const ALARM_EVERY_MS = 10_000;
/** So much of a body is read and dropped, so that the connection can be kept: a new one costs us more than them. */
const MAX_DROPPED_BYTES = 64 * 1024;
/** 429 says that something is too much whoever it was; a flood of them must not fill disks. */
const FLOODS: readonly Reason[] = ['too_many_requests'];

export function createSources(options: SourcesOptions): Sources {
  const { clock, random, log, metrics, proxies } = options;
  const spent = createBuckets({
    perSecond: options.refusalsPerSecond,
    burstSeconds: BURST_SECONDS,
    maxKeys: MAX_SOURCES,
    clock,
  });
  const lane = createFairQueue<{ settle(isServed: boolean): void }>(MAX_WAITING);
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

  /** After each look at the connections: the event loop polls between two of these. */
  function serveLane(): void {
    const turns = Math.ceil(lane.size / ROUNDS);
    for (let turn = 0; turn < turns; turn += 1) lane.next()?.settle(true);
    if (lane.size > 0) setImmediate(serveLane);
  }

  /** Resolves to false where the source has too many waiting; it gives way itself, or by a later one. */
  async function waitInLane(source: string, response: ServerResponse): Promise<boolean> {
    const turn = { group: source, member: '' };
    const { promise, resolve: settle } = Promise.withResolvers<boolean>();
    const waiter = { settle };
    const leave = () => {
      lane.remove(turn, waiter);
      settle(true);
    };
    response.once('close', leave);
    if (lane.size === 0) setImmediate(serveLane);
    lane.add(turn, waiter)?.settle(false);
    try {
      return await promise;
    } finally {
      response.off('close', leave);
    }
  }

  async function admitLate(
    source: string,
    { request, response }: { request: IncomingMessage; response: ServerResponse },
  ): Promise<Visit> {
    metrics.countDelayed();
    if (await waitInLane(source, response)) return toVisit(source);
    metrics.countTurnedAway();
    alarm(source);
    await dropBody(request);
    throw new TurnedAway(1 + Math.floor(random() * 3));
  }

  return {
    waiting: () => lane.size,
    admit: (request, response) => {
      const source = toSource(findPeer(request, proxies));
      return spent.isEmpty(source) ? admitLate(source, { request, response }) : toVisit(source);
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
  const length = Number(request.headers['content-length'] ?? 0);
  if (request.complete || request.destroyed || !(length <= MAX_DROPPED_BYTES))
    return Promise.resolve();
  return new Promise((resolve) => {
    request
      .once('end', resolve)
      .once('close', resolve)
      .once('error', () => resolve());
    request.resume();
  });
}
