// The tokens that were looked up lately, least recently used first out. Only what was found: a hash that is unknown now
// may be a token in a moment.
import type { Clock } from '../../common/clock.ts';
import type { StoredToken } from './store.ts';

export interface TokenCache {
  /** @param state while the store is away an entry of any age is better than nothing */
  find(hash: string, state: { readonly isAway: boolean }): StoredToken | undefined;
  /** Counts up with everything that is forgotten; to be taken before the look-up. */
  generation(): number;
  /** Keeps nothing where something was forgotten since: the look-up may have seen what was before. */
  put(token: StoredToken, generation: number): void;
  /** One, or all. */
  forget(hash?: string): void;
}

interface Entry {
  readonly token: StoredToken;
  readonly at: number;
}

export function createTokenCache({
  max,
  maxAgeMs,
  clock,
}: {
  max: number;
  maxAgeMs: number;
  clock: Clock;
}): TokenCache {
  // A Map keeps the order of insertion: the first is the one used least recently.
  const entries = new Map<string, Entry>();
  let generation = 0;
  return {
    generation: () => generation,
    find: (hash, { isAway }) => {
      const entry = entries.get(hash);
      if (!entry) return undefined;
      if (!isAway && clock.now() - entry.at > maxAgeMs) return undefined;
      entries.delete(hash);
      entries.set(hash, entry);
      return entry.token;
    },
    put: (token, since) => {
      if (since !== generation) return;
      entries.delete(token.hash);
      entries.set(token.hash, { token, at: clock.now() });
      if (entries.size <= max) return;
      const [oldest] = entries.keys();
      if (oldest !== undefined) entries.delete(oldest);
    },
    forget: (hash) => {
      generation += 1;
      if (hash === undefined) entries.clear();
      else entries.delete(hash);
    },
  };
}
