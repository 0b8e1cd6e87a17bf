// What a pod's annotations ask for, in CEL: the counterpart of webhook/annotations.ts. Every variable has a value also for
// malformed annotations, because the rules that refuse those (rules.ts) are evaluated beside them.

import {
  AUDIENCE_NAME,
  isAudienceName,
  toAudienceName,
} from '../../common/protocol/audience-name.ts';
import { AUDIENCE, MAX_AUDIENCES } from '../../common/protocol/audiences.ts';
import {
  DEADLINE_BOUNDS,
  type InjectSettings,
  TOKEN_EXPIRATION_BOUNDS,
} from '../inject-settings.ts';
import { choose, indices, literal, matches, member, quoted, type Variable } from './cel.ts';

/** Longer annotations of ours are refused as malformed: matching and splitting them would cost too much. */
export const MOST_CHARACTERS = 16_384;

/** The plain keys, and three for each of eight audiences. Thousands would keep the API server busy for seconds. */
export const MOST_KEYS = 32;

const ITEM = AUDIENCE.source.slice(1, -1);
export const AUDIENCE_LIST = new RegExp(`^ *${ITEM} *(, *${ITEM} *)*$`);
export const SECONDS = /^[1-9][0-9]{0,5}$/;

/** The annotation's value; `name` is a CEL expression for its key without the prefix. */
export function annotationOf(name: string, prefix: string): string {
  return `string(variables.given[${quoted(prefix)} + ${name}])`;
}

export function isGiven(name: string): string {
  return `(${quoted(name)} in variables.keys)`;
}

export function isInBounds(value: string, { min, max }: { min: number; max: number }): string {
  return `(${matches(value, SECONDS)} && int(${value}) >= ${min} && int(${value}) <= ${max})`;
}

/** By audience, the names of those that are no names themselves: their hash is worked out here, because CEL has none. */
export function toKnownNames(audiences: readonly string[]): Readonly<Record<string, string>> {
  const others = audiences.filter((audience) => !isAudienceName(audience));
  return Object.fromEntries(others.map((audience) => [audience, toAudienceName(audience)]));
}

export function toRequestVariables(
  settings: InjectSettings,
  audiences: readonly string[],
): readonly Variable[] {
  const { prefix } = settings;
  const plain = (name: string) => annotationOf(quoted(name), prefix);
  const seconds = (name: string, bounds: { min: number; max: number }, fallback: number) =>
    `${isGiven(name)} && ${isInBounds(plain(name), bounds)} ? int(${plain(name)}) : ${fallback}`;
  const split = (value: string) =>
    `(${value}.size() > ${MOST_CHARACTERS} ? [] : ${value}.split(",").map(item, item.trim()))`;
  return [
    // Without types: the pod is looked at as JSON, as the webhook does.
    { name: 'pod', expression: 'dyn(object)' },
    { name: 'spec', expression: 'variables.pod.spec' },
    {
      name: 'given',
      expression:
        'has(variables.pod.metadata.annotations) ? variables.pod.metadata.annotations : {}',
    },
    { name: 'restartPolicy', expression: member('variables.spec', 'restartPolicy', '"Always"') },
    // The status is ours and no input.
    {
      name: 'allKeys',
      expression: `variables.given.filter(key, key.startsWith(${quoted(prefix)}) && key != ${quoted(`${prefix}status`)})`,
    },
    // Without the prefix.
    {
      name: 'keys',
      expression: `variables.allKeys.size() > ${MOST_KEYS} ? [] : variables.allKeys.map(key, string(key).substring(${prefix.length}))`,
    },
    {
      name: 'isListed',
      expression: `${isGiven('audience')} && ${plain('audience')}.size() <= ${MOST_CHARACTERS} && ${matches(plain('audience'), AUDIENCE_LIST)}`,
    },
    { name: 'knownNames', expression: literal(toKnownNames(audiences)) },
    { name: 'listed', expression: `variables.isListed ? ${split(plain('audience'))} : []` },
    {
      name: 'names',
      expression:
        'variables.keys.filter(key, key.startsWith("audience.")).map(key, key.substring(9))',
    },
    {
      name: 'goodNames',
      expression: `variables.names.size() > ${MAX_AUDIENCES} ? [] : variables.names.filter(name, ${matches('name', AUDIENCE_NAME)} && ${matches(annotationOf('"audience." + name', prefix), AUDIENCE)})`,
    },
    // By name: an object's keys come in any order, and CEL cannot sort.
    {
      name: 'sortedNames',
      expression: `${indices('variables.goodNames.size()', MAX_AUDIENCES)}.map(i, variables.goodNames.filter(name, variables.goodNames.filter(other, other < name).size() == i)[0])`,
    },
    {
      name: 'pairs',
      expression: `variables.listed.size() + variables.names.size() > ${MAX_AUDIENCES} ? [] : variables.listed.map(a, {"key": "audience", "name": a in variables.knownNames ? string(variables.knownNames[a]) : a, "audience": a}) + variables.sortedNames.map(n, {"key": "audience." + n, "name": n, "audience": ${annotationOf('"audience." + n', prefix)}})`,
    },
    {
      name: 'asked',
      expression: `variables.pairs.map(a, {"name": a.name, "audience": a.audience, "role": ${choose(
        [
          ['("role." + a.name) in variables.keys', annotationOf('"role." + a.name', prefix)],
          [`${isGiven('role')} && variables.pairs.size() == 1`, plain('role')],
        ],
        '""',
      )}})`,
    },
    {
      name: 'mode',
      expression: `${isGiven('mode')} ? ${plain('mode')} : ${settings.defaultMode === 'auto' ? '(variables.restartPolicy == "Always" ? "refresh" : "init")' : quoted(settings.defaultMode)}`,
    },
    {
      name: 'order',
      expression: `${isGiven('init-order')} ? ${plain('init-order')} : ${quoted(settings.initOrder)}`,
    },
    {
      name: 'expiration',
      expression: seconds(
        'token-expiration',
        TOKEN_EXPIRATION_BOUNDS,
        settings.tokenExpirationSeconds,
      ),
    },
    {
      name: 'deadline',
      expression: seconds('deadline', DEADLINE_BOUNDS, settings.deadlineSeconds),
    },
    // Who was named, for each audience: its own list, else the plain one, else the word for everyone.
    {
      name: 'lists',
      expression: `variables.asked.map(a, ${choose(
        [
          [
            '("containers." + a.name) in variables.keys',
            split(annotationOf('"containers." + a.name', prefix)),
          ],
          [isGiven('containers'), split(plain('containers'))],
        ],
        literal([EVERYONE]),
      )})`,
    },
  ];
}

/** In place of a list of containers; no container can have this name. */
export const EVERYONE = '*';
