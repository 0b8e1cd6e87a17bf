// The product's own processes as they are shipped: the command line in a child process, told everything by flags.
import { randomBytes } from 'node:crypto';
import { get } from 'node:http';
import path from 'node:path';
import { findFreePorts } from './ports.ts';
import { type RunningProcess, startProcess } from './process.ts';

const CLI = path.join(import.meta.dirname, '../../../cli/main.ts');

export interface Product extends RunningProcess {
  /** Prometheus text of this moment. */
  readMetrics(): Promise<string>;
  /** One sample, 0 where it does not exist yet; all label sets of that name added up. */
  readCounter(name: string): Promise<number>;
}

/** Starts `coatcheck <program>` with these flags and resolves when `/readyz` says so. */
export async function startProduct(
  program: string,
  flags: Readonly<Record<string, string>>,
): Promise<Product> {
  const [port = 0] = await findFreePorts(1);
  const operations = `127.0.0.1:${port}`;
  const given = Object.entries({ ...flags, 'operations-listen': operations });
  const running = await startProcess({
    name: `coatcheck-${program}-${randomBytes(2).toString('hex')}`,
    command: process.execPath,
    args: [CLI, program, ...given.map(([name, value]) => `--${name}=${value}`)],
    environment: toProductEnvironment(process.env),
    isReady: async () => (await readOperations(operations, '/readyz')).status === 200,
  });
  const readMetrics = async () => (await readOperations(operations, '/metrics')).body;
  return {
    ...running,
    readMetrics,
    readCounter: async (name) => sumSamples(await readMetrics(), name),
  };
}

/** Our own variables out: an unknown COATCHECK_ variable stops a process of ours, as it should. */
export function toProductEnvironment(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(
      ([name]) => !name.startsWith('COATCHECK_') && !name.startsWith('NODE_'),
    ),
  );
}

function sumSamples(text: string, name: string): number {
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

function readOperations(address: string, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const failed = () => resolve({ status: 0, body: '' });
    const asked = get(`http://${address}${path}`, { agent: false, timeout: 2000 }, (answer) => {
      let body = '';
      answer.on('data', (chunk: Buffer) => {
        body += chunk.toString();
      });
      answer.once('error', failed);
      answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body }));
    });
    asked.once('timeout', () => asked.destroy());
    asked.once('error', failed);
  });
}
