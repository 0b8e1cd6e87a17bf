// The serving certificates: signed anew at two thirds of their life, and whenever names, authority or the wanted life changed.
import type { X509Certificate } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';
import { issueCertificate } from '../../common/certificates.ts';
import type { Leaves } from './authorities.ts';
import {
  BACKDATE_MS,
  findCertificate,
  getEnd,
  getIssueTime,
  type Held,
  readHeld,
  type SecretText,
  toLeafKeys,
} from './kept.ts';
import type { LeafReason, LeafWish, Policy } from './plan.ts';

/** At 60 to 67 % of life, another share for each certificate. */
const RENEW_AT = { from: 0.6, to: 2 / 3 };
/** X.509 counts seconds. */
const ROUNDING_MS = 2000;

export interface StoredLeaf {
  readonly wish: LeafWish;
  readonly held: Held | undefined;
}

export function readLeaves(
  data: SecretText,
  wishes: readonly LeafWish[],
  broken: string[],
): readonly StoredLeaf[] {
  return wishes.map((wish) => ({ wish, held: readHeld(data, toLeafKeys(wish.part), broken) }));
}

export function describeLeaves(
  stored: readonly StoredLeaf[],
  around: { now: number; policy: Policy },
): Leaves {
  return {
    findEnd: (authority) => {
      const signed = stored.filter(({ held }) => held && isSignedBy(held.certificate, authority));
      const ends = signed.map(({ held }) => (held ? getEnd(held.certificate) : 0));
      return ends.length > 0 ? Math.max(...ends) : undefined;
    },
    isOneUnusable: (current) =>
      stored.some(({ held }) => !isServable(held, { ...around, current })),
  };
}

/** With a little time before its end: whoever signs anew must be published first. */
function isServable(
  held: Held | undefined,
  { now, policy, current }: { now: number; policy: Policy; current: Held },
): boolean {
  if (held?.key === undefined || !isSignedBy(held.certificate, current)) return false;
  return getEnd(held.certificate) - now > policy.leafLifetimeMs / 6;
}

/** Why it must be signed anew; undefined where it is good. */
export function findReason(
  { wish, held }: StoredLeaf,
  { now, policy, current }: { now: number; policy: Policy; current: Held },
): LeafReason | undefined {
  if (!held) return 'absent';
  if (held.key === undefined) return 'broken';
  const { certificate } = held;
  if (!isSignedBy(certificate, current)) return 'authority';
  if (!hasNames(certificate, wish.names)) return 'names';
  // A clock was ahead, and nobody believes it yet. One that is behind the authority itself is wrong, too, and signs nothing.
  if (isEarly(certificate, now) && !isEarly(current.certificate, now)) return 'early';
  const from = getIssueTime(certificate);
  const life = getEnd(certificate) - from;
  if (life > policy.leafLifetimeMs + ROUNDING_MS) return 'lifetime';
  return now >= from + life * getShare(certificate) ? 'age' : undefined;
}

/** @returns the leaf alone, without a chain */
export function signLeaf(
  { part, names }: LeafWish,
  { current, now, policy }: { current: Held; now: number; policy: Policy },
): Held {
  const end = Math.min(now + policy.leafLifetimeMs, getEnd(current.certificate));
  const request = {
    commonName: part,
    names,
    notBefore: new Date(now - BACKDATE_MS),
    notAfter: new Date(end),
  };
  const authority = { certificate: current.pem, key: current.key ?? '' };
  const { certificate: pem, key } = issueCertificate(request, authority);
  const certificate = findCertificate(pem);
  if (!certificate) throw new TypeError('a certificate of our own cannot be read');
  return { pem: certificate.toString(), certificate, key };
}

function isEarly({ validFromDate }: X509Certificate, now: number): boolean {
  return now < validFromDate.getTime();
}

function isSignedBy(certificate: X509Certificate, { certificate: authority }: Held): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

function hasNames(certificate: X509Certificate, names: readonly string[]): boolean {
  const stated = (certificate.subjectAltName ?? '').split(', ');
  const held = new Set(stated.map((entry) => toPlain(entry.replace(/^(DNS|IP Address):/, ''))));
  const wanted = new Set(names.map(toPlain));
  return held.size === wanted.size && [...held].every((name) => wanted.has(name));
}

/** OpenSSL writes IPv6 addresses out in full; whoever wrote the setting did not. */
function toPlain(name: string): string {
  const family = isIP(name) === 6 ? 'ipv6' : 'ipv4';
  return isIP(name) ? new SocketAddress({ address: name, family }).address : name.toLowerCase();
}

/** Of its own bytes: two that were signed together are not renewed together, and nothing need be stored. */
function getShare({ fingerprint256 }: X509Certificate): number {
  const { from, to } = RENEW_AT;
  return from + ((to - from) * Number.parseInt(fingerprint256.slice(0, 2), 16)) / 255;
}
