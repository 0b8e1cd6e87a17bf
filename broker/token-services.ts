// What the broker knows about tokens it gave out, and about those who call it: wired once, used by every dialect.
import type { Clock } from '../common/clock.ts';
import { CONTROL_AUDIENCES } from '../common/protocol/audiences.ts';
import { PATH_TOKEN } from '../common/protocol/oauth.ts';
import {
  type Authenticate,
  type CheckClient,
  createAuthenticate,
  createCheckClient,
} from './callers.ts';
import { type Clients, createClients } from './clients.ts';
import type { Identity } from './identity/identity.ts';
import type { FindDeath } from './identity/liveness.ts';
import type { Validate } from './identity/validate.ts';
import type { Metrics } from './metrics.ts';
import type { Mirror } from './store/mirror.ts';
import type { Store } from './store/store.ts';
import type { KeySource } from './tokens/keys.ts';
import { createLiveTokens, type LiveTokens } from './tokens/live.ts';
import type { RandomBytes } from './tokens/opaque.ts';
import { createRevoker, type Revoker } from './tokens/revoke.ts';

export interface TokenServices {
  readonly tokens: LiveTokens;
  readonly clients: Clients;
  readonly authenticate: Authenticate;
  readonly checkClient: CheckClient;
  readonly revoker: Revoker;
}

export interface TokenServicesDeps {
  readonly keys: KeySource;
  /** Our own issuer first, then those we had before. */
  readonly issuers: readonly string[];
  readonly validate: Validate;
  /** Both, or neither with `store: none`. */
  readonly store?: Store | undefined;
  readonly mirror?: Mirror | undefined;
  readonly findDeath: FindDeath;
  readonly isTrusted: (who: Identity) => boolean;
  /** The longest that any JWT may live, also one that was issued under an earlier configuration. */
  readonly longestSeconds: number;
  readonly isLookedUp?: ((hash: string) => boolean) | undefined;
  readonly metrics: Pick<Metrics, 'countRevocation'>;
  readonly clock: Clock;
  readonly newId: () => string;
  readonly randomBytes: RandomBytes;
}

export function createTokenServices(deps: TokenServicesDeps): TokenServices {
  const { store, mirror, issuers, clock, isLookedUp } = deps;
  const tokens = createLiveTokens({
    keys: deps.keys,
    issuers,
    clock,
    ...(mirror && { mirror }),
    findDeath: deps.findDeath,
    isTrusted: deps.isTrusted,
    ...(isLookedUp && { isLookedUp }),
  });
  const clients = createClients({
    ...(store && { store }),
    ...(mirror && { mirror }),
    audiences: issuers.flatMap((issuer) => [issuer, issuer + PATH_TOKEN]),
    secretKey: deps.randomBytes(32),
    clock,
  });
  const authenticate = createAuthenticate({
    tokens,
    clients,
    validate: deps.validate,
    audiences: [...issuers, ...CONTROL_AUDIENCES],
  });
  const revoker = createRevoker({
    ...(store && { store }),
    tokens,
    clock,
    newId: deps.newId,
    longestSeconds: deps.longestSeconds,
    onRevoked: deps.metrics.countRevocation,
  });
  return { tokens, clients, authenticate, checkClient: createCheckClient(clients), revoker };
}
