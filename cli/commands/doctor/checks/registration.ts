// How the API server finds the webhook: its registration, and registrations of others that are in the way.
import type { Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import type { Installation } from '../installation.ts';
import type { Metadata } from '../kube.ts';

interface Webhook {
  readonly name: string;
  readonly clientConfig: {
    readonly caBundle?: string;
    readonly url?: string;
    readonly service?: {
      readonly namespace: string;
      readonly name: string;
      readonly path?: string;
    };
  };
  readonly namespaceSelector?: NamespaceSelector;
  readonly failurePolicy?: string;
  readonly reinvocationPolicy?: string;
  readonly sideEffects?: string;
  readonly matchConditions?: readonly { readonly name: string; readonly expression: string }[];
}

interface Registration {
  readonly metadata: Metadata;
  readonly webhooks?: readonly Webhook[];
}

export interface NamespaceSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

export const REGISTRATIONS = {
  group: 'admissionregistration.k8s.io',
  resource: 'mutatingwebhookconfigurations',
} as const;
export const WEBHOOK_NAME = 'pods.coatcheck.example.io';

export interface OwnWebhook {
  readonly registration: string;
  readonly webhook: Webhook;
}

/** @throws MissingRight, Unreadable */
export async function findWebhook({
  kube,
  installation,
}: Pick<InstalledContext, 'kube' | 'installation'>): Promise<OwnWebhook | undefined> {
  const listed = await kube.list<Registration>(REGISTRATIONS);
  return toWebhooks(listed?.items ?? []).find(({ webhook }) => isOwn(webhook, installation));
}

function toWebhooks(registrations: readonly Registration[]): readonly OwnWebhook[] {
  return registrations.flatMap(({ metadata, webhooks = [] }) =>
    webhooks
      .filter(({ name }) => name === WEBHOOK_NAME)
      .map((webhook) => ({ registration: metadata.name, webhook })),
  );
}

function isOwn(
  { clientConfig: { service } }: Webhook,
  { namespace, parts }: Installation,
): boolean {
  return service?.namespace === namespace && service.name === parts.webhook?.metadata.name;
}

const EXPECTED = {
  failurePolicy: 'Fail',
  reinvocationPolicy: 'IfNeeded',
  sideEffects: 'None',
} as const;
const WITHOUT: Readonly<Record<keyof typeof EXPECTED, string>> = {
  failurePolicy: 'while the webhook is away annotated pods start without a token',
  reinvocationPolicy: 'containers that a later webhook adds get no token',
  sideEffects: 'a dry run may be refused',
};

export async function checkRegistration(context: InstalledContext): Promise<readonly Finding[]> {
  const own = await findWebhook(context);
  const { installation } = context;
  const upgrade = `helm upgrade ${installation.release} -n ${installation.namespace}`;
  if (!own)
    return [
      {
        state: 'problem',
        seen: `no MutatingWebhookConfiguration leads to the webhook of ${installation.namespace}`,
        means: 'annotated pods start without a token',
        mend: `${upgrade} (a registration that was deleted by hand comes back with it)`,
      },
    ];
  const { webhook, registration: about } = own;
  const findings: Finding[] = [];
  if (!webhook.clientConfig.caBundle)
    findings.push({
      state: 'problem',
      about,
      seen: 'it has no caBundle',
      means: 'the API server cannot verify the webhook: annotated pods are refused',
      mend: 'docs/operations.md#certificates: whatever keeps the certificates must fill it in; see the log of the controller',
    });
  for (const [name, expected] of Object.entries(EXPECTED) as [keyof typeof EXPECTED, string][])
    if (webhook[name] !== expected)
      findings.push({
        state: 'warning',
        about,
        seen: `${name} is ${webhook[name] ?? 'not set'}, not ${expected}`,
        means: WITHOUT[name],
        mend: upgrade,
      });
  if ((webhook.matchConditions ?? []).length === 0)
    findings.push({
      state: 'warning',
      about,
      seen: 'it has no match conditions',
      means: 'every pod of the cluster waits for the webhook, not only annotated ones',
      mend: upgrade,
    });
  return orAllWell(
    findings,
    `${about}: annotated pods of ${describeSelector(webhook.namespaceSelector)}`,
  );
}

/** Of an older release, or beside ours: two would both inject, and one without a Service holds pods back. */
export async function checkOtherRegistrations(
  context: InstalledContext,
): Promise<readonly Finding[]> {
  const { kube, installation } = context;
  const listed = await kube.list<Registration>(REGISTRATIONS);
  const all = toWebhooks(listed?.items ?? []);
  const own = all.find(({ webhook }) => isOwn(webhook, installation));
  const others = all.filter((one) => one !== own);
  const findings = await Promise.all(
    others.map(async ({ registration: about, webhook }): Promise<readonly Finding[]> => {
      const { service, url } = webhook.clientConfig;
      const mend = `kubectl delete mutatingwebhookconfiguration ${about}, if its release is gone`;
      const isThere =
        url !== undefined ||
        (service !== undefined &&
          (await kube
            .get({ resource: 'services', namespace: service.namespace }, service.name)
            .catch(() => true)) !== undefined);
      if (!isThere)
        return [
          {
            state: 'problem',
            about,
            seen: `it leads to the Service ${service?.namespace ?? ''}/${service?.name ?? ''}, which does not exist`,
            means: 'annotated pods are held back for ever',
            mend,
          },
        ];
      if (!own || !mayOverlap(own.webhook, webhook)) return [];
      return [
        {
          state: 'warning',
          about,
          seen: 'another installation is asked about the same pods',
          means: 'both inject; the one that is asked last wins',
          mend: `${mend}; else give each its webhook.namespaceSelector or prefix`,
        },
      ];
    }),
  );
  return orAllWell(findings.flat(), 'none is in the way');
}

/** Certain only where they are equal or one takes every namespace; more would be guessing. */
function mayOverlap(a: Webhook, b: Webhook): boolean {
  const toText = (webhook: Webhook) => JSON.stringify(webhook.namespaceSelector ?? {});
  const isEverywhere = (webhook: Webhook) =>
    describeSelector(webhook.namespaceSelector) === 'all namespaces';
  const conditions = (webhook: Webhook) => JSON.stringify(webhook.matchConditions ?? []);
  if (conditions(a) !== conditions(b)) return false;
  return toText(a) === toText(b) || isEverywhere(a) || isEverywhere(b);
}

export function describeSelector({
  matchLabels = {},
  matchExpressions = [],
}: NamespaceSelector = {}): string {
  const parts = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`),
    ...matchExpressions.map(
      ({ key, operator, values = [] }) =>
        `${key} ${operator}${values.length > 0 ? ` (${values.join(', ')})` : ''}`,
    ),
  ];
  return parts.length === 0 ? 'all namespaces' : `namespaces with ${parts.join(', ')}`;
}

export function matchesSelector(
  { matchLabels = {}, matchExpressions = [] }: NamespaceSelector,
  labels: Readonly<Record<string, string>>,
): boolean {
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === 'Exists') return value !== undefined;
      if (operator === 'DoesNotExist') return value === undefined;
      const isIn = value !== undefined && values.includes(value);
      return operator === 'In' ? isIn : !isIn;
    })
  );
}
