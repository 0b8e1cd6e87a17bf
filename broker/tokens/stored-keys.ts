// Signing keys kept in the store, the same for every replica: the first one made once, later ones announced, all of them
// sealed. What is in memory (key-ring.ts) signs and is published; the store may be away for as long as it likes.
import { type Clock, nowSeconds } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import { type Store, StoreError } from '../store/store.ts';
import type { KeyAdmin, Rewrapped } from './key-admin.ts';
import { createKeyRing, type KeyRing } from './key-ring.ts';
import { ANNOUNCE_SECONDS, findSurplus, findUnretired, READ_EVERY_MS } from './key-schedule.ts';
import { generateSigningKey, type KeySource, type SigningAlgorithm } from './keys.ts';
import { findSealingName, type Sealing } from './sealing.ts';
import { sealKey } from './stored-key.ts';

export interface StoredKeysOptions {
  readonly store: Pick<Store, 'keys' | 'onChange'>;
  readonly sealing: Sealing;
  /** Of keys made from now on. */
  readonly algorithm: SigningAlgorithm;
  /** Age at which a key gets a successor; 0: only on command. */
  readonly rotationSeconds: number;
  /** The ceiling of every token's life: so long is a key published after it may have signed for the last time. */
  readonly maxTokenTtlSeconds: number;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface StoredKeys extends KeySource {
  readonly admin: KeyAdmin;
  /**
   * Reads the keys, makes the first one where there is none, and keeps up. The store has started before.
   * @throws Error where keys are there and none opens, with the names of the sealing keys that are missing; StoreError
   */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Reads again now, and does what is due; for when the sealing keys have changed. Never rejects. */
  refresh(): Promise<void>;
  /** 0 before the first read. */
  countPublished(): number;
  /** Rows of the store that no sealing key here opens. */
  countUnreadable(): number;
}

const ANNOUNCED = 'a new signing key is announced already and has not begun to sign';

export function createStoredKeys(options: StoredKeysOptions): StoredKeys {
  const { store, clock, log } = options;
  const ring = createKeyRing(options);
  const stopping = new AbortController();
  let loop: Promise<void> = Promise.resolve();
  let last: Promise<unknown> = Promise.resolve();
  let isWaiting = false;
  let isAwayTold = false;

  /** One after the other: what is read by one must not be overtaken by what another read before. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = last.then(work);
    last = mine.catch(() => undefined);
    return mine;
  }

  async function readAndTend(): Promise<void> {
    try {
      await read(options, ring);
      await tend(options, ring);
      isAwayTold = false;
    } catch (error) {
      if (!isAwayTold)
        log.warn({ err: error }, 'signing keys could not be read; the known ones stay in use');
      isAwayTold = true;
    }
  }

  function refresh(): Promise<void> {
    // One that waits for its turn reads whatever has changed until then.
    if (isWaiting) return last.then(() => undefined);
    isWaiting = true;
    return inTurn(() => {
      isWaiting = false;
      return readAndTend();
    });
  }

  return {
    current: ring.current,
    countPublished: () => ring.findCurrent()?.published.length ?? 0,
    countUnreadable: () => ring.unreadable().length,
    refresh,
    admin: {
      source: 'store',
      list: () =>
        inTurn(async () => {
          await read(options, ring);
          return ring.reports();
        }),
      rotate: () =>
        inTurn(async () => {
          await read(options, ring);
          const kid = await announce(options, ring);
          const report = ring.reports().find((one) => one.kid === kid);
          if (!report) throw new StoreError('unavailable', 'the new key is not in the store');
          return report;
        }),
      rewrap: () => inTurn(() => rewrap(options, ring)),
    },
    start: async () => {
      store.onChange(({ topic }) => {
        if (!stopping.signal.aborted && (topic === 'keys' || topic === 'all')) void refresh();
      });
      await inTurn(() => readOrBegin(options, ring));
      loop = (async () => {
        while (!stopping.signal.aborted) {
          await refresh();
          await clock.sleep(READ_EVERY_MS, stopping.signal).catch(() => undefined);
        }
      })();
    },
    stop: async () => {
      stopping.abort();
      await loop;
      await last;
    },
  };
}

async function read({ store }: StoredKeysOptions, ring: KeyRing): Promise<void> {
  ring.take(await store.keys.list());
}

/** The first read of a replica. Where there is no key at all it makes one, unless another replica is quicker. */
async function readOrBegin(options: StoredKeysOptions, ring: KeyRing): Promise<void> {
  const { store, sealing, clock, log } = options;
  const rows = await store.keys.list();
  if (rows.length === 0) {
    const now = nowSeconds(clock);
    const key = generateSigningKey(options.algorithm);
    try {
      // Nobody has any JWKS of ours yet: the first key may sign at once.
      await store.keys.insert(sealKey(sealing, { key, createdAt: now, signsFrom: now }), {
        onlyIfNone: true,
      });
      log.info({ kid: key.kid }, 'the first signing key was made');
    } catch (error) {
      if (!isConflict(error)) throw error;
    }
  }
  await read(options, ring);
  if (!ring.findCurrent()) throw new Error(toUnopenedMessage(ring, sealing));
}

function toUnopenedMessage(ring: KeyRing, sealing: Sealing): string {
  const names = new Set(ring.unreadable().map(({ sealed }) => findSealingName(sealed) ?? '?'));
  return `none of the ${ring.unreadable().length} signing keys in the store opens: they name ${[...names].sort().join(', ')} as their sealing key, and the newest one here is ${sealing.newest()}`;
}

/** What is due. Every replica does it; whoever comes second finds it done. */
async function tend(options: StoredKeysOptions, ring: KeyRing): Promise<void> {
  const { store, clock, rotationSeconds } = options;
  const now = nowSeconds(clock);
  const opened = ring.opened();
  for (const { key } of findSurplus(opened, now)) await store.keys.remove(key.kid);
  for (const { kid, retiresAt } of findUnretired(opened, { now, ...options }))
    await ignoreGone(store.keys.update(kid, { retiresAt }));
  for (const { key, retiresAt } of opened)
    if (retiresAt !== undefined && retiresAt <= now) await store.keys.remove(key.kid);
  const youngest = Math.max(...opened.map(({ createdAt }) => createdAt));
  const isOld = opened.length > 0 && youngest + rotationSeconds <= now;
  if (rotationSeconds === 0 || !isOld) return;
  await announce(options, ring).catch((error: unknown) => {
    // Another replica was quicker by a moment.
    if (!isConflict(error)) throw error;
  });
}

/**
 * Makes a key that signs from ten minutes on. Of two replicas that do so at once one takes its own back.
 * @returns its kid
 * @throws StoreError conflict
 */
async function announce(options: StoredKeysOptions, ring: KeyRing): Promise<string> {
  const { store, sealing, clock, log } = options;
  const createdAt = nowSeconds(clock);
  if (ring.opened().some(({ signsFrom }) => signsFrom > createdAt))
    throw new StoreError('conflict', ANNOUNCED);
  const signsFrom = createdAt + ANNOUNCE_SECONDS;
  const key = generateSigningKey(options.algorithm);
  await store.keys.insert(sealKey(sealing, { key, createdAt, signsFrom }));
  await read(options, ring);
  if (findSurplus(ring.opened(), createdAt).some((one) => one.key.kid === key.kid)) {
    await store.keys.remove(key.kid);
    await read(options, ring);
    throw new StoreError('conflict', ANNOUNCED);
  }
  log.info({ kid: key.kid, signsFrom }, 'a new signing key is announced');
  return key.kid;
}

async function rewrap(options: StoredKeysOptions, ring: KeyRing): Promise<Rewrapped> {
  const { store, sealing, log } = options;
  await read(options, ring);
  let rewrapped = 0;
  for (const opened of ring.opened()) {
    const { kid, sealed } = sealKey(sealing, opened);
    if (await ignoreGone(store.keys.update(kid, { sealed }))) rewrapped += 1;
  }
  await read(options, ring);
  const result = { rewrapped, unreadable: ring.unreadable().length, sealedBy: sealing.newest() };
  log.info(result, 'signing keys were sealed anew');
  return result;
}

/** Whether the row was still there: another replica may have removed it in between. */
async function ignoreGone(update: Promise<void>): Promise<boolean> {
  try {
    await update;
    return true;
  } catch (error) {
    if (error instanceof StoreError && error.kind === 'not_found') return false;
    throw error;
  }
}

function isConflict(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'conflict';
}
