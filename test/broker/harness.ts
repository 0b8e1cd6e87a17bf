// A whole broker over real HTTP, beside a fake cluster issuer, with roles in a folder of its own. Everything it puts out
// (answers, log, audit) is kept for the leak scan, and every token it issues is noted.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { AuditRecord } from '../../broker/audit.ts';
import { parseClusters } from '../../broker/identity/clusters.ts';
import { type RunningBroker, type StartOptions, startBroker } from '../../broker/main.ts';
import { fixedKeys, generateSigningKey } from '../../broker/tokens/keys.ts';
import { systemClock } from '../../common/clock.ts';
import { createLogger } from '../../common/log.ts';
import { GRANT_TOKEN_EXCHANGE, PATH_TOKEN, TOKEN_TYPE_JWT } from '../../common/protocol/oauth.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Readonly<Record<string, unknown>>;
}

export type Parameters = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface TestBroker {
  readonly running: RunningBroker;
  readonly issuer: FakeIssuer;
  readonly url: string;
  readonly rolesDir: string;
  readonly clustersFile: string;
  /** Audit records so far, oldest first. */
  readonly audit: readonly AuditRecord[];
  readonly log: readonly Readonly<Record<string, unknown>>[];
  /** A token exchange; `undefined` takes a parameter away, a list repeats it. */
  exchange(parameters: Parameters, headers?: Readonly<Record<string, string>>): Promise<Answer>;
  request(target: string, init?: RequestInit): Promise<Answer>;
  writeRoles(file: string, text: string): Promise<void>;
  stop(): Promise<void>;
}

export const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-checkout }
spec:
  audience: payments
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { ttl: 15m, scopes: [payments:read, payments:write], policies: [payments], claims: { tenant: shop } }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: multi-checkout }
spec:
  audience: multi
  allowExtraAudiences: true
  subjects: [{ namespace: shop, serviceAccount: "check*" }]
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: batch }
spec:
  audience: batch
  requirePod: false
  subjects: [{ namespace: shop, serviceAccount: checkout }]
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: twin-a }
spec: { audience: twins, subjects: [{ namespace: shop, serviceAccount: checkout }] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: twin-b }
spec: { audience: twins, subjects: [{ namespace: shop, serviceAccount: checkout }] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: plain }
spec:
  audience: plain
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { jwtType: JWT }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: others }
spec: { audience: others, subjects: [{ namespace: secret-team, serviceAccount: hidden }] }
`;

const LOOPBACK = { host: '127.0.0.1', port: 0 };

/** @param options anything of a broker's; the issuer's cluster is named `local` and is the own one. */
export async function startTestBroker(
  name: string,
  {
    roles = ROLES,
    issuer: givenIssuer,
    ...options
  }: Partial<StartOptions> & { roles?: string; fake?: FakeIssuer; issuer?: string } = {},
): Promise<TestBroker> {
  const fake = options.fake ?? (await startIssuer());
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-broker-'));
  const rolesDir = mkdtempSync(path.join(tmpdir(), 'coatcheck-roles-'));
  writeFileSync(path.join(rolesDir, 'roles.yaml'), roles);
  const clustersFile = path.join(folder, 'clusters.yaml');
  const table = `clusters: [{ name: local, kind: kubernetes, issuer: "${fake.issuer}", keys: { url: "${fake.jwksUrl}" } }]`;
  writeFileSync(clustersFile, table);
  const audit: AuditRecord[] = [];
  const log: Record<string, unknown>[] = [];
  const port = await findFreePort();
  const running = await startBroker({
    issuer: givenIssuer ?? `http://127.0.0.1:${port}`,
    listen: { host: '127.0.0.1', port },
    operationsListen: LOOPBACK,
    drainSeconds: 5,
    clusters: parseClusters(table, { file: clustersFile }),
    rolesPath: rolesDir,
    keys: fixedKeys(generateSigningKey()),
    maxTokenTtlSeconds: 86_400,
    clock: systemClock,
    log: createLogger({
      level: 'debug',
      process: 'broker',
      stream: { write: (line) => void log.push(JSON.parse(line)) },
    }),
    auditStream: { write: (line: string) => audit.push(JSON.parse(line)) },
    newId: randomUUID,
    ...options,
  });
  const request = async (target: string, init?: RequestInit): Promise<Answer> => {
    const response = await fetch(running.url + target, init);
    const text = await response.text();
    const answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: toObject(text),
    };
    // The answers that are there to give out a token or a secret; every other one is searched for all of them.
    const { access_token: issued, token: made = issued, secret = made } = answer.body;
    if (typeof secret === 'string') noteToken(secret);
    else keep(`${name} answer`, text);
    return answer;
  };
  return {
    running,
    issuer: fake,
    url: running.url,
    rolesDir,
    clustersFile,
    audit,
    log,
    request,
    exchange: (parameters, headers = {}) =>
      request(PATH_TOKEN, { method: 'POST', body: toForm(parameters), headers }),
    writeRoles: async (file, text) => {
      writeFileSync(path.join(rolesDir, file), text);
      await running.broker.roles.reload();
    },
    stop: async () => {
      await running.stop();
      if (!options.fake) await fake.close();
      keep(`${name} audit`, audit.map((record) => JSON.stringify(record)).join('\n'));
      keep(`${name} log`, log.map((line) => JSON.stringify(line)).join('\n'));
      rmSync(folder, { recursive: true });
      rmSync(rolesDir, { recursive: true });
    },
  };
}

/** The parameters that a well-behaved exchange sends, over them what a test says. */
export function toForm(parameters: Parameters): URLSearchParams {
  const form = new URLSearchParams();
  const all: Parameters = {
    grant_type: GRANT_TOKEN_EXCHANGE,
    subject_token_type: TOKEN_TYPE_JWT,
    ...parameters,
  };
  for (const [name, value] of Object.entries(all)) {
    for (const one of typeof value === 'string' ? [value] : (value ?? [])) form.append(name, one);
  }
  return form;
}

export function decodeClaims(token: unknown): Record<string, unknown> {
  return JSON.parse(
    Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString(),
  ) as Record<string, unknown>;
}

export function decodeHeader(token: unknown): Record<string, unknown> {
  return JSON.parse(
    Buffer.from(String(token).split('.')[0] ?? '', 'base64url').toString(),
  ) as Record<string, unknown>;
}

function toObject(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** The issuer must be known before the broker listens, so the port is. */
async function findFreePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
