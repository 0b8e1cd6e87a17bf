// A broker over HTTP with a real store, clients and receivers: what introspection, revocation and opaque tokens need.
import { createHash, randomBytes } from 'node:crypto';
import { hashClientSecret, newClientSecret } from '../../broker/client-secrets.ts';
import type { StartOptions } from '../../broker/main.ts';
import { createReceivers, type Receiver } from '../../broker/receivers.ts';
import type { Store } from '../../broker/store/store.ts';
import { systemClock } from '../../common/clock.ts';
import { PATH_INTROSPECT, PATH_REVOKE } from '../../common/protocol/oauth.ts';
import type { FakeIssuer, ServiceAccountToken } from '../support/issuer.ts';
import { createSigningKey, mint, type SigningKey } from '../support/minting.ts';
import { noteToken } from '../support/tokens.ts';
import { type Answer, ROLES, startTestBroker, type TestBroker } from './harness.ts';
import { BACKENDS, type Backend, type Database } from './store/backends.ts';

export const TOKEN_ROLES = `${ROLES}
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: vault-checkout }
spec:
  audience: vault
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { type: opaque, ttl: 10m, maxTtl: 30m, scopes: [vault:read, vault:write], policies: [vault], claims: { tenant: shop } }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: vault-billing }
spec:
  audience: vault
  subjects: [{ namespace: money, serviceAccount: billing }]
  token: { type: opaque }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-billing }
spec:
  audience: payments
  subjects: [{ namespace: money, serviceAccount: billing }]
`;

/** The receivers of the tests: a ServiceAccount and two clients, each with its own audiences. */
export const RECEIVERS: readonly Receiver[] = [
  { identity: 'k8s:local:shop:payments-api', audiences: ['payments'] },
  { identity: 'client:gateway', audiences: ['payments', 'vault'] },
  { identity: 'client:signer', audiences: ['payments'] },
];

export interface TestClient {
  readonly id: string;
  readonly secret: string;
  readonly key: SigningKey;
}

export interface TokenBroker {
  readonly broker: TestBroker;
  readonly store: Store;
  readonly url: string;
  /** `gateway` with a secret, `signer` with a key, `stranger` with both and no audience. */
  readonly clients: Readonly<Record<'gateway' | 'signer' | 'stranger', TestClient>>;
  /** A client token of shop/checkout: `payments` is a JWT, `vault` is opaque. */
  obtain(audience?: string, workload?: Partial<ServiceAccountToken>): Promise<string>;
  /** As client `gateway` unless other headers or parameters are given. */
  introspect(token: string, as?: Credentials): Promise<Answer>;
  revoke(token: string, as?: Credentials): Promise<Answer>;
  stop(): Promise<void>;
}

export interface Credentials {
  readonly headers?: Readonly<Record<string, string>>;
  readonly form?: Readonly<Record<string, string>>;
}

export const SQLITE = BACKENDS.find(({ kind }) => kind === 'sqlite') as Backend;

export function toBasic({ id, secret }: TestClient): Credentials {
  const pair = `${encodeURIComponent(id)}:${encodeURIComponent(secret)}`;
  return { headers: { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` } };
}

export function toBearer(token: string): Credentials {
  return { headers: { Authorization: `Bearer ${token}` } };
}

/** Posts a form as anybody. */
export function post(
  broker: TestBroker,
  path: string,
  { headers = {}, form = {} }: Credentials,
): Promise<Answer> {
  return broker.request(path, { method: 'POST', headers, body: new URLSearchParams(form) });
}

/** @param given `database` for a second broker on the same one; whoever made it closes it */
export async function startTokenBroker(
  name: string,
  given: Partial<StartOptions> & {
    database?: Database;
    fake?: FakeIssuer;
    roles?: string;
    receivers?: readonly Receiver[];
  } = {},
): Promise<TokenBroker> {
  const { database: shared, receivers = RECEIVERS, ...options } = given;
  const database = shared ?? (await SQLITE.create());
  const store = await database.open({ clock: options.clock ?? systemClock });
  const table = createReceivers(receivers);
  const broker = await startTestBroker(name, {
    roles: TOKEN_ROLES,
    store,
    findReceivers: () => table,
    ...options,
  });
  const clients = {
    gateway: await addClient(store, 'gateway', ['secret']),
    signer: await addClient(store, 'signer', ['key']),
    stranger: await addClient(store, 'stranger', ['secret', 'key']),
  };
  return {
    broker,
    store,
    url: broker.url,
    clients,
    obtain: async (audience = 'payments', workload = {}) => {
      const subject = broker.issuer.token({ audiences: [audience], ...workload });
      const answer = await broker.exchange({ subject_token: subject });
      if (answer.status !== 200) throw new Error(`no token: ${answer.text}`);
      return String(answer.body.access_token);
    },
    introspect: (token, as = toBasic(clients.gateway)) =>
      post(broker, PATH_INTROSPECT, { ...as, form: { token, ...as.form } }),
    revoke: (token, as = {}) => post(broker, PATH_REVOKE, { ...as, form: { token, ...as.form } }),
    stop: async () => {
      await broker.stop();
      if (!shared) await database.close();
    },
  };
}

/** Registers a client, or finds that another broker of the test did; its secret follows from its id. */
async function addClient(
  store: Store,
  id: string,
  ways: readonly ('secret' | 'key')[],
): Promise<TestClient> {
  const key = createSigningKey('ES256', `${id}-key`);
  const seeded = (size: number) => createHash('sha512').update(id).digest().subarray(0, size);
  const secret = noteToken(newClientSecret(seeded).reveal());
  const hashes = ways.includes('secret')
    ? [await hashClientSecret(newClientSecret(seeded), randomBytes)]
    : [];
  await store.clients.put({
    id,
    secretHashes: hashes,
    ...(ways.includes('key') && { jwks: { keys: [key.jwk] } }),
    createdAt: 0,
    createdBy: 'test',
  });
  return { id, secret, key };
}

/** A `private_key_jwt` of a client; `claims` over the good ones. */
export function toAssertion(
  client: TestClient,
  audience: string,
  claims: Readonly<Record<string, unknown>> = {},
): Credentials {
  const now = Math.floor(Date.now() / 1000);
  const assertion = mint({
    key: client.key,
    claims: {
      iss: client.id,
      sub: client.id,
      aud: audience,
      iat: now,
      exp: now + 60,
      jti: randomBytes(12).toString('hex'),
      ...claims,
    },
  });
  return {
    form: {
      client_assertion: assertion,
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    },
  };
}
