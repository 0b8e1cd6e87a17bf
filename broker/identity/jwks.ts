// The keys of one cluster as they stand: fetched ahead of need, by one fetch at a time and at most one per cooldown,
// kept when a fetch fails, and used until they are too old to trust.
import type { Clock } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { Reason } from '../errors.ts';
import type { Cluster } from './clusters.ts';
import { CredentialRefused, type LoadKeys } from './key-sources.ts';
import { parseJwks, type SigningAlgorithm, type VerificationKey } from './keys.ts';

/** What happened to a cluster's keys; for metrics and alarms. */
export type KeysEvent =
  | { readonly kind: 'loaded'; readonly cluster: string; readonly keys: number }
  | { readonly kind: 'failed'; readonly cluster: string }
  | { readonly kind: 'credential_refused'; readonly cluster: string }
  | { readonly kind: 'shared_key'; readonly cluster: string; readonly other: string };

export interface KeyCacheOptions {
  cluster: Pick<Cluster, 'name' | 'refreshSeconds' | 'maxStalenessSeconds' | 'cooldownSeconds'>;
  load: LoadKeys;
  clock: Clock;
  log: Logger;
  onEvent?: ((event: KeysEvent) => void) | undefined;
  /** What a cache of the same source had, where only the pace of its entry changed. */
  before?: LoadedKeys | undefined;
}

export interface LoadedKeys {
  readonly keys: readonly VerificationKey[];
  /** Milliseconds since the epoch. */
  readonly loadedAt: number;
}

export interface KeyCache {
  /** Keys that may be used now; undefined if there are none, or only ones past their staleness. */
  findUsable(): readonly VerificationKey[] | undefined;
  /** Why there are no usable keys, or why the last fetch failed; undefined after a good one. */
  findFailure(): Extract<Reason, 'keys_unavailable' | 'kube_unavailable'> | undefined;
  /** Fetches, or joins the fetch in flight, or does nothing within the cooldown. Never rejects. */
  refresh(): Promise<void>;
  /** Refreshes again and again until the signal aborts; then resolves. */
  keepFresh(signal: AbortSignal): Promise<void>;
  /** Milliseconds since the epoch of the last good fetch. */
  readonly loadedAt: number | undefined;
  /** The last good ones, however old. */
  findLoaded(): LoadedKeys | undefined;
}

// A token without kid, or a set that repeats one, must not buy more than this many verifications.
const MAX_CANDIDATES = 8;

/** Keys that may have signed a token with this header, best first, at most {@link MAX_CANDIDATES}. */
export function findCandidates(
  keys: readonly VerificationKey[],
  header: { alg: SigningAlgorithm; kid: string | undefined },
): readonly VerificationKey[] {
  const found: VerificationKey[] = [];
  for (const key of keys) {
    // A key file made by hand often has no kid: such a key may have signed anything.
    const fits = header.kid === undefined || key.kid === undefined || key.kid === header.kid;
    if (fits && key.algorithms.includes(header.alg)) found.push(key);
    if (found.length === MAX_CANDIDATES) break;
  }
  return found;
}

/** Holds the keys of one cluster. Fetches nothing by itself before `refresh` or `keepFresh`. */
export function createKeyCache(options: KeyCacheOptions): KeyCache {
  const { cluster, load, clock, log, onEvent, before } = options;
  let keys = before?.keys;
  let loadedAt = before?.loadedAt;
  let attemptedAt: number | undefined;
  let failure: 'keys_unavailable' | 'kube_unavailable' | undefined;
  let inFlight: Promise<void> | undefined;

  async function fetchOnce(): Promise<void> {
    try {
      const parsed = parseJwks(await load());
      if (parsed.keys.length === 0)
        throw new Error('the key set holds no key that can verify a token');
      if (failure || !keys || !isSameKeys(keys, parsed.keys)) {
        const kids = parsed.keys.map((key) => key.kid ?? '');
        log.info({ cluster: cluster.name, kids, ignored: parsed.ignored }, 'cluster keys loaded');
      }
      keys = parsed.keys;
      loadedAt = clock.now();
      failure = undefined;
      onEvent?.({ kind: 'loaded', cluster: cluster.name, keys: keys.length });
    } catch (error) {
      fail(error);
    }
  }

  function fail(error: unknown): void {
    const facts = { cluster: cluster.name, err: error, loadedAt };
    if (error instanceof CredentialRefused) {
      failure = 'kube_unavailable';
      log.error(facts, 'the API server refuses the credential of the broker');
      onEvent?.({ kind: 'credential_refused', cluster: cluster.name });
      return;
    }
    failure = 'keys_unavailable';
    log.warn(facts, 'cluster keys could not be fetched');
    onEvent?.({ kind: 'failed', cluster: cluster.name });
  }

  function refresh(): Promise<void> {
    if (inFlight) return inFlight;
    const now = clock.now();
    if (attemptedAt !== undefined && now - attemptedAt < cluster.cooldownSeconds * 1000)
      return Promise.resolve();
    attemptedAt = now;
    inFlight = fetchOnce().finally(() => {
      inFlight = undefined;
    });
    return inFlight;
  }

  return {
    get loadedAt() {
      return loadedAt;
    },
    findUsable: () => {
      const isUsable =
        loadedAt !== undefined && clock.now() - loadedAt <= cluster.maxStalenessSeconds * 1000;
      return isUsable ? keys : undefined;
    },
    findLoaded: () => (keys && loadedAt !== undefined ? { keys, loadedAt } : undefined),
    findFailure: () => failure,
    refresh,
    keepFresh: async (signal) => {
      while (!signal.aborted) {
        await refresh();
        const seconds = failure
          ? Math.min(cluster.cooldownSeconds, cluster.refreshSeconds)
          : cluster.refreshSeconds;
        await clock.sleep(seconds * 1000, signal).catch(() => undefined);
      }
    },
  };
}

/** Whether they are the same keys under the same names, in the same order. */
export function isSameKeys(a: readonly VerificationKey[], b: readonly VerificationKey[]): boolean {
  const name = ({ kid, thumbprint }: VerificationKey) => `${thumbprint} ${kid ?? ''}`;
  return (
    a.length === b.length &&
    a.every((key, index) => name(key) === name(b[index] as VerificationKey))
  );
}
