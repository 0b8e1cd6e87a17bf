// The injection: a pure function from a raw pod and the operator's settings to JSON Patch operations and warnings, or to
// the reasons against it. No clock, no network, and no state but what is remembered of like pods (recipe.ts). Operations are placed directly and never copy what is not ours:
// clone-and-compare costs 1 ms for 50 containers, and re-serialising loses fields we do not know.
import type { JsonObject, PatchOperation } from '../common/protocol/admission.ts';
import type { Mode } from '../common/protocol/pod.ts';
import type { TokenRequest } from './annotations.ts';
import { type Findings, patchAppContainer } from './app-container.ts';
import type { Denial } from './errors.ts';
import { findExchangeEnd, placeExchange } from './exchange-order.ts';
import type { InjectSettings } from './inject-settings.ts';
import { findMember, isObject, isSameJson, toPointerStep } from './json.ts';
import { checkMounts } from './mounts.ts';
import { SharedOperation } from './patch.ts';
import { findNameDenials, isWindowsPod, type Pod, ReadOnlyVolumes, readPod } from './pod.ts';
import { type Recipe, Recipes, type Status, type VolumeAdditions } from './recipe.ts';
import { findTargets, type Target } from './targets.ts';

export type Injection =
  | {
      readonly ok: true;
      /** Empty where the pod asks for nothing or already has all of it. */
      readonly operations: readonly PatchOperation[];
      /** At most 245 characters each: with our name before them what the API server passes on whole. */
      readonly warnings: readonly string[];
    }
  | { readonly ok: false; readonly denials: readonly Denial[] };

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/** What depends on the settings alone, made once. */
interface Prepared {
  readonly settings: InjectSettings;
  readonly recipes: Recipes;
  readonly skipped: ReadonlySet<string>;
  readonly podAnnotations: readonly SharedAnnotation[];
}

/** An annotation that the operator gives to every pod that lacks it. */
interface SharedAnnotation {
  readonly key: string;
  readonly operation: SharedOperation;
}

/** What is to be done with a pod; for many pods see {@link prepareInjection}. */
export function inject(raw: unknown, settings: InjectSettings): Injection {
  return prepareInjection(settings)(raw);
}

/**
 * The injection under these settings, a pure function.
 * @returns takes the pod as it came, of any shape; it is not changed.
 */
export function prepareInjection(settings: InjectSettings): (raw: unknown) => Injection {
  const prepared: Prepared = {
    settings,
    recipes: new Recipes(settings),
    skipped: new Set(settings.skipContainers),
    podAnnotations: Object.entries(settings.podAnnotations).map(([key, value]) => ({
      key,
      operation: new SharedOperation('add', `/metadata/annotations/${toPointerStep(key)}`, value),
    })),
  };
  return (raw) => decide(raw, prepared);
}

function decide(raw: unknown, prepared: Prepared): Injection {
  const { settings } = prepared;
  const annotations = findAnnotations(raw);
  if ('denial' in annotations) return { ok: false, denials: [annotations.denial] };
  if (Object.hasOwn(annotations.value, MIRROR_ANNOTATION))
    return admitMirror(annotations.value, settings);
  const asked = prepared.recipes.find(annotations.value);
  if (!asked.ok) return asked;
  if (!asked.recipe) return { ok: true, operations: [], warnings: [] };
  const pod = readPod(raw as JsonObject, annotations.value);
  if ('denial' in pod) return { ok: false, denials: [pod.denial] };
  if (isWindowsPod(pod)) {
    return {
      ok: false,
      denials: [
        {
          code: 'windows_pod',
          message: `pods for Windows nodes are not supported; allowed: no annotation under ${settings.prefix} on them`,
        },
      ],
    };
  }
  return injectInto(pod, asked.recipe, prepared);
}

/** The API server refuses token volumes on the kubelet's static pods: such a pod is left as it is. */
function admitMirror(annotations: JsonObject, { prefix }: InjectSettings): Injection {
  const isAsking = Object.keys(annotations).some(
    (key) => key.startsWith(prefix) && key !== `${prefix}status`,
  );
  const warnings = isAsking
    ? ['a static (mirror) pod cannot have ServiceAccount tokens; it gets no client token']
    : [];
  return { ok: true, operations: [], warnings };
}

function injectInto(
  pod: Pod,
  recipe: Recipe,
  { settings, skipped, podAnnotations }: Prepared,
): Injection {
  const { request } = recipe;
  const found: Findings = { operations: [], warnings: [], denials: [...findNameDenials(pod)] };
  const mode = request.mode ?? toDefaultMode(pod, settings);
  const startsAfter = findExchangeEnd(pod, request.initOrder);
  const targets = findTargets({ pod, request, settings, skipped, startsAfter }, found.denials);
  warnOfOddities(pod, request, found);
  patchVolumes(pod, recipe.volumes, found);
  patchOthers(pod, targets, { recipe, settings, found });
  const placed = placeExchange(pod, recipe.findExchange(pod, mode), (name) => {
    found.warnings.push(`init container ${name} was not as Coatcheck writes it and was replaced`);
  });
  for (const operation of placed) found.operations.push(operation);
  const status = recipe.findStatus(mode, targets);
  annotate(pod.annotations, { podAnnotations, status }, found);
  if (found.denials.length > 0) return { ok: false, denials: found.denials };
  return { ok: true, operations: found.operations, warnings: trim(found.warnings) };
}

function toDefaultMode({ restartPolicy }: Pod, { defaultMode }: InjectSettings): Mode {
  if (defaultMode !== 'auto') return defaultMode;
  return restartPolicy === 'Always' ? 'refresh' : 'init';
}

function warnOfOddities(pod: Pod, request: TokenRequest, { warnings }: Findings): void {
  if (request.mode === 'init' && pod.restartPolicy === 'Always') {
    warnings.push(
      'mode init on a pod that restarts Always: nothing renews the token; mode refresh would',
    );
  }
  if (findMember(pod.spec, 'shareProcessNamespace') === true) {
    warnings.push(
      'shareProcessNamespace lets every container of the pod read the ServiceAccount token of the exchange',
    );
  }
}

function patchVolumes(
  pod: Pod,
  { volumes, whole, each }: VolumeAdditions,
  { operations, warnings }: Findings,
): void {
  if (findMember(pod.spec, 'volumes') === undefined) {
    operations.push(whole);
    return;
  }
  const added: PatchOperation[] = [];
  for (const [i, volume] of volumes.entries()) {
    const at = pod.volumes.findIndex(({ name }) => name === volume.name);
    if (at === -1) added.push(each[i] as PatchOperation);
    else if (!isSameJson(pod.volumes[at], volume)) {
      operations.push({ op: 'replace', path: `/spec/volumes/${at}`, value: volume });
      warnings.push(`volume ${volume.name} was not as Coatcheck writes it and was replaced`);
    }
  }
  for (const operation of added) operations.push(operation);
}

/** The containers that are not ours: what the targets get, and that the others do not help themselves. */
function patchOthers(
  pod: Pod,
  targets: readonly Target[],
  { recipe, settings, found }: { recipe: Recipe; settings: InjectSettings; found: Findings },
): void {
  const readOnlyVolumes = new ReadOnlyVolumes(pod);
  for (const { container, audiences } of targets)
    patchAppContainer(container, recipe.findPlan(audiences), { found, readOnlyVolumes });
  if (targets.length === pod.foreign.length) return;
  const isTarget = new Set(targets.map(({ container }) => container));
  const rules = { mountRoot: settings.mountRoot, isTarget: false, readOnlyVolumes };
  for (const container of pod.foreign) {
    if (!isTarget.has(container)) checkMounts(container, rules, found.denials);
  }
}

function annotate(
  present: JsonObject,
  { podAnnotations, status }: { podAnnotations: readonly SharedAnnotation[]; status: Status },
  { operations }: Findings,
): void {
  for (const { key, operation } of podAnnotations)
    if (!Object.hasOwn(present, key)) operations.push(operation);
  // `add` over a status that somebody else wrote, or that is out of date, replaces it (RFC 6902 §4.1).
  if (present[status.key] !== status.text) operations.push(status.operation);
}

// 256 for each with the `coatcheck: ` that the review puts before it.
const LONGEST_WARNING = 245;
// The API server passes on 4 KiB of warnings in all.
const MOST_WARNINGS = 16;

function trim(warnings: readonly string[]): readonly string[] {
  if (warnings.length === 0) return warnings;
  const distinct = [...new Set(warnings)].map((one) =>
    one.length > LONGEST_WARNING ? `${one.slice(0, LONGEST_WARNING - 1)}…` : one,
  );
  if (distinct.length <= MOST_WARNINGS) return distinct;
  const left = distinct.length - MOST_WARNINGS + 1;
  return [...distinct.slice(0, MOST_WARNINGS - 1), `and ${left} more warnings of this kind`];
}

type FoundAnnotations = { readonly value: JsonObject } | { readonly denial: Denial };

function findAnnotations(pod: unknown): FoundAnnotations {
  const wrong = (where: string): FoundAnnotations => ({
    denial: { code: 'pod_malformed', message: `${where} must be an object` },
  });
  if (!isObject(pod)) return wrong('the pod');
  const metadata = findMember(pod, 'metadata') ?? {};
  if (!isObject(metadata)) return wrong('metadata');
  const annotations = findMember(metadata, 'annotations') ?? {};
  return isObject(annotations) ? { value: annotations } : wrong('metadata.annotations');
}
