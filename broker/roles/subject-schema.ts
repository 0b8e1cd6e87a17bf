// The shape of one subject of a role: one kind each, everything it needs written out.
import { z } from 'zod';
import type { SubjectRule } from './role.ts';

const MAX_TEXT = 512;
const MAX_LABELS = 64;
const MAX_CLAIM_RULES = 32;

const matching = (pattern: RegExp, rule: string) =>
  z.string().regex(pattern, { error: `must be ${rule}` });

const clusterName = matching(
  /^(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$/,
  'the name of a cluster, or * for every cluster',
);
const namespaceGlob = matching(
  /^[-a-z0-9*]{1,63}$/,
  'a namespace: lower-case letters, digits, dashes, and * for any characters',
);
const accountGlob = matching(
  /^[-a-z0-9.*]{1,253}$/,
  'a ServiceAccount: lower-case letters, digits, dashes, dots, and * for any characters',
);
// A name of the table of issuers, or of identity providers; no colon, which ends it in `user` and `group`.
const providerName = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const issuerName = matching(providerName, 'the name of an issuer in the table, not its URL');
const printable = (rule: string) =>
  matching(
    new RegExp(`^[\\x20-\\x7e\\xa1-\\uffff]{1,${MAX_TEXT}}$`),
    `${rule}, without control characters`,
  );
const subjectGlob = printable(`a subject of at most ${MAX_TEXT} characters, * for any characters`);
const clientId = matching(
  /^[\x21-\x39\x3b-\x7e]{1,255}$/,
  'the id of a client, without colon and space',
);
const ofProvider = (what: string) =>
  printable(`<provider>:<${what}>`).refine(
    (text) =>
      text.indexOf(':') < text.length - 1 &&
      providerName.test(text.split(':', 1)[0] ?? '') &&
      text.includes(':'),
    { error: `must be <provider>:<${what}>: a ${what} of one provider is nothing to another` },
  );

const labelKey = matching(
  /^(?=.{1,317}$)([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?$/,
  'the key of a label',
);
const labelValue = matching(/^([A-Za-z0-9]([-\w.]{0,61}[A-Za-z0-9])?)?$/, 'the value of a label');
const labelExpression = z
  .strictObject({
    key: labelKey,
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: z.array(labelValue).max(MAX_LABELS).optional(),
  })
  .refine(({ operator, values = [] }) => operator.endsWith('In') === values.length > 0, {
    error: 'must have values with In and NotIn, and none with Exists and DoesNotExist',
  });
const labelSelector = z
  .strictObject({
    matchLabels: z
      .record(labelKey, labelValue)
      .refine(isSmall, { error: `must be at most ${MAX_LABELS} labels` })
      .optional(),
    matchExpressions: z.array(labelExpression).max(MAX_LABELS).optional(),
  })
  // To Kubernetes an empty selector selects everything: that is written as namespace "*", where it can be seen.
  .refine(
    ({ matchLabels = {}, matchExpressions = [] }) =>
      Object.keys(matchLabels).length + matchExpressions.length > 0,
    {
      error: 'must state a label or an expression (every namespace is namespace: "*")',
    },
  );

function isSmall(labels: object): boolean {
  return Object.keys(labels).length <= MAX_LABELS;
}

const KINDS = [
  'namespaceSelector',
  'namespace',
  'serviceAccount',
  'issuer',
  'client',
  'user',
  'group',
] as const;
type Kind = (typeof KINDS)[number];
/** What goes with the field that tells the kind: required fields, then others. */
const FIELDS_OF: Readonly<
  Record<Kind, { required: readonly string[]; others?: readonly string[] }>
> = {
  namespaceSelector: { required: ['namespaceSelector', 'serviceAccount'] },
  namespace: { required: ['namespace', 'serviceAccount'], others: ['cluster'] },
  serviceAccount: { required: ['namespace', 'serviceAccount'], others: ['cluster'] },
  issuer: { required: ['issuer', 'subject'], others: ['claims'] },
  client: { required: ['client'] },
  user: { required: ['user'] },
  group: { required: ['group'] },
};

/** One subject; see docs/roles.md. A missing name would mean "any": that must be written, as `*`. */
export const subjectSchema: z.ZodType<SubjectRule> = z
  .strictObject({
    cluster: clusterName.optional(),
    namespace: namespaceGlob.optional(),
    namespaceSelector: labelSelector.optional(),
    serviceAccount: accountGlob.optional(),
    issuer: issuerName.optional(),
    subject: subjectGlob.optional(),
    claims: z
      .record(
        z.string().min(1).max(128),
        z.union([z.string().max(MAX_TEXT), z.number(), z.boolean()]),
      )
      .refine((claims) => Object.keys(claims).length <= MAX_CLAIM_RULES, {
        error: `must be at most ${MAX_CLAIM_RULES} claims`,
      })
      .optional(),
    client: clientId.optional(),
    user: ofProvider('subject').optional(),
    group: ofProvider('group').optional(),
  })
  .superRefine((rule, context) => {
    for (const message of findSubjectProblems(rule)) context.addIssue({ code: 'custom', message });
  })
  .transform((rule) => rule as unknown as SubjectRule);

function findSubjectProblems(rule: object): string[] {
  const stated = Object.keys(rule);
  const kind = KINDS.find((field) => stated.includes(field));
  if (kind === undefined)
    return ['must state namespace and serviceAccount, or issuer, client, user or group'];
  const { required, others = [] } = FIELDS_OF[kind];
  return [
    ...stated
      .filter((field) => !required.includes(field) && !others.includes(field))
      .map((field) => `${field} does not go with ${kind}: state another subject for it`),
    ...required
      .filter((field) => !stated.includes(field))
      .map((field) => `must state ${field} too (* for any)`),
  ];
}
