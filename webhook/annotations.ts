// The pod's annotations under our prefix: a strict grammar in, a typed request or every reason against it out. Whatever a
// pod's author can choose passes through this file; nothing here is a default for what the operator alone decides.
import type { JsonObject } from '../common/protocol/admission.ts';
import { MODES, type Mode, type PodAudience } from '../common/protocol/pod.ts';
import {
  checkAudienceName,
  type GivenAnnotations,
  sortKeys,
  splitList,
} from './annotation-keys.ts';
import { parseAudiences } from './audiences.ts';
import { type Denial, type DenialCode, quote } from './errors.ts';
import {
  DEADLINE_BOUNDS,
  type InitOrder,
  type InjectSettings,
  TOKEN_EXPIRATION_BOUNDS,
} from './inject-settings.ts';

/** What a pod asked for, checked; what it left unsaid is filled in from the operator's settings, except the mode. */
export interface TokenRequest {
  /** In order: the list, then `audience.<name>` by name. One to eight. */
  readonly audiences: readonly PodAudience[];
  /** Absent: the operator's default, which may depend on the pod. */
  readonly mode?: Mode;
  readonly initOrder: InitOrder;
  readonly tokenExpirationSeconds: number;
  readonly deadlineSeconds: number;
  /** Who gets the audiences that have no list of their own; absent: everyone but the operator's skip list. */
  readonly containers?: readonly string[];
  /** By the name of the audience. */
  readonly containersByAudience: ReadonlyMap<string, readonly string[]>;
}

export type ParsedAnnotations =
  | { readonly ok: true; readonly request: TokenRequest | undefined }
  | { readonly ok: false; readonly denials: readonly Denial[] };

export type AnnotationRules = Pick<
  InjectSettings,
  'prefix' | 'reservedAudiences' | 'initOrder' | 'tokenExpirationSeconds' | 'deadlineSeconds'
>;

/**
 * Reads a pod's annotations. No key under the prefix but `status` means that nothing is asked for (`request` undefined).
 * @param annotations the pod's `metadata.annotations`; keys of others are ignored.
 */
export function parseAnnotations(
  annotations: JsonObject,
  rules: AnnotationRules,
): ParsedAnnotations {
  const denials: Denial[] = [];
  const given = sortKeys(annotations, rules.prefix, denials);
  if (given.plain.size === 0 && given.named.size === 0 && denials.length === 0) {
    return { ok: true, request: undefined };
  }
  const audiences = parseAudiences(given, rules.reservedAudiences);
  const mode = parseChoice(given, 'mode', { values: MODES, code: 'mode_malformed' });
  const containers = parseContainers(given, 'containers', given.plain.get('containers'));
  const request: TokenRequest = {
    audiences,
    ...(mode !== undefined && { mode }),
    initOrder:
      parseChoice(given, 'init-order', {
        values: ['first', 'last'],
        code: 'init_order_malformed',
      }) ?? rules.initOrder,
    tokenExpirationSeconds:
      parseSeconds(given, 'token-expiration', {
        ...TOKEN_EXPIRATION_BOUNDS,
        code: 'token_expiration_malformed',
      }) ?? rules.tokenExpirationSeconds,
    deadlineSeconds:
      parseSeconds(given, 'deadline', { ...DEADLINE_BOUNDS, code: 'deadline_malformed' }) ??
      rules.deadlineSeconds,
    ...(containers !== undefined && { containers }),
    containersByAudience: parseContainersByAudience(given, audiences),
  };
  return denials.length > 0 ? { ok: false, denials } : { ok: true, request };
}

function parseChoice<const T extends string>(
  { plain, deny }: GivenAnnotations,
  key: string,
  { values, code }: { values: readonly T[]; code: DenialCode },
): T | undefined {
  const given = plain.get(key);
  if (given === undefined) return undefined;
  const found = values.find((value) => value === given);
  if (found === undefined)
    deny(code, key, `${quote(given)} is not allowed; allowed: ${values.join(', ')}`);
  return found;
}

function parseSeconds(
  { plain, deny }: GivenAnnotations,
  key: string,
  { min, max, code }: { min: number; max: number; code: DenialCode },
): number | undefined {
  const given = plain.get(key);
  if (given === undefined) return undefined;
  const seconds = /^[1-9]\d{0,5}$/.test(given) ? Number(given) : Number.NaN;
  if (seconds >= min && seconds <= max) return seconds;
  deny(
    code,
    key,
    `${quote(given)} is not allowed; allowed: a whole number of seconds from ${min} to ${max}`,
  );
  return undefined;
}

export const CONTAINER_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

function parseContainers(
  { deny }: GivenAnnotations,
  key: string,
  given: string | undefined,
): readonly string[] | undefined {
  if (given === undefined) return undefined;
  const names = splitList(given);
  const wrong = names.find((name) => !CONTAINER_NAME.test(name));
  const allowed = 'allowed: names of containers of this pod, separated by commas, each once';
  if (wrong !== undefined) {
    deny('containers_malformed', key, `${quote(wrong)} is no container name; ${allowed}`);
    return undefined;
  }
  if (new Set(names).size < names.length) {
    deny('containers_malformed', key, `names a container twice; ${allowed}`);
    return undefined;
  }
  return names;
}

function parseContainersByAudience(
  given: GivenAnnotations,
  audiences: readonly PodAudience[],
): ReadonlyMap<string, readonly string[]> {
  const result = new Map<string, readonly string[]>();
  for (const [name, value] of given.named.get('containers') ?? []) {
    if (!checkAudienceName(given, { key: 'containers', name, audiences })) continue;
    const names = parseContainers(given, `containers.${name}`, value);
    if (names) result.set(name, names);
  }
  return result;
}
