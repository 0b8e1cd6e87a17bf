// The API server: reachable, new enough, what it can do, and whose time is right.
import type { CheckContext, Finding } from '../check.ts';
import { findVariable, type Installation } from '../installation.ts';
import { readObject } from '../kube.ts';
import { askBroker } from './broker.ts';

const OLDEST_MINOR = 30;

export async function checkVersion({ kube }: CheckContext): Promise<readonly Finding[]> {
  const answer = await kube.ask('/version');
  const version = readObject<{ major?: string; minor?: string; gitVersion?: string }>(
    answer,
    'get the path /version',
  );
  const minor = Number.parseInt(version.minor ?? '', 10);
  const seen = `Kubernetes ${version.gitVersion ?? 'of unknown version'}`;
  if (version.major === '1' && minor < OLDEST_MINOR)
    return [
      {
        state: 'problem',
        seen,
        means: `Coatcheck needs 1.${OLDEST_MINOR} or newer: match conditions, native sidecars`,
        mend: 'upgrade the cluster',
      },
    ];
  return [{ state: 'ok', seen }];
}

/** Nobody needs it; whoever wants the injection without a webhook does. */
export async function checkAdmissionPolicies({ kube }: CheckContext): Promise<readonly Finding[]> {
  const served: string[] = [];
  for (const version of ['v1', 'v1beta1', 'v1alpha1']) {
    const answer = await kube.ask(`/apis/admissionregistration.k8s.io/${version}`);
    if (answer.status === 404) continue;
    const { resources = [] } = readObject<{ resources?: { name: string }[] }>(
      answer,
      'get the path /apis/admissionregistration.k8s.io',
    );
    if (resources.some(({ name }) => name === 'mutatingadmissionpolicies')) served.push(version);
  }
  const seen =
    served.length === 0
      ? 'MutatingAdmissionPolicy is not served; only `coatcheck render --mode policy` would need it'
      : `MutatingAdmissionPolicy is served (${served.join(', ')})`;
  return [{ state: 'ok', seen }];
}

const WARN_MS = 5000;
/** What the broker allows (`leeway`), and so what costs tokens. */
const LEEWAY_MS = 30_000;

export async function checkClocks(
  context: CheckContext & { readonly installation?: Installation },
): Promise<readonly Finding[]> {
  const { kube, clock, installation } = context;
  const sentAt = clock.now();
  const { date } = await kube.ask('/healthz');
  if (date === undefined) return [{ state: 'unknown', seen: 'the API server states no time' }];
  const apiServer = toAhead(date, sentAt, clock.now());
  const findings = [toFinding('this machine', -apiServer, 'the API server')];
  const broker = installation?.parts.broker;
  if (!installation || !broker || findVariable(broker, 'COATCHECK_ISSUER') === undefined)
    return findings;
  const askedAt = clock.now();
  const answer = await askBroker(
    context,
    installation,
    '/.well-known/openid-configuration?clock',
  ).catch(() => undefined);
  if (answer?.date === undefined)
    return [
      ...findings,
      { state: 'unknown', about: 'broker', seen: 'the broker could not be asked for its time' },
    ];
  const ahead = toAhead(answer.date, askedAt, clock.now()) - apiServer;
  return [...findings, toFinding('broker', ahead, 'the API server')];
}

/** Dates have whole seconds: half of one is added, and the middle of the request is when it was made. */
function toAhead(date: number, sentAt: number, receivedAt: number): number {
  return date + 500 - (sentAt + receivedAt) / 2;
}

function toFinding(about: string, aheadMs: number, of: string): Finding {
  const size = Math.abs(aheadMs);
  if (size <= WARN_MS)
    return { state: 'ok', about, seen: `within ${Math.ceil(size / 1000)} s of ${of}` };
  const seen = `${Math.round(size / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} ${of}`;
  const isBroker = about === 'broker';
  return {
    state: size > LEEWAY_MS && isBroker ? 'problem' : 'warning',
    about,
    seen,
    means: isBroker
      ? 'beyond 30 s tokens are refused as expired or not yet valid (token_expired, token_not_yet_valid)'
      : 'times that this command tells may be wrong',
    mend: isBroker
      ? 'set the clock of the node that the broker runs on (NTP)'
      : 'set the clock of this machine',
  };
}
