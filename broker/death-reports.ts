// What a cluster's controller reports of the dead and the living, put to work: it holds here at once, is stored for a
// restart and for the other replicas, is taken out of the caches, and ends what the dead have stored.
import { type Clock, nowSeconds } from '../common/clock.ts';
import type { Logger } from '../common/log.ts';
import { toSetInPieces } from './breathe.ts';
import { createBuckets } from './buckets.ts';
import { BrokerError } from './errors.ts';
import type { Dead, Liveness, LiveSet } from './identity/liveness.ts';
import type { Validator } from './identity/validate.ts';
import type { Metrics } from './metrics.ts';
import type { Store, StoreChange, StoredDeath } from './store/store.ts';

/** A death as it is reported; milliseconds since the epoch. */
export type ReportedDead = Pick<Dead, 'kind' | 'uid' | 'diedAt'>;

export interface DeathReports {
  /**
   * Holds on this replica from before it resolves; when it resolved, also after a restart. Resolves to how many were news.
   * @throws StoreError unavailable: it holds here, and is not stored yet
   * @throws BrokerError too_many_requests: the cluster told of too many; nothing holds
   */
  reportDead(cluster: string, dead: readonly ReportedDead[]): Promise<number>;
  /**
   * Resolves to how many died since the set before; to undefined, and nothing is changed, where a later one is known.
   * @throws StoreError as above
   */
  reportLive(cluster: string, set: LiveSet): Promise<number | undefined>;
  /** Resolves when what is stored was read. @throws StoreError */
  start(): Promise<void>;
  /** Gives up what waits to be revoked: it is refused all the same. */
  stop(): Promise<void>;
}

export interface DeathReportsDeps {
  readonly liveness: Liveness;
  /** Absent with `store: none`: each replica knows what it was told itself, until it ends. */
  readonly store?: Pick<Store, 'deaths' | 'tokens' | 'onChange'> | undefined;
  readonly evict: Validator['evict'];
  /** Those that could ever report. */
  readonly findClusters: () => readonly string[];
  /** As in {@link LivenessOptions}. */
  readonly keepSeconds: number;
  readonly alarmSeconds: number;
  /** How many wait while the store is away; {@link MAX_UNSAVED} unless stated. */
  readonly maxUnsaved?: number;
  readonly metrics: Pick<Metrics, 'countDeaths'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * What one cluster may have told as news: the largest loses everything at once, and then so many pods a second for ever. Each
 * is a row for as long as it is remembered, and whoever took over a controller must not fill the store that all share.
 */
export const DEATHS_PER_SECOND = 50;
const DEATHS_AT_ONCE = 250_000;
const MAX_CLUSTERS = 2000;

/** A safety net, as the mirror has one; and the pace of the alarm. */
const ROUND_MS = 60_000;
/** Replicas' clocks differ, and a slow write is seen late. */
const OVERLAP_SECONDS = 600;
/** While the store is away; about 200 bytes each. */
const MAX_UNSAVED = 100_000;

export function createDeathReports(deps: DeathReportsDeps): DeathReports {
  const { liveness, store, clock, log, maxUnsaved = MAX_UNSAVED } = deps;
  const stopping = new AbortController();
  // Of writes that failed: they hold here, and are written with the next report or in the next round.
  const unsaved = new Map<string, StoredDeath>();
  let readUntil = 0;
  let running: Promise<unknown> = Promise.resolve();
  let revoking: Promise<void> = Promise.resolve();
  const alarm = createAlarm(deps);
  const told = createBuckets({
    perSecond: DEATHS_PER_SECOND,
    burstSeconds: DEATHS_AT_ONCE / DEATHS_PER_SECOND,
    maxKeys: MAX_CLUSTERS,
    clock,
  });

  function checkPace(cluster: string): void {
    if (!told.isEmpty(cluster)) return;
    throw new BrokerError(
      'too_many_requests',
      `cluster ${cluster} reported more than ${DEATHS_AT_ONCE} deaths, and goes on with more than ${DEATHS_PER_SECOND} a second`,
      { retryAfterSeconds: Math.max(1, Math.ceil(told.secondsUntilNext(cluster))) },
    );
  }

  /** From now on nobody here believes them. */
  function bury(cluster: string, dead: readonly Dead[]): void {
    if (dead.length === 0) return;
    deps.evict(cluster, { uids: new Set(dead.map(({ uid }) => uid)) });
    deps.metrics.countDeaths(cluster, dead);
  }

  /** They hold here all the same; the next complete set says them to whoever asks the store. */
  function forgetOldest(): void {
    for (const key of unsaved.keys()) {
      if (unsaved.size <= maxUnsaved) break;
      unsaved.delete(key);
    }
  }

  async function save(deaths: readonly StoredDeath[]): Promise<void> {
    if (!store) return;
    for (const death of deaths) unsaved.set(toKey(death), death);
    const all = [...unsaved.values()];
    const added = await store.deaths.add(all).catch((error: unknown) => {
      forgetOldest();
      throw error;
    });
    for (const death of all) unsaved.delete(toKey(death));
    // By the replica that stored it first, and by no other.
    revoking = revoking.then(() => revoke(added));
  }

  async function revoke(deaths: readonly StoredDeath[]): Promise<void> {
    for (const { kind, cluster, uid } of deaths) {
      if (stopping.signal.aborted) return;
      if (kind !== 'Pod') continue;
      await store?.tokens.revokeWhere({ cluster, podUid: uid }).catch((error: unknown) => {
        log.warn({ err: error, cluster }, 'the tokens of a dead pod could not be taken out');
      });
    }
  }

  /** What others stored. */
  function take(deaths: readonly StoredDeath[]): void {
    for (const [cluster, ofCluster] of Map.groupBy(deaths, (death) => death.cluster))
      bury(cluster, liveness.addDead(cluster, ofCluster.map(toDead)));
  }

  async function readStored(): Promise<void> {
    const now = nowSeconds(clock);
    const deaths = await store?.deaths.list({
      now,
      reportedSince: Math.max(0, readUntil - OVERLAP_SECONDS),
    });
    readUntil = now;
    take(deaths ?? []);
  }

  async function onChange(change: StoreChange): Promise<void> {
    if (change.topic !== 'deaths' && change.topic !== 'all') return;
    try {
      if (change.topic === 'deaths' && isNamed(change)) {
        take((await store?.deaths.findMany(change.cluster, change.uids)) ?? []);
      } else await readStored();
    } catch (error) {
      log.warn({ err: error }, 'deaths in the store could not be read; they are read again');
    }
  }

  async function goRound(): Promise<void> {
    while (!stopping.signal.aborted) {
      await clock.sleep(ROUND_MS, stopping.signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      alarm();
      const there = new Set(deps.findClusters());
      liveness.sweep((name) => there.has(name));
      try {
        if (unsaved.size > 0) await save([]);
        await readStored();
      } catch (error) {
        log.warn({ err: error }, 'the deaths in the store could not be read or written');
      }
    }
  }

  function toStored(cluster: string, { kind, uid, diedAt, reportedAt }: Dead): StoredDeath {
    const reported = Math.floor(reportedAt / 1000);
    return {
      cluster,
      kind,
      uid,
      diedAt: Math.floor(diedAt / 1000),
      reportedAt: reported,
      until: reported + deps.keepSeconds,
    };
  }

  return {
    reportDead: async (cluster, dead) => {
      checkPace(cluster);
      const now = clock.now();
      const reported = dead.map(({ kind, uid, diedAt }) => ({
        kind,
        uid,
        diedAt: Math.min(diedAt, now),
        reportedAt: now,
      }));
      const news = liveness.addDead(cluster, reported);
      told.take(cluster, news.length);
      bury(cluster, news);
      // All of them: what is known here may not be stored, where the call before failed.
      await save(reported.map((one) => toStored(cluster, one)));
      return news.length;
    },
    reportLive: async (cluster, set) => {
      checkPace(cluster);
      // In pieces what takes long, at once what must not be seen half done.
      const pods = await toSetInPieces([...set.pods]);
      const serviceAccounts = await toSetInPieces([...set.serviceAccounts]);
      const gone = liveness.replaceLive(cluster, { ...set, pods, serviceAccounts });
      if (!gone) return undefined;
      told.take(cluster, gone.length);
      bury(cluster, gone);
      await save(gone.map((one) => toStored(cluster, one)));
      return gone.length;
    },
    start: async () => {
      store?.onChange(onChange);
      await readStored();
      running = goRound();
    },
    stop: async () => {
      stopping.abort();
      await running;
      await revoking;
    },
  };
}

/** Says of each cluster that reported once, and then no more, that it is silent; once per round. */
function createAlarm({ findClusters, liveness, clock, log, alarmSeconds }: DeathReportsDeps) {
  const silent = new Set<string>();
  return (): void => {
    for (const cluster of findClusters()) {
      const report = liveness.findReport(cluster);
      if (!report) continue;
      const ageSeconds = Math.floor((clock.now() - report.receivedAt) / 1000);
      if (ageSeconds > alarmSeconds) {
        silent.add(cluster);
        log.warn(
          { cluster, ageSeconds, alarmSeconds },
          "the cluster's controller does not report who lives: tokens of the dead may pass",
        );
      } else if (silent.delete(cluster)) {
        log.info({ cluster }, "the cluster's controller reports again");
      }
    }
  };
}

type NamedDeaths = { readonly cluster: string; readonly uids: readonly string[] };

/** Anybody on the database's channel can say anything. */
function isNamed(change: {
  readonly cluster?: unknown;
  readonly uids?: unknown;
}): change is NamedDeaths {
  return (
    typeof change.cluster === 'string' &&
    Array.isArray(change.uids) &&
    change.uids.every((uid) => typeof uid === 'string')
  );
}

function toDead({ kind, uid, diedAt, reportedAt }: StoredDeath): Dead {
  return { kind, uid, diedAt: diedAt * 1000, reportedAt: reportedAt * 1000 };
}

function toKey({ cluster, kind, uid }: StoredDeath): string {
  return `${cluster} ${kind} ${uid}`;
}
