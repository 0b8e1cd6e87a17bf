// Why the policies refuse a pod for its annotations, in the order in which it is told: the codes and, but for the guesses at
// spelling, the words of the webhook (webhook/errors.ts), and what only the webhook can do. The validating policy denies by
// these rules; the mutating one leaves alone what breaks any of them, so that the message is theirs.
import { ANNOTATION_KEYS, MODES, NAMED_ANNOTATION_KEYS } from '../../common/protocol/pod.ts';
import { CONTAINER_NAME } from '../annotations.ts';
import { ROLE } from '../audiences.ts';
import type { DenialCode } from '../errors.ts';
import {
  DEADLINE_BOUNDS,
  type InjectSettings,
  TOKEN_EXPIRATION_BOUNDS,
} from '../inject-settings.ts';
import { toAudienceRules } from './audience-rules.ts';
import { literal, matches, quoted } from './cel.ts';
import { annotationOf, isGiven, isInBounds, MOST_CHARACTERS, MOST_KEYS } from './request.ts';
import { type Rule, shown } from './rule.ts';

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
