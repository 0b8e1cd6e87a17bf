// A whole broker with a real store and an API server that answers access reviews, and its admin API over real HTTP. Every
// answer is held against the schema that the API documents for it; every token and secret it gives is noted.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { AuditRecord } from '../../../../broker/audit.ts';
import { ROUTES } from '../../../../broker/dialects/admin/routes.ts';
import { errorView } from '../../../../broker/dialects/admin/schemas.ts';
import type { StartOptions } from '../../../../broker/main.ts';
import { openStore, parseStoreChoice } from '../../../../broker/store/open.ts';
import type { Store } from '../../../../broker/store/store.ts';
import { newOpaqueToken } from '../../../../broker/tokens/opaque.ts';
import { type Clock, systemClock } from '../../../../common/clock.ts';
import { checkValue } from '../../../../common/documents.ts';
import { createAccessReviews } from '../../../../common/kube/access.ts';
import { createKubeClient } from '../../../../common/kube/client.ts';
import { createLogger } from '../../../../common/log.ts';
import type { Secret } from '../../../../common/secret.ts';
import { type FakeAccessServer, startAccessServer } from '../../../support/access-reviews.ts';
import type { FakeIssuer } from '../../../support/issuer.ts';
import { noteToken } from '../../../support/tokens.ts';
import { type Answer, startTestBroker, type TestBroker } from '../../harness.ts';

export interface CallOptions {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface AdminUnderTest {
  readonly broker: TestBroker;
  readonly store: Store;
  readonly access: FakeAccessServer;
  /** The bootstrap token: policy root. */
  readonly root: string;
  /** `GET /api/v1/whoami` with headers; without `token` as {@link AdminUnderTest.root}; with `token: ''` as nobody. */
  call(route: string, options?: CallOptions): Promise<Answer>;
  /** A static token with these policies. */
  makeToken(policies: readonly string[], more?: object): Promise<string>;
  /** A ServiceAccount token of the own cluster for the broker. */
  workload(serviceAccount: string, namespace?: string): string;
  /** Admin lines of the audit. */
  records(): readonly Readonly<Record<string, unknown>>[];
  stop(): Promise<void>;
}

export interface AdminSetup extends Partial<StartOptions> {
  readonly roles?: string;
  readonly fake?: FakeIssuer;
  readonly clock?: Clock;
  /** As the setting says it; sqlite in a folder of its own unless given, which then stays. */
  readonly storeChoice?: string;
  readonly bootstrapToken?: Secret;
  readonly ttlSeconds?: number;
}

export async function startAdmin(name: string, setup: AdminSetup = {}): Promise<AdminUnderTest> {
  const { storeChoice, bootstrapToken, ttlSeconds = 3600, ...options } = setup;
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-admin-'));
  const clock = options.clock ?? systemClock;
  const store = await openTestStore(
    storeChoice ?? `sqlite:${path.join(folder, 'store.db')}`,
    clock,
  );
  const access = await startAccessServer();
  const client = createKubeClient(access);
  const token = bootstrapToken ?? newOpaqueToken(randomBytes).token;
  const root = noteToken(token.reveal());
  const broker = await startTestBroker(name, {
    store,
    accessReviews: createAccessReviews(client),
    bootstrap: { token, ttlSeconds },
    ...options,
  });
  const call: AdminUnderTest['call'] = async (
    route,
    { token: bearer = root, body, headers } = {},
  ) => {
    const [method = '', target = ''] = route.split(' ');
    const answer = await broker.request(target, {
      method,
      headers: {
        ...(bearer !== '' && { authorization: `Bearer ${bearer}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    checkShape(method, target, answer);
    return answer;
  };
  let made = 0;
  return {
    broker,
    store,
    access,
    root,
    call,
    makeToken: async (policies, more = {}) => {
      made += 1;
      const body = { name: `made-${made}`, policies, ttl: '30m', ...more };
      const answer = await call('POST /api/v1/tokens', { body });
      if (answer.status !== 201) throw new Error(`no token was made: ${answer.text}`);
      return String(answer.body.token);
    },
    workload: (serviceAccount, namespace = 'ops') =>
      noteToken(
        broker.issuer.token({ serviceAccount, namespace, audiences: [broker.running.url] }),
      ),
    records: () =>
      broker.audit.filter((record: AuditRecord) => (record.kind as string) === 'admin') as never,
    stop: async () => {
      await broker.stop();
      client.close();
      await access.close();
      rmSync(folder, { recursive: true });
    },
  };
}

export function openTestStore(choice: string, clock: Clock): Promise<Store> {
  const parsed = parseStoreChoice(choice);
  if (parsed.kind === 'none') throw new TypeError('a store is wanted');
  return openStore(parsed, {
    clock,
    random: () => 0.5,
    log: createLogger({ level: 'warn', process: 'store', stream: { write: () => undefined } }),
    newId: () => randomBytes(8).toString('hex'),
    keepDecisionsSeconds: 86_400,
    maxDecisions: 1000,
  });
}

/** What a route answers must be what its document says. */
function checkShape(method: string, target: string, answer: Answer): void {
  const path = target.split('?', 1)[0] ?? '';
  const fitting = ROUTES.filter(
    (route) =>
      route.method === method &&
      new RegExp(`^${route.path.replace(/\{\w+\}/g, '[^/]+')}$`).test(path),
  );
  const [route] = fitting.sort(
    (a, b) => Number(a.path.includes('{')) - Number(b.path.includes('{')),
  );
  const schema =
    answer.status >= 400 ? errorView : (route?.answers[answer.status]?.schema ?? undefined);
  if (!schema || method === 'HEAD') return;
  const checked = checkValue(schema, answer.body);
  if (!checked.ok)
    throw new Error(
      `${method} ${path} answered ${answer.status} in another shape than documented: ${JSON.stringify(checked.problems)}`,
    );
}

/** A role document with this name. */
export function toRole(name: string, spec: object = {}): object {
  return {
    apiVersion: 'auth.example.io/v1alpha1',
    kind: 'TokenRole',
    metadata: { name },
    spec: {
      audience: `${name}-audience`,
      subjects: [{ namespace: 'shop', serviceAccount: name }],
      token: { ttl: '5m', maxTtl: '10m' },
      ...spec,
    },
  };
}
