// The claims of a Kubernetes ServiceAccount token, checked one by one: what they are shaped like, whom they name, when
// they hold. Pure; the signature was verified before, and nothing here believes it was enough.
import type { FailedClaim, Reason } from '../errors.ts';
import type { WorkloadIdentity } from './identity.ts';

/** Clocks of nodes, API servers and brokers differ; RFC 7519 §4.1.4 allows "no more than a few minutes". */
export const LEEWAY_SECONDS = 30;

type Claims = Readonly<Record<string, unknown>>;
export type Checked<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly reason: Reason;
      readonly detail: string;
      readonly failed?: FailedClaim;
    };

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const MAX_SUBDOMAIN = 253;
const MAX_ID = 256;
const MAX_AUDIENCES = 64;
// `kubernetes.io/serviceaccount/namespace` and its like are claims of the tokens that lie in Secrets and never expire.
const LEGACY_CLAIM = 'kubernetes.io/serviceaccount/';

/** Whom the token names: `kubernetes.io` and `sub`, which must agree. */
export function checkWorkload(claims: Claims, cluster: string): Checked<WorkloadIdentity> {
  const kubernetes = claims['kubernetes.io'];
  if (!isObject(kubernetes)) return refuseUnknownShape(claims);
  const { namespace } = kubernetes;
  const account = toReference(kubernetes.serviceaccount);
  if (!isLabel(namespace)) return refuse('kubernetes.io.namespace is not a namespace');
  if (!account || account.uid === undefined)
    return refuse('kubernetes.io.serviceaccount lacks name or uid');
  const sub = `system:serviceaccount:${namespace}:${account.name}`;
  if (claims.sub !== sub) return refuse('sub is not the ServiceAccount of kubernetes.io');
  const pod = kubernetes.pod === undefined ? undefined : toReference(kubernetes.pod);
  if (kubernetes.pod !== undefined && pod?.uid === undefined)
    return refuse('kubernetes.io.pod lacks name or uid');
  const node = kubernetes.node === undefined ? undefined : toReference(kubernetes.node);
  if (kubernetes.node !== undefined && !node) return refuse('kubernetes.io.node lacks a name');
  return {
    ok: true,
    value: {
      kind: 'workload',
      cluster,
      namespace,
      serviceAccount: account.name,
      serviceAccountUid: account.uid,
      ...(pod?.uid === undefined ? {} : { pod: { name: pod.name, uid: pod.uid } }),
      ...(node ? { node } : {}),
    },
  };
}

function refuseUnknownShape(claims: Claims): Checked<never> {
  const isLegacy = Object.keys(claims).some((name) => name.startsWith(LEGACY_CLAIM));
  return refuse(
    isLegacy
      ? 'a ServiceAccount token from a Secret, which never expires; only projected tokens are accepted'
      : 'kubernetes.io is missing or not an object',
  );
}

/** `aud` as a list without repetition, whatever its form. */
export function checkAudiences({ aud }: Claims): Checked<readonly string[]> {
  const list: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (list.length === 0 || list.length > MAX_AUDIENCES || !list.every(isAudience)) {
    const detail = `aud is not a text or a list of 1 to ${MAX_AUDIENCES} texts`;
    return { ok: false, reason: 'token_audience', detail };
  }
  return { ok: true, value: [...new Set(list as readonly string[])] };
}

export interface Validity {
  readonly issuedAt: number;
  /** `exp`, or `warnafter` where that is earlier. */
  readonly expiresAt: number;
  readonly notBefore: number | undefined;
}

/** `iat`, `nbf`, `exp` and `warnafter` as whole seconds. */
export function checkTimes(claims: Claims): Checked<Validity> {
  const { exp, iat, nbf } = claims;
  const warnAfter = isObject(claims['kubernetes.io'])
    ? claims['kubernetes.io'].warnafter
    : undefined;
  if (!isTime(exp)) return refuse('exp is not a time in seconds');
  if (!isTime(iat)) return refuse('iat is not a time in seconds');
  if (nbf !== undefined && !isTime(nbf)) return refuse('nbf is not a time in seconds');
  if (warnAfter !== undefined && !isTime(warnAfter))
    return refuse('warnafter is not a time in seconds');
  // The API server states a year for a pod's default token and means the hour that ends at warnafter.
  return {
    ok: true,
    value: { issuedAt: iat, expiresAt: Math.min(exp, warnAfter ?? exp), notBefore: nbf },
  };
}

/** Whether the token holds at `now` (seconds), give or take {@link LEEWAY_SECONDS}. */
export function checkValidity(
  { issuedAt, expiresAt, notBefore }: Validity,
  now: number,
): Checked<undefined> {
  if (now >= expiresAt + LEEWAY_SECONDS) {
    const failed: FailedClaim = { claim: 'exp', got: expiresAt, want: `> ${now - LEEWAY_SECONDS}` };
    return {
      ok: false,
      reason: 'token_expired',
      detail: `expired ${now - expiresAt} s ago`,
      failed,
    };
  }
  const begins = Math.max(issuedAt, notBefore ?? issuedAt);
  if (now + LEEWAY_SECONDS < begins) {
    const claim = begins === issuedAt ? 'iat' : 'nbf';
    const failed: FailedClaim = { claim, got: begins, want: `<= ${now + LEEWAY_SECONDS}` };
    return {
      ok: false,
      reason: 'token_not_yet_valid',
      detail: `valid in ${begins - now} s`,
      failed,
    };
  }
  return { ok: true, value: undefined };
}

/** `jti`, if there is one. */
export function checkTokenId({ jti }: Claims): Checked<string | undefined> {
  return jti === undefined || isId(jti)
    ? { ok: true, value: jti }
    : refuse('jti is not a short text');
}

function toReference(value: unknown): { name: string; uid?: string } | undefined {
  if (!isObject(value)) return undefined;
  const { name, uid } = value;
  const isName = typeof name === 'string' && name.length <= MAX_SUBDOMAIN && SUBDOMAIN.test(name);
  if (!isName || (uid !== undefined && !isId(uid))) return undefined;
  return uid === undefined ? { name } : { name, uid };
}

function refuse(detail: string): Checked<never> {
  return { ok: false, reason: 'token_claims', detail };
}

function isLabel(value: unknown): value is string {
  return typeof value === 'string' && LABEL.test(value);
}

function isAudience(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

function isId(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && value.length <= MAX_ID;
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
