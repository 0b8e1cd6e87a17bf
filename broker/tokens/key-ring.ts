// What one replica knows of the keys in the store, in memory: the rows it read, those it could open, and the set that
// signs and is published now. No I/O: stored-keys.ts reads and writes.
import type { Clock } from '../../common/clock.ts';
import { nowSeconds } from '../../common/clock.ts';
import type { Logger } from '../../common/log.ts';
import type { StoredKey } from '../store/store.ts';
import type { KeyReport } from './key-admin.ts';
import { addRead, chooseSigning, type Reading, toPublished } from './key-schedule.ts';
import type { KeySet } from './keys.ts';
import { findSealingName, type Sealing } from './sealing.ts';
import { type OpenedKey, openKey } from './stored-key.ts';

export interface KeyRing {
  /** Takes what the store holds now. */
  take(rows: readonly StoredKey[]): void;
  /** The keys that open, retired ones included. */
  opened(): readonly OpenedKey[];
  /** Rows that no sealing key here opens. */
  unreadable(): readonly StoredKey[];
  /** @throws Error before the first key was taken */
  current(): KeySet;
  findCurrent(): KeySet | undefined;
  reports(): readonly KeyReport[];
}

// Signing asks thousands of times a second; the answer changes at full seconds at most.
const CHOOSE_EVERY_MS = 1000;
const KID = /^[\w-]{43}$/;

export function createKeyRing(options: {
  sealing: Sealing;
  maxTokenTtlSeconds: number;
  clock: Clock;
  log: Logger;
}): KeyRing {
  const { sealing, maxTokenTtlSeconds, clock, log } = options;
  let opened: ReadonlyMap<string, OpenedKey> = new Map();
  let unreadable: readonly StoredKey[] = [];
  let reading: Reading | undefined;
  let set: KeySet | undefined;
  let chooseAgainAt = 0;

  function choose(): void {
    const now = nowSeconds(clock);
    chooseAgainAt = clock.now() + CHOOSE_EVERY_MS;
    if (!reading) return;
    const published = toPublished([...opened.values()], { now, maxTokenTtlSeconds });
    const adoptedKid = set?.signing.kid;
    const signing = chooseSigning(published, { now, reading, maxTokenTtlSeconds, adoptedKid });
    // Somebody emptied the table: what was good goes on.
    if (!signing) return;
    const kids = published.map(({ key }) => key.kid);
    const isSame =
      adoptedKid === signing.key.kid && set?.published.map(({ kid }) => kid).join() === kids.join();
    // Same keys, same object: caches of bytes built from it stay valid.
    if (isSame) return;
    set = { signing: signing.key, published: published.map(({ key }) => key) };
    log.info({ signingKid: signing.key.kid, publishedKids: kids }, 'signing keys in use');
  }

  function findCurrent(): KeySet | undefined {
    if (clock.now() >= chooseAgainAt) choose();
    return set;
  }

  return {
    take: (rows) => {
      reading = addRead(reading, nowSeconds(clock));
      const next = new Map<string, OpenedKey>();
      const closed: StoredKey[] = [];
      for (const row of rows) {
        const key = openKey(sealing, row);
        if (!key) closed.push(row);
        const usable = key ?? findKnown(opened, row);
        if (usable) next.set(row.kid, usable);
      }
      opened = next;
      tellUnreadable(log, unreadable, closed);
      unreadable = closed;
      choose();
    },
    opened: () => [...opened.values()],
    unreadable: () => unreadable,
    findCurrent,
    current: () => {
      const found = findCurrent();
      if (!found) throw new Error('no signing key has been loaded');
      return found;
    },
    reports: () => [
      ...toReports([...opened.values()], {
        signingKid: findCurrent()?.signing.kid,
        now: nowSeconds(clock),
        maxTokenTtlSeconds,
      }),
      ...unreadable.filter(({ kid }) => !opened.has(kid)).map(toUnreadableReport),
    ],
  };
}

/**
 * A row that opened before and was then sealed by a key that is not mounted here yet: it is ours all the same. The times
 * are still those that were under the seal.
 */
function findKnown(before: ReadonlyMap<string, OpenedKey>, row: StoredKey): OpenedKey | undefined {
  const known = before.get(row.kid);
  const isSame = known?.createdAt === row.createdAt && known.signsFrom === row.signsFrom;
  if (!known || !isSame) return undefined;
  return {
    ...known,
    retiresAt: row.retiresAt,
    sealedBy: findSealingName(row.sealed) ?? known.sealedBy,
  };
}

/** An alarm: somebody wrote into the database, or a sealing key is missing here. Said once per change. */
function tellUnreadable(
  log: Logger,
  before: readonly StoredKey[],
  now: readonly StoredKey[],
): void {
  const toText = (rows: readonly StoredKey[]) => rows.map(({ kid }) => kid).join();
  if (toText(before) === toText(now)) return;
  if (now.length === 0) {
    log.info('every signing key of the store can be read again');
    return;
  }
  const keys = now.map(({ kid, sealed }) => ({
    // Whoever wrote the row wrote its name too.
    kid: KID.test(kid) ? kid : 'malformed',
    sealedBy: findSealingName(sealed) ?? 'malformed',
  }));
  log.error({ keys }, 'signing keys of the store cannot be opened; they are not published');
}

function toReports(
  opened: readonly OpenedKey[],
  given: { signingKid: string | undefined; now: number; maxTokenTtlSeconds: number },
): readonly KeyReport[] {
  const published = toPublished(opened, given);
  const signingAt = published.findIndex(({ key }) => key.kid === given.signingKid);
  return published.map(({ key, createdAt, signsFrom, retiresAt }, i) => {
    const sealedBy = opened.find((one) => one.key.kid === key.kid)?.sealedBy;
    return {
      kid: key.kid,
      algorithm: key.algorithm,
      state: toState(i, signingAt),
      createdAt,
      signsFrom,
      ...(retiresAt !== undefined && { retiresAt }),
      ...(sealedBy !== undefined && { sealedBy }),
    };
  });
}

function toState(index: number, signingAt: number): KeyReport['state'] {
  if (index === signingAt) return 'signing';
  return index > signingAt ? 'upcoming' : 'published';
}

function toUnreadableReport({ kid, sealed, ...times }: StoredKey): KeyReport {
  const sealedBy = findSealingName(sealed);
  return {
    kid: KID.test(kid) ? kid : 'malformed',
    state: 'unreadable',
    createdAt: times.createdAt,
    signsFrom: times.signsFrom,
    ...(times.retiresAt !== undefined && { retiresAt: times.retiresAt }),
    ...(sealedBy !== undefined && { sealedBy }),
  };
}
