// Which pods missed injection: they ask for a client token by annotations of ours and were stored without our volumes.
// One judgement for whoever looks at stored pods; nothing is changed or asked here.
import { isAudience } from './audiences.ts';
import { IDENTITY_VOLUME, splitAnnotationKey, TOKENS_VOLUME } from './pod.ts';

/** What the judgement needs of a stored pod; {@link toInjectionFacts} takes it from an object of the API server. */
export interface InjectionFacts {
  /** Ours alone, without the prefix. */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly volumeNames: readonly string[];
  readonly phase: string;
  readonly deletionTimestamp?: string;
  /** The webhook never injects such a pod: a static one, or one for Windows nodes. */
  readonly isExempt?: true;
}

/** Of a pod as the API server shows it, whatever stands in it. */
export interface PodObject {
  readonly metadata: object;
  readonly spec?: unknown;
  readonly status?: unknown;
}

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
/** Written by the webhook: whoever carries it alone asks for nothing. */
const STATUS_KEY = 'status';

/**
 * Whether a pod should have been injected and is not. Volumes cannot be changed in a stored pod, so what is missing was
 * never there, or was taken away by another webhook before the pod was stored; the app finds no token either way.
 * Annotations that came after the creation count: the pod asks for what it does not have.
 * Namespaces that the webhook does not see are the caller's to leave out.
 */
export function isMissed(pod: InjectionFacts): boolean {
  if (pod.isExempt || isFinished(pod) || pod.deletionTimestamp !== undefined) return false;
  return asksForInjection(pod) && !isInjected(pod);
}

/** Whether an annotation asks for a client token, or tries to. */
export function asksForInjection({ annotations }: Pick<InjectionFacts, 'annotations'>): boolean {
  return annotations !== undefined && Object.keys(annotations).some((key) => key !== STATUS_KEY);
}

/** Whether the pod has what the webhook adds. Both: with one of them gone no token reaches the app. */
export function isInjected({ volumeNames }: Pick<InjectionFacts, 'volumeNames'>): boolean {
  return volumeNames.includes(IDENTITY_VOLUME) && volumeNames.includes(TOKENS_VOLUME);
}

/** The annotation, without the prefix, that tells people best what the pod asks for. */
export function findAskingKey({
  annotations = {},
}: Pick<InjectionFacts, 'annotations'>): string | undefined {
  const keys = Object.keys(annotations)
    .filter((key) => key !== STATUS_KEY)
    .sort();
  return keys.find((key) => /^audience(\.|$)/.test(key)) ?? keys[0];
}

/**
 * Whether the webhook refuses such a pod for certain: an annotation that does not exist, no audience, or none that could be
 * one. It looks at more than this; what passes here may be refused all the same.
 */
export function isPlainlyRefused({
  annotations = {},
}: Pick<InjectionFacts, 'annotations'>): boolean {
  const split = Object.entries(annotations).map(
    ([key, value]) => [splitAnnotationKey(key)[0], value] as const,
  );
  const audiences = split
    .filter(([base]) => base === 'audience')
    .flatMap(([, value]) => value.split(',').map((one) => one.trim()));
  return (
    split.some(([base]) => base === undefined) ||
    audiences.length === 0 ||
    !audiences.every(isAudience)
  );
}

/** @param prefix of our annotations, with its slash */
export function toInjectionFacts(pod: PodObject, prefix: string): InjectionFacts {
  const { annotations, deletionTimestamp } = pod.metadata as Record<string, unknown>;
  const spec = Object(pod.spec) as Record<string, unknown>;
  const { phase } = Object(pod.status) as { phase?: unknown };
  const all = Object(annotations) as Record<string, unknown>;
  const own = Object.entries(all)
    .filter(([key]) => key.startsWith(prefix))
    .map(([key, value]) => [key.slice(prefix.length), toText(value)] as const);
  const isExempt = Object.hasOwn(all, MIRROR_ANNOTATION) || isForWindows(spec);
  return {
    ...(own.length > 0 && { annotations: Object.fromEntries(own) }),
    volumeNames: toNames(spec.volumes),
    phase: toText(phase),
    ...(typeof deletionTimestamp === 'string' && { deletionTimestamp }),
    ...(isExempt && { isExempt }),
  };
}

function isFinished({ phase }: Pick<InjectionFacts, 'phase'>): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

/** As the webhook looks at it. */
function isForWindows({ os, nodeSelector }: Record<string, unknown>): boolean {
  const { name } = Object(os) as { name?: unknown };
  const selector = Object(nodeSelector) as Record<string, unknown>;
  const said = [name, selector['kubernetes.io/os'], selector['beta.kubernetes.io/os']];
  return said.some((one) => toText(one).toLowerCase() === 'windows');
}

function toNames(volumes: unknown): readonly string[] {
  const all = (Array.isArray(volumes) ? volumes : []) as readonly unknown[];
  return all.map((one) => toText((Object(one) as { name?: unknown }).name));
}

function toText(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
