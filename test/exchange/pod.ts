// The surroundings of one exchange process: its identity files, its volume, its environment, its output. Everything it
// puts out is kept for the leak scan and also looked through at once.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TokenFileContent } from '../../common/protocol/pod.ts';
import { keep } from '../support/tokens.ts';
import type { Artefact } from './artefacts.ts';
import { authority, type FakeBroker, fakeJwt, madeTokens } from './fake-broker.ts';

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
  /** From start to end. */
  readonly ms: number;
}

export interface Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  output(): string;
  /** Resolves when the output matches so many times. */
  until(pattern: RegExp, times?: number): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<Ended>;
}

export interface StartOptions {
  args?: readonly string[];
  /** Undefined takes a variable away. */
  environment?: Record<string, string | undefined>;
  cwd?: string;
}

const LIMIT_MS = 40_000;

export class Pod {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-exchange-'));
  readonly tokens = path.join(this.folder, 'tokens');
  readonly terminationLog = path.join(this.folder, 'termination-log');
  readonly #artefact: Artefact;
  readonly #title: string;
  readonly #running: Running[] = [];

  constructor(artefact: Artefact, title: string) {
    this.#artefact = artefact;
    this.#title = title;
    mkdirSync(path.join(this.folder, 'identity'));
    this.writeIdentity('orders');
    this.writeIdentity('billing');
  }

  /** A new ServiceAccount token for `name`, as the kubelet would write it. */
  writeIdentity(name: string): string {
    const token = fakeJwt({
      aud: [name],
      'kubernetes.io': { namespace: 'shop', serviceaccount: { name: 'web', uid: '1' } },
      salt: Math.random(),
    });
    writeFileSync(path.join(this.folder, 'identity', name), `${token}\n`);
    return token;
  }

  start(
    broker: Pick<FakeBroker, 'url'>,
    { args = [], environment = {}, cwd = this.folder }: StartOptions = {},
  ): Running {
    const variables: Record<string, string | undefined> = {
      COATCHECK_MODE: 'init',
      COATCHECK_BROKER_URL: broker.url,
      COATCHECK_BROKER_CA: authority.certificate,
      COATCHECK_AUDIENCES: JSON.stringify([{ name: 'orders', audience: 'orders.api' }]),
      COATCHECK_IDENTITY_DIR: path.join(this.folder, 'identity'),
      COATCHECK_TOKENS_DIR: this.tokens,
      COATCHECK_TERMINATION_LOG: this.terminationLog,
      COATCHECK_DEADLINE_SECONDS: '20',
      // A resolver that is not there must not hold a test up.
      RES_OPTIONS: 'attempts:1 timeout:1',
      ...environment,
    };
    const env = Object.fromEntries(
      Object.entries(variables).filter(([, value]) => value !== undefined),
    );
    const startedMs = performance.now();
    // The image's umask may be anything; this is the worst one.
    const child = spawn(
      '/bin/sh',
      ['-c', 'umask 077; exec "$@"', 'sh', ...this.#artefact.command, ...args],
      {
        env: env as NodeJS.ProcessEnv,
        cwd,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT_MS);
    const ended = new Promise<Ended>((resolve) => {
      child.once('close', (code, signal) => {
        clearTimeout(timer);
        keep(`${this.#artefact.name}-${this.#title}-output`, output);
        resolve({ code, signal, output, ms: performance.now() - startedMs });
      });
    });
    const running: Running = {
      process: child,
      ended,
      output: () => output,
      until: (pattern, times = 1) =>
        until(
          () => output.split(pattern).length > times,
          () => `${times} × ${pattern} in the output:\n${output}`,
        ),
      stop: (signal = 'SIGTERM') => {
        child.kill(signal);
        return ended;
      },
    };
    this.#running.push(running);
    return running;
  }

  run(broker: Pick<FakeBroker, 'url'>, options?: StartOptions): Promise<Ended> {
    return this.start(broker, options).ended;
  }

  file(...names: string[]): string {
    return path.join(this.tokens, ...names);
  }

  read(...names: string[]): string {
    return readFileSync(this.file(...names), 'utf8');
  }

  readJson(name: string): TokenFileContent {
    return JSON.parse(this.read(name, 'token.json')) as TokenFileContent;
  }

  /** Undefined where none was written. */
  termination(): string | undefined {
    if (!existsSync(this.terminationLog)) return undefined;
    const text = readFileSync(this.terminationLog, 'utf8');
    keep(`${this.#artefact.name}-${this.#title}-termination`, text);
    return text;
  }

  async close(): Promise<void> {
    const ended = await Promise.all(this.#running.map((running) => running.stop('SIGKILL')));
    const said = ended.map(({ output }) => output).join('') + (this.termination() ?? '');
    rmSync(this.folder, { recursive: true, force: true });
    for (const token of madeTokens) {
      if (said.includes(token)) throw new Error('a token appears in what the exchange said');
    }
  }
}

/** Waits until `condition` holds; fails with `what` after a time no healthy run needs. */
export async function until(condition: () => boolean, what: () => string): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`waited in vain for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
