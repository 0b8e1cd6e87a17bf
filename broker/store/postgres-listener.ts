// The one connection that hears of changes (LISTEN). Because it is always open it is also how an outage is noticed, by
// a question every few seconds, and how its end is: it tries again until the database answers.
import pg from 'pg';
import type { Clock, Random } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { findSqlState } from './postgres-trouble.ts';
import type { StoreChange } from './store.ts';

export const CHANNEL = 'coatcheck_changes';

/** A connection whose other end vanished without a word is found out after both. */
const PING_MS = 5000;
const PING_TIMEOUT_MS = 5000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 3000;

export interface PostgresListener {
  /** Resolves when it hears; throws where the first connection fails. */
  start(onChange: (change: StoreChange) => Promise<void>): Promise<void>;
  findAwaySince(): number | undefined;
  /** Asks at once whether the database is there; for when somebody else could not reach it. */
  check(): void;
  /** Somebody else reached the database: the next attempt to hear of it again is now. */
  hurry(): void;
  close(): Promise<void>;
}

export interface ListenerOptions {
  readonly config: pg.ClientConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export function createPostgresListener(options: ListenerOptions): PostgresListener {
  const { config, clock, random, log } = options;
  const stopping = new AbortController();
  let tell: (change: StoreChange) => Promise<void> = async () => undefined;
  let client: pg.Client | undefined;
  let awaySince: number | undefined;
  let running: Promise<void> = Promise.resolve();
  let lookNow = new AbortController();
  let tryNow = new AbortController();

  async function connect(): Promise<pg.Client> {
    const next = new pg.Client({ ...config, query_timeout: PING_TIMEOUT_MS });
    // Without a listener an 'error' ends the process; the next question finds the connection dead.
    next.on('error', () => lookNow.abort());
    next.on('end', () => lookNow.abort());
    next.on('notification', ({ payload }) => void tell(parseChange(payload)));
    try {
      await next.connect();
      await next.query(`LISTEN ${CHANNEL}`);
    } catch (error) {
      void next.end().catch(() => undefined);
      throw error;
    }
    return next;
  }

  async function isAlive(): Promise<boolean> {
    try {
      await client?.query('SELECT 1');
      return client !== undefined;
    } catch {
      return false;
    }
  }

  async function pause(ms: number): Promise<void> {
    lookNow = new AbortController();
    await clock
      .sleep(ms, AbortSignal.any([stopping.signal, lookNow.signal]))
      .catch(() => undefined);
  }

  async function watch(): Promise<void> {
    while (!stopping.signal.aborted) {
      await pause(PING_MS);
      if (stopping.signal.aborted || (await isAlive())) continue;
      awaySince ??= clock.now();
      log.warn('the store does not answer; what is in memory serves meanwhile');
      void client?.end().catch(() => undefined);
      client = undefined;
      await reconnect();
    }
  }

  async function reconnect(): Promise<void> {
    for (
      let wait = FIRST_RETRY_MS;
      !stopping.signal.aborted;
      wait = Math.min(wait * 2, LONGEST_RETRY_MS)
    ) {
      try {
        client = await connect();
        const awayMs = clock.now() - (awaySince ?? clock.now());
        awaySince = undefined;
        log.info({ awayMs }, 'the store answers again');
        await tell({ topic: 'all' });
        return;
      } catch (error) {
        log.debug({ code: toCode(error) }, 'the store still does not answer');
        // Half of it by chance, so that replicas do not come all at once.
        tryNow = new AbortController();
        const signal = AbortSignal.any([stopping.signal, tryNow.signal]);
        await clock.sleep(wait / 2 + (wait / 2) * random(), signal).catch(() => undefined);
      }
    }
  }

  return {
    start: async (onChange) => {
      tell = onChange;
      client ??= await connect();
      running = watch();
    },
    findAwaySince: () => awaySince,
    check: () => lookNow.abort(),
    hurry: () => tryNow.abort(),
    close: async () => {
      stopping.abort();
      // Two ways at once: a question that hangs ends with the connection.
      await Promise.all([client?.end().catch(() => undefined), running]);
    },
  };
}

const TOPICS = ['denials', 'deaths', 'roles', 'clusters', 'keys', 'clients', 'tokens', 'all'];

/** What cannot be understood (a newer replica, a stranger on the channel) costs a fresh look at everything. */
function parseChange(payload: string | undefined): StoreChange {
  try {
    const change = JSON.parse(payload ?? '') as StoreChange;
    return TOPICS.includes(change.topic) ? change : { topic: 'all' };
  } catch {
    return { topic: 'all' };
  }
}

/** Names what went wrong without the driver's own text, which may quote the connection's settings. */
export function toCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return findSqlState(error) ?? (typeof code === 'string' ? code : 'no_answer');
}
