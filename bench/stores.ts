// The two databases of the lines about stored tokens, and a broker on one of them as an operator sets it up: a role whose
// tokens are opaque, a receiver that is a registered client. PostgreSQL waits for the disk, as sqlite always does.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { PATH_INTROSPECT, PATH_REVOKE, PATH_TOKEN } from '../common/protocol/oauth.ts';
import { findPostgresLack, startPostgres } from '../test/support/postgres.ts';
import { mintTokens } from './lines/exchange.ts';
import { type Bench, type Server, startBroker } from './programs.ts';

export type StoreKind = 'sqlite' | 'postgres';
export const STORE_KINDS: readonly StoreKind[] = ['sqlite', 'postgres'];

const ROLE = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-checkout }
spec:
  audience: payments
  subjects:
    - { namespace: shop, serviceAccount: checkout }
  token: { type: opaque, ttl: 1h, scopes: [payments:read] }
`;
const FORM = 'application/x-www-form-urlencoded';

export interface Database {
  readonly choice: string;
  remove(): Promise<void>;
}

/** A fresh one; undefined, with a line that says why, where this machine has none. */
export async function createDatabase(
  { workplace }: Bench,
  kind: StoreKind,
): Promise<Database | undefined> {
  if (kind === 'sqlite') {
    const file = workplace.file(`store-${randomBytes(4).toString('hex')}.db`);
    return { choice: `sqlite:${file}`, remove: async () => undefined };
  }
  const lack = findPostgresLack();
  if (lack !== undefined) {
    console.error(`left out: ${lack}`);
    return undefined;
  }
  const postgres = await startPostgres({ isDurable: true });
  return { choice: await postgres.createDatabase(), remove: postgres.stop };
}

export interface StoreBroker {
  readonly server: Server;
  /** A new opaque token of another pod. */
  issue(): Promise<string>;
  /** The body of an introspection of this token, with the client's secret in it. */
  toIntrospection(token: string): string;
  /** Milliseconds until the whole answer. @throws Error unless it is the wanted one */
  introspect(token: string, wanted: 'active' | 'inactive'): Promise<number>;
  revoke(token: string): Promise<number>;
}

export async function startOn(bench: Bench, choice: string): Promise<StoreBroker> {
  const { workplace } = bench;
  const bootstrapToken = getBootstrapToken(bench);
  mkdirSync(workplace.file('opaque-roles'), { recursive: true });
  const client = `bench-${randomBytes(4).toString('hex')}`;
  const files = {
    'opaque-roles/payments.yaml': ROLE,
    'receivers.yaml': JSON.stringify({
      receivers: [{ identity: 'client:bench-*', audiences: ['payments'] }],
    }),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(workplace.file(name), text);
  const server = await startBroker(bench, {
    isTls: false,
    environment: {
      COATCHECK_STORE: choice,
      COATCHECK_ROLES_PATH: workplace.file('opaque-roles'),
      COATCHECK_RECEIVERS_FILE: workplace.file('receivers.yaml'),
      COATCHECK_BOOTSTRAP_TOKEN_FILE: workplace.file('bootstrap.token'),
    },
  });
  const send = async (target: string, body: string, headers: Record<string, string>) => {
    const startedAt = performance.now();
    const response = await fetch(`http://127.0.0.1:${server.port}${target}`, {
      method: 'POST',
      headers,
      body,
    });
    const text = await response.text();
    const ms = performance.now() - startedAt;
    if (!response.ok) throw new Error(`${target} was answered with ${response.status}`);
    return { ms, text };
  };
  const registered = await send('/api/v1/clients', JSON.stringify({ id: client }), {
    'Content-Type': 'application/json',
    Authorization: `Bearer ${bootstrapToken}`,
  });
  const { secret } = JSON.parse(registered.text) as { secret: string };
  const toIntrospection = (token: string) =>
    new URLSearchParams({ token, client_id: client, client_secret: secret }).toString();
  const subjects = readFileSync(await getBodies(bench), 'utf8')
    .split('\n')
    .filter(Boolean);
  let used = 0;
  return {
    server,
    toIntrospection,
    issue: async () => {
      const body = subjects[used++ % subjects.length] ?? '';
      const { text } = await send(PATH_TOKEN, body, { 'Content-Type': FORM });
      return (JSON.parse(text) as { access_token: string }).access_token;
    },
    introspect: async (token, wanted) => {
      const body = toIntrospection(token);
      const { ms, text } = await send(PATH_INTROSPECT, body, { 'Content-Type': FORM });
      const { active } = JSON.parse(text) as { active: boolean };
      if (active !== (wanted === 'active')) throw new Error(`a token is not ${wanted}`);
      return ms;
    },
    revoke: async (token) => {
      const body = new URLSearchParams({ token }).toString();
      return (await send(PATH_REVOKE, body, { 'Content-Type': FORM })).ms;
    },
  };
}

/** One for the whole run: a database takes only one while it lives. */
function getBootstrapToken({ workplace }: Bench): string {
  const file = workplace.file('bootstrap.token');
  if (!existsSync(file)) writeFileSync(file, randomBytes(24).toString('hex'));
  return readFileSync(file, 'utf8');
}

/** Bodies of exchanges, a line each, every one of another pod; those of the exchange line where it ran before. */
export async function getBodies(bench: Bench): Promise<string> {
  const known = bench.workplace.file('bodies.txt');
  return existsSync(known) ? known : mintTokens(bench, bench.isQuick ? 6000 : 20_000);
}

/** What is behind `sqlite:`. */
export function toFile(choice: string): string {
  return path.resolve(choice.slice('sqlite:'.length));
}
