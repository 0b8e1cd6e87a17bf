// The API server: reachable, new enough, what it can do, and whose time is right.
import type { PersonAnswer } from '../../../../common/kube/person-client.ts';
import type { CheckContext, Finding } from '../check.ts';
import type { Installation } from '../installation.ts';
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
  const { kube, installation } = context;
  const apiServer = await readAhead(context, () => kube.ask('/healthz'));
  if (!apiServer) return [{ state: 'unknown', seen: 'the API server states no time' }];
  const { aheadMs, maxErrorMs } = apiServer;
  const findings = [toFinding('this machine', { aheadMs: -aheadMs, maxErrorMs })];
  if (!installation || !(installation.parts.broker || context.directBroker)) return findings;
  // A query, so that it is asked and not remembered.
  const path = '/.well-known/openid-configuration?clock';
  const broker = await readAhead(context, () => askBroker(context, installation, path)).catch(
    () => undefined,
  );
  if (!broker) {
    const seen = 'the broker could not be asked for its time';
    return [...findings, { state: 'unknown', about: 'broker', seen }];
  }
  const difference = {
    aheadMs: broker.aheadMs - aheadMs,
    maxErrorMs: broker.maxErrorMs + maxErrorMs,
  };
  return [...findings, toFinding('broker', difference)];
}

interface Ahead {
  /** Of the clock here. */
  readonly aheadMs: number;
  readonly maxErrorMs: number;
}

/** Dates have whole seconds: half of one is added, and the middle of the request is when it was made, more or less. */
async function readAhead(
  { clock }: CheckContext,
  ask: () => Promise<PersonAnswer>,
): Promise<Ahead | undefined> {
  const sentAt = clock.now();
  const { date } = await ask();
  const receivedAt = clock.now();
  if (date === undefined) return undefined;
  return {
    aheadMs: date + 500 - (sentAt + receivedAt) / 2,
    maxErrorMs: (receivedAt - sentAt) / 2 + 500,
  };
}

function toFinding(about: string, { aheadMs, maxErrorMs }: Ahead): Finding {
  const size = Math.abs(aheadMs);
  const certain = size - maxErrorMs;
  const of = 'the API server';
  if (certain <= WARN_MS)
    return {
      state: 'ok',
      about,
      seen: `within ${Math.ceil((size + maxErrorMs) / 1000)} s of ${of}`,
    };
  const seen = `${Math.round(size / 1000)} s ${aheadMs > 0 ? 'ahead of' : 'behind'} ${of}`;
  if (about !== 'broker')
    return {
      state: 'warning',
      about,
      seen,
      means: 'times that this command tells may be wrong',
      mend: 'set the clock of this machine',
    };
  return {
    state: certain > LEEWAY_MS ? 'problem' : 'warning',
    about,
    seen,
    means:
      'beyond 30 s tokens are refused as expired or not yet valid (token_expired, token_not_yet_valid)',
    mend: 'set the clock of the node that the broker runs on (NTP)',
  };
}
