// Tells a broker that cannot reach this API server which keys sign this cluster's ServiceAccount tokens: at the start of a
// term, as soon as they change, and every half hour, so that the broker knows them to be fresh.
import type { Clock, Random } from '../common/clock.ts';
import { KubeError } from '../common/kube/error.ts';
import type { Logger } from '../common/log.ts';
import { createBell } from './bell.ts';
import { BrokerRefusal, type KeysClient } from './broker-client.ts';
import { type KeySet, parseKeySet } from './keys-set.ts';
import type { TokenHistory } from './keys-tokens.ts';

/**
 * `refused`: the broker's answer was no; `unavailable`: there was none, or one that passes; `unread`: the API server's keys or
 * our own token could not be read.
 */
export type KeysOutcome = (typeof KEYS_OUTCOMES)[number];
export const KEYS_OUTCOMES = ['accepted', 'refused', 'unavailable', 'unread'] as const;

export interface KeyPusher {
  /** Remembers our tokens, also while another controller acts. Resolves when the signal is aborted. */
  watchTokens(signal: AbortSignal): Promise<void>;
  /** Acts until the signal is aborted; resolves when nothing is under way any more. */
  lead(signal: AbortSignal): Promise<void>;
  /** The broker did not believe our token: its keys may be others by now. */
  hurry(): void;
}

export interface KeyPusherOptions {
  /** The API server's key set, as a text. @throws KubeError */
  readonly readKeys: () => Promise<string>;
  /** A connection of its own to a replica of the broker, whichever; those of a store tell one another. */
  readonly connect: () => Promise<KeysClient>;
  readonly tokens: TokenHistory;
  /** How often the API server is asked. */
  readonly everySeconds: number;
  readonly onPush: (outcome: KeysOutcome) => void;
  /** The broker has said no for minutes, or took nothing for an hour: somebody must act. */
  readonly onTrouble: (reason: string) => Promise<void>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

interface Told {
  readonly fingerprint: string;
  readonly at: number;
  readonly againAt: number;
}

export const AGAIN_MS = 30 * 60_000;
const FIRST_WAIT_MS = 1000;
const MAX_WAIT_MS = 60_000;
/** Between two looks, whoever asks for one. */
const LEAST_PAUSE_MS = 1000;
const HURRY_AGAIN_MS = 60_000;
const REFUSED_LONG_MS = 5 * 60_000;
/** An answer that should pass may never: a broker that counts the keys it has as too old says so to everybody. */
const UNTOLD_LONG_MS = 60 * 60_000;
const LOGGED_EVERY_MS = 60_000;
const UNAUTHORIZED = 401;
const TOO_MANY = 429;

export function createKeyPusher(options: KeyPusherOptions): KeyPusher {
  const { tokens, clock, random, log } = options;
  const everyMs = options.everySeconds * 1000;
  const bell = createBell(clock);
  let told: Told | undefined;
  let failures = 0;
  let refusedSince: number | undefined;
  let untoldSince: number | undefined;
  let loggedAt = Number.NEGATIVE_INFINITY;

  async function push({ keys }: KeySet, signal: AbortSignal): Promise<void> {
    const client = await options.connect();
    let refusal: unknown;
    try {
      for (const [age, token] of tokens.list().entries()) {
        try {
          await client.tellKeys(keys, { token, signal });
          if (age > 0) log.info({ age }, 'the broker took the keys by an earlier token of ours');
          return;
        } catch (error) {
          if (!isUnauthorized(error)) throw error;
          // What it says of the newest is what an operator must read.
          refusal ??= error;
        }
      }
    } finally {
      client.close();
    }
    throw refusal;
  }

  /** Whether the broker was told just now. */
  async function tellOnce(signal: AbortSignal): Promise<void> {
    await tokens.remember();
    const set = parseKeySet(await options.readKeys());
    const isNews = set.fingerprint !== told?.fingerprint;
    if (!isNews && told && clock.now() < told.againAt) return;
    await push(set, signal);
    // Spread: clusters that were started together do not come together for ever.
    const at = clock.now();
    told = { fingerprint: set.fingerprint, at, againAt: at + AGAIN_MS * (0.9 + 0.1 * random()) };
    refusedSince = undefined;
    untoldSince = undefined;
    options.onPush('accepted');
    const kids = set.keys.map(({ kid = '' }) => kid);
    if (isNews) log.info({ kids }, "the broker knows this cluster's keys");
  }

  async function fail(error: Error): Promise<void> {
    const outcome = toOutcome(error);
    options.onPush(outcome);
    const reason = error instanceof BrokerRefusal ? error.reason : outcome;
    const isNo = outcome === 'refused';
    refusedSince = isNo ? (refusedSince ?? clock.now()) : undefined;
    untoldSince ??= clock.now();
    if (clock.now() - loggedAt < LOGGED_EVERY_MS) return;
    loggedAt = clock.now();
    const facts = { err: error, reason };
    if (isSince(refusedSince, REFUSED_LONG_MS))
      log.error(facts, "the broker refuses this cluster's keys; see its entry of this cluster");
    else if (isSince(untoldSince, UNTOLD_LONG_MS))
      log.error(facts, "the broker was not told this cluster's keys for an hour");
    else return log.warn(facts, "the broker was not told this cluster's keys");
    await options.onTrouble(reason);
  }

  const isSince = (time: number | undefined, ms: number) =>
    time !== undefined && clock.now() - time >= ms;

  /** Resolves to how long to wait, milliseconds. */
  async function step(signal: AbortSignal): Promise<number> {
    try {
      await tellOnce(signal);
      failures = 0;
      return everyMs;
    } catch (error) {
      if (signal.aborted) return 0;
      await fail(error as Error);
      failures += 1;
      const longest = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(failures - 1, 10));
      return longest * (0.5 + 0.5 * random());
    }
  }

  const pause = (ms: number, signal: AbortSignal) => clock.sleep(ms, signal).catch(() => undefined);

  return {
    watchTokens: async (signal) => {
      while (!signal.aborted) {
        // What cannot be read is said by whoever needs it.
        await tokens.remember().catch(() => undefined);
        await pause(everyMs, signal);
      }
    },
    lead: async (signal) => {
      // What another controller told meanwhile is not known.
      told = undefined;
      failures = 0;
      refusedSince = undefined;
      untoldSince = undefined;
      while (!signal.aborted) {
        const ms = await step(signal);
        await pause(Math.min(ms, LEAST_PAUSE_MS), signal);
        await bell.wait(Math.max(0, ms - LEAST_PAUSE_MS), signal);
      }
    },
    hurry: () => {
      // While it fails it is tried again anyway, at its own pace.
      if (failures > 0) return;
      // Perhaps a broker that was restored from what it knew long ago.
      if (told && clock.now() - told.at > HURRY_AGAIN_MS) told = undefined;
      bell.ring();
    },
  };
}

function isUnauthorized(error: unknown): boolean {
  return error instanceof BrokerRefusal && error.status === UNAUTHORIZED;
}

function toOutcome(error: Error): KeysOutcome {
  if (error instanceof KubeError) return 'unread';
  const isNo = error instanceof BrokerRefusal && error.status < 500 && error.status !== TOO_MANY;
  return isNo ? 'refused' : 'unavailable';
}
