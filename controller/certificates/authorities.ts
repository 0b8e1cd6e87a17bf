// The life of an authority: made and published as the next one, signing after it was visible long enough, then a former one
// that vouches for its successor by a cross certificate, and is trusted until nothing it signed can be alive.
import { randomUUID } from 'node:crypto';
import { crossSign, issueAuthority } from '../../common/certificates.ts';
import {
  BACKDATE_MS,
  type Former,
  findCertificate,
  getEnd,
  getIssueTime,
  type Held,
  type Kept,
} from './kept.ts';
import type { Moment, Note, Policy } from './plan.ts';

/** So many successors later a client that knows one authority alone still verifies what is served. */
export const MAX_CROSSES = 5;
/** More former ones than this in the bundle: no further rotation is begun on request. The exchange takes 16 in all. */
export const MAX_TRUSTED_FORMERS = 4;

export interface Authorities {
  readonly current: Held;
  readonly next: Held | undefined;
  readonly formers: readonly Former[];
}

export interface Turn {
  readonly authorities: Authorities;
  readonly notes: readonly Note[];
  readonly isRotationTaken: boolean;
}

/** What the leaves say that are served now. */
export interface Leaves {
  /** When the last one ends that this authority signed; undefined where it signed none. */
  findEnd(authority: Held): number | undefined;
  /** One is missing, or ends soon, or another authority's. */
  isOneUnusable(current: Held): boolean;
}

/** One step of the authorities. Without a usable one there is a new one, which signs at once. */
export function turnAuthorities(
  kept: Kept,
  around: { moment: Moment; policy: Policy; leaves: Leaves },
): Turn {
  const notes: Note[] = [];
  const { moment, policy, leaves } = around;
  const begun = begin(kept, { moment, policy, notes });
  const { authorities, isRotationTaken } = startRotation(begun, { moment, policy, notes });
  const turned = mayPromote(authorities, { moment, policy, leaves })
    ? promote(authorities, { moment, policy, leaves, notes })
    : authorities;
  return { authorities: dropFormers(turned), notes, isRotationTaken };
}

interface Around {
  readonly moment: Moment;
  readonly policy: Policy;
  readonly notes: Note[];
}

function begin({ current, next: stored, formers, isEmpty }: Kept, around: Around): Authorities {
  const { moment, policy, notes } = around;
  // A next one without its key will never sign; clients that know it know no more than they need.
  const next = stored?.key === undefined ? undefined : stored;
  if (current) return { current, next, formers };
  if (next) {
    notes.push({ kind: 'authority_promoted', isCrossed: false });
    return { current: next, next: undefined, formers };
  }
  notes.push({ kind: 'authority_created', reason: isEmpty ? 'first' : 'lost' });
  return { current: createAuthority(moment.now, policy), next: undefined, formers };
}

function startRotation(
  authorities: Authorities,
  { moment, policy, notes }: Around,
): { authorities: Authorities; isRotationTaken: boolean } {
  const { current, next, formers } = authorities;
  if (next) return { authorities, isRotationTaken: false };
  const { now } = moment;
  const trusted = formers.filter(({ until }) => now < until).length;
  const isAsked = moment.isRotationAsked && trusted < MAX_TRUSTED_FORMERS;
  const reason = findReason(current, { now, isAsked });
  if (!reason) return { authorities, isRotationTaken: false };
  notes.push({ kind: 'authority_next', reason });
  const made = createAuthority(now, policy);
  return { authorities: { ...authorities, next: made }, isRotationTaken: isAsked };
}

function findReason(
  current: Held,
  { now, isAsked }: { now: number; isAsked: boolean },
): 'key_lost' | 'age' | 'asked' | undefined {
  if (current.key === undefined) return 'key_lost';
  const from = getIssueTime(current.certificate);
  if (now >= from + ((getEnd(current.certificate) - from) * 2) / 3) return 'age';
  return isAsked ? 'asked' : undefined;
}

function mayPromote(
  { current, next }: Authorities,
  { moment, policy, leaves }: { moment: Moment; policy: Policy; leaves: Leaves },
): boolean {
  if (!next) return false;
  // Nobody can sign: better one that few know than none.
  if (current.key === undefined && leaves.isOneUnusable(current)) return true;
  if (moment.now < getIssueTime(next.certificate) + policy.publishMs) return false;
  // Where somebody else owns the API server's bundle it cannot wait for ever; the cross certificate helps there, too.
  return moment.isInjected || getEnd(current.certificate) - moment.now < policy.leafLifetimeMs;
}

function promote(
  { current, next, formers }: Authorities,
  { moment, policy, leaves, notes }: Around & { leaves: Leaves },
): Authorities {
  if (!next) throw new TypeError('there is no next authority');
  const { now } = moment;
  const cross = current.key === undefined ? undefined : toCross(next, current, now);
  const lastEnd = Math.max(now, leaves.findEnd(current) ?? now);
  const until = Math.min(lastEnd + policy.publishMs, getEnd(current.certificate));
  notes.push({ kind: 'authority_promoted', isCrossed: cross !== undefined });
  const former = { pem: current.pem, certificate: current.certificate, until, cross };
  return { current: next, next: undefined, formers: [former, ...formers] };
}

/** Those of long ago vouch for nobody whom a client could still reach. */
function dropFormers(authorities: Authorities): Authorities {
  return { ...authorities, formers: authorities.formers.slice(0, MAX_CROSSES) };
}

function toCross(next: Held, current: Held, now: number): string {
  const notAfter = Math.min(getEnd(current.certificate), getEnd(next.certificate));
  return crossSign(
    next.pem,
    { certificate: current.pem, key: current.key ?? '' },
    {
      notBefore: new Date(now - BACKDATE_MS),
      notAfter: new Date(notAfter),
      pathLength: MAX_CROSSES,
    },
  );
}

function createAuthority(now: number, { caLifetimeMs, name }: Policy): Held {
  const { certificate: pem, key } = issueAuthority({
    // Another name for each: verifiers look authorities up by name. X.509 has room for 64 characters.
    commonName:
      `${name} ${new Date(now).toISOString().slice(0, 10)} ${randomUUID().slice(0, 8)}`.slice(-64),
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(now + caLifetimeMs),
    pathLength: MAX_CROSSES,
  });
  const certificate = findCertificate(pem);
  if (!certificate) throw new TypeError('an authority of our own cannot be read');
  return { pem: certificate.toString(), certificate, key };
}

/** What clients are to trust, the one that signs first. PEM. */
export function toBundle({ current, next, formers }: Authorities, now: number): string {
  const trusted = formers.filter(({ until }) => now < until);
  return [current.pem, ...(next ? [next.pem] : []), ...trusted.map(({ pem }) => pem)]
    .map((pem) => `${pem.trim()}\n`)
    .join('');
}

/** What a server sends behind its leaf: the signing authority, as each former one in turn vouches for it. PEM. */
export function toCrosses({ formers }: Authorities, now: number): string {
  const crosses: string[] = [];
  for (const { cross, certificate } of formers) {
    if (cross === undefined || getEnd(certificate) <= now) break;
    crosses.push(`${cross.trim()}\n`);
  }
  return crosses.join('');
}
