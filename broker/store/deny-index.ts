// The deny list as it is asked: one token at a time, millions of times. A `jti` is one look-up; a rule stands under its
// narrowest member, so that a token meets only the rules that could be about it.
import type { Denial, StoredToken, TokenFilter, TokenOwner } from './store.ts';

/** What of a checked token a denial can be about. */
export type DeniableToken = TokenOwner & {
  /** `jti`, or the accessor of a looked-up token. */
  readonly tokenId: string;
  /** The role's tag, where the token has a role. */
  readonly roleTag?: string;
  readonly audience?: string;
  /** `iat`. */
  readonly issuedAt: number;
  /** Absent: `client`, as every JWT is. */
  readonly kind?: StoredToken['kind'];
};

export interface DenyIndex {
  find(token: DeniableToken): Denial | undefined;
  has(id: string): boolean;
  add(denial: Denial): void;
}

// Narrowest first.
const MEMBERS = [
  'podUid',
  'podName',
  'serviceAccount',
  'subject',
  'role',
  'namespace',
  'audience',
  'cluster',
  'kind',
] as const satisfies readonly (keyof TokenFilter)[];

type Member = (typeof MEMBERS)[number];

export function createDenyIndex(
  denials: readonly Denial[],
  toRoleTag: (role: string) => string,
): DenyIndex {
  const ids = new Set<string>();
  const byTokenId = new Map<string, Denial>();
  // By the narrowest member, its value, and all that the rule states: of equal rules the one that reaches furthest, so
  // that revoking the same a thousand times costs a look-up no more than once.
  const rules = new Map<Member, Map<string, Map<string, Denial>>>();

  function toKey(match: TokenFilter, member: Member): string | undefined {
    const value = match[member];
    return member === 'role' && value !== undefined ? toRoleTag(value) : value;
  }

  function add(denial: Denial): void {
    if (ids.has(denial.id)) return;
    ids.add(denial.id);
    if (denial.tokenId !== undefined) byTokenId.set(denial.tokenId, denial);
    else addRule(denial);
  }

  function addRule(denial: Denial): void {
    const { match = {} } = denial;
    const member = MEMBERS.find((one) => match[one] !== undefined);
    // A rule that states nothing would be about everybody; no store takes one.
    if (!member) return;
    const values = rules.get(member) ?? new Map<string, Map<string, Denial>>();
    rules.set(member, values);
    const key = toKey(match, member) ?? '';
    const bucket = values.get(key) ?? new Map<string, Denial>();
    values.set(key, bucket);
    const stated = JSON.stringify(MEMBERS.map((one) => match[one] ?? null));
    if (toReach(denial) > toReach(bucket.get(stated))) bucket.set(stated, denial);
  }

  function isAbout({ match = {}, issuedBefore }: Denial, token: DeniableToken): boolean {
    if (issuedBefore !== undefined && token.issuedAt >= issuedBefore) return false;
    return MEMBERS.every((member) => {
      const wanted = toKey(match, member);
      return wanted === undefined || wanted === toValue(token, member);
    });
  }

  for (const denial of denials) add(denial);
  return {
    add,
    has: (id) => ids.has(id),
    find: (token) => {
      const denied = byTokenId.get(token.tokenId);
      if (denied) return denied;
      for (const [member, values] of rules) {
        const value = toValue(token, member);
        const bucket = value === undefined ? undefined : values.get(value);
        for (const denial of bucket?.values() ?? []) if (isAbout(denial, token)) return denial;
      }
      return undefined;
    },
  };
}

/** A rule without a time is about tokens of every time. */
function toReach(denial: Denial | undefined): number {
  return denial ? (denial.issuedBefore ?? Number.POSITIVE_INFINITY) : Number.NEGATIVE_INFINITY;
}

function toValue(token: DeniableToken, member: Member): string | undefined {
  if (member === 'role') return token.roleTag;
  if (member === 'kind') return token.kind ?? 'client';
  return token[member];
}
