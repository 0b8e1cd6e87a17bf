// Tells every replica of the broker who died and who lives, while this controller acts; until then it only remembers the
// latest deaths, so that whoever takes over can tell what the one before could not.
import type { Clock, Random } from '../common/clock.ts';
import { KubeError } from '../common/kube/error.ts';
import type { Logger } from '../common/log.ts';
import { formatAddress, type ListenAddress } from '../common/settings.ts';
import { createBell } from './bell.ts';
import type { BrokerClient } from './broker-client.ts';
import { type BrokerLink, createBrokerLink } from './broker-link.ts';
import type { Census } from './census.ts';
import { createDeathLog, type Death } from './deaths.ts';
import type { ControllerMetrics } from './metrics.ts';

export interface Reporter {
  /** Somebody died just now. */
  report(kind: Death['kind'], uids: readonly string[]): void;
  /** What happened may have been missed: complete sets, now and once more when nobody's clock can be in doubt. */
  takeSets(): void;
  /** Acts until the signal is aborted; resolves when nothing is under way any more. */
  lead(signal: AbortSignal): Promise<void>;
  countQueued(): number;
  /** When the last complete set was taken, milliseconds since the epoch. */
  findSetTime(): number | undefined;
}

export interface ReporterOptions {
  /** Every replica of this moment. Rejects where it cannot be said. */
  readonly findReplicas: () => Promise<readonly ListenAddress[]>;
  readonly createClient: (address: ListenAddress) => BrokerClient;
  readonly takeCensus: (signal: AbortSignal) => Promise<Census>;
  readonly liveSetSeconds: number;
  readonly metrics: ControllerMetrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export const RESOLVE_MS = 5000;
/** A set covers tokens that are older than it by 30 s (skew): after this long one covers all that the first may not. */
export const SECOND_SET_MS = 45_000;
/** Between two lists of everything, whatever asks for one. */
const SET_PAUSE_MS = 10_000;
const RETRY_MS = 2000;
/** Deaths are remembered so much longer than the last set's own time, for the skew of clocks. */
const REMEMBER_MS = 90_000;

export function createReporter(options: ReporterOptions): Reporter {
  const { metrics, clock, random, log } = options;
  const deaths = createDeathLog();
  const links = new Map<string, BrokerLink>();
  /** Who has not acknowledged a death yet. */
  const waiting = new Map<Death, Set<string>>();
  const setBell = createBell(clock);
  const setMs = options.liveSetSeconds * 1000;
  let census: Census | undefined;
  let mustRepeat = true;
  let isLeading = false;

  function takeSets(): void {
    mustRepeat = true;
    setBell.ring();
  }

  function report(kind: Death['kind'], uids: readonly string[]): void {
    for (const uid of uids) {
      const death = { kind, uid, at: clock.now() };
      census?.strike(death);
      if (deaths.add(death)) takeSets();
      metrics.countDeath(kind);
      if (links.size > 0) waiting.set(death, new Set(links.keys()));
      for (const link of links.values()) link.add([death]);
    }
    if (!isLeading) deaths.forgetBefore(clock.now() - setMs - REMEMBER_MS);
  }

  function acknowledge(address: string, told: readonly Death[]): void {
    for (const death of told) {
      const left = waiting.get(death);
      if (!left?.delete(address) || left.size > 0) continue;
      waiting.delete(death);
      metrics.observePush((clock.now() - death.at) / 1000);
    }
  }

  /** Nobody waits for a replica that is gone, or for deaths that a set says instead. */
  function forgetWaiting(address: string): void {
    for (const [death, left] of waiting) {
      left.delete(address);
      if (left.size === 0) waiting.delete(death);
    }
  }

  function openLink(address: ListenAddress): BrokerLink {
    const name = formatAddress(address);
    return createBrokerLink({
      client: options.createClient(address),
      findDeaths: () => deaths.since(Number.NEGATIVE_INFINITY),
      findSet: () => census,
      onAcknowledged: (told) => acknowledge(name, told),
      onSetAcknowledged: () => metrics.countSetPush(name),
      onFailure: (reason) => metrics.countPushFailure(name, reason),
      onOverflow: () => {
        forgetWaiting(name);
        takeSets();
      },
      clock,
      random,
      log,
    });
  }

  async function followReplicas(signal: AbortSignal): Promise<void> {
    let isTroubled = false;
    while (!signal.aborted) {
      try {
        await updateLinks(await options.findReplicas(), signal);
        if (isTroubled) log.info('the replicas of the broker are found again');
        isTroubled = false;
      } catch (error) {
        // Those that are known go on being told.
        if (!isTroubled) log.warn({ err: error }, 'the replicas of the broker cannot be found');
        isTroubled = true;
      }
      await clock.sleep(RESOLVE_MS, signal).catch(() => undefined);
    }
  }

  async function updateLinks(
    replicas: readonly ListenAddress[],
    signal: AbortSignal,
  ): Promise<void> {
    if (signal.aborted) return;
    const wanted = new Map(replicas.map((address) => [formatAddress(address), address]));
    const gone = [...links.keys()].filter((name) => !wanted.has(name));
    for (const [name, address] of wanted) {
      if (links.has(name)) continue;
      log.info({ broker: name }, 'a replica of the broker was found');
      links.set(name, openLink(address));
    }
    await Promise.all(gone.map(closeLink));
  }

  async function closeLink(name: string): Promise<void> {
    const link = links.get(name);
    links.delete(name);
    forgetWaiting(name);
    metrics.forgetBroker(name);
    await link?.stop();
  }

  async function followCensus(signal: AbortSignal): Promise<void> {
    let isTroubled = false;
    while (!signal.aborted) {
      // Whoever asks for sets from here on gets others after this one.
      const isRepeated = mustRepeat;
      mustRepeat = false;
      const problem = await takeSet(signal);
      if (problem) {
        if (!isTroubled) log.warn({ err: problem }, 'not everything that lives could be listed');
        mustRepeat ||= isRepeated;
        await clock.sleep(RETRY_MS, signal).catch(() => undefined);
      } else {
        await clock.sleep(SET_PAUSE_MS, signal).catch(() => undefined);
        const pause = isRepeated ? Math.min(SECOND_SET_MS, setMs) : setMs;
        await setBell.wait(pause - SET_PAUSE_MS, signal);
      }
      isTroubled = problem !== undefined;
    }
  }

  /** Resolves to why there is none. */
  async function takeSet(signal: AbortSignal): Promise<Error | undefined> {
    try {
      useSet(await options.takeCensus(signal));
      return undefined;
    } catch (error) {
      if (signal.aborted) return undefined;
      if (error instanceof KubeError) return error;
      throw error;
    }
  }

  function useSet(next: Census): void {
    for (const death of deaths.since(next.takenAt)) next.strike(death);
    census = next;
    // Only now: until then a new replica is told by the set before and the deaths since.
    deaths.forgetBefore(next.takenAt - REMEMBER_MS);
    const { takenAt, pods, serviceAccounts } = next;
    log.debug(
      { takenAt, pods: pods.size, serviceAccounts: serviceAccounts.size },
      'everything that lives was listed',
    );
    for (const link of links.values()) link.offerSet();
  }

  return {
    report,
    takeSets,
    lead: async (signal) => {
      isLeading = true;
      mustRepeat = true;
      // Of an earlier term: nothing has struck the dead from it since with certainty.
      census = undefined;
      await Promise.all([followReplicas(signal), followCensus(signal), stopLinks(signal)]);
      await Promise.all([...links.keys()].map(closeLink));
      waiting.clear();
      isLeading = false;
    },
    countQueued: () =>
      [...links.values()].reduce((most, link) => Math.max(most, link.countQueued()), 0),
    findSetTime: () => census?.takenAt,
  };

  /** At once, not when the loops come round: what is in flight ends, too. */
  async function stopLinks(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.all([...links.keys()].map(closeLink));
  }
}
