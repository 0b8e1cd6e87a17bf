// An app under test: a shell in a container that may do nothing (not root, nothing writable), and what it sees of its token.
import { noteToken } from '../../../support/tokens.ts';
import type { NodeFacts } from '../cluster.ts';
import type { NodeCluster, PodName } from './suite.ts';

/** What `restricted` asks of every container, and a root that cannot be written. */
export const RESTRICTED = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  readOnlyRootFilesystem: true,
  runAsNonRoot: true,
  runAsUser: 1000,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

/** A container `app` that runs until it is told to end; `rest` is put over it. */
export function toApp(node: NodeFacts, rest: object = {}): object {
  return {
    name: 'app',
    image: node.images['test-shell'],
    imagePullPolicy: 'Never',
    // The shell ends at a signal by itself only with a trap: pid 1 has no default actions.
    command: ['sh', '-c', 'trap "exit 0" TERM; while :; do sleep 100000 & wait $!; done'],
    securityContext: RESTRICTED,
    ...rest,
  };
}

export interface SeenToken {
  /** `AUTH_TOKEN_FILE`, `AUTH_TOKEN_DIR`, `AUTH_ISSUER`, `AUTH_CA_FILE`. */
  readonly tokenFile: string;
  readonly tokenDir: string;
  readonly issuer: string;
  readonly caFile: string;
  readonly token: string;
  /** token.json beside it. */
  readonly json: Readonly<Record<string, unknown>>;
  /** PEM, from `AUTH_CA_FILE`. */
  readonly ca: string;
}

const SEPARATOR = '=====';
const SCRIPT = [
  'printf %s "$AUTH_TOKEN_FILE"',
  'printf %s "$AUTH_TOKEN_DIR"',
  'printf %s "$AUTH_ISSUER"',
  'printf %s "$AUTH_CA_FILE"',
  'cat "$AUTH_TOKEN_FILE"',
  'cat "$(dirname "$AUTH_TOKEN_FILE")/token.json"',
  'cat "$AUTH_CA_FILE"',
].join(` && printf ${SEPARATOR} && `);

/** What a running container finds. Notes the token. @throws Error with the shell's words where something is missing. */
export async function readToken(cluster: NodeCluster, name: PodName): Promise<SeenToken> {
  const { code, stdout, stderr } = await cluster.exec(name, 'sh', '-c', SCRIPT);
  if (code !== 0) throw new Error(`${name.pod} cannot read its token: ${stderr}`);
  const [tokenFile = '', tokenDir = '', issuer = '', caFile = '', token = '', json = '', ca = ''] =
    stdout.split(SEPARATOR);
  noteToken(token);
  return {
    ...{ tokenFile, tokenDir, issuer, caFile, token, ca },
    json: JSON.parse(json) as SeenToken['json'],
  };
}
