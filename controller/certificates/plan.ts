// What becomes of the Secret now: a pure function of its content and the time. Everything is in the Secret, so that any
// controller goes on where another one stopped, wherever that was.
import { toBundle, toCrosses, turnAuthorities } from './authorities.ts';
import {
  getEnd,
  type Held,
  readKept,
  SECRET_KEYS,
  type SecretText,
  toFormersText,
  toLeafKeys,
} from './kept.ts';
import { describeLeaves, findReason, readLeaves, type StoredLeaf, signLeaf } from './leaves.ts';

export interface LeafWish {
  readonly part: 'webhook' | 'broker';
  /** DNS names and IP addresses. */
  readonly names: readonly string[];
}

export interface Policy {
  /** Of the authorities, for people who read a certificate. */
  readonly name: string;
  readonly leaves: readonly LeafWish[];
  readonly caLifetimeMs: number;
  readonly leafLifetimeMs: number;
  /** So long a new authority is published before it signs. */
  readonly publishMs: number;
}

export interface Moment {
  readonly now: number;
  /** Somebody asked for a new authority. */
  readonly isRotationAsked: boolean;
  /** The API server has the bundle that the Secret holds. */
  readonly isInjected: boolean;
}

export type LeafReason = 'absent' | 'broken' | 'authority' | 'names' | 'early' | 'lifetime' | 'age';

export type Note =
  | { readonly kind: 'authority_created'; readonly reason: 'first' | 'lost' }
  | { readonly kind: 'authority_next'; readonly reason: 'key_lost' | 'age' | 'asked' }
  | { readonly kind: 'authority_promoted'; readonly isCrossed: boolean }
  | { readonly kind: 'leaf_signed'; readonly part: string; readonly reason: LeafReason }
  | { readonly kind: 'mended'; readonly keys: readonly string[] };

export interface Plan {
  /** What the Secret must hold under our keys; undefined: nothing under that key. */
  readonly data: SecretText;
  readonly isChanged: boolean;
  /** The request for a new authority was taken; it must not be taken again. */
  readonly isRotationTaken: boolean;
  readonly notes: readonly Note[];
  /** PEM. */
  readonly bundle: string;
  /** Certificate to the end of its validity, milliseconds since the epoch. */
  readonly ends: Readonly<Record<string, number>>;
}

export function planCertificates(data: SecretText, moment: Moment, policy: Policy): Plan {
  const { now } = moment;
  const kept = readKept(data, now);
  const broken = [...kept.broken];
  const stored = readLeaves(data, policy.leaves, broken);
  const leaves = describeLeaves(stored, { now, policy });
  const { authorities, notes, isRotationTaken } = turnAuthorities(kept, {
    moment,
    policy,
    leaves,
  });
  const { current, next, formers } = authorities;
  const all = [...notes];
  const signed = stored.map((leaf) => signWhereDue(leaf, { current, now, policy, notes: all }));
  const crosses = toCrosses(authorities, now);
  const bundle = toBundle(authorities, now);
  const planned: SecretText = {
    [SECRET_KEYS.bundle]: bundle,
    ...toEntries(SECRET_KEYS.current, current),
    ...toEntries(SECRET_KEYS.next, next),
    [SECRET_KEYS.former]: toFormersText(formers),
    ...Object.assign(
      {},
      ...signed.map(({ wish, held }) => toEntries(toLeafKeys(wish.part), held, crosses)),
    ),
  };
  const changed = Object.keys(planned).filter((key) => planned[key] !== data[key]);
  const mended = broken.filter((key) => changed.includes(key));
  if (mended.length > 0) all.push({ kind: 'mended', keys: mended });
  return {
    data: planned,
    isChanged: changed.length > 0,
    isRotationTaken,
    notes: all,
    bundle,
    ends: toEnds({ current, next, signed }),
  };
}

interface Signing {
  readonly current: Held;
  readonly now: number;
  readonly policy: Policy;
  readonly notes: Note[];
}

function signWhereDue(leaf: StoredLeaf, { current, now, policy, notes }: Signing): StoredLeaf {
  const reason = findReason(leaf, { now, policy, current });
  // Without a key to sign with the old one is served on; the next authority is on its way.
  if (reason === undefined || current.key === undefined) return leaf;
  notes.push({ kind: 'leaf_signed', part: leaf.wish.part, reason });
  return { wish: leaf.wish, held: signLeaf(leaf.wish, { current, now, policy }) };
}

function toEntries(
  names: { certificate: string; key: string },
  held: Held | undefined,
  chain = '',
): SecretText {
  return {
    [names.certificate]: held && `${held.pem.trim()}\n${chain}`,
    [names.key]: held?.key,
  };
}

function toEnds(around: {
  current: Held;
  next: Held | undefined;
  signed: readonly StoredLeaf[];
}): Record<string, number> {
  const ends: Record<string, number> = { ca: getEnd(around.current.certificate) };
  if (around.next) ends['ca-next'] = getEnd(around.next.certificate);
  for (const { wish, held } of around.signed) if (held) ends[wish.part] = getEnd(held.certificate);
  return ends;
}
