// Which token of ours a text is, and whether it lives: verified (JWT) or looked up (opaque, static), within its times,
// not denied. The one answer that introspection, /verify, lookups and the broker's own callers are given.
import { type Clock, nowSeconds } from '../../common/clock.ts';
import { BrokerError } from '../errors.ts';
import type { Identity } from '../identity/identity.ts';
import type { DeniableToken } from '../store/deny-index.ts';
import type { Mirror } from '../store/mirror.ts';
import { type StoredToken, StoreError } from '../store/store.ts';
import { toClaims } from './issue.ts';
import type { KeySource } from './keys.ts';
import { createJwtVerifier, type VerifiedJwt } from './live-jwt.ts';
import { hashToken, parseOpaqueToken } from './opaque.ts';
import { type ClientFacts, parseFacts, toOwner } from './records.ts';
import { findRoleTag, toRoleTag } from './token-id.ts';

/** Replicas' clocks differ: a token that another one issued may seem to begin in a moment. No leeway at the end. */
export const BEGIN_LEEWAY_SECONDS = 5;

/** A token that holds now. Times are seconds since the epoch. */
export interface LiveToken {
  readonly kind: 'jwt' | StoredToken['kind'];
  /** `sub`. */
  readonly subject: string;
  /** Absent for static tokens: somebody made them by name, nobody proved to be one. */
  readonly identity?: Identity;
  /** Absent only for static tokens that open nothing but the broker. */
  readonly audience?: string;
  /** The role's name; a JWT holds only its tag. */
  readonly role?: string;
  readonly roleTag?: string;
  readonly scopes: readonly string[];
  readonly policies: readonly string[];
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Of a looked-up token: no renewal goes beyond. */
  readonly maxExpiresAt?: number;
  /** `jti`, or the accessor of a looked-up token. */
  readonly tokenId: string;
  /** Of a looked-up token. */
  readonly accessor?: string;
  /** Of a static token. */
  readonly name?: string;
  /** The members that introspection answers with: a JWT's own, or what a JWT would say. */
  readonly claims: Readonly<Record<string, unknown>>;
  /** What is stored of a looked-up token. */
  readonly stored?: StoredToken;
}

export interface LiveTokens {
  /**
   * The token, if it is one of ours and holds now; undefined for every other text.
   * @throws BrokerError `store_unavailable` where nobody can say: it may have been revoked
   */
  findLive(text: string): Promise<LiveToken | undefined>;
  /** A JWT of ours within its times, denied or not; undefined for every other text. Never asks the store. */
  findJwt(text: string): LiveToken | undefined;
}

export interface LiveDeps {
  readonly keys: KeySource;
  /** Our own issuer first, then those we had before. */
  readonly issuers: readonly string[];
  /** Absent with `store: none`: then JWTs live until they end, and nothing is looked up. */
  readonly mirror?: Pick<Mirror, 'findDenial' | 'checkFresh' | 'findToken'>;
  /** Of a token's holder and `iat`: how it died, if it did. Absent: nobody is known to be dead. */
  readonly findDeath?: (who: Identity, issuedAt: number) => object | undefined;
  /** Whether who a token is about still stands in the table of clusters. Absent: everybody does. */
  readonly isTrusted?: (who: Identity) => boolean;
  readonly clock: Clock;
  /** Hashes of tokens of another form than ours that are looked up all the same: the operator's bootstrap token. */
  readonly isLookedUp?: (hash: string) => boolean;
}

export function createLiveTokens(deps: LiveDeps): LiveTokens {
  const { mirror, clock, isLookedUp = () => false } = deps;
  const [issuer = ''] = deps.issuers;
  const jwts = createJwtVerifier(deps);
  // By the object: the mirror gives the same one until something changed.
  const factsOf = new WeakMap<StoredToken, ClientFacts>();
  const liveOf = new WeakMap<StoredToken, LiveToken>();

  function findJwt(text: string): LiveToken | undefined {
    const jwt = jwts.find(text);
    if (!jwt) return undefined;
    const now = nowSeconds(clock);
    const begins = Math.max(jwt.notBefore, jwt.issuedAt);
    if (now >= jwt.expiresAt || now + BEGIN_LEEWAY_SECONDS < begins) return undefined;
    return toLiveJwt(jwt);
  }

  async function findStored(hash: string): Promise<LiveToken | undefined> {
    const stored = await mirror?.findToken(hash);
    if (!stored || nowSeconds(clock) >= stored.expiresAt) return undefined;
    const known = liveOf.get(stored);
    if (known) return known;
    const live = toLive(stored);
    liveOf.set(stored, live);
    return live;
  }

  function toLive(stored: StoredToken): LiveToken {
    if (stored.kind === 'static') return toLiveStatic(stored, issuer);
    const facts = parseFacts(stored);
    factsOf.set(stored, facts);
    return toLiveClient(stored, { facts, issuer });
  }

  function isDenied(live: LiveToken): boolean {
    return mirror?.findDenial(toDeniable(live)) !== undefined;
  }

  /** Whose token it was, and whether its cluster is still one of ours; a stored one by when the subject token was issued, which the cluster's own clock says. */
  function isOver({ identity, issuedAt, stored }: LiveToken): boolean {
    if (!identity) return false;
    if (deps.isTrusted?.(identity) === false) return true;
    const since = (stored && factsOf.get(stored)?.issuedAt) ?? issuedAt;
    return deps.findDeath?.(identity, since) !== undefined;
  }

  return {
    findJwt,
    findLive: async (text) => {
      try {
        const jwt = findJwt(text);
        // First whether we may say anything: what is remembered of revocations may be too old.
        if (jwt) mirror?.checkFresh();
        const hash = jwt ? undefined : findHash(text, isLookedUp);
        const live = jwt ?? (hash === undefined ? undefined : await findStored(hash));
        return live && !isDenied(live) && !isOver(live) ? live : undefined;
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        throw new BrokerError('store_unavailable', 'the store cannot say whether a token lives', {
          cause: error,
        });
      }
    },
  };
}

/** What of a live token a denial can be about. */
export function toDeniable(live: LiveToken): DeniableToken {
  const { identity, subject, tokenId, audience, roleTag, issuedAt, kind } = live;
  return {
    ...(identity ? toOwner(identity) : { subject }),
    tokenId,
    ...(audience !== undefined && { audience }),
    ...(roleTag !== undefined && { roleTag }),
    issuedAt,
    kind: kind === 'static' ? kind : 'client',
  };
}

/** Garbage costs no look-up: the form and its checksum come first. */
function findHash(text: string, isLookedUp: (hash: string) => boolean): string | undefined {
  const opaque = parseOpaqueToken(text);
  if (opaque) return opaque.hash;
  const hash = hashToken(text);
  return isLookedUp(hash) ? hash : undefined;
}

function toLiveJwt(jwt: VerifiedJwt): LiveToken {
  const { notBefore: _notBefore, ...rest } = jwt;
  const roleTag = findRoleTag(jwt.tokenId);
  return { kind: 'jwt', ...rest, ...(roleTag !== undefined && { roleTag }) };
}

function toLiveClient(
  stored: StoredToken,
  { facts, issuer }: { facts: ClientFacts; issuer: string },
): LiveToken {
  const { role, audience = '' } = stored;
  return {
    ...toCommon(stored),
    identity: facts.identity,
    ...(role !== undefined && { role, roleTag: toRoleTag(role) }),
    claims: toClaims({
      issuer,
      identity: facts.identity,
      audience,
      scopes: stored.scopes,
      policies: stored.policies,
      claims: facts.claims,
      jwtType: 'at+jwt',
      issuedAt: stored.issuedAt,
      expiresAt: stored.expiresAt,
      tokenId: stored.accessor,
    }),
  };
}

function toLiveStatic(stored: StoredToken, issuer: string): LiveToken {
  const { subject, audience, scopes, policies, issuedAt, expiresAt, accessor } = stored;
  return {
    ...toCommon(stored),
    claims: {
      iss: issuer,
      sub: subject,
      client_id: subject,
      ...(audience !== undefined && { aud: audience }),
      iat: issuedAt,
      nbf: issuedAt,
      exp: expiresAt,
      jti: accessor,
      scope: scopes.join(' '),
      policies,
    },
  };
}

function toCommon(stored: StoredToken): Omit<LiveToken, 'claims'> {
  const { kind, subject, audience, scopes, policies, issuedAt, expiresAt, maxExpiresAt } = stored;
  const { accessor, name } = stored;
  return {
    kind,
    subject,
    ...(audience !== undefined && { audience }),
    scopes,
    policies,
    issuedAt,
    expiresAt,
    maxExpiresAt,
    tokenId: accessor,
    accessor,
    ...(name !== undefined && { name }),
    stored,
  };
}
