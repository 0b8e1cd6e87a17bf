// helm with the values of a release, on the cluster of this run.
import { spawn } from 'node:child_process';
import path from 'node:path';
import type { NodeCluster } from './suite.ts';

export const CHART = path.join(import.meta.dirname, '../../../../charts/coatcheck');

/** Runs helm; `values` become its standard input for `-f -`. @throws Error with helm's words. */
export function runHelm(
  cluster: NodeCluster,
  args: readonly string[],
  values?: object,
): Promise<void> {
  const home = path.join(cluster.facts.workFolder, 'helm');
  const all = [
    ...args,
    `--kubeconfig=${cluster.facts.kubeconfig}`,
    ...(values === undefined ? [] : ['-f', '-']),
  ];
  return new Promise((resolve, reject) => {
    const child = spawn(cluster.node.helm, all, {
      env: { ...process.env, HELM_CACHE_HOME: home, HELM_CONFIG_HOME: home, HELM_DATA_HOME: home },
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`helm ${args.join(' ')}: ${stderr}`)),
    );
    child.stdin.end(values === undefined ? '' : JSON.stringify(values));
  });
}

/** Later ones over earlier ones, as helm does with several files: objects member by member, all else as a whole. */
export function mergeValues(...layers: readonly object[]): object {
  const merged: Record<string, unknown> = {};
  for (const [name, value] of layers.flatMap((layer) => Object.entries(layer))) {
    const before = merged[name];
    merged[name] = isObject(before) && isObject(value) ? mergeValues(before, value) : value;
  }
  return merged;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
