// What a container that gets a token is given: mounts of the tokens volume and four variables. Nothing of the container's
// own is touched; mounts of our volume that differ are ours and are put right.
import type { JsonObject, PatchOperation } from '../common/protocol/admission.ts';
import { CA_FILE, type PodAudience, TOKEN_FILE, TOKENS_VOLUME } from '../common/protocol/pod.ts';
import { type Denial, quote, toShown } from './errors.ts';
import { escapeExpansion } from './exchange-container.ts';
import type { InjectSettings } from './inject-settings.ts';
import { findMember, findText, isSameJson } from './json.ts';
import { Memo } from './memo.ts';
import { checkMounts, findLinkedMount, toTokenMounts } from './mounts.ts';
import { SharedOperation } from './patch.ts';
import type { PodContainer, ReadOnlyVolumes } from './pod.ts';

// Of all names in APP_VARIABLES.
const APP_VARIABLE_PREFIX = 'AUTH_';

/** Where the steps of one injection put what they found. */
export interface Findings {
  readonly operations: PatchOperation[];
  readonly warnings: string[];
  readonly denials: Denial[];
}

/** What containers with the same audiences are given alike. */
export interface AppPlan {
  readonly mountRoot: string;
  readonly variables: readonly { readonly name: string; readonly value: string }[];
  readonly mounts: readonly JsonObject[];
  /** What is added to containers that have nothing of it yet, by where they stand. */
  readonly additions: Memo<readonly SharedOperation[]>;
}

/** Of one plan: containers by list and index. */
const MOST_PLACES = 8;

interface PlanOptions {
  readonly settings: InjectSettings;
  /** The pod's audiences. */
  readonly all: readonly PodAudience[];
}

/** The plan for containers that get `given` of the pod's audiences; the first is the one that AUTH_TOKEN_FILE names. */
export function toAppPlan(given: readonly PodAudience[], { settings, all }: PlanOptions): AppPlan {
  const { mountRoot, issuer, brokerCa } = settings;
  const first = `${mountRoot}/${given[0]?.name}`;
  const caDirectory = given.length === all.length ? mountRoot : first;
  const variables = [
    { name: 'AUTH_TOKEN_FILE', value: `${first}/${TOKEN_FILE}` },
    { name: 'AUTH_TOKEN_DIR', value: mountRoot },
    { name: 'AUTH_ISSUER', value: escapeExpansion(issuer) },
    // Without a CA of the operator's there is no such file.
    ...(brokerCa ? [{ name: 'AUTH_CA_FILE', value: `${caDirectory}/${CA_FILE}` }] : []),
  ];
  const mounts = toTokenMounts(mountRoot, { given, all });
  return { mountRoot, variables, mounts, additions: new Memo(MOST_PLACES) };
}

/** Adds what `container` lacks of the plan. */
export function patchAppContainer(
  container: PodContainer,
  plan: AppPlan,
  { found, readOnlyVolumes }: { found: Findings; readOnlyVolumes: ReadOnlyVolumes },
): void {
  const { mountRoot } = plan;
  const rules = { mountRoot, isTarget: true, readOnlyVolumes };
  checkMounts(container, rules, found.denials);
  const linked = findLinkedMount(container, rules);
  if (linked !== undefined) {
    found.warnings.push(
      `container ${toShown(container.name)} mounts ${toShown(linked)}; where its image links /var/run to /run, that hides the tokens at ${mountRoot}`,
    );
  }
  if (hasSomeOfOurs(container)) {
    patchEnv(container, plan, found);
    patchMounts(container, plan, found);
  } else for (const operation of findAdditions(container, plan)) found.operations.push(operation);
}

/** Whether the container might have a variable or a mount of the plan already. */
function hasSomeOfOurs({ env, mounts }: PodContainer): boolean {
  for (const { name } of env)
    if (typeof name === 'string' && name.startsWith(APP_VARIABLE_PREFIX)) return true;
  for (const { name } of mounts) if (name === TOKENS_VOLUME) return true;
  return false;
}

/** The whole plan, for a container that has nothing of it: where it stands and which lists it has is all that counts then. */
function findAdditions(container: PodContainer, plan: AppPlan): readonly SharedOperation[] {
  const { list, index, raw } = container;
  const hasEnv = findMember(raw, 'env') !== undefined;
  const hasMounts = findMember(raw, 'volumeMounts') !== undefined;
  const key = `${list} ${index} ${hasEnv} ${hasMounts}`;
  const known = plan.additions.find(key);
  if (known) return known;
  const found: Findings = { operations: [], warnings: [], denials: [] };
  patchEnv(container, plan, found);
  patchMounts(container, plan, found);
  const additions = found.operations.map(
    ({ op, path, value }) => new SharedOperation(op, path, value),
  );
  plan.additions.keep(key, additions);
  return additions;
}

function patchEnv(
  { list, index, name, env, raw }: PodContainer,
  { variables }: AppPlan,
  { operations, warnings }: Findings,
): void {
  const missing: JsonObject[] = [];
  for (const wanted of variables) {
    // The last one of a name is the one that counts.
    const present = env.findLast((variable) => variable.name === wanted.name);
    if (!present) missing.push(wanted);
    else if (!isSameJson(present, wanted)) {
      warnings.push(`container ${toShown(name)} sets ${wanted.name} itself; its own value stays`);
    }
  }
  if (missing.length === 0) return;
  const path = `/spec/${list}/${index}/env`;
  if (findMember(raw, 'env') === undefined) operations.push({ op: 'add', path, value: missing });
  // First, so that the pod's own variables may refer to ours as $(AUTH_TOKEN_FILE).
  else
    missing.forEach((value, i) => {
      operations.push({ op: 'add', path: `${path}/${i}`, value });
    });
}

function patchMounts(
  { list, index, name, mounts, raw }: PodContainer,
  { mounts: wanted }: AppPlan,
  found: Findings,
): void {
  const path = `/spec/${list}/${index}/volumeMounts`;
  const ours = mounts.flatMap((mount, at) => (mount.name === TOKENS_VOLUME ? [{ mount, at }] : []));
  const isAt = (mount: JsonObject, other: JsonObject) => mount.mountPath === other.mountPath;
  const open = wanted.filter((one) => !ours.some(({ mount }) => isSameJson(mount, one)));
  const spare = ours.filter(({ mount }) => !wanted.some((one) => isSameJson(mount, one)));
  const added: JsonObject[] = [];
  for (const one of open) {
    const same = spare.findIndex(({ mount }) => isAt(mount, one));
    const [replaced] = spare.splice(Math.max(same, 0), 1);
    if (!replaced) added.push(one);
    else {
      found.operations.push({ op: 'replace', path: `${path}/${replaced.at}`, value: one });
      found.warnings.push(
        `container ${toShown(name)} mounted ${TOKENS_VOLUME} in another way; the mount was replaced`,
      );
    }
  }
  for (const { mount } of spare) {
    found.denials.push({
      code: 'reserved_volume_mounted',
      message: `spec.${list}[${index}] (${quote(name)}) also mounts ${TOKENS_VOLUME} at ${quote(findText(mount, 'mountPath') ?? '')}; allowed: ${wanted.map((one) => one.mountPath).join(', ')}`,
    });
  }
  if (added.length === 0) return;
  if (findMember(raw, 'volumeMounts') === undefined)
    found.operations.push({ op: 'add', path, value: added });
  else for (const value of added) found.operations.push({ op: 'add', path: `${path}/-`, value });
}
