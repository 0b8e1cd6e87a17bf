// An installation as an operator makes it: files in a folder, and broker processes of the bundle that ships, started,
// killed and started again. What they write goes straight to a file that the leak scan reads, so that kill -9 hides nothing.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  closeSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createSigningKey, mint, serviceAccountClaims } from '../support/minting.ts';
import { keep, noteToken, openKept } from '../support/tokens.ts';
import { type Connections, openConnections } from './http.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const CLUSTER_ISSUER = 'https://cluster.example';
/** No pod of a suite comes near it. */
const TOKENS_PER_POD = '1000';

const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: vault-checkout }
spec:
  audience: vault
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { type: opaque, ttl: 1h, scopes: [vault:read] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-checkout }
spec:
  audience: payments
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { ttl: 1h, scopes: [payments:read] }
`;

export type TokenKind = 'opaque' | 'jwt';
export const AUDIENCES: Readonly<Record<TokenKind, string>> = { opaque: 'vault', jwt: 'payments' };

export interface StartOptions {
  /** Instead of the installation's, as the setting says it. */
  readonly store?: string;
  /** Over the usual ones: `COATCHECK_…`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** So far ahead of the machine's is the clock of the process. */
  readonly aheadMs?: number;
}

export interface BrokerProcess {
  readonly name: string;
  readonly url: string;
  readonly operationsUrl: string;
  readonly pid: number;
  /** The bundle that it runs. */
  readonly program: string;
  readonly http: Connections;
  /** Lines of the log so far. */
  log(): readonly Readonly<Record<string, unknown>>[];
  /** `kill -9`; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves to its exit code. */
  stop(): Promise<number | null>;
}

export interface Installation {
  readonly bootstrapToken: string;
  /** Resolves when it listens. */
  start(name: string, options?: StartOptions): Promise<BrokerProcess>;
  /** The ServiceAccount token of the n-th pod. */
  subjectToken(kind: TokenKind, pod: number): string;
  /** Keeps what an answer said for the leak scan; of tokens it must not hold any. */
  keepAnswer(text: string): void;
  /** Ends what still runs. */
  remove(): Promise<void>;
}

/** @param store as the setting says it; `sqlite` is a file in the installation's folder */
export function createInstallation(name: string, store: string): Installation {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-faults-'));
  const at = (file: string) => path.join(folder, file);
  const program = takeBundle(folder);
  const key = createSigningKey('RS256');
  const bootstrapToken = noteToken(randomBytes(24).toString('hex'));
  for (const one of ['roles', 'sealing']) mkdirSync(at(one));
  writeFileSync(at('roles/roles.yaml'), ROLES);
  writeFileSync(at('sealing/1'), randomBytes(32).toString('base64'));
  writeFileSync(at('bootstrap'), bootstrapToken);
  writeFileSync(at('jwks.json'), JSON.stringify({ keys: [key.jwk] }));
  writeFileSync(
    at('clusters.yaml'),
    JSON.stringify({
      clusters: [
        {
          name: 'local',
          kind: 'kubernetes',
          issuer: CLUSTER_ISSUER,
          validation: 'offline',
          keys: { file: 'jwks.json' },
        },
      ],
    }),
  );
  writeFileSync(
    at('receivers.yaml'),
    JSON.stringify({
      receivers: [{ identity: 'client:gateway', audiences: Object.values(AUDIENCES) }],
    }),
  );
  const settings = {
    COATCHECK_ISSUER: 'http://broker.example',
    COATCHECK_INSECURE_PLAIN_HTTP: 'true',
    COATCHECK_LISTEN: '127.0.0.1:0',
    COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
    COATCHECK_CLUSTERS_FILE: at('clusters.yaml'),
    COATCHECK_ROLES_PATH: at('roles'),
    COATCHECK_RECEIVERS_FILE: at('receivers.yaml'),
    COATCHECK_KEY_ENCRYPTION_KEYS_DIR: at('sealing'),
    COATCHECK_BOOTSTRAP_TOKEN_FILE: at('bootstrap'),
    COATCHECK_MAX_TOKENS_PER_IDENTITY: TOKENS_PER_POD,
    // What a process compiled is there for the next one, if it was not killed: suites start many.
    NODE_COMPILE_CACHE: at('compiled'),
  };
  const running = new Set<BrokerProcess>();
  const answers: string[] = [];
  const pods = new Map<string, string>();

  return {
    bootstrapToken,
    start: async (processName, options = {}) => {
      const wanted = options.store ?? store;
      const child = spawnBroker(program, {
        name: `${name} ${processName}`,
        aheadMs: options.aheadMs ?? 0,
        environment: {
          ...settings,
          COATCHECK_STORE: wanted === 'sqlite' ? `sqlite:${at('store.db')}` : wanted,
          ...options.settings,
        },
      });
      const url = await waitForUrl(child);
      const started = toProcess({ name: processName, program, url }, child);
      running.add(started);
      child.process.once('exit', () => running.delete(started));
      return started;
    },
    subjectToken: (kind, pod) => {
      const known = pods.get(`${kind} ${pod}`);
      if (known !== undefined) return known;
      const claims = serviceAccountClaims({
        issuer: CLUSTER_ISSUER,
        audiences: [AUDIENCES[kind]],
        pod: { name: `checkout-${pod}`, uid: randomUUID() },
      });
      const token = mint({ key, claims });
      pods.set(`${kind} ${pod}`, token);
      return token;
    },
    keepAnswer: (text) => void answers.push(text),
    remove: async () => {
      await Promise.all([...running].map((one) => one.kill()));
      keep(`faults ${name} answers`, answers.join('\n'));
      rmSync(folder, { recursive: true });
    },
  };
}

/** What ships, away from the checkout: another build must not change it under a running test. */
function takeBundle(folder: string): string {
  execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.ts'), 'server'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  cpSync(path.join(ROOT, 'dist/server'), path.join(folder, 'server'), { recursive: true });
  return path.join(folder, 'server/coatcheck.mjs');
}

interface Child {
  readonly process: ChildProcess;
  output(): string;
}

function spawnBroker(
  program: string,
  options: { name: string; aheadMs: number; environment: Record<string, string> },
): Child {
  const file = openKept(`faults ${options.name}`);
  const output = openSync(file, 'a');
  const shift = `const now = Date.now; Date.now = () => now() + ${options.aheadMs};`;
  const ahead = options.aheadMs === 0 ? [] : ['--import', `data:text/javascript,${shift}`];
  const child = spawn(process.execPath, [...ahead, program, 'broker'], {
    env: options.environment,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  return { process: child, output: () => readFileSync(file, 'utf8') };
}

async function waitForUrl({ process: child, output }: Child): Promise<string> {
  for (;;) {
    const url = /"url":"(http:[^"]*)"/.exec(output())?.[1];
    if (url !== undefined && output().includes('"operationsUrl"')) return url;
    if (hasEnded(child)) throw new Error(`the broker ended: ${output()}`);
    await sleep(5);
  }
}

function toProcess(
  { name, program, url }: Pick<BrokerProcess, 'name' | 'program' | 'url'>,
  { process: child, output }: Child,
): BrokerProcess {
  const http = openConnections(url);
  const gone = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const end = async (signal: NodeJS.Signals) => {
    if (!hasEnded(child)) child.kill(signal);
    const code = await gone;
    http.close();
    return code;
  };
  return {
    name,
    url,
    operationsUrl: /"operationsUrl":"([^"]*)"/.exec(output())?.[1] ?? '',
    pid: child.pid ?? 0,
    program,
    http,
    log: () =>
      output()
        .split('\n')
        .filter((line) => line.startsWith('{') && line.endsWith('}'))
        .map((line) => JSON.parse(line) as Record<string, unknown>),
    kill: async () => void (await end('SIGKILL')),
    stop: () => end('SIGTERM'),
  };
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
