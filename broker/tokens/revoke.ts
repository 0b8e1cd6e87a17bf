// The end of tokens before their time: one by possession, one by its name, many by whose they are. What is stored is
// taken out of the store; what nobody stored (JWTs) gets an entry in the deny list, which every replica holds in memory.
import { type Clock, nowSeconds } from '../../common/clock.ts';
import { BrokerError } from '../errors.ts';
import { type Denial, type Store, StoreError, type TokenFilter } from '../store/store.ts';
import { type LiveToken, type LiveTokens, toDeniable } from './live.ts';
import { createSelfRevocations } from './self-revocations.ts';

/** How long an entry outlives its token: no replica's clock is that far behind. */
const MARGIN_SECONDS = 60;

/** By what a revocation was asked for. */
export type RevocationWay = 'possession' | 'accessor' | 'token_id' | 'bulk';

export interface BulkResult {
  /** Stored tokens that were taken out. */
  readonly tokens: number;
  /** The rule for JWTs that match; absent where no JWT can. */
  readonly denial?: Denial;
}

export interface Revoker {
  /**
   * Revokes the token that is shown; whoever has it may.
   * @returns the token it was; undefined where the text is no live token of ours, so that there is nothing to do
   * @throws BrokerError `revocation_unsupported` (a live JWT, and no store), `store_unavailable`, `too_many_requests`
   */
  revokeShown(text: string): Promise<LiveToken | undefined>;
  /** Resolves to whether there was one. @throws BrokerError `store_missing`, `store_unavailable` */
  revokeByAccessor(accessor: string, by: string): Promise<boolean>;
  /** Denies the `jti` whether or not it was ever issued. @throws BrokerError as above */
  revokeByTokenId(tokenId: string, by: string): Promise<Denial>;
  /**
   * Revokes every token that fits and was issued until now; tokens issued from the next second on are not touched.
   * @throws BrokerError `parameter_missing` for a filter that states nothing, and as above
   */
  revokeWhere(filter: TokenFilter, by: string): Promise<BulkResult>;
}

export interface RevokerDeps {
  readonly store?: Pick<Store, 'tokens' | 'denials'>;
  readonly tokens: LiveTokens;
  readonly clock: Clock;
  readonly newId: () => string;
  /** The longest that any JWT may live, also one that was issued under an earlier configuration. */
  readonly longestSeconds: number;
  /** Told of every revocation that did something. */
  readonly onRevoked: (way: RevocationWay) => void;
}

export function createRevoker(deps: RevokerDeps): Revoker {
  const { store, clock, newId, onRevoked } = deps;
  const selfRevocations = createSelfRevocations(deps);

  async function deny(entry: Omit<Denial, 'id' | 'createdAt'>): Promise<Denial> {
    const denial = { id: newId(), createdAt: nowSeconds(clock), ...entry };
    await getStore(store).denials.add(denial);
    return denial;
  }

  return {
    revokeShown: (text) =>
      guard(async () => {
        const live = await deps.tokens.findLive(text);
        if (!live) return undefined;
        if (!store)
          throw new BrokerError('revocation_unsupported', 'there is no store to hold a deny list');
        if (live.stored) await store.tokens.revoke(live.stored.hash);
        else {
          selfRevocations.take(toDeniable(live));
          const until = live.expiresAt + MARGIN_SECONDS;
          await deny({ tokenId: live.tokenId, until, by: 'self' });
        }
        onRevoked('possession');
        return live;
      }),
    revokeByAccessor: (accessor) =>
      guard(async () => {
        const { tokens } = getStore(store);
        const found = await tokens.findByAccessor(accessor);
        const wasThere = found !== undefined && (await tokens.revoke(found.hash));
        if (wasThere) onRevoked('accessor');
        return wasThere;
      }),
    revokeByTokenId: (tokenId, by) =>
      guard(async () => {
        const until = nowSeconds(clock) + deps.longestSeconds + MARGIN_SECONDS;
        const denial = await deny({ tokenId, until, by });
        onRevoked('token_id');
        return denial;
      }),
    revokeWhere: (filter, by) =>
      guard(async () => {
        if (Object.values(filter).every((member) => member === undefined))
          throw new BrokerError(
            'parameter_missing',
            'a revocation in bulk must say of which tokens',
          );
        const now = nowSeconds(clock);
        const rule = {
          match: filter,
          issuedBefore: now + 1,
          until: now + deps.longestSeconds + MARGIN_SECONDS,
          by,
        };
        const { tokens } = getStore(store);
        // The rule first: what is being issued at this moment falls under it, stored a moment later or not.
        const denial = filter.kind === 'static' ? undefined : await deny(rule);
        const revoked = await tokens.revokeWhere(filter);
        onRevoked('bulk');
        return { tokens: revoked, ...(denial && { denial }) };
      }),
  };
}

function getStore<T>(store: T | undefined): T {
  if (store) return store;
  throw new BrokerError('store_missing', 'without a store nothing is listed and nothing denied');
}

async function guard<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new BrokerError('store_unavailable', 'a revocation could not be stored', {
      cause: error,
    });
  }
}
