// What is wrong with the audiences asked for, in CEL: the counterpart of webhook/audiences.ts.
import { AUDIENCE_NAME, AUDIENCE_NAME_RULE } from '../../common/protocol/audience-name.ts';
import {
  AUDIENCE,
  AUDIENCE_RULE,
  MAX_AUDIENCES,
  RESERVED_AUDIENCES,
} from '../../common/protocol/audiences.ts';
import type { InjectSettings } from '../inject-settings.ts';
import { matches, quoted } from './cel.ts';
import { annotationOf, isGiven } from './request.ts';
import { type Rule, shown } from './rule.ts';

export function toAudienceRules({ prefix, reservedAudiences }: InjectSettings): readonly Rule[] {
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
