// Every reason for which the policies refuse a pod, in the order in which they are told: the codes and, but for the guesses
// at spelling, the words of the webhook (webhook/errors.ts), and what only the webhook can do. The validating policy denies by
// these rules; the mutating one leaves alone what breaks any of them, so that the message is theirs.
import { AUDIENCE_NAME, AUDIENCE_NAME_RULE } from '../../common/protocol/audience-name.ts';
import {
  AUDIENCE,
  AUDIENCE_RULE,
  MAX_AUDIENCES,
  RESERVED_AUDIENCES,
} from '../../common/protocol/audiences.ts';
import { ANNOTATION_KEYS, MODES, NAMED_ANNOTATION_KEYS } from '../../common/protocol/pod.ts';
import { CONTAINER_NAME } from '../annotations.ts';
import { ROLE } from '../audiences.ts';
import type { DenialCode } from '../errors.ts';
import {
  DEADLINE_BOUNDS,
  type InjectSettings,
  TOKEN_EXPIRATION_BOUNDS,
} from '../inject-settings.ts';
import { literal, matches, quoted } from './cel.ts';
import { annotationOf, isGiven, isInBounds, MOST_CHARACTERS, MOST_KEYS } from './request.ts';

/** What the webhook could do and the policies cannot, and that a pod did not come out as it must. */
export type PolicyCode = DenialCode | 'needs_webhook' | 'not_injected';

export interface Rule {
  readonly code: PolicyCode;
  /** CEL: true where nothing is wrong. */
  readonly expression: string;
  /** Said where `detail` cannot be worked out; without our name and the code. */
  readonly message: string;
  /** CEL: the message for this pod, a string. */
  readonly detail?: string;
}

/** A stranger's text inside a message: quoted and cut, as in webhook/errors.ts. */
export function shown(text: string): string {
  return `strings.quote(${text}.size() > 60 ? ${text}.substring(0, 60) + "…" : ${text})`;
}

/** What is wrong with the annotations alone. */
export function toAnnotationRules(settings: InjectSettings): readonly Rule[] {
  const { prefix } = settings;
  return [
    toCountRule(prefix),
    toUnknownRule(prefix),
    ...toAudienceRules(settings),
    ...toRoleRules(prefix),
    toChoiceRule('mode', { code: 'mode_malformed', prefix, values: MODES }),
    toChoiceRule('init-order', { code: 'init_order_malformed', prefix, values: ['first', 'last'] }),
    toSecondsRule('token-expiration', {
      code: 'token_expiration_malformed',
      prefix,
      bounds: TOKEN_EXPIRATION_BOUNDS,
    }),
    toSecondsRule('deadline', { code: 'deadline_malformed', prefix, bounds: DEADLINE_BOUNDS }),
    ...toContainersRules(prefix),
  ];
}

function toCountRule(prefix: string): Rule {
  return {
    code: 'annotation_unknown',
    expression: `variables.allKeys.size() <= ${MOST_KEYS}`,
    message: `more annotations under ${prefix} than a pod can have use for; allowed: ${MOST_KEYS} at most`,
  };
}

function toUnknownRule(prefix: string): Rule {
  const allowed = ANNOTATION_KEYS.filter((key) => key !== 'status');
  const starts = NAMED_ANNOTATION_KEYS.map((key) => `${key}.`);
  const unknown = `variables.keys.filter(key, !(key in ${literal(allowed)}) && !${literal(starts)}.exists(start, key.startsWith(start)))`;
  const problem = `is not a known annotation; allowed: ${[...allowed, ...starts.map((one) => `${one}<name>`)].join(', ')}`;
  return {
    code: 'annotation_unknown',
    expression: `${unknown}.size() == 0`,
    message: `a key under ${prefix} ${problem}`,
    detail: `${quoted(prefix)} + ${unknown}[0] + ${quoted(`: ${problem}`)}`,
  };
}

function toAudienceRules({ prefix, reservedAudiences }: InjectSettings): readonly Rule[] {
  const key = `${prefix}audience`;
  const named = annotationOf('"audience." + name', prefix);
  const malformed = `is no audience; allowed: one audience of ${AUDIENCE_RULE}`;
  const list = `is no list of audiences; allowed: ${AUDIENCE_RULE}, several separated by commas`;
  const badName = `is no name for an audience; allowed: ${AUDIENCE_NAME_RULE}`;
  const count = 'variables.listed.size() + variables.names.size()';
  const badNames = `variables.names.filter(name, !${matches('name', AUDIENCE_NAME)})`;
  const badNamed = `variables.names.filter(name, ${matches('name', AUDIENCE_NAME)} && !${matches(named, AUDIENCE)})`;
  const reserved = `variables.pairs.filter(a, ${toReserved(reservedAudiences)})`;
  const isReserved =
    "is reserved (the API server's, a cloud's or Coatcheck's own); allowed: an audience of the service that will read the token";
  const slugs = `variables.listed.filter(a, !${matches('a', AUDIENCE_NAME)} && !(a in variables.knownNames))`;
  const repeated = (member: string) =>
    `variables.pairs.filter(a, variables.pairs.filter(b, b.${member} == a.${member}).size() > 1)`;
  const last = (member: string) => `${repeated(member)}[${repeated(member)}.size() - 1]`;
  const where = (pair: string) => `${quoted(prefix)} + ${pair}.key + ": "`;
  return [
    {
      code: 'audience_missing',
      expression: `${isGiven('audience')} || variables.names.size() > 0`,
      message: `${key}: is required beside any other annotation under ${prefix}; allowed: ${AUDIENCE_RULE}, several separated by commas`,
    },
    {
      code: 'audience_malformed',
      expression: `!${isGiven('audience')} || variables.isListed`,
      message: `${key}: ${list}`,
      detail: `${quoted(`${key}: `)} + ${shown(annotationOf('"audience"', prefix))} + ${quoted(` ${list}`)}`,
    },
    {
      code: 'audience_name_malformed',
      expression: `${badNames}.size() == 0`,
      message: `${key}.<name>: ${badName}`,
      detail: `${quoted(`${key}.`)} + ${badNames}[0] + ": " + ${shown(`${badNames}[0]`)} + ${quoted(` ${badName}`)}`,
    },
    {
      code: 'audience_malformed',
      expression: `${badNamed}.size() == 0`,
      message: `${key}.<name>: ${malformed}`,
      detail: `${quoted(`${key}.`)} + ${badNamed}[0] + ": " + ${badNamed}.map(name, ${shown(named)})[0] + ${quoted(` ${malformed}`)}`,
    },
    {
      code: 'audience_too_many',
      expression: `${count} <= ${MAX_AUDIENCES}`,
      message: `${key}: too many audiences; allowed: 1 to ${MAX_AUDIENCES}`,
      detail: `${quoted(`${key}: `)} + string(${count}) + ${quoted(` audiences are too many; allowed: 1 to ${MAX_AUDIENCES}`)}`,
    },
    {
      code: 'audience_repeated',
      expression: `${repeated('audience')}.size() == 0`,
      message: `${key}: an audience is asked for twice; allowed: each audience once`,
      detail: `${where(last('audience'))} + ${shown(`${last('audience')}.audience`)} + " is asked for twice; allowed: each audience once"`,
    },
    {
      code: 'audience_name_repeated',
      expression: `${repeated('name')}.size() == 0`,
      message: `${key}.<name>: another audience already goes by that name; allowed: each name once`,
      detail: `${where(last('name'))} + "another audience already goes by the name " + ${shown(`${last('name')}.name`)} + "; allowed: each name once"`,
    },
    {
      code: 'audience_reserved',
      expression: `${reserved}.size() == 0`,
      message: `${key}: ${isReserved}`,
      detail: `${where(`${reserved}[0]`)} + ${shown(`${reserved}[0].audience`)} + ${quoted(` ${isReserved}`)}`,
    },
    // Its directory would be named by a hash; those that the operator named have theirs in the policy.
    {
      code: 'needs_webhook',
      expression: `${slugs}.size() == 0`,
      message: `${key}: an audience that is no DNS label needs the webhook; allowed: ${key}.<name> with a name of your own`,
      detail: `${quoted(`${key}: `)} + ${shown(`${slugs}[0]`)} + ${quoted(` is no DNS label of at most 52 characters, which needs the webhook here; allowed: the annotation ${key}.<name> with a name of your own`)}`,
    },
  ];
}

/** Whether audience `a` is reserved: the case of letters and slashes at its end make no other audience of it. */
function toReserved(more: readonly string[]): string {
  const plain = [...RESERVED_AUDIENCES, ...more].map((one) =>
    one
      .toLowerCase()
      .replace(/\/+$/, '')
      .replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  );
  return matches('a.audience.lowerAscii()', new RegExp(`^(${plain.join('|')})/*$`));
}

function toRoleRules(prefix: string): readonly Rule[] {
  const ofNobody = (key: string) =>
    `variables.keys.filter(key, key.startsWith(${quoted(`${key}.`)}) && !variables.pairs.exists(a, a.name == key.substring(${key.length + 1})))`;
  const several = `${isGiven('role')} && variables.pairs.size() > 1`;
  const twice = `${isGiven('role')} && variables.pairs.size() == 1 && ("role." + variables.pairs[0].name) in variables.keys`;
  const names = 'variables.pairs.map(a, a.name).join(", ")';
  const bad = `variables.keys.filter(key, (key == "role" || key.startsWith("role.")) && !${matches(annotationOf('key', prefix), ROLE)})`;
  const malformed = `is no role name; allowed: 1 to 253 lower-case letters, digits, '.', '-', '_' and '/', a letter or digit at both ends`;
  return [
    ...(['role', 'containers'] as const).map(
      (key): Rule => ({
        code: 'audience_name_unknown',
        expression: `${ofNobody(key)}.size() == 0`,
        message: `${prefix}${key}.<name>: this pod has no audience of that name; allowed: the names of its audiences`,
        detail: `${quoted(prefix)} + ${ofNobody(key)}[0] + ": this pod has no audience of that name; allowed: " + ${names}`,
      }),
    ),
    {
      code: 'role_ambiguous',
      expression: `!(${several}) && !(${twice})`,
      message: `${prefix}role: says a role for several audiences, or for one that has role.<name>; allowed: role.<name> for each`,
      detail: `${quoted(`${prefix}role: `)} + (${several} ? "says a role for several audiences; allowed: " + variables.pairs.map(a, "role." + a.name).join(", ") : "role." + variables.pairs[0].name + " says a role for the same audience; allowed: one of the two")`,
    },
    {
      code: 'role_malformed',
      expression: `${bad}.size() == 0`,
      message: `${prefix}role: ${malformed}`,
      detail: `${quoted(prefix)} + ${bad}[0] + ": " + ${bad}.map(key, ${shown(annotationOf('key', prefix))})[0] + ${quoted(` ${malformed}`)}`,
    },
  ];
}

function toChoiceRule(
  key: string,
  { code, prefix, values }: { code: DenialCode; prefix: string; values: readonly string[] },
): Rule {
  const value = annotationOf(quoted(key), prefix);
  const problem = `is not allowed; allowed: ${values.join(', ')}`;
  return {
    code,
    expression: `!${isGiven(key)} || ${value} in ${literal(values)}`,
    message: `${prefix}${key}: ${problem}`,
    detail: `${quoted(`${prefix}${key}: `)} + ${shown(value)} + ${quoted(` ${problem}`)}`,
  };
}

function toSecondsRule(
  key: string,
  {
    code,
    prefix,
    bounds,
  }: { code: DenialCode; prefix: string; bounds: { min: number; max: number } },
): Rule {
  const value = annotationOf(quoted(key), prefix);
  const problem = `is not allowed; allowed: a whole number of seconds from ${bounds.min} to ${bounds.max}`;
  return {
    code,
    expression: `!${isGiven(key)} || ${isInBounds(value, bounds)}`,
    message: `${prefix}${key}: ${problem}`,
    detail: `${quoted(`${prefix}${key}: `)} + ${shown(value)} + ${quoted(` ${problem}`)}`,
  };
}

function toContainersRules(prefix: string): readonly Rule[] {
  const lists = 'variables.keys.filter(key, key == "containers" || key.startsWith("containers."))';
  const item = CONTAINER_NAME.source.slice(1, -1);
  const pattern = new RegExp(`^ *${item} *(, *${item} *)*$`);
  const value = annotationOf('key', prefix);
  const bad = `${lists}.filter(key, ${value}.size() > ${MOST_CHARACTERS} || !${matches(value, pattern)})`;
  // Asked only of lists that are well-formed, and so not of thousands of items that a name cannot be.
  const names = `${value}.split(",").map(item, item.trim())`;
  const twice = `${lists}.filter(key, ${value}.size() <= ${MOST_CHARACTERS} && [${names}].exists(list, list.size() > 200 || list.exists(one, list.filter(other, other == one).size() > 1)))`;
  const allowed = 'allowed: names of containers of this pod, separated by commas, each once';
  return [
    {
      code: 'containers_malformed',
      expression: `${bad}.size() == 0`,
      message: `${prefix}containers: is no list of container names; ${allowed}`,
      detail: `${quoted(prefix)} + ${bad}[0] + ": " + ${bad}.map(key, ${shown(value)})[0] + ${quoted(` is no list of container names; ${allowed}`)}`,
    },
    {
      code: 'containers_malformed',
      expression: `${twice}.size() == 0`,
      message: `${prefix}containers: names a container twice; ${allowed}`,
      detail: `${quoted(prefix)} + ${twice}[0] + ${quoted(`: names a container twice; ${allowed}`)}`,
    },
  ];
}
