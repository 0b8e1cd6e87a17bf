// What the running pods say of themselves on their operations ports, through the API server: what keeps them from being
// ready, how old their certificates are, when who lives was last told.

import type { PersonAnswer } from '../../../../common/kube/person-client.ts';
import type { Finding, InstalledContext } from '../check.ts';
import { forEach, orAllWell } from '../check.ts';
import { findOperationsPort, findVariable, listParts, type Part } from '../installation.ts';
import { clean, listOwnPods, type RunningPod } from './pods.ts';

interface OwnPod {
  readonly part: Part;
  readonly name: string;
  readonly port: number;
}

/** Pods that have been started. @throws MissingRight, Unreadable */
async function listRunning(
  context: InstalledContext,
  parts: readonly Part[],
): Promise<readonly OwnPod[]> {
  const lists = await Promise.all(
    listParts(context.installation)
      .filter(({ part }) => parts.includes(part))
      .map(async ({ part, deployment }) => {
        const port = findOperationsPort(deployment);
        const pods = port === undefined ? [] : await listOwnPods(context, part);
        return pods
          .filter(isRunning)
          .map(({ metadata }) => ({ part, name: metadata.name, port: port ?? 0 }));
      }),
  );
  return lists.flat();
}

function isRunning({ status }: RunningPod): boolean {
  return (
    status?.phase === 'Running' &&
    !(status.containerStatuses ?? []).some(({ state }) => state?.waiting !== undefined)
  );
}

/** @throws MissingRight, Unreadable */
function askPod(
  { kube, installation: { namespace } }: InstalledContext,
  { name, port }: OwnPod,
  path: string,
): Promise<PersonAnswer> {
  return kube.proxy({ namespace, kind: 'pods', name: `http:${name}:${port}`, path });
}

/** Where nobody can be asked nothing is well; why nobody runs is in the rows about Deployments and pods. */
function nobodyRuns(whose: string): readonly Finding[] {
  return [{ state: 'unknown', seen: `no pod of ${whose} runs that could be asked` }];
}

export async function checkReadiness(context: InstalledContext): Promise<readonly Finding[]> {
  const pods = await listRunning(context, ['webhook', 'broker', 'controller']);
  if (pods.length === 0) return nobodyRuns('ours');
  const findings = await forEach(
    pods,
    async (pod): Promise<readonly Finding[]> => {
      const { status, text } = await askPod(context, pod, '/readyz');
      if (status === 200) return [];
      const obstacles = text.split('\n').filter((line) => line.trim() !== '');
      return [
        {
          state: 'problem',
          about: pod.name,
          seen: `not ready: ${clean(obstacles.join('; '))}`,
          mend: `kubectl -n ${context.installation.namespace} logs ${pod.name}`,
        },
      ];
    },
    ({ name }) => name,
  );
  return orAllWell(findings, `${pods.length} pods are ready`);
}

/** Name and labels as they stand in the text → value. */
function parseSamples(text: string, name: string): readonly { labels: string; value: number }[] {
  return text.split('\n').flatMap((line) => {
    const match = /^([a-zA-Z_:]\w*)(\{[^}]*\})? (\S+)/.exec(line);
    return match?.[1] === name ? [{ labels: match[2] ?? '', value: Number(match[3]) }] : [];
  });
}

const DAY_SECONDS = 24 * 60 * 60;

export async function checkCertificates(context: InstalledContext): Promise<readonly Finding[]> {
  const { clock, installation } = context;
  const pods = await listRunning(context, ['webhook', 'broker']);
  if (pods.length === 0) return nobodyRuns('webhook or broker');
  let first = Number.POSITIVE_INFINITY;
  const findings = await forEach(
    pods,
    async (pod): Promise<readonly Finding[]> => {
      const { text } = await askPod(context, pod, '/metrics');
      const name = `coatcheck_${pod.part}_certificate_not_after_seconds`;
      const notAfter = parseSamples(text, name)[0]?.value;
      if (notAfter === undefined || !(notAfter > 0))
        return [{ state: 'unknown', about: pod.name, seen: 'it tells no end of its certificate' }];
      first = Math.min(first, notAfter);
      const left = notAfter - clock.now() / 1000;
      if (left > DAY_SECONDS) return [];
      const at = new Date(notAfter * 1000).toISOString();
      return [
        {
          state: left <= 0 ? 'problem' : 'warning',
          about: pod.name,
          seen: `its certificate ${left <= 0 ? 'ended' : 'ends'} at ${at}`,
          means:
            pod.part === 'webhook' ? 'annotated pods are refused then' : 'pods get no tokens then',
          mend: `docs/operations.md#a-certificate-has-expired; the log of ${installation.parts.controller?.metadata.name ?? 'whatever renews them'}`,
        },
      ];
    },
    ({ name }) => name,
  );
  const told = await checkBundleTold(context);
  const until = Number.isFinite(first) ? new Date(first * 1000).toISOString().slice(0, 10) : '';
  return orAllWell([...findings, ...told], `serving certificates are good until ${until} at least`);
}

/** Whether the controller that acts could put the authorities of its Secret into the registration. */
async function checkBundleTold(context: InstalledContext): Promise<readonly Finding[]> {
  const { installation } = context;
  if (findVariable(installation.parts.controller, 'COATCHECK_WEBHOOK_CONFIGURATION') === undefined)
    return [];
  return forEach(
    await listRunning(context, ['controller']),
    async (pod): Promise<readonly Finding[]> => {
      const { text } = await askPod(context, pod, '/metrics');
      // Those that do not act have no sample.
      const samples = parseSamples(text, 'coatcheck_controller_ca_bundle_injected');
      if (samples.every(({ value }) => value === 1)) return [];
      return [
        {
          state: 'problem',
          about: pod.name,
          seen: 'the API server was not told the authorities that the controller keeps',
          means: 'annotated pods are refused once a certificate of another authority is used',
          mend: 'docs/operations.md#the-cabundle-and-the-certificate-differ',
        },
      ];
    },
    ({ name }) => name,
  );
}

/** Two sets that did not come (docs/liveness.md). */
const OLD_SECONDS = 600;

export async function checkLiveSets(context: InstalledContext): Promise<readonly Finding[]> {
  const { installation } = context;
  const { controller, broker } = installation.parts;
  // A broker in another cluster cannot be asked from here.
  if (!controller || !broker) return [];
  const pods = await listRunning(context, ['broker']);
  if (pods.length === 0) return nobodyRuns('the broker');
  let oldest = 0;
  const findings = await forEach(
    pods,
    async (pod): Promise<readonly Finding[]> => {
      const { text } = await askPod(context, pod, '/metrics');
      const ages = parseSamples(text, 'coatcheck_broker_live_report_age_seconds');
      const logs = `kubectl -n ${installation.namespace} logs deployment/${controller.metadata.name}; docs/liveness.md`;
      if (ages.length === 0)
        return [
          {
            state: 'warning',
            about: pod.name,
            seen: 'no controller has told it who lives',
            means: 'tokens outlive their pods; it comes within a minute of a start',
            mend: logs,
          },
        ];
      return ages.flatMap(({ labels, value }): readonly Finding[] => {
        oldest = Math.max(oldest, value);
        if (value <= OLD_SECONDS) return [];
        return [
          {
            state: 'problem',
            about: `${pod.name} ${labels}`,
            seen: `the last complete set of the living is ${Math.round(value)} s old`,
            means: 'what died since is not known: tokens outlive their pods',
            mend: logs,
          },
        ];
      });
    },
    ({ name }) => name,
  );
  return orAllWell(
    findings,
    `every broker was told who lives, ${Math.round(oldest)} s ago at most`,
  );
}
