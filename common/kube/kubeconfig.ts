// How a person reaches an API server: a context of their kubeconfig, or the ServiceAccount of the pod that the command
// runs in. The credential is read once, kept in memory, and never printed.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Secret } from '../secret.ts';
import { EXEC_VERSIONS, type ExecPlugin, runExecPlugin } from './exec-credential.ts';
import {
  type Kubeconfig,
  type KubeconfigEntry,
  KubeconfigError,
  readKubeconfig,
} from './kubeconfig-file.ts';

export interface KubeAccess {
  /** `https://…`, without a trailing slash; may have a path. */
  readonly server: string;
  /** Name of the context, or `in-cluster`. */
  readonly context: string;
  /** The context's, else `default`; in a pod, the pod's. */
  readonly namespace: string;
  /** PEM; the system's roots otherwise. */
  readonly ca?: string;
  /** The certificate must carry this name; that of `server` otherwise. */
  readonly serverName?: string;
  /** The certificate is not looked at, as the kubeconfig says. */
  readonly isInsecure: boolean;
  readonly credential: KubeCredential;
}

export interface KubeCredential {
  readonly token?: Secret;
  readonly basic?: Secret;
  /** PEM. */
  readonly certificate?: string;
  readonly key?: Secret;
  /** `Impersonate-User` and its like. */
  readonly impersonation: Readonly<Record<string, string | readonly string[]>>;
}

export interface KubeAccessOptions {
  /** One file instead of those of KUBECONFIG. */
  readonly kubeconfig?: string;
  readonly context?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Of an exec plugin. */
  readonly timeoutMs: number;
  readonly isInteractive: boolean;
  /** Where a pod finds its ServiceAccount; for tests. */
  readonly accountFolder?: string;
}

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;
const ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

/** @throws KubeconfigError that says what is missing and where */
export async function readKubeAccess(options: KubeAccessOptions): Promise<KubeAccess> {
  const { environment } = options;
  const config = await readKubeconfig(options.kubeconfig, environment);
  const name = options.context ?? config?.currentContext;
  if (config === undefined || (name === undefined && config.contexts.size === 0)) {
    if (options.kubeconfig === undefined && environment.KUBERNETES_SERVICE_HOST)
      return readInCluster(options);
    throw new KubeconfigError(
      'there is no kubeconfig: set KUBECONFIG or --kubeconfig (or run this in a pod)',
    );
  }
  if (name === undefined || name === '')
    throw new KubeconfigError('the kubeconfig has no current context: name one with --context');
  return readContext(config, name, options);
}

async function readContext(
  config: Kubeconfig,
  name: string,
  options: KubeAccessOptions,
): Promise<KubeAccess> {
  const context = getEntry(config.contexts, name, `the kubeconfig has no context ${quote(name)}`);
  const clusterName = readText(context, 'cluster') ?? '';
  const userName = readText(context, 'user') ?? '';
  const says = `the context ${quote(name)} names the`;
  const cluster = getEntry(
    config.clusters,
    clusterName,
    `${says} cluster ${quote(clusterName)}, which the kubeconfig does not have`,
  );
  const user =
    userName === ''
      ? undefined
      : getEntry(
          config.users,
          userName,
          `${says} user ${quote(userName)}, whom the kubeconfig does not have`,
        );
  const reached = await readCluster(cluster);
  return {
    ...reached,
    context: name,
    namespace: readText(context, 'namespace') ?? 'default',
    credential: user
      ? await readUser(user, { ...options, cluster, ca: reached.ca })
      : { impersonation: {} },
  };
}

async function readInCluster({
  environment,
  accountFolder = ACCOUNT_FOLDER,
}: KubeAccessOptions): Promise<KubeAccess> {
  const { KUBERNETES_SERVICE_HOST: host = '', KUBERNETES_SERVICE_PORT: port = '443' } = environment;
  const entry = { value: {}, folder: accountFolder, file: 'ServiceAccount' };
  const read = (name: string) => readFileOf(entry, name, `the ${name} of the pod's ServiceAccount`);
  const [ca, token, namespace] = await Promise.all([
    read('ca.crt'),
    read('token'),
    read('namespace').catch(() => 'default'),
  ]);
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    context: 'in-cluster',
    namespace: namespace.trim(),
    ca,
    isInsecure: false,
    credential: { token: toToken(token, entry), impersonation: {} },
  };
}

type Reached = Pick<KubeAccess, 'server' | 'ca' | 'serverName' | 'isInsecure'>;

async function readCluster(entry: KubeconfigEntry): Promise<Reached> {
  const server = readText(entry, 'server') ?? '';
  const parsed = URL.parse(server);
  if (parsed?.protocol !== 'https:' && parsed?.protocol !== 'http:')
    throw new KubeconfigError(`${entry.file}: a cluster's server must be an http(s) URL`);
  if (parsed.protocol === 'http:' && !LOOPBACK.test(parsed.hostname))
    throw new KubeconfigError(
      `${entry.file}: a cluster's server must be https; plain http only on this machine`,
    );
  if (parsed.username !== '' || parsed.search !== '' || parsed.hash !== '')
    throw new KubeconfigError(
      `${entry.file}: a cluster's server must have no user, query or fragment`,
    );
  if (readText(entry, 'proxy-url') !== undefined)
    throw new KubeconfigError(
      `${entry.file}: the cluster is reached through proxy-url, which this command cannot do; run \`kubectl proxy\` and name it in a kubeconfig of its own`,
    );
  const isInsecure = entry.value['insecure-skip-tls-verify'] === true;
  const ca = await readData(entry, 'certificate-authority');
  if (ca !== undefined && isInsecure)
    throw new KubeconfigError(
      `${entry.file}: certificate-authority and insecure-skip-tls-verify exclude each other`,
    );
  if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
    throw new KubeconfigError(`${entry.file}: certificate-authority holds no PEM certificate`);
  const serverName = readText(entry, 'tls-server-name');
  return {
    server: server.replace(/\/+$/, ''),
    ...(ca !== undefined && { ca }),
    ...(serverName !== undefined && { serverName }),
    isInsecure,
  };
}

interface UserOptions extends KubeAccessOptions {
  readonly cluster: KubeconfigEntry;
  readonly ca: string | undefined;
}

async function readUser(entry: KubeconfigEntry, options: UserOptions): Promise<KubeCredential> {
  if (entry.value['auth-provider'] !== undefined)
    throw new KubeconfigError(
      `${entry.file}: auth-provider is gone from Kubernetes (1.26); use the exec plugin of your cloud`,
    );
  const impersonation = readImpersonation(entry);
  const certificate = await readData(entry, 'client-certificate');
  const key = await readData(entry, 'client-key');
  if ((certificate === undefined) !== (key === undefined))
    throw new KubeconfigError(`${entry.file}: client-certificate and client-key go together`);
  const pair = certificate !== undefined &&
    key !== undefined && { certificate, key: new Secret(key) };
  const token = await readUserToken(entry);
  if (token !== undefined) return { token, ...pair, impersonation };
  const username = readText(entry, 'username');
  if (username !== undefined) {
    const basic = new Secret(`${username}:${readText(entry, 'password') ?? ''}`);
    return { basic, ...pair, impersonation };
  }
  if (pair || entry.value.exec === undefined) return { ...pair, impersonation };
  return { ...(await runExecPlugin(toPlugin(entry, options), options)), impersonation };
}

/** The file wins, as in client-go: the token beside it is what it was once. */
async function readUserToken(entry: KubeconfigEntry): Promise<Secret | undefined> {
  const file = readText(entry, 'tokenFile');
  const text =
    file === undefined ? readText(entry, 'token') : await readFileOf(entry, file, 'tokenFile');
  return text === undefined ? undefined : toToken(text, entry);
}

function toToken(text: string, { file }: KubeconfigEntry): Secret {
  const token = text.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) throw new KubeconfigError(`${file}: the token is none`);
  return new Secret(token);
}

function readImpersonation(entry: KubeconfigEntry): KubeCredential['impersonation'] {
  const user = readText(entry, 'as');
  const uid = readText(entry, 'as-uid');
  const groups = entry.value['as-groups'];
  return {
    ...(user !== undefined && { 'Impersonate-User': user }),
    ...(uid !== undefined && { 'Impersonate-Uid': uid }),
    ...(Array.isArray(groups) && groups.length > 0 && { 'Impersonate-Group': groups.map(String) }),
    ...Object.fromEntries(
      Object.entries(Object(entry.value['as-user-extra']) as Record<string, unknown>).map(
        ([key, values]) => [`Impersonate-Extra-${toHeaderKey(key)}`, toList(values).map(String)],
      ),
    ),
  };
}

/** As client-go writes it: what is no character of a header's name is percent-encoded. */
function toHeaderKey(key: string): string {
  return encodeURIComponent(key).replace(/[()]/g, (char) => (char === '(' ? '%28' : '%29'));
}

function toPlugin(entry: KubeconfigEntry, { cluster, ca }: UserOptions): ExecPlugin {
  const exec = Object(entry.value.exec) as Record<string, unknown>;
  const own = { ...entry, value: exec };
  const command = readText(own, 'command');
  const apiVersion = readText(own, 'apiVersion') ?? '';
  if (command === undefined) throw new KubeconfigError(`${entry.file}: exec must have a command`);
  if (!EXEC_VERSIONS.some((version) => version === apiVersion))
    throw new KubeconfigError(
      `${entry.file}: exec.apiVersion must be one of ${EXEC_VERSIONS.join(', ')}`,
    );
  const mode = readText(own, 'interactiveMode') ?? 'IfAvailable';
  if (mode !== 'Never' && mode !== 'IfAvailable' && mode !== 'Always')
    throw new KubeconfigError(
      `${entry.file}: exec.interactiveMode must be Never, IfAvailable or Always`,
    );
  const serverName = readText(cluster, 'tls-server-name');
  const told = {
    server: readText(cluster, 'server'),
    ...(serverName !== undefined && { 'tls-server-name': serverName }),
    ...(ca !== undefined && { 'certificate-authority-data': Buffer.from(ca).toString('base64') }),
  };
  return {
    command,
    args: toList(exec.args).map(String),
    env: Object.fromEntries(
      toList(exec.env).map((one) => {
        const { name, value } = Object(one) as Record<string, unknown>;
        return [String(name), String(value)];
      }),
    ),
    apiVersion,
    installHint: readText(own, 'installHint')?.trim(),
    interactiveMode: mode,
    cluster: exec.provideClusterInfo === true ? told : undefined,
    folder: entry.folder,
  };
}

function toList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/** `<name>-data` in base64, else the file `<name>`; relative to the kubeconfig that names it. */
async function readData(entry: KubeconfigEntry, name: string): Promise<string | undefined> {
  const data = readText(entry, `${name}-data`);
  if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
  const file = readText(entry, name);
  return file === undefined ? undefined : readFileOf(entry, file, name);
}

async function readFileOf(entry: KubeconfigEntry, file: string, what: string): Promise<string> {
  try {
    return await readFile(path.resolve(entry.folder, file), 'utf8');
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException;
    throw new KubeconfigError(`${entry.file}: ${what} cannot be read (${code})`, { cause });
  }
}

function readText({ value }: KubeconfigEntry, name: string): string | undefined {
  const text = value[name];
  return typeof text === 'string' && text !== '' ? text : undefined;
}

function getEntry(
  entries: ReadonlyMap<string, KubeconfigEntry>,
  name: string,
  problem: string,
): KubeconfigEntry {
  const entry = entries.get(name);
  if (!entry) throw new KubeconfigError(problem);
  return entry;
}

/** Names are what a person typed or chose; no control characters of theirs reach a terminal. */
function quote(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}
