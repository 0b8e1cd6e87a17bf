// An opaque client token as it is stored: whose it is in columns, and as facts what its subject proved when it was
// issued, so that a renewal can be decided again and introspection can say what a JWT would. The subject token is not
// among them.
import { z } from 'zod';
import {
  type Identity,
  isWorkload,
  toSubject,
  type VerifiedSubject,
} from '../identity/identity.ts';
import type { Role } from '../roles/role.ts';
import type { StoredToken, TokenOwner } from '../store/store.ts';
import type { OpaqueToken } from './opaque.ts';

/** What a subject proved once, for a decision to be made again. Times are seconds since the epoch. */
export interface ProvenSubject {
  readonly subject: VerifiedSubject;
  /** When the token that is renewed was issued first: `maxTtl` and the ceilings count from there. */
  readonly firstIssuedAt: number;
  /** What was promised then; no later role goes beyond. */
  readonly maxExpiresAt: number;
  /** What the token says and goes on saying. */
  readonly policies: readonly string[];
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface OpaqueGrant {
  readonly subject: VerifiedSubject;
  readonly role: Role;
  readonly audience: string;
  readonly scopes: readonly string[];
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly maxExpiresAt: number;
}

const named = z.object({ name: z.string(), uid: z.string() });
const workload = z.object({
  kind: z.literal('workload'),
  cluster: z.string(),
  namespace: z.string(),
  serviceAccount: z.string(),
  serviceAccountUid: z.string(),
  pod: named.optional(),
  node: named.partial({ uid: true }).optional(),
});
const identity = z.discriminatedUnion('kind', [
  workload,
  z.object({ kind: z.literal('oidc'), issuer: z.string(), subject: z.string() }),
  z.object({ kind: z.literal('client'), id: z.string() }),
  z.object({
    kind: z.literal('user'),
    provider: z.string(),
    subject: z.string(),
    groups: z.array(z.string()),
  }),
]);
const claims = z.record(z.string(), z.unknown());
const factsSchema = z.object({
  identity,
  /** The subject token's. */
  issuer: z.string(),
  audiences: z.array(z.string()).min(1),
  issuedAt: z.int(),
  expiresAt: z.int(),
  tokenId: z.string().optional(),
  fingerprint: z.string(),
  subjectClaims: claims,
  /** The role's extra ones. */
  claims,
});

/** The facts of a client token; members that are missing are absent, whatever zod thinks of `undefined`. */
export interface ClientFacts extends Omit<z.infer<typeof factsSchema>, 'identity' | 'tokenId'> {
  readonly identity: Identity;
  readonly tokenId?: string;
}

/** Whose a token of this identity is, as the columns of the store say it. */
export function toOwner(who: Identity): TokenOwner {
  const subject = toSubject(who);
  if (!isWorkload(who)) return { subject };
  return {
    subject,
    cluster: who.cluster,
    namespace: who.namespace,
    serviceAccount: who.serviceAccount,
    serviceAccountUid: who.serviceAccountUid,
    ...(who.pod && { podName: who.pod.name, podUid: who.pod.uid }),
  };
}

/** What is stored of an opaque token. */
export function toStoredToken(grant: OpaqueGrant, { accessor, hash }: OpaqueToken): StoredToken {
  const { subject, role, audience, scopes, issuedAt, expiresAt, maxExpiresAt } = grant;
  const facts: ClientFacts = {
    identity: subject.identity,
    issuer: subject.issuer,
    audiences: [...subject.audiences],
    issuedAt: subject.issuedAt,
    expiresAt: subject.expiresAt,
    ...(subject.tokenId !== undefined && { tokenId: subject.tokenId }),
    fingerprint: subject.fingerprint,
    subjectClaims: { ...subject.claims },
    claims: { ...role.token.claims },
  };
  return {
    ...toOwner(subject.identity),
    hash,
    accessor,
    kind: 'client',
    audience,
    role: role.name,
    scopes,
    policies: role.token.policies,
    issuedAt,
    expiresAt,
    maxExpiresAt,
    facts,
  };
}

/** @throws Error where the facts are not those of a client token of ours; it quotes nothing of them */
export function parseFacts({ facts }: Pick<StoredToken, 'facts'>): ClientFacts {
  const parsed = factsSchema.safeParse(facts);
  if (!parsed.success) throw new Error('the facts of a stored token are not what was stored');
  return parsed.data as ClientFacts;
}

/** What the subject of a stored token proved when it was issued. @throws Error as {@link parseFacts} */
export function toProvenSubject(stored: StoredToken): ProvenSubject {
  const facts = parseFacts(stored);
  return {
    subject: {
      identity: facts.identity,
      issuer: facts.issuer,
      audiences: facts.audiences,
      issuedAt: facts.issuedAt,
      expiresAt: facts.expiresAt,
      ...(facts.tokenId !== undefined && { tokenId: facts.tokenId }),
      fingerprint: facts.fingerprint,
      claims: facts.subjectClaims,
    },
    firstIssuedAt: stored.issuedAt,
    maxExpiresAt: stored.maxExpiresAt,
    policies: stored.policies,
    claims: facts.claims,
  };
}
