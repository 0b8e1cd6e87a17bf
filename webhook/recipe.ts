// What all pods with the same annotations get alike, made once: the checked request, our volumes, what an app container is
// given, the exchange containers, the status. Pods of one Deployment share one recipe. Everything in it follows from the
// settings, from the annotations under our prefix and from the key it is remembered by; what else differs from pod to pod
// (names, mounts, volumes, other annotations) never enters.
import type { JsonObject } from '../common/protocol/admission.ts';
import type { Mode, PodAudience } from '../common/protocol/pod.ts';
import { parseAnnotations, type TokenRequest } from './annotations.ts';
import { type AppPlan, toAppPlan } from './app-container.ts';
import type { Denial } from './errors.ts';
import {
  type ExchangeTemplate,
  listExchangeNames,
  prepareExchange,
  toExchangeContainer,
} from './exchange-container.ts';
import { type ExchangeAdditions, toExchangeAdditions } from './exchange-order.ts';
import type { InjectSettings } from './inject-settings.ts';
import { toPointerStep } from './json.ts';
import { Memo, toKeyPart } from './memo.ts';
import { SharedOperation } from './patch.ts';
import type { Pod } from './pod.ts';
import { findResourceClass } from './resources.ts';
import { findSecurity } from './security.ts';
import { toStatusText } from './status.ts';
import type { Target } from './targets.ts';
import { toVolumes } from './volumes.ts';

/** Pods of Deployments that ask for the same have one recipe; more are busy at a time in no cluster. 13 MiB at worst. */
const MOST_RECIPES = 128;
/** Of each kind in one recipe: pods that differ in their containers, uid or resources. */
const MOST_VARIANTS = 4;

export type FoundRecipe =
  | { readonly ok: true; readonly recipe: Recipe | undefined }
  | { readonly ok: false; readonly denials: readonly Denial[] };

/** The `status` annotation of some pods: its text, and the operation that writes it. */
export interface Status {
  readonly key: string;
  readonly text: string;
  readonly operation: SharedOperation;
}

/** Our volumes, in a pod that has no list of volumes and in one that has. */
export interface VolumeAdditions {
  readonly volumes: readonly JsonObject[];
  readonly whole: SharedOperation;
  readonly each: readonly SharedOperation[];
}

/** The recipes under some settings, a pure function that remembers. */
export class Recipes {
  readonly #settings: InjectSettings;
  readonly #exchange: ExchangeTemplate;
  readonly #known = new Memo<Recipe>(MOST_RECIPES);

  constructor(settings: InjectSettings) {
    this.#settings = settings;
    this.#exchange = prepareExchange(settings);
  }

  /** @returns no recipe where the annotations ask for nothing; else one, or every reason against it. */
  find(annotations: JsonObject): FoundRecipe {
    const key = findKey(annotations, this.#settings.prefix);
    const known = key === undefined ? undefined : this.#known.find(key);
    if (known) return { ok: true, recipe: known };
    const parsed = parseAnnotations(annotations, this.#settings);
    if (!parsed.ok) return parsed;
    if (!parsed.request) return { ok: true, recipe: undefined };
    const recipe = new Recipe(parsed.request, this.#settings, this.#exchange);
    if (key !== undefined) this.#known.keep(key, recipe);
    return { ok: true, recipe };
  }
}

/** All that {@link parseAnnotations} reads; undefined where some of it is no text, which is a mistake and rare. */
function findKey(annotations: JsonObject, prefix: string): string | undefined {
  let key = '';
  for (const name of Object.keys(annotations)) {
    if (!name.startsWith(prefix) || name === `${prefix}status`) continue;
    const value = annotations[name];
    if (typeof value !== 'string') return undefined;
    key += toKeyPart(name) + toKeyPart(value);
  }
  return key;
}

export class Recipe {
  readonly request: TokenRequest;
  readonly volumes: VolumeAdditions;
  /** For containers that get all audiences. */
  readonly plan: AppPlan;
  readonly #settings: InjectSettings;
  readonly #exchange: ExchangeTemplate;
  readonly #exchanges = new Memo<ExchangeAdditions>(MOST_VARIANTS);
  readonly #statuses = new Memo<Status>(MOST_VARIANTS);
  readonly #plans = new Memo<AppPlan>(MOST_VARIANTS);

  constructor(request: TokenRequest, settings: InjectSettings, exchange: ExchangeTemplate) {
    this.request = request;
    this.#settings = settings;
    this.#exchange = exchange;
    this.plan = toAppPlan(request.audiences, { settings, all: request.audiences });
    const volumes = toVolumes(request, settings);
    this.volumes = {
      volumes,
      whole: new SharedOperation('add', '/spec/volumes', volumes),
      each: volumes.map((volume) => new SharedOperation('add', '/spec/volumes/-', volume)),
    };
  }

  /** For containers that get `given`, some or all of the audiences. */
  findPlan(given: readonly PodAudience[]): AppPlan {
    const all = this.request.audiences;
    if (given === all) return this.plan;
    const key = given.map(({ name }) => toKeyPart(name)).join('');
    let plan = this.#plans.find(key);
    if (!plan) {
      plan = toAppPlan(given, { settings: this.#settings, all });
      this.#plans.keep(key, plan);
    }
    return plan;
  }

  /** Our containers as this pod needs them, and how they are added to it. */
  findExchange(pod: Pod, mode: Mode): ExchangeAdditions {
    const names = listExchangeNames(pod, mode);
    const resources = findResourceClass(pod);
    const security = findSecurity(pod);
    const key = `${mode} ${names.length} ${resources} ${security.uid} ${security.isRoot}`;
    let additions = this.#exchanges.find(key);
    if (!additions) {
      const { request } = this;
      const wanted = names.map((name) =>
        toExchangeContainer(name, this.#exchange, { request, mode, resources, security }),
      );
      additions = toExchangeAdditions(wanted, request.initOrder);
      this.#exchanges.keep(key, additions);
    }
    return additions;
  }

  findStatus(mode: Mode, targets: readonly Target[]): Status {
    const { audiences } = this.request;
    let key: string = mode;
    for (const { container, audiences: given } of targets) {
      key += toKeyPart(container.name);
      if (given !== audiences) for (const { name } of given) key += `/${toKeyPart(name)}`;
    }
    let status = this.#statuses.find(key);
    if (!status) {
      const { mountRoot, prefix } = this.#settings;
      const text = toStatusText({ mode, mountRoot, audiences, targets });
      const annotation = `${prefix}status`;
      const path = `/metadata/annotations/${toPointerStep(annotation)}`;
      status = { key: annotation, text, operation: new SharedOperation('add', path, text) };
      this.#statuses.keep(key, status);
    }
    return status;
  }
}
