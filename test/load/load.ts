// What the suites of load share: a broker process with `hybrid` validation before an API server and an issuer that count
// what they are asked, pods of any namespace, and what a process takes of the machine.
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { GRANT_TOKEN_EXCHANGE, PATH_TOKEN, TOKEN_TYPE_JWT } from '../../common/protocol/oauth.ts';
import { type Connections, openConnections } from '../faults/http.ts';
import { type BrokerProcess, createInstallation } from '../faults/installation.ts';
import { type FakeApiServer, startApiServer } from '../support/api-server.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { noteToken } from '../support/tokens.ts';

const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments }
spec:
  audience: payments
  subjects: [{ namespace: "*", serviceAccount: checkout }]
  token: { ttl: 1h, scopes: [payments:read] }
`;

/** What the chart gives a broker; Node then takes half of it for its heap. */
export const CONTAINER_MIB = 512;

export interface Load {
  readonly broker: BrokerProcess;
  readonly api: FakeApiServer;
  readonly issuer: FakeIssuer;
  /** A token for one exchange of a pod of its own. */
  podToken(namespace?: string): string;
  /** The value of the metric whose line begins so; 0 where there is none. */
  metric(line: string): Promise<number>;
  stop(): Promise<void>;
}

/** @param entry over the entry of the clusters table */
export async function startLoad(
  name: string,
  {
    entry = {},
    settings = {},
  }: { entry?: object; settings?: Readonly<Record<string, string>> } = {},
): Promise<Load> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-load-'));
  const [issuer, api] = await Promise.all([startIssuer(), startApiServer()]);
  const write = (file: string, text: string) => {
    writeFileSync(path.join(folder, file), text);
    return path.join(folder, file);
  };
  const { url, caFile, tokenFile } = api;
  const cluster = {
    name: 'local',
    kind: 'kubernetes',
    issuer: issuer.issuer,
    validation: 'hybrid',
    keys: { url: issuer.jwksUrl },
    review: { url, caFile, tokenFile },
    ...entry,
  };
  const installation = createInstallation(name, 'sqlite');
  const broker = await installation.start('broker', {
    settings: {
      COATCHECK_CLUSTERS_FILE: write('clusters.yaml', JSON.stringify({ clusters: [cluster] })),
      COATCHECK_ROLES_PATH: write('roles.yaml', ROLES),
      NODE_OPTIONS: `--max-old-space-size=${CONTAINER_MIB / 2}`,
      ...settings,
    },
  });
  return {
    broker,
    api,
    issuer,
    podToken: (namespace = 'shop') => {
      const uid = randomUUID();
      return issuer.token({ namespace, pod: { name: `checkout-${uid.slice(0, 8)}`, uid } });
    },
    metric: async (line) => {
      const text = await (await fetch(`${broker.operationsUrl}/metrics`)).text();
      const found = text.split('\n').find((one) => one.startsWith(line));
      return Number(found?.split(' ').at(-1) ?? 0);
    },
    stop: async () => {
      await installation.remove();
      await Promise.all([issuer.close(), api.close()]);
      rmSync(folder, { recursive: true });
    },
  };
}

export function toExchange(token: string): Readonly<Record<string, string>> {
  return {
    grant_type: GRANT_TOKEN_EXCHANGE,
    subject_token: token,
    subject_token_type: TOKEN_TYPE_JWT,
    audience: 'payments',
  };
}

export interface Steady {
  /** Milliseconds of each good exchange. */
  readonly times: readonly number[];
  /** What was no token: status and reason. */
  readonly refused: readonly string[];
  stop(): Promise<void>;
}

/** Exchanges of one new pod after another from an address of loopback, until it is stopped. */
export function exchangeSteadily(load: Load, from: string, pauseMs = 10): Steady {
  const http: Connections = openConnections(load.broker.url, from);
  const times: number[] = [];
  const refused: string[] = [];
  let isRunning = true;
  const run = async () => {
    while (isRunning) {
      const form = toExchange(load.podToken());
      const startedAt = performance.now();
      const answer = await http.send({ path: PATH_TOKEN, form });
      times.push(performance.now() - startedAt);
      if (answer?.status === 200) noteToken(String(answer.body.access_token));
      else refused.push(`${answer?.status} ${String(answer?.body.reason)}`);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  const running = run();
  return {
    times,
    refused,
    stop: async () => {
      isRunning = false;
      await running;
      http.close();
    },
  };
}

/** `p50 1.2 ms, p99 3.4 ms, worst 5.6 ms`. */
export function describeTimes(times: readonly number[]): string {
  const at = (part: number) => `${percentile(times, part).toFixed(1)} ms`;
  return `p50 ${at(0.5)}, p99 ${at(0.99)}, worst ${at(1)}`;
}

export function percentile(times: readonly number[], part: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}

/** Resident memory of a process now and at its most, MiB (Linux; elsewhere not a number). */
export function readMemory(pid: number): { now: number; peak: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const read = (name: string) =>
      Number(new RegExp(`${name}:\\s*(\\d+) kB`).exec(status)?.[1]) / 1024;
    return { now: read('VmRSS'), peak: read('VmHWM') };
  } catch {
    return { now: Number.NaN, peak: Number.NaN };
  }
}
