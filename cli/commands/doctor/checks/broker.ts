// The broker, asked through the API server: its own words about itself, and what it is configured to say.
import type { PersonAnswer } from '../../../../common/kube/person-client.ts';
import type { CheckContext, Finding, InstalledContext } from '../check.ts';
import { findVariable, type Installation } from '../installation.ts';
import { findObject } from '../kube.ts';

/** The broker's Service has the name of its Deployment. @throws MissingRight, Unreadable */
export function askBroker(
  { kube }: Pick<CheckContext, 'kube'>,
  { namespace, parts }: Installation,
  path: string,
): Promise<PersonAnswer> {
  const service = parts.broker?.metadata.name ?? '';
  // A port with a name: the API server does not verify the certificate, so nothing secret may be sent.
  return kube.proxy({ namespace, kind: 'services', name: `https:${service}:https`, path });
}

export async function checkMetadata(context: InstalledContext): Promise<readonly Finding[]> {
  const { installation } = context;
  const { broker, webhook } = installation.parts;
  const configured = findVariable(broker, 'COATCHECK_ISSUER');
  if (!broker || configured === undefined) return [];
  const told =
    findVariable(webhook, 'COATCHECK_ISSUER') ?? findVariable(webhook, 'COATCHECK_BROKER_URL');
  const findings: Finding[] = [];
  if (told !== undefined && told !== configured)
    findings.push({
      state: 'problem',
      about: 'webhook',
      seen: `pods are told the issuer ${told}, and the broker issues as ${configured}`,
      means: 'receivers that take AUTH_ISSUER at its word refuse every token',
      mend: 'one release must make both: helm upgrade, or set broker.issuer for both',
    });
  const answer = await askBroker(context, installation, '/.well-known/openid-configuration');
  const { issuer, jwks_uri: jwksUri } = (findObject(answer.text) ?? {}) as {
    issuer?: unknown;
    jwks_uri?: unknown;
  };
  if (answer.status !== 200 || typeof issuer !== 'string')
    return [
      ...findings,
      {
        state: 'problem',
        seen: `the broker answers ${answer.status} for its metadata`,
        mend: `kubectl -n ${installation.namespace} logs deployment/${broker.metadata.name}`,
      },
    ];
  if (issuer !== configured)
    findings.push({
      state: 'problem',
      seen: `the broker says it is ${issuer}, and its Deployment says ${configured}`,
      means: 'another broker answers behind the Service, or an old pod',
      mend: `kubectl -n ${installation.namespace} rollout restart deployment/${broker.metadata.name}`,
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
