// The pods of the installation: which do not start or keep ending, and why, in the words of the kubelet.
import { scrubTokens } from '../../../../common/secret.ts';
import type { Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import { listParts, type Part } from '../installation.ts';
import type { Kube, Metadata } from '../kube.ts';

interface ContainerStatus {
  readonly name: string;
  readonly ready?: boolean;
  readonly restartCount?: number;
  readonly state?: { readonly waiting?: { readonly reason?: string; readonly message?: string } };
  readonly lastState?: {
    readonly terminated?: {
      readonly exitCode?: number;
      readonly reason?: string;
      readonly message?: string;
    };
  };
}

export interface RunningPod {
  readonly metadata: Metadata & { readonly deletionTimestamp?: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly { type: string; status: string; message?: string }[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

/** Pods of the installation that are not on their way out. @throws MissingRight, Unreadable */
export async function listOwnPods(
  { kube, installation }: InstalledContext,
  part: Part,
): Promise<readonly RunningPod[]> {
  const { namespace, release } = installation;
  const labels = `app.kubernetes.io/part-of=coatcheck,app.kubernetes.io/instance=${release}`;
  const listed = await kube.list<RunningPod>(
    { resource: 'pods', namespace },
    { labelSelector: labels },
  );
  return (listed?.items ?? []).filter(
    ({ metadata, status }) =>
      metadata.labels?.['app.kubernetes.io/component'] === part &&
      metadata.deletionTimestamp === undefined &&
      status?.phase !== 'Succeeded' &&
      status?.phase !== 'Failed',
  );
}

export async function checkPods(context: InstalledContext): Promise<readonly Finding[]> {
  const lists = await Promise.all(
    listParts(context.installation).map(({ part }) => listOwnPods(context, part)),
  );
  const pods = lists.flat();
  const findings = await Promise.all(pods.map((pod) => describePod(context, pod)));
  return orAllWell(findings.flat(), `${pods.length} pods run, none was restarted`);
}

async function describePod(
  { kube, installation }: InstalledContext,
  pod: RunningPod,
): Promise<readonly Finding[]> {
  const about = pod.metadata.name;
  const { namespace } = installation;
  const statuses = pod.status?.containerStatuses ?? [];
  const describe = `kubectl -n ${namespace} describe pod ${about}`;
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status === 'False') {
    const seen = `not scheduled: ${clean(scheduled.message)}`;
    return [{ state: 'problem', about, seen, mend: describe }];
  }
  const why = describeEnd(statuses);
  const waiting = statuses.find(({ state }) => state?.waiting !== undefined)?.state?.waiting;
  if (waiting && waiting.reason !== 'PodInitializing') {
    const { reason = 'no reason', message } = waiting;
    const event = why === '' && !message ? await findWarning(kube, namespace, about) : undefined;
    const said = [clean(message ?? event), why].filter((text) => text !== '').join('; ');
    const seen = `waiting, ${reason}${said === '' ? '' : `: ${said}`}`;
    return [{ state: 'problem', about, seen, mend: findMend(reason) ?? describe }];
  }
  const restarts = statuses.reduce((sum, { restartCount = 0 }) => sum + restartCount, 0);
  if (restarts === 0) return [];
  const seen = [`${restarts} ${restarts === 1 ? 'restart' : 'restarts'}`, why]
    .filter(Boolean)
    .join('; ');
  return [
    { state: 'warning', about, seen, mend: `kubectl -n ${namespace} logs ${about} --previous` },
  ];
}

function describeEnd(statuses: readonly ContainerStatus[]): string {
  const last = statuses.find(({ lastState }) => lastState?.terminated)?.lastState?.terminated;
  if (!last) return '';
  const { exitCode = 'unknown', reason = 'no reason', message } = last;
  return `it last ended with code ${exitCode} (${reason})${message ? `: ${clean(message)}` : ''}`;
}

function findMend(reason: string | undefined): string | undefined {
  if (reason === 'ImagePullBackOff' || reason === 'ErrImagePull' || reason === 'InvalidImageName')
    return 'set image.repository, image.tag and imagePullSecrets; a node must be able to pull the image';
  if (reason === 'ErrImageNeverPull')
    return 'load the image onto the node, or set image.pullPolicy';
  return undefined;
}

interface Event {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTimestamp?: string | null;
}

/** Why a container is not made: a Secret that is missing is told in an event alone. */
async function findWarning(kube: Kube, namespace: string, pod: string): Promise<string> {
  const listed = await kube
    .list<Event>(
      { resource: 'events', namespace },
      { fieldSelector: `involvedObject.name=${pod},type=Warning` },
    )
    .catch(() => undefined);
  const sorted = [...(listed?.items ?? [])].sort((a, b) =>
    (a.lastTimestamp ?? '') < (b.lastTimestamp ?? '') ? 1 : -1,
  );
  return sorted[0]?.message ?? '';
}

const MAX_TEXT = 400;

/** Of somebody else: no token, one line, not endless. */
export function clean(text = ''): string {
  const line = scrubTokens(text).replaceAll(/\s+/g, ' ').trim();
  return line.length > MAX_TEXT ? `${line.slice(0, MAX_TEXT)}…` : line;
}
