// The keys of a cluster whose controller hands them in: nothing is fetched, the last push counts, and it serves as long as
// fetched keys serve after their last good fetch.
import { isSameKeys, type KeyCache, type KeyCacheOptions, type LoadedKeys } from './jwks.ts';

/** `loadedAt` is when the controller last said that these are its keys, whether or not they were new. */
export type PushedKeys = LoadedKeys;

export interface PushedKeyCache extends KeyCache {
  /** These and no others from now on. */
  replace(pushed: PushedKeys): void;
}

export function createPushedKeyCache(
  options: Omit<KeyCacheOptions, 'load' | 'before'> & { readonly first: PushedKeys },
): PushedKeyCache {
  const { cluster, clock, log, onEvent } = options;
  let { keys, loadedAt } = options.first;

  const findUsable = () =>
    clock.now() - loadedAt <= cluster.maxStalenessSeconds * 1000 ? keys : undefined;

  function alarm(): void {
    if (findUsable()) return;
    const ageSeconds = Math.floor((clock.now() - loadedAt) / 1000);
    log.warn(
      { cluster: cluster.name, ageSeconds },
      "the cluster's controller pushes no keys: those it pushed are too old to be used",
    );
    onEvent?.({ kind: 'failed', cluster: cluster.name });
  }

  return {
    get loadedAt() {
      return loadedAt;
    },
    findUsable,
    findLoaded: () => ({ keys, loadedAt }),
    findFailure: () => undefined,
    refresh: () => Promise.resolve(),
    replace: (pushed) => {
      const isNew = !isSameKeys(keys, pushed.keys);
      if (!isNew && loadedAt === pushed.loadedAt) return;
      ({ keys, loadedAt } = pushed);
      if (isNew) {
        const kids = keys.map((key) => key.kid ?? '');
        log.info({ cluster: cluster.name, kids }, 'cluster keys were pushed');
      }
      onEvent?.({ kind: 'loaded', cluster: cluster.name, keys: keys.length });
    },
    keepFresh: async (signal) => {
      while (!signal.aborted) {
        alarm();
        await clock.sleep(cluster.refreshSeconds * 1000, signal).catch(() => undefined);
      }
    },
  };
}
