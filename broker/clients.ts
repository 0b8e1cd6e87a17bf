// Registered OAuth clients: who they are, from the store, and whether one is who it says. Services that introspect are
// clients; so, later, are programs that ask for tokens of their own. The admin API writes them.
import type { Clock } from '../common/clock.ts';
import type { Secret } from '../common/secret.ts';
import { type AssertionChecker, createAssertionChecker } from './client-assertions.ts';
import { createSecretChecker } from './client-secrets.ts';
import { BrokerError } from './errors.ts';
import type { Mirror } from './store/mirror.ts';
import { type Store, type StoredClient, StoreError } from './store/store.ts';

/** A safety net; changes are told at once. */
const RELOAD_MS = 60_000;

// No colon: `client:<id>` must be read back, and Basic credentials end the id at the first one (RFC 7617 §2).
const CLIENT_ID = /^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$/;
/** What {@link isClientId} allows, as a sentence's end: "must be …". */
export const CLIENT_ID_RULE =
  '1 to 128 letters, digits, dots, dashes, underscores and tildes, the first a letter or digit';

/** Whether a text can be the id of a client; it must not equal a role's audience either. */
export function isClientId(text: string): boolean {
  return CLIENT_ID.test(text);
}

export interface Clients {
  /** @throws BrokerError `store_unavailable` */
  find(id: string): Promise<StoredClient | undefined>;
  /** Whether requests in this client's name need its credentials. @throws BrokerError `store_unavailable` */
  isConfidential(id: string): Promise<boolean>;
  /** @throws BrokerError `client_unauthenticated`, `store_unavailable`, `too_many_requests` */
  checkSecret(id: string, secret: Secret): Promise<StoredClient>;
  /**
   * @param id the `client_id` beside the assertion, which must then be its subject
   * @throws BrokerError as {@link Clients.checkSecret}
   */
  checkAssertion(assertion: Secret, id?: string): Promise<StoredClient>;
}

export interface ClientsDeps {
  /** Absent with `store: none`: there are no clients then. */
  readonly store?: Pick<Store, 'clients' | 'onChange'>;
  readonly mirror?: Pick<Mirror, 'checkFresh'>;
  /** What a client's assertion may be made for: the issuer and the token endpoint. */
  readonly audiences: readonly string[];
  /** 32 random bytes of this process. */
  readonly secretKey: Uint8Array;
  readonly clock: Clock;
}

export function createClients(deps: ClientsDeps): Clients {
  const findAll = createDirectory(deps);
  const secrets = createSecretChecker({ key: deps.secretKey, clock: deps.clock });
  const assertions: AssertionChecker = createAssertionChecker(deps);

  async function find(id: string): Promise<StoredClient | undefined> {
    return isClientId(id) ? (await findAll()).get(id) : undefined;
  }

  async function get(id: string): Promise<StoredClient> {
    const client = await find(id);
    if (client) return client;
    throw new BrokerError('client_unauthenticated', 'no client of this id is registered');
  }

  return {
    find,
    isConfidential: async (id) => {
      const client = await find(id);
      return client !== undefined && (client.secretHashes.length > 0 || client.jwks !== undefined);
    },
    checkSecret: async (id, secret) => {
      const client = await get(id);
      if (await secrets.isOneOf(client.secretHashes, secret)) return client;
      throw new BrokerError('client_unauthenticated', 'the secret is none of the client');
    },
    checkAssertion: async (assertion, id) => {
      const claimed = assertions.findClaimed(assertion);
      if (id !== undefined && id !== claimed)
        throw new BrokerError('client_unauthenticated', 'client_id is not sub of the assertion');
      const client = await get(claimed);
      assertions.check(assertion, { id: client.id, jwks: client.jwks });
      return client;
    },
  };
}

type Directory = ReadonlyMap<string, StoredClient>;

/** All clients at once: they are few, and so an id that nobody registered costs no look-up. */
function createDirectory({ store, mirror, clock }: ClientsDeps): () => Promise<Directory> {
  if (!store) return () => Promise.resolve(new Map());
  let reading: { readonly directory: Promise<Directory>; readonly at: number } | undefined;
  let last: Directory | undefined;
  store.onChange(({ topic }) => {
    if (topic === 'clients' || topic === 'all') reading = undefined;
  });

  async function read(): Promise<Directory> {
    const clients = await (store as Store).clients.list();
    return new Map(clients.map((client) => [client.id, client]));
  }

  async function findAll(): Promise<Directory> {
    mirror?.checkFresh();
    if (!reading || clock.now() - reading.at >= RELOAD_MS)
      reading = { directory: read(), at: clock.now() };
    const mine = reading;
    try {
      last = await mine.directory;
    } catch (error) {
      // Asked again by the next one. While the store is away what was read last serves, as long as checkFresh lets it.
      if (reading === mine) reading = undefined;
      if (!last) throw error;
    }
    return last;
  }

  return async () => {
    try {
      return await findAll();
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      throw new BrokerError('store_unavailable', 'the clients cannot be read', { cause: error });
    }
  };
}
