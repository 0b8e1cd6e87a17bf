// The cluster as a suite sees it: a small file says how to reach it, whoever started it. kubectl for what people do,
// plain requests (through `kubectl proxy`, which speaks every kind of kubeconfig) for what must be fast or exact.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import type { JsonObject } from '../../../common/protocol/admission.ts';

/** The variable that names the file; its content is a {@link ClusterFacts}. */
export const CLUSTER_VARIABLE = 'COATCHECK_TEST_CLUSTER';

export interface ClusterFacts {
  readonly kubectl: string;
  readonly kubeconfig: string;
  /** `https://…` of the API server, and its CA. */
  readonly server: string;
  readonly caFile: string;
  /** Unix socket of a `kubectl proxy`; a TCP port would be open to everyone on the machine. */
  readonly socket: string;
  /** False with KUBEBUILDER_ASSETS: nothing makes pods for a Deployment. */
  readonly hasControllers: boolean;
  /** Ours may be broken on purpose; a cluster named by TEST_KUBECONFIG may not. */
  readonly isOurs: boolean;
  /** Name or address under which the API server reaches this machine; absent where nobody knows one. */
  readonly callbackHost?: string;
  /** Where pods really run: the harness started a node, too. */
  readonly node?: NodeFacts;
  /** A folder that is gone after the run. */
  readonly workFolder: string;
}

export interface NodeFacts {
  readonly name: string;
  /** Of the node; what listens there (or on every address) is reached from pods. */
  readonly address: string;
  /** The program that renders charts. */
  readonly helm: string;
  /** Name of a loaded image → what a pod calls it, with `imagePullPolicy: Never`. */
  readonly images: Readonly<Record<string, string>>;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: JsonObject;
  /** Texts of the Warning headers, as kubectl prints them. */
  readonly warnings: readonly string[];
}

export interface Cluster {
  readonly facts: ClusterFacts;
  /** Never rejects for what kubectl refuses; `input` becomes its standard input. */
  kubectl(args: readonly string[], input?: unknown): Promise<CommandResult>;
  /** One API request with a JSON body. */
  request(method: string, path: string, body?: unknown): Promise<ApiAnswer>;
}

/** The cluster the harness started for this run. */
export function openCluster(environment: NodeJS.ProcessEnv = process.env): Cluster {
  const file = environment[CLUSTER_VARIABLE];
  if (!file) throw new Error('these suites run in a cluster: use `make test-cluster`');
  const facts = JSON.parse(readFileSync(file, 'utf8')) as ClusterFacts;
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  return {
    facts,
    kubectl: (args, input) => runKubectl(facts, args, input),
    request: (method, path, body) => sendRequest({ facts, agent, method, path, body }),
  };
}

function runKubectl(
  facts: ClusterFacts,
  args: readonly string[],
  input: unknown,
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      facts.kubectl,
      [`--kubeconfig=${facts.kubeconfig}`, `--cache-dir=${facts.workFolder}/kubectl`, ...args],
      {
        // KUBERC off: a person's kubectl preferences must not change what the tests see.
        env: { ...process.env, KUBECONFIG: '', KUBERC: 'off' },
        stdio: ['pipe', 'pipe', 'pipe'],
      },
    );
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
    child.stdin.end(input === undefined ? '' : JSON.stringify(input));
  });
}

interface Sending {
  facts: ClusterFacts;
  agent: Agent;
  method: string;
  path: string;
  body: unknown;
}

function sendRequest({ facts, agent, method, path, body }: Sending): Promise<ApiAnswer> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath: facts.socket,
        agent,
        method,
        path,
        headers:
          text === undefined
            ? {}
            : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) },
      },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.once('error', reject);
        answer.once('end', () => {
          const raw = Buffer.concat(chunks).toString('utf8');
          resolve({
            status: answer.statusCode ?? 0,
            body: toJson(raw),
            warnings: (answer.headersDistinct.warning ?? []).map(toWarningText),
          });
        });
      },
    );
    sent.once('error', reject);
    sent.end(text);
  });
}

function toJson(raw: string): JsonObject {
  try {
    return JSON.parse(raw) as JsonObject;
  } catch {
    return { text: raw };
  }
}

/** `299 - "text"` (RFC 7234 §5.5) → text. */
function toWarningText(header: string): string {
  const quoted = /^\d{3} \S+ "((?:[^"\\]|\\.)*)"/.exec(header)?.[1] ?? header;
  return quoted.replace(/\\(.)/g, '$1');
}
