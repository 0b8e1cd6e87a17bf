// The broker's own words about itself, through the API server or at the URL that the person named, and what it is configured
// to say.
import type { PersonAnswer } from '../../../../common/kube/person-client.ts';
import type { CheckContext, Finding, InstalledContext } from '../check.ts';
import { findVariable, type Installation } from '../installation.ts';
import { findObject, Unreadable } from '../kube.ts';

/** The broker's Service has the name of its Deployment. @throws MissingRight, Unreadable */
export function askBroker(
  { kube, directBroker }: Pick<CheckContext, 'kube' | 'directBroker'>,
  { namespace, parts }: Installation,
  path: string,
): Promise<PersonAnswer> {
  if (directBroker) return directBroker.ask(path);
  const service = parts.broker?.metadata.name ?? '';
  // A port with a name: the API server does not verify the certificate, so nothing secret may be sent.
  return kube.proxy({ namespace, kind: 'services', name: `https:${service}:https`, path });
}

export async function checkMetadata(context: InstalledContext): Promise<readonly Finding[]> {
  const { broker, webhook } = context.installation.parts;
  const told =
    findVariable(webhook, 'COATCHECK_ISSUER') ?? findVariable(webhook, 'COATCHECK_BROKER_URL');
  const configured = findVariable(broker, 'COATCHECK_ISSUER') ?? told;
  // One that is elsewhere is seen by its URL alone.
  if (configured === undefined || (!broker && !context.directBroker)) return [];
  const findings = told === undefined || told === configured ? [] : [toMismatch(told, configured)];
  const seen = await lookAtBroker(context, configured);
  return findings.length > 0 && seen.every(({ state }) => state === 'ok')
    ? findings
    : [...findings, ...seen];
}

function toMismatch(told: string, configured: string): Finding {
  return {
    state: 'problem',
    about: 'webhook',
    seen: `pods are told the issuer ${told}, and the broker issues as ${configured}`,
    means: 'receivers that take AUTH_ISSUER at its word refuse every token',
    mend: 'one release must make both: helm upgrade, or set broker.issuer for both',
  };
}

async function lookAtBroker(
  context: InstalledContext,
  configured: string,
): Promise<readonly Finding[]> {
  const { installation, directBroker } = context;
  const deployment = `deployment/${installation.parts.broker?.metadata.name ?? ''}`;
  let answer: PersonAnswer;
  try {
    answer = await askBroker(context, installation, '/.well-known/openid-configuration');
  } catch (error) {
    if (!directBroker || !(error instanceof Unreadable)) throw error;
    const mend =
      'as pods see it: docs/operations.md#a-pod-hangs-in-init; --broker-ca-file names its CA';
    const seen = `cannot reach ${directBroker.url}: ${error.message}`;
    return [{ state: 'problem', seen, mend }];
  }
  const { issuer, jwks_uri: jwksUri } = (findObject(answer.text) ?? {}) as {
    issuer?: unknown;
    jwks_uri?: unknown;
  };
  if (answer.status !== 200 || typeof issuer !== 'string') {
    const seen = `the broker answers ${answer.status} for its metadata`;
    return [
      { state: 'problem', seen, mend: `kubectl -n ${installation.namespace} logs ${deployment}` },
    ];
  }
  const findings: Finding[] = [];
  if (issuer !== configured)
    findings.push({
      state: 'problem',
      seen: `the broker says it is ${issuer}, and the installation says ${configured}`,
      means: 'another broker answers, or an old pod',
      mend: `kubectl -n ${installation.namespace} rollout restart ${deployment}`,
    });
  const keys = await countKeys(context, String(jwksUri));
  if (keys === 0)
    findings.push({
      state: 'problem',
      seen: 'the JWKS of the broker is empty',
      means: 'no receiver can verify a client token',
      mend: 'docs/keys.md: look at the Secret of signing keys, and at the log of the broker',
    });
  return findings.length > 0
    ? findings
    : [{ state: 'ok', seen: `${issuer}, ${keys} public ${keys === 1 ? 'key' : 'keys'}` }];
}

/** By the path that the broker itself names. */
async function countKeys(context: InstalledContext, jwksUri: string): Promise<number> {
  const path = URL.parse(jwksUri)?.pathname ?? '/';
  const { text } = await askBroker(context, context.installation, path);
  const { keys } = (findObject(text) ?? {}) as { keys?: unknown };
  return Array.isArray(keys) ? keys.length : 0;
}
