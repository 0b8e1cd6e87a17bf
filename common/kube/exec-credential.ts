// A credential by an exec plugin of a kubeconfig (client.authentication.k8s.io): the program is started without a shell,
// asked once, and what it prints is shown to nobody.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { Secret } from '../secret.ts';
import { KubeconfigError } from './kubeconfig-file.ts';

export interface ExecPlugin {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly apiVersion: string;
  readonly installHint: string | undefined;
  readonly interactiveMode: 'Never' | 'IfAvailable' | 'Always';
  /** What the plugin is told of the cluster, where it wants to know. */
  readonly cluster: object | undefined;
  /** Of the kubeconfig: a command with a slash starts from there. */
  readonly folder: string;
}

export interface ExecCredential {
  readonly token?: Secret;
  /** PEM. */
  readonly certificate?: string;
  readonly key?: Secret;
}

export interface ExecOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  /** Whether the plugin may speak with the person at the terminal. */
  readonly isInteractive: boolean;
}

export const EXEC_VERSIONS = [
  'client.authentication.k8s.io/v1',
  'client.authentication.k8s.io/v1beta1',
] as const;
const MAX_BYTES = 1024 * 1024;

/** @throws KubeconfigError; its text quotes nothing of the output */
export async function runExecPlugin(
  plugin: ExecPlugin,
  { environment, timeoutMs, isInteractive }: ExecOptions,
): Promise<ExecCredential> {
  if (plugin.interactiveMode === 'Always' && !isInteractive)
    throw fail(plugin, 'wants to speak with a person, and there is no terminal');
  const interactive = isInteractive && plugin.interactiveMode !== 'Never';
  const { apiVersion, cluster } = plugin;
  const spec = { interactive, ...(cluster && { cluster }) };
  const info = JSON.stringify({ apiVersion, kind: 'ExecCredential', spec });
  const command = plugin.command.includes('/')
    ? path.resolve(plugin.folder, plugin.command)
    : plugin.command;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(command, [...plugin.args], {
    env: { ...environment, ...plugin.env, KUBERNETES_EXEC_INFO: info },
    stdio: [interactive ? 'inherit' : 'ignore', 'pipe', 'inherit'],
  });
  // It is not waited for: whoever it started may hold its output open, and it may not want to end.
  const giveUp = (what: string) => {
    child.kill('SIGKILL');
    child.stdout?.destroy();
    reject(fail(plugin, what));
  };
  const deadline = setTimeout(giveUp, timeoutMs, `did not end within ${timeoutMs / 1000} s`);
  const chunks: Buffer[] = [];
  let bytes = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) giveUp(`printed more than ${MAX_BYTES} bytes`);
    else chunks.push(chunk);
  });
  child.once('error', (error: NodeJS.ErrnoException) => {
    const isMissing = error.code === 'ENOENT';
    const hint = plugin.installHint === undefined ? '' : `; its hint: ${plugin.installHint}`;
    reject(
      fail(
        plugin,
        isMissing ? `is not installed${hint}` : `cannot be started (${error.code ?? 'unknown'})`,
      ),
    );
  });
  child.once('close', (code) => {
    if (code === 0) resolve(Buffer.concat(chunks).toString('utf8'));
    else reject(fail(plugin, `failed with exit code ${code ?? 'none'}`));
  });
  try {
    return toCredential(plugin, await promise);
  } finally {
    clearTimeout(deadline);
  }
}

function toCredential(plugin: ExecPlugin, text: string): ExecCredential {
  const answer = parseObject(plugin, text);
  const status = Object(answer.status) as Record<string, unknown>;
  if (answer.kind !== 'ExecCredential') throw fail(plugin, 'printed no ExecCredential');
  if (answer.apiVersion !== plugin.apiVersion)
    throw fail(plugin, `must print an ExecCredential of ${plugin.apiVersion}`);
  const { token, clientCertificateData: certificate, clientKeyData: key } = status;
  const hasToken = typeof token === 'string' && token !== '';
  const hasPair = typeof certificate === 'string' && typeof key === 'string';
  if (!hasToken && !hasPair)
    throw fail(plugin, 'gave neither a token nor a certificate with its key');
  return {
    ...(hasToken && { token: new Secret(token) }),
    ...(hasPair && { certificate, key: new Secret(key) }),
  };
}

function parseObject(plugin: ExecPlugin, text: string): Record<string, unknown> {
  try {
    return Object(JSON.parse(text)) as Record<string, unknown>;
  } catch {
    throw fail(plugin, 'printed something that is not JSON');
  }
}

function fail(plugin: ExecPlugin, what: string): KubeconfigError {
  return new KubeconfigError(`the exec plugin ${path.basename(plugin.command)} ${what}`);
}
