// Which tokens are meant: the flags that lists and bulk revocation share, and how they are told.
import type { TokenQuery, TokenView } from '../common/protocol/admin-api.ts';
import { optional, type SettingsOf, text } from '../common/settings.ts';
import { formatTable } from './table.ts';

const filter = (doc: string) => optional(text({ flagOnly: true, doc }));

export const FILTER_TABLE = {
  pod: optional(
    text({
      flagOnly: true,
      pattern: /^[^/]+\/[^/]+$/,
      allowed: 'NAMESPACE/NAME',
      doc: 'Tokens of a pod, as NAMESPACE/NAME',
    }),
  ),
  role: filter('Tokens that this role gave out'),
  namespace: filter('Tokens of all pods and ServiceAccounts of a namespace'),
  audience: filter('Tokens for this audience'),
  subject: filter('Tokens of this subject: k8s:CLUSTER:NAMESPACE:SERVICEACCOUNT, client:ID …'),
  cluster: filter('Only of this cluster'),
} as const;

export type FilterSettings = SettingsOf<typeof FILTER_TABLE>;

/** What names something; `cluster` alone narrows. */
const NAMES = ['pod', 'role', 'namespace', 'audience', 'subject'] as const;

/** The filter, and what a person calls it: `pod shop/checkout-1`. */
export function toTokenQuery(settings: FilterSettings): {
  readonly query: TokenQuery;
  readonly told: string;
  /** What is typed to confirm. */
  readonly name: string;
} {
  const { pod, role, namespace, audience, subject, cluster } = settings;
  const [podNamespace, podName] = pod?.split('/') ?? [];
  const wanted = namespace ?? podNamespace;
  const query: TokenQuery = {
    ...(wanted !== undefined && { namespace: wanted }),
    ...(podName !== undefined && { pod: podName }),
    ...(role !== undefined && { role }),
    ...(audience !== undefined && { audience }),
    ...(subject !== undefined && { subject }),
    ...(cluster !== undefined && { cluster }),
  };
  const stated = NAMES.filter((name) => settings[name] !== undefined);
  return {
    query,
    told: [...stated, ...(cluster === undefined ? [] : (['cluster'] as const))]
      .map((name) => `${name} ${settings[name]}`)
      .join(', '),
    name: settings[stated[0] ?? 'cluster'] ?? '',
  };
}

/** Two flags that contradict one another, or none where one is needed. */
export function findFilterProblems(
  { pod, namespace, ...others }: Partial<FilterSettings>,
  { isRequired }: { isRequired: boolean },
): readonly string[] {
  if (pod !== undefined && namespace !== undefined)
    return ['--pod names its namespace: --namespace cannot stand beside it'];
  const isStated = [pod, namespace, others.role, others.audience, others.subject].some(
    (value) => value !== undefined,
  );
  if (isRequired && !isStated)
    return [`it takes accessors, or one of ${NAMES.map((name) => `--${name}`).join(', ')}`];
  return [];
}

/** One line per token. */
export function formatTokens(tokens: readonly TokenView[]): string {
  return formatTable(
    ['ACCESSOR', 'KIND', 'NAME', 'SUBJECT', 'AUDIENCE', 'ROLE', 'EXPIRES'],
    tokens.map(({ accessor, kind, name, subject, audience, role, expiresAt }) => [
      accessor,
      kind,
      name,
      subject,
      audience,
      role,
      expiresAt,
    ]),
  );
}
