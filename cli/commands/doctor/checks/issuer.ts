// Whose tokens the broker believes, and whose the API server issues: the same text, to the last slash.
import { parse as parseYaml } from 'yaml';
import type { CheckContext, Finding, InstalledContext } from '../check.ts';
import { findVolume, type Installation } from '../installation.ts';
import { findObject, MissingRight, Unreadable } from '../kube.ts';

/** What the discovery document of the API server says. @throws MissingRight, Unreadable */
async function readIssuer({ kube }: Pick<CheckContext, 'kube'>): Promise<string> {
  const path = '/.well-known/openid-configuration';
  const answer = await kube.ask(path);
  if (answer.status === 403 || answer.status === 401)
    throw new MissingRight(`get the path ${path}`);
  const { issuer } = (findObject(answer.text) ?? {}) as { issuer?: unknown };
  if (answer.status !== 200 || typeof issuer !== 'string')
    throw new Unreadable(
      `the API server has no discovery document (status ${answer.status}): its --service-account-issuer is no https URL; read the iss of a token instead`,
    );
  return issuer;
}

interface ClusterEntry {
  readonly name?: string;
  readonly own?: boolean;
  readonly issuer?: string;
  readonly issuers?: readonly string[];
}

export async function checkIssuer(
  context: CheckContext & { readonly installation?: Installation },
): Promise<readonly Finding[]> {
  const { installation, ownIssuer } = context;
  const issuer = await readIssuer(context);
  const findings: Finding[] = [];
  if (ownIssuer !== undefined && ownIssuer !== issuer)
    findings.push({
      state: 'warning',
      about: 'own token',
      seen: `the token of this ServiceAccount says ${ownIssuer}, and the API server ${issuer}`,
      means: 'the cluster is changing its issuer, or the token is another cluster’s',
      mend: 'list both in cluster.issuers while that lasts',
    });
  const entry = installation && (await findOwnEntry({ ...context, installation }));
  if (!entry) return [...findings, { state: 'ok', seen: issuer }];
  const trusted = entry.issuers ?? (entry.issuer === undefined ? [] : [entry.issuer]);
  if (trusted.includes(issuer))
    return [...findings, { state: 'ok', seen: `${issuer}, as the broker believes it` }];
  return [
    ...findings,
    {
      state: 'problem',
      about: entry.name ?? 'own cluster',
      seen: `the API server issues as ${issuer}, and the broker believes ${trusted.join(', ') || 'nobody'}`,
      means: 'every exchange is refused with token_issuer',
      mend: toMend(issuer),
    },
  ];
}

/** The issuer is the API server's to choose: what a shell or helm would take for more than a text stays out of a command. */
function toMend(issuer: string): string {
  const meanwhile = 'beside the old one while tokens of both live';
  return /^[\w:/.~@%+-]+$/.test(issuer)
    ? `helm upgrade --set 'cluster.issuers={${issuer}}' (${meanwhile})`
    : `write it into cluster.issuers of your values file, ${meanwhile}`;
}

/** @throws MissingRight, Unreadable */
async function findOwnEntry({
  kube,
  installation,
}: InstalledContext): Promise<ClusterEntry | undefined> {
  const name = findVolume(installation.parts.broker, 'clusters')?.configMap?.name;
  if (name === undefined) return undefined;
  const configMap = await kube.get<{ data?: Readonly<Record<string, string>> }>(
    { resource: 'configmaps', namespace: installation.namespace },
    name,
  );
  const entries = parseClusters(configMap?.data?.['clusters.yaml'] ?? '');
  return entries.find(({ own }) => own === true) ?? (entries.length === 1 ? entries[0] : undefined);
}

function parseClusters(text: string): readonly ClusterEntry[] {
  try {
    const { clusters } = Object(parseYaml(text)) as { clusters?: unknown };
    return Array.isArray(clusters) ? (clusters as ClusterEntry[]) : [];
  } catch {
    throw new Unreadable('the table of clusters is no YAML; the broker does not start with it');
  }
}

export async function checkClusterKeys({ kube }: CheckContext): Promise<readonly Finding[]> {
  const path = '/openid/v1/jwks';
  const answer = await kube.ask(path);
  if (answer.status === 403 || answer.status === 401)
    throw new MissingRight(`get the path ${path}`);
  const { keys } = (findObject(answer.text) ?? {}) as { keys?: unknown };
  const count = Array.isArray(keys) ? keys.length : 0;
  if (count > 0)
    return [
      { state: 'ok', seen: `the API server publishes ${count} ${count === 1 ? 'key' : 'keys'}` },
    ];
  return [
    {
      state: 'problem',
      seen: `the API server publishes no keys (status ${answer.status})`,
      means: 'the broker cannot verify ServiceAccount tokens by the keys of the API server',
      mend: 'docs/clusters.md: keys from a file or a URL',
    },
  ];
}
