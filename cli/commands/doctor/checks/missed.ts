// Pods that ask for a token and were stored without being injected. Metadata of all pods first: only those that ask, and
// carry no word of the webhook, are read whole.
import { isMissed, type PodObject, toInjectionFacts } from '../../../../common/protocol/missed.ts';
import type { CheckContext, Finding, InstalledContext } from '../check.ts';
import { orAllWell } from '../check.ts';
import { findVariable, type Installation } from '../installation.ts';
import type { Listed, Metadata } from '../kube.ts';
import { MissingRight } from '../kube.ts';
import { findWebhook, matchesSelector } from './registration.ts';

const DEFAULT_PREFIX = 'auth.example.io/';
/** Of those that ask; the rest of a cluster where hundreds were missed is like them. */
const MAX_READ = 200;
const MAX_TOLD = 20;

export async function checkMissed(
  context: CheckContext & { readonly installation?: Installation },
): Promise<readonly Finding[]> {
  const { kube, installation } = context;
  const prefix =
    findVariable(installation?.parts.controller, 'COATCHECK_PREFIX') ??
    installation?.prefix ??
    DEFAULT_PREFIX;
  const { listed, where } = await listPods(context);
  const isCovered = installation ? await findCoverage({ ...context, installation }) : () => true;
  const asking = listed.items
    .map(({ metadata }) => metadata)
    .filter((metadata) => isCovered(metadata.namespace ?? ''))
    .filter(({ annotations = {} }) =>
      Object.keys(annotations).some((key) => key.startsWith(prefix) && key !== `${prefix}status`),
    );
  const read = await Promise.all(
    asking
      .slice(0, MAX_READ)
      .map(({ name, namespace = '' }) =>
        kube.get<PodObject>({ resource: 'pods', namespace }, name),
      ),
  );
  const missed = read
    .filter((pod) => pod !== undefined)
    .filter((pod) => isMissed(toInjectionFacts(pod, prefix)))
    .map(({ metadata }) => metadata as Metadata);
  const left = asking.length - Math.min(asking.length, MAX_READ);
  const partly =
    listed.isWhole && left === 0 ? '' : '; the cluster has more pods than were looked at';
  const findings = missed.slice(0, MAX_TOLD).map(toFinding);
  if (missed.length > MAX_TOLD)
    findings.push({ state: 'problem', seen: `and ${missed.length - MAX_TOLD} more${partly}` });
  return orAllWell(findings, `${asking.length} annotated pods ${where}, none was missed${partly}`);
}

interface PodList {
  readonly listed: Listed<{ metadata: Metadata }>;
  readonly where: string;
}

/** All, else those of the person's own namespace. @throws MissingRight, Unreadable */
async function listPods({ kube, personNamespace }: CheckContext): Promise<PodList> {
  const none = { items: [], isWhole: true };
  try {
    const listed = await kube.list<{ metadata: Metadata }>(
      { resource: 'pods' },
      { metadataOnly: true },
    );
    return { listed: listed ?? none, where: 'in the cluster' };
  } catch (error) {
    if (!(error instanceof MissingRight)) throw error;
    const own = { resource: 'pods', namespace: personNamespace };
    const listed = await kube.list<{ metadata: Metadata }>(own, { metadataOnly: true });
    return { listed: listed ?? none, where: `in ${personNamespace} (the others you may not list)` };
  }
}

/** Namespaces whose pods the webhook is asked about; all where that cannot be seen. */
async function findCoverage({
  kube,
  installation,
}: InstalledContext): Promise<(namespace: string) => boolean> {
  const [own, listed] = await Promise.all([
    findWebhook({ kube, installation }).catch(() => undefined),
    kube.list<{ metadata: Metadata }>({ resource: 'namespaces' }).catch(() => undefined),
  ]);
  const selector = own?.webhook.namespaceSelector;
  if (!selector || !listed) return () => true;
  const covered = new Set(
    listed.items
      .filter(({ metadata }) => matchesSelector(selector, metadata.labels ?? {}))
      .map(({ metadata }) => metadata.name),
  );
  return (namespace) => covered.has(namespace);
}

function toFinding({ name, namespace = '', ownerReferences = [] }: Metadata): Finding {
  const owner = ownerReferences.find(({ controller }) => controller) ?? ownerReferences[0];
  return {
    state: 'problem',
    about: `${namespace}/${name}`,
    seen: `annotated, and was never injected${owner ? `; of ${owner.kind} ${owner.name}, which makes it again` : '; nothing makes it again'}`,
    means:
      'its app finds no token: the webhook was away or not registered when it was created, or the annotation came later',
    // Of names that Kubernetes checks alone: the kind of an owner may be any text, and this is there to be copied.
    mend: owner
      ? `kubectl -n ${namespace} delete pod ${name}`
      : `kubectl -n ${namespace} get pod ${name} -o yaml, then delete and apply it again`,
  };
}
