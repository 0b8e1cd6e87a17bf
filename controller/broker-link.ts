// One replica of the broker: what it still has to be told, in order, until it says that it knows. A replica that may have
// forgotten (new, or its connection broke) is told everything again.
import type { Clock, Random } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { createBell, FOREVER_MS } from './bell.ts';
import { type BrokerClient, BrokerRefusal } from './broker-client.ts';
import type { Census } from './census.ts';
import type { Death } from './deaths.ts';

export interface BrokerLink {
  /** Tells these, with others of the same moment. */
  add(deaths: readonly Death[]): void;
  /** There is a newer complete set. */
  offerSet(): void;
  countQueued(): number;
  /** Resolves when nothing is under way any more. */
  stop(): Promise<void>;
}

export interface BrokerLinkOptions {
  readonly client: BrokerClient;
  /** What a replica that knows nothing is told. */
  readonly findDeaths: () => readonly Death[];
  readonly findSet: () => Census | undefined;
  readonly onAcknowledged: (deaths: readonly Death[]) => void;
  readonly onSetAcknowledged: () => void;
  readonly onFailure: (reason: string) => void;
  /** More was queued than is kept; a new complete set must say it. */
  readonly onOverflow: () => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** Deaths of one moment (a node, a Deployment) go together. */
export const GATHER_MS = 25;
export const MAX_QUEUED = 10_000;
const MAX_IN_ONE = 1000;
const FIRST_WAIT_MS = 200;
const MAX_WAIT_MS = 5000;
/** Between two times everything is told because connections broke; doubled while they go on breaking. */
const FIRST_GREETING_MS = 1000;
const MAX_GREETING_MS = 60_000;
const LOGGED_EVERY_MS = 60_000;
const CONFLICT = 409;

export function createBrokerLink(options: BrokerLinkOptions): BrokerLink {
  const { client, findDeaths, findSet, clock, random, log } = options;
  const stopping = new AbortController();
  const { signal } = stopping;
  const bell = createBell(clock);
  const queue = new Map<string, Death>();
  let toldSet: Census | undefined;
  let mustGreet = true;
  let greetedAt = Number.NEGATIVE_INFINITY;
  let greetingWait = FIRST_GREETING_MS;
  let failures = 0;
  let loggedAt = Number.NEGATIVE_INFINITY;

  function enqueue(deaths: readonly Death[]): void {
    for (const death of deaths) queue.set(death.uid, death);
    if (queue.size <= MAX_QUEUED) return;
    queue.clear();
    log.warn({ broker: client.address }, 'too many deaths are waiting; a complete set says them');
    options.onOverflow();
  }

  /** Everything again, but not in a circle with somebody who closes each connection. */
  async function greet(): Promise<void> {
    const since = clock.now() - greetedAt;
    greetingWait =
      since < MAX_GREETING_MS ? Math.min(greetingWait * 2, MAX_GREETING_MS) : FIRST_GREETING_MS;
    if (since < greetingWait) await pause(greetingWait - since);
    greetedAt = clock.now();
    mustGreet = false;
    toldSet = undefined;
    // Never so many that they would be dropped at once: the set that follows says the older ones.
    enqueue(findDeaths().slice(-MAX_QUEUED));
  }

  const findUntoldSet = () => {
    const set = findSet();
    return set === toldSet ? undefined : set;
  };
  const hasWork = () => mustGreet || queue.size > 0 || findUntoldSet() !== undefined;

  async function tellDeaths(): Promise<void> {
    const batch = [...queue.values()].slice(0, MAX_IN_ONE);
    await client.tellDead(batch, signal);
    for (const death of batch) if (queue.get(death.uid) === death) queue.delete(death.uid);
    options.onAcknowledged(batch);
  }

  async function tellSet(set: Census): Promise<void> {
    try {
      await client.tellLive(set, signal);
      options.onSetAcknowledged();
    } catch (error) {
      if (!(error instanceof BrokerRefusal) || error.status !== CONFLICT) throw error;
      // It knows a later one, of the controller before us; telling it again would change nothing.
      fail(error);
    }
    toldSet = set;
  }

  async function tellOne(): Promise<void> {
    if (mustGreet) await greet();
    const set = findUntoldSet();
    if (queue.size > 0) await tellDeaths();
    else if (set) await tellSet(set);
    failures = 0;
  }

  function fail(error: Error): void {
    const reason = error instanceof BrokerRefusal ? String(error.status) : 'unreachable';
    options.onFailure(reason);
    if (clock.now() - loggedAt < LOGGED_EVERY_MS) return;
    loggedAt = clock.now();
    const said = error instanceof BrokerRefusal ? { reason: error.reason } : {};
    const queued = queue.size;
    log.warn({ broker: client.address, err: error, queued, ...said }, 'the broker was not told');
  }

  async function work(): Promise<void> {
    while (hasWork() && !signal.aborted) {
      try {
        await tellOne();
      } catch (error) {
        if (signal.aborted) return;
        fail(error as Error);
        failures += 1;
        const longest = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 10));
        await pause(longest * (0.5 + 0.5 * random()));
      }
    }
  }

  const pause = (ms: number) => clock.sleep(ms, signal).catch(() => undefined);

  async function run(): Promise<void> {
    while (!signal.aborted) {
      await work();
      await bell.wait(FOREVER_MS, signal);
      await pause(GATHER_MS);
    }
  }

  client.onConnectionLost(() => {
    mustGreet = true;
    bell.ring();
  });
  const running = run();
  return {
    add: (deaths) => {
      enqueue(deaths);
      bell.ring();
    },
    offerSet: () => bell.ring(),
    countQueued: () => queue.size,
    stop: async () => {
      stopping.abort(new Error('not asked any more'));
      await running;
      client.close();
    },
  };
}
