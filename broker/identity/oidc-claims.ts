// The claims of an OIDC issuer's token that say whom it is about, checked one by one. Pure; what such a subject may have
// is for roles to say, over its `sub` and any other claim.
import { type Checked, LEEWAY_SECONDS, type Validity } from './claims.ts';
import type { OidcIdentity } from './identity.ts';

type Claims = Readonly<Record<string, unknown>>;

/** OpenID Connect Core §2: `sub` is at most 255 characters. */
export const MAX_SUBJECT_LENGTH = 255;
// Nothing that hides: controls, line breaks, half characters, marks that turn the direction of writing. Branches and
// environments have blanks and letters of every script in their names.
const PRINTABLE = /^[^\p{C}\p{Zl}\p{Zp}]+$/u;

/** Claims that make a token another thing than a proof of who bears it. */
const REFUSED_CLAIMS = {
  // RFC 7800 §3.1: bound to a key. Whoever exchanges it does not prove the key, and what we issue would not be bound.
  cnf: 'cnf binds the token to a key, which an exchange cannot prove',
  // RFC 8417 §2.2: a logout or another event about the subject, sent to many.
  events: 'events makes it a security event, not a proof of identity',
} as const;

/** Whom the token names: `sub`, as the issuer wrote it. */
export function checkOidcIdentity(claims: Claims, issuer: string): Checked<OidcIdentity> {
  for (const [name, detail] of Object.entries(REFUSED_CLAIMS)) {
    if (Object.hasOwn(claims, name)) return refuse(detail);
  }
  const { sub } = claims;
  if (typeof sub !== 'string' || sub.length > MAX_SUBJECT_LENGTH || !PRINTABLE.test(sub))
    return refuse(`sub is not a printable text of 1 to ${MAX_SUBJECT_LENGTH} characters`);
  if (sub.trim() !== sub) return refuse('sub begins or ends with a blank');
  // The names of Kubernetes itself: a cluster has an entry of its own kind, and nobody else speaks for its subjects.
  if (sub.toLowerCase().startsWith('system:')) {
    return refuse('sub begins with system:, which only clusters may state');
  }
  return { ok: true, value: { kind: 'oidc', issuer, subject: sub } };
}

/** Whether the token was issued recently enough, whatever its `exp`; times in seconds. */
export function checkAge(
  { issuedAt }: Pick<Validity, 'issuedAt'>,
  { now, maxAgeSeconds }: { now: number; maxAgeSeconds: number },
): Checked<undefined> {
  const oldest = now - maxAgeSeconds - LEEWAY_SECONDS;
  if (issuedAt >= oldest) return { ok: true, value: undefined };
  return {
    ok: false,
    reason: 'token_expired',
    detail: `issued ${now - issuedAt} s ago; the issuer's entry allows ${maxAgeSeconds} s`,
    failed: { claim: 'iat', got: issuedAt, want: `>= ${oldest}` },
  };
}

function refuse(detail: string): Checked<never> {
  return { ok: false, reason: 'token_claims', detail };
}
