// The injection: a pure function from a raw pod and the operator's settings to JSON Patch operations and warnings, or to
// the reasons against it. No clock, no network, no state. Operations are placed directly and never copy what is not ours:
// clone-and-compare costs 1 ms for 50 containers, and re-serialising loses fields we do not know.
import type { JsonObject, PatchOperation } from '../common/protocol/admission.ts';
import type { Mode } from '../common/protocol/pod.ts';
import { parseAnnotations, type TokenRequest } from './annotations.ts';
import { type AppPlan, type Findings, patchAppContainer, toAppPlan } from './app-container.ts';
import type { Denial } from './errors.ts';
import {
  type ExchangeTemplate,
  listExchangeNames,
  prepareExchange,
  toExchangeContainer,
} from './exchange-container.ts';
import { findExchangeEnd, placeExchange } from './exchange-order.ts';
import type { InjectSettings } from './inject-settings.ts';
import { findMember, isObject, isSameJson, toPointerStep } from './json.ts';
import { checkMounts } from './mounts.ts';
import { findNameDenials, findReadOnlyVolumes, isWindowsPod, type Pod, readPod } from './pod.ts';
import { toStatusText } from './status.ts';
import { findTargets, type Target } from './targets.ts';
import { toVolumes } from './volumes.ts';

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
  readonly exchange: ExchangeTemplate;
  readonly skipped: ReadonlySet<string>;
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
    exchange: prepareExchange(settings),
    skipped: new Set(settings.skipContainers),
  };
  return (raw) => decide(raw, prepared);
}

function decide(raw: unknown, prepared: Prepared): Injection {
  const { settings } = prepared;
  const annotations = findAnnotations(raw);
  if ('denial' in annotations) return { ok: false, denials: [annotations.denial] };
  if (Object.hasOwn(annotations.value, MIRROR_ANNOTATION))
    return admitMirror(annotations.value, settings);
  const parsed = parseAnnotations(annotations.value, settings);
  if (!parsed.ok) return parsed;
  if (!parsed.request) return { ok: true, operations: [], warnings: [] };
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
  return injectInto(pod, parsed.request, prepared);
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
  request: TokenRequest,
  { settings, exchange, skipped }: Prepared,
): Injection {
  const found: Findings = { operations: [], warnings: [], denials: [...findNameDenials(pod)] };
  const mode = request.mode ?? toDefaultMode(pod, settings);
  const startsAfter = findExchangeEnd(pod, request.initOrder);
  const targets = findTargets({ pod, request, settings, skipped, startsAfter }, found.denials);
  warnOfOddities(pod, request, found);
  patchVolumes(pod, toVolumes(request, settings), found);
  patchOthers(pod, targets, { request, settings, found });
  const wanted = listExchangeNames(pod, mode).map((name) =>
    toExchangeContainer(name, exchange, { pod, request, mode }),
  );
  found.operations.push(
    ...placeExchange(pod, { wanted, order: request.initOrder }, (name) => {
      found.warnings.push(`init container ${name} was not as Coatcheck writes it and was replaced`);
    }),
  );
  const status = toStatusText({
    mode,
    mountRoot: settings.mountRoot,
    audiences: request.audiences,
    targets,
  });
  found.operations.push(...annotate(pod.annotations, status, settings));
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
  wanted: readonly JsonObject[],
  { operations, warnings }: Findings,
): void {
  const path = '/spec/volumes';
  const added: JsonObject[] = [];
  for (const volume of wanted) {
    const at = pod.volumes.findIndex(({ name }) => name === volume.name);
    if (at === -1) added.push(volume);
    else if (!isSameJson(pod.volumes[at], volume)) {
      operations.push({ op: 'replace', path: `${path}/${at}`, value: volume });
      warnings.push(`volume ${volume.name} was not as Coatcheck writes it and was replaced`);
    }
  }
  if (added.length === 0) return;
  if (findMember(pod.spec, 'volumes') === undefined)
    operations.push({ op: 'add', path, value: added });
  else for (const value of added) operations.push({ op: 'add', path: `${path}/-`, value });
}

/** The containers that are not ours: what the targets get, and that the others do not help themselves. */
function patchOthers(
  pod: Pod,
  targets: readonly Target[],
  {
    request,
    settings,
    found,
  }: { request: TokenRequest; settings: InjectSettings; found: Findings },
): void {
  const readOnlyVolumes = findReadOnlyVolumes(pod);
  const plans = new Map<string, AppPlan>();
  for (const { container, audiences } of targets) {
    // Most containers get all, by the very same list.
    const key = audiences === request.audiences ? '' : audiences.map(({ name }) => name).join();
    let plan = plans.get(key);
    if (!plan) {
      plan = toAppPlan(audiences, { settings, all: request.audiences, readOnlyVolumes });
      plans.set(key, plan);
    }
    patchAppContainer(container, plan, found);
  }
  if (targets.length === pod.foreign.length) return;
  const isTarget = new Set(targets.map(({ container }) => container));
  const rules = { mountRoot: settings.mountRoot, isTarget: false, readOnlyVolumes };
  for (const container of pod.foreign) {
    if (!isTarget.has(container)) checkMounts(container, rules, found.denials);
  }
}

function annotate(
  present: JsonObject,
  status: string,
  { prefix, podAnnotations }: InjectSettings,
): readonly PatchOperation[] {
  const toOperation = (key: string, value: string): PatchOperation => ({
    op: 'add',
    path: `/metadata/annotations/${toPointerStep(key)}`,
    value,
  });
  const extra = Object.entries(podAnnotations).filter(([key]) => !Object.hasOwn(present, key));
  const key = `${prefix}status`;
  return [
    ...extra.map(([name, value]) => toOperation(name, value)),
    // `add` over a status that somebody else wrote, or that is out of date, replaces it (RFC 6902 §4.1).
    ...(present[key] === status ? [] : [toOperation(key, status)]),
  ];
}

// 256 for each with the `coatcheck: ` that the review puts before it.
const LONGEST_WARNING = 245;
// The API server passes on 4 KiB of warnings in all.
const MOST_WARNINGS = 16;

function trim(warnings: readonly string[]): readonly string[] {
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
