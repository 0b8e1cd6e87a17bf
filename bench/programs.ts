// The servers under test and their references, each started as a process of its own on the server's core, exactly as a
// user starts them: `coatcheck webhook`, `coatcheck broker`.
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { systemClock } from '../common/clock.ts';
import { type Machine, SERVER_CORE, startPinned, stop, waitForLine } from './machine.ts';
import { SERVER_NAME, type Workplace } from './workplace.ts';

const ROOT = path.join(import.meta.dirname, '..');

export interface Server {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<void>;
}

export interface Bench {
  readonly machine: Machine;
  readonly workplace: Workplace;
  readonly isQuick: boolean;
}

/** The webhook over TLS, with its log on. */
export function startWebhook(bench: Bench): Promise<Server> {
  const { workplace } = bench;
  return startProgram(bench, 'webhook', {
    COATCHECK_LISTEN: '127.0.0.1:0',
    COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
    COATCHECK_TLS_CERT_FILE: workplace.file('tls.crt'),
    COATCHECK_TLS_KEY_FILE: workplace.file('tls.key'),
    COATCHECK_BROKER_URL: `https://${SERVER_NAME}:8443`,
    COATCHECK_BROKER_CA_FILE: workplace.file('ca.pem'),
    COATCHECK_IMAGE: 'registry.example/coatcheck:bench',
  });
}

/** The broker with its audit trail on, going to a file. @param options.environment over the usual settings */
export function startBroker(
  bench: Bench,
  { isTls, environment }: { isTls: boolean; environment?: Readonly<Record<string, string>> },
): Promise<Server> {
  const { workplace } = bench;
  return startProgram(bench, 'broker', {
    COATCHECK_LISTEN: '127.0.0.1:0',
    COATCHECK_OPERATIONS_LISTEN: '127.0.0.1:0',
    COATCHECK_ISSUER: `${isTls ? 'https' : 'http'}://${SERVER_NAME}:8443`,
    COATCHECK_CLUSTERS_FILE: workplace.file('clusters.yaml'),
    COATCHECK_ROLES_PATH: workplace.file('roles'),
    COATCHECK_SIGNING_KEYS_DIR: workplace.file('signing-keys'),
    ...(isTls
      ? {
          COATCHECK_TLS_CERT_FILE: workplace.file('tls.crt'),
          COATCHECK_TLS_KEY_FILE: workplace.file('tls.key'),
        }
      : { COATCHECK_INSECURE_PLAIN_HTTP: 'true' }),
    ...environment,
  });
}

/** A bare server of bench/references. */
export async function startReference(
  machine: Machine,
  name: string,
  args: readonly string[],
): Promise<Server> {
  const child = startPinned({
    machine,
    core: SERVER_CORE,
    command: process.execPath,
    args: [path.join(ROOT, 'bench/references', name), ...args],
  });
  const [, port] = await waitForLine(child, /^ready (\d+)$/m);
  return toServer(child, Number(port));
}

async function startProgram(
  { machine, workplace }: Bench,
  command: string,
  environment: Readonly<Record<string, string>>,
): Promise<Server> {
  // Log and audit go to a file: a reader of a pipe would take part of a core that the measurement needs.
  const log = workplace.file(`${command}.log`);
  const stdout = openSync(log, 'w');
  const child = startPinned({
    machine,
    core: SERVER_CORE,
    command: process.execPath,
    args: [path.join(ROOT, 'cli/main.ts'), command],
    environment,
    stdout,
  });
  closeSync(stdout);
  for (;;) {
    const port = /"url":"https?:[^"]*:(\d+)"/.exec(readFileSync(log, 'utf8'))?.[1];
    if (port !== undefined) return toServer(child, Number(port));
    if (child.exitCode !== null)
      throw new Error(`coatcheck ${command} ended with code ${child.exitCode}`);
    await systemClock.sleep(20);
  }
}

function toServer(child: ChildProcess, port: number): Server {
  return { port, pid: child.pid ?? 0, stop: () => stop(child) };
}
