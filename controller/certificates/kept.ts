// What the one Secret holds, read: authorities with their keys, former ones with their cross certificates, leaves. Whatever
// cannot be used counts as absent and is named, so that it is mended and told.
import { createPrivateKey, X509Certificate } from 'node:crypto';

/** Key of the Secret to its text; keys that are not ours are nobody's business here. */
export type SecretText = Readonly<Record<string, string | undefined>>;

export const SECRET_KEYS = {
  bundle: 'ca.crt',
  current: { certificate: 'ca-current.crt', key: 'ca-current.key' },
  next: { certificate: 'ca-next.crt', key: 'ca-next.key' },
  former: 'ca-former.json',
} as const;

/** `webhook` has `webhook.crt` and `webhook.key`. */
export function toLeafKeys(part: string): { certificate: string; key: string } {
  return { certificate: `${part}.crt`, key: `${part}.key` };
}

/** Certificates begin this much before they are made: clocks differ. */
export const BACKDATE_MS = 5 * 60 * 1000;

export interface Held {
  /** PEM; of a leaf without its chain. */
  readonly pem: string;
  readonly certificate: X509Certificate;
  /** PEM; undefined where it is lost. */
  readonly key: string | undefined;
}

export interface Former {
  readonly pem: string;
  readonly certificate: X509Certificate;
  /** Milliseconds since the epoch: until then clients are told to trust it. */
  readonly until: number;
  /** PEM: its successor's name and key, signed by it. */
  readonly cross: string | undefined;
}

export interface Kept {
  readonly current: Held | undefined;
  readonly next: Held | undefined;
  /** Newest first. */
  readonly formers: readonly Former[];
  /** There is no certificate at all: the first time. */
  readonly isEmpty: boolean;
  /** Keys of the Secret whose content cannot be used. */
  readonly broken: readonly string[];
}

export function readKept(data: SecretText, now: number): Kept {
  const broken: string[] = [];
  const current = readAuthority(data, SECRET_KEYS.current, { now, broken });
  const next = readAuthority(data, SECRET_KEYS.next, { now, broken });
  const formers = readFormers(data[SECRET_KEYS.former], { now, broken, successor: current });
  return { current, next, formers, isEmpty: isEmpty(data), broken };
}

function isEmpty(data: SecretText): boolean {
  return Object.entries(data).every(
    ([key, text]) => !/^(ca|webhook|broker)[.-]/.test(key) || (text ?? '') === '',
  );
}

/** Undefined where there is no usable certificate; without `key` where only that is lost. */
export function readHeld(
  data: SecretText,
  names: { certificate: string; key: string },
  broken: string[],
): Held | undefined {
  const pem = data[names.certificate] ?? '';
  const certificate = findCertificate(pem);
  if (!certificate) {
    if (pem !== '') broken.push(names.certificate);
    return undefined;
  }
  const key = data[names.key] ?? '';
  const isPair = isKeyOf(certificate, key);
  if (!isPair) broken.push(names.key);
  return { pem: toFirstPem(certificate), certificate, key: isPair ? key : undefined };
}

/** When it was made. */
export function getIssueTime(certificate: X509Certificate): number {
  return certificate.validFromDate.getTime() + BACKDATE_MS;
}

export function getEnd(certificate: X509Certificate): number {
  return certificate.validToDate.getTime();
}

/** As it is stored. */
export function toFormersText(formers: readonly Former[]): string {
  const list = formers.map(({ pem, until, cross }) => ({
    certificate: pem,
    until: new Date(until).toISOString(),
    ...(cross !== undefined && { cross }),
  }));
  return JSON.stringify(list);
}

function readAuthority(
  data: SecretText,
  names: { certificate: string; key: string },
  { now, broken }: { now: number; broken: string[] },
): Held | undefined {
  const held = readHeld(data, names, broken);
  if (!held) return undefined;
  if (held.certificate.ca && getEnd(held.certificate) > now) return held;
  broken.push(names.certificate);
  return undefined;
}

function readFormers(
  text: string | undefined,
  around: { now: number; broken: string[]; successor: Held | undefined },
): readonly Former[] {
  const entries = parseList(text ?? '[]');
  const formers: Former[] = [];
  let successor: X509Certificate | undefined = around.successor?.certificate;
  let isWhole = entries !== undefined;
  for (const entry of entries ?? []) {
    const { certificate: pem, until, cross } = Object(entry) as Record<string, unknown>;
    const certificate = typeof pem === 'string' ? findCertificate(pem) : undefined;
    const untilMs = typeof until === 'string' ? Date.parse(until) : Number.NaN;
    if (typeof pem !== 'string' || !certificate?.ca || Number.isNaN(untilMs)) {
      isWhole = false;
      // Whoever is behind the gap vouches for nobody that is still there.
      successor = undefined;
      continue;
    }
    const isGood = typeof cross === 'string' && isCross(cross, { certificate, successor });
    formers.push({ pem, certificate, until: untilMs, cross: isGood ? cross : undefined });
    successor = certificate;
  }
  if (!isWhole) around.broken.push(SECRET_KEYS.former);
  return formers.filter(({ certificate }) => getEnd(certificate) > around.now);
}

function isCross(
  pem: string,
  {
    certificate,
    successor,
  }: { certificate: X509Certificate; successor: X509Certificate | undefined },
): boolean {
  const cross = findCertificate(pem);
  return (
    cross !== undefined &&
    successor !== undefined &&
    cross.ca &&
    cross.subject === successor.subject &&
    cross.publicKey.equals(successor.publicKey) &&
    cross.verify(certificate.publicKey)
  );
}

function parseList(text: string): readonly unknown[] | undefined {
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list : undefined;
  } catch {
    return undefined;
  }
}

/** The first of a PEM text. */
export function findCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function toFirstPem(certificate: X509Certificate): string {
  return certificate.toString();
}

function isKeyOf(certificate: X509Certificate, pem: string): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(pem));
  } catch {
    return false;
  }
}
