// What a replica keeps of the store in memory so that the hot paths wait for nothing: the deny list, the API roles, and
// the looked-up tokens it saw lately. Kept by the store's changes, read again every minute in case one was missed.
import { type Clock, nowSeconds } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { createDenyIndex, type DeniableToken, type DenyIndex } from './deny-index.ts';
import { createSingleFlight } from './single-flight.ts';
import {
  type Denial,
  type Store,
  type StoreChange,
  type StoredRole,
  type StoredToken,
  StoreError,
} from './store.ts';
import { createTokenCache } from './token-cache.ts';

/** A safety net only; changes arrive at once. */
const RELOAD_MS = 60_000;
/** After a change that could not be read: it may have been a revocation. */
const RETRY_MS = 2000;
/** About 1 KiB each. */
const MAX_CACHED_TOKENS = 20_000;

export interface Mirror {
  /** Resolves when the deny list and the roles were read. @throws StoreError */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** The denial that this token falls under. Never waits, never asks the store. */
  findDenial(token: DeniableToken): Denial | undefined;
  roles(): readonly StoredRole[];
  /** Told after `roles()` changed. */
  onRolesChange(listener: () => void): void;
  /** @throws StoreError unavailable where what is here may be older than the operator allows */
  checkFresh(): void;
  /**
   * From memory where it was looked up lately and no change was told since. A revoked token is never found from the
   * moment that this replica heard of it; nothing is remembered about hashes that were not found.
   * @throws StoreError unavailable: not in memory and the store does not answer, or {@link Mirror.checkFresh}
   */
  findToken(hash: string): Promise<StoredToken | undefined>;
  findObstacles(): readonly string[];
  /** Seconds since the deny list and the roles were last known to be right; undefined before they were read. */
  findAgeSeconds(): number | undefined;
}

export interface MirrorOptions {
  readonly store: Store;
  /** How a JWT names its role (broker/tokens/token-id.ts). */
  readonly toRoleTag: (role: string) => string;
  /** So long what is here is believed while the store is away. */
  readonly maxAwaySeconds: number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly maxCachedTokens?: number;
}

interface Content {
  readonly denials: DenyIndex;
  readonly roles: readonly StoredRole[];
}

export function createMirror(options: MirrorOptions): Mirror {
  const { store, clock, log, toRoleTag } = options;
  const cache = createTokenCache({
    max: options.maxCachedTokens ?? MAX_CACHED_TOKENS,
    maxAgeMs: RELOAD_MS,
    clock,
  });
  const stopping = new AbortController();
  const listeners: (() => void)[] = [];
  let content: Content | undefined;
  // Since when something that changed could not be read; what is here is wrong in an unknown way from then on.
  let staleSince: number | undefined;
  let loadedAt = 0;
  // Denials that came while a load was under way, which may have read the list before them.
  let cameMeanwhile: Denial[] = [];
  let running: Promise<unknown> = Promise.resolve();
  /** Ends the long pause between two loads. */
  let hurry = new AbortController();

  async function load(): Promise<void> {
    const startedAt = clock.now();
    cameMeanwhile = [];
    const [denials, roles] = await Promise.all([
      store.denials.list(nowSeconds(clock)),
      store.roles.list(),
    ]);
    const before = content?.roles;
    content = { denials: createDenyIndex([...denials, ...cameMeanwhile], toRoleTag), roles };
    loadedAt = startedAt;
    if (staleSince !== undefined && staleSince <= startedAt) staleSince = undefined;
    if (!before || !isSameRoles(before, roles)) for (const listener of listeners) listener();
  }

  const loads = createSingleFlight(load);

  async function readDenials(ids: readonly string[]): Promise<void> {
    const denials = content?.denials;
    if (!denials) return loads.again();
    const unknown = ids.filter((id) => !denials.has(id));
    if (unknown.length > 0) addDenials(await store.denials.findMany(unknown));
  }

  function addDenials(added: readonly Denial[]): void {
    cameMeanwhile.push(...added);
    for (const denial of added) if (!content?.denials.has(denial.id)) content?.denials.add(denial);
  }

  async function apply(change: StoreChange): Promise<void> {
    if (change.topic === 'tokens' || change.topic === 'all')
      cache.forget(change.topic === 'tokens' ? change.hash : undefined);
    // Not read back: the store may be gone before it answers, and whoever revokes here is told that it holds.
    if (change.topic === 'denials' && change.added && content) return addDenials(change.added);
    if (change.topic === 'denials' && change.ids) return readDenials(change.ids);
    if (['denials', 'roles', 'all'].includes(change.topic)) await loads.again();
  }

  async function onChange(change: StoreChange): Promise<void> {
    // Before the first read there is nothing to keep right, and that read sees the change.
    if (!content && !loads.isRunning()) return cache.forget();
    try {
      await apply(change);
    } catch (error) {
      noteStale();
      log.warn({ err: error, topic: change.topic }, 'a change in the store could not be read');
    }
  }

  function noteStale(): void {
    if (staleSince !== undefined) return;
    staleSince = clock.now();
    hurry.abort();
  }

  async function reloadNowAndThen(): Promise<void> {
    while (!stopping.signal.aborted) {
      hurry = new AbortController();
      const ms = staleSince === undefined ? RELOAD_MS : RETRY_MS;
      const signal = AbortSignal.any([stopping.signal, hurry.signal]);
      await clock.sleep(ms, signal).catch(() => undefined);
      if (stopping.signal.aborted) return;
      if (hurry.signal.aborted) continue;
      await loads.again().catch((error: unknown) => {
        noteStale();
        log.warn({ err: error }, 'the store could not be read again');
      });
    }
  }

  function findStaleSince(): number | undefined {
    const away = store.findAwaySince();
    if (away === undefined || staleSince === undefined) return away ?? staleSince;
    return Math.min(away, staleSince);
  }

  function checkFresh(): void {
    if (!content) throw new StoreError('unavailable', 'the store was not read yet');
    const since = findStaleSince();
    if (since !== undefined && clock.now() - since > options.maxAwaySeconds * 1000)
      throw new StoreError('unavailable', 'the store has been away for longer than is allowed');
  }

  store.onChange(onChange);

  return {
    start: async () => {
      await loads.again();
      running = reloadNowAndThen();
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
    findDenial: (token) => content?.denials.find(token),
    roles: () => content?.roles ?? [],
    onRolesChange: (listener) => void listeners.push(listener),
    checkFresh,
    findToken: async (hash) => {
      checkFresh();
      const cached = cache.find(hash, { isAway: store.findAwaySince() !== undefined });
      if (cached) return cached;
      const generation = cache.generation();
      const found = await store.tokens.findByHash(hash);
      if (found) cache.put(found, generation);
      return found;
    },
    findObstacles: () => (content ? [] : ['the store was not read yet']),
    findAgeSeconds: () => {
      if (!content) return undefined;
      const rightUntil = findStaleSince() ?? clock.now();
      return Math.max(0, clock.now() - Math.max(rightUntil, loadedAt)) / 1000;
    },
  };
}

/** By what a reader can tell apart; order does not count. */
function isSameRoles(before: readonly StoredRole[], after: readonly StoredRole[]): boolean {
  const key = (role: StoredRole) => `${role.name}\n${role.version}\n${role.updatedAt}`;
  const known = new Set(before.map(key));
  return before.length === after.length && after.every((role) => known.has(key(role)));
}
