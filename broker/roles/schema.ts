// The shape of a TokenRole document and what a role may hold at all, whatever source it comes from. Every problem is
// found, with its path; none quotes a value.
import { z } from 'zod';
import { checkDocument } from '../../common/documents.ts';
import { AUDIENCE_RULE, isAudience, isReservedAudience } from '../../common/protocol/audiences.ts';
import { findClaimProblem } from './claim-names.ts';
import { DURATION_RULE, findSeconds } from './duration.ts';
import type { Role, SubjectRule } from './role.ts';

export const ROLE_API_VERSION = 'auth.example.io/v1alpha1';
export const ROLE_KIND = 'TokenRole';

/** What the operator allows and forbids to every role. */
export interface RoleLimits {
  /** A role that states more is refused. The broker's ceiling at issuing binds in any case. */
  readonly maxTtlSeconds?: number;
  /** Policies with power at the broker that roles may name nevertheless. */
  readonly allowBrokerPolicies?: readonly string[];
  /** Claims that roles may set although they are registered or widely read. */
  readonly allowClaims?: readonly string[];
  /** More reserved audiences than the built-in ones. */
  readonly reservedAudiences?: readonly string[];
  /** Audiences whose ServiceAccount tokens receivers accept as they are: no role can be made for one. */
  readonly directAudiences?: readonly string[];
  /** Whether there is a store to keep opaque tokens in; a role of type opaque is refused without. */
  readonly allowOpaque?: boolean;
  /** Whether a name may be `<mount>/<name>`, as Vault's clients write roles. Of the API alone. */
  readonly allowMountNames?: boolean;
}

export type ParsedRole =
  | { readonly ok: true; readonly role: Role }
  | { readonly ok: false; readonly problems: readonly string[] };

const DEFAULT_TTL_SECONDS = 15 * 60;
const DEFAULT_MAX_TTL_SECONDS = 3600;
const MIN_TTL_SECONDS = 10;
const MAX_CLAIMS_BYTES = 4096;
const MAX_SUBJECTS = 256;

const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const text = z.string().min(1).max(512);
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

const subjectSchema = z
  .strictObject({
    cluster: clusterName.optional(),
    namespace: namespaceGlob.optional(),
    serviceAccount: accountGlob.optional(),
    issuer: text.optional(),
    subject: text.optional(),
    claims: z.record(text, z.union([z.string(), z.number(), z.boolean()])).optional(),
    client: text.optional(),
    user: text.optional(),
    group: text.optional(),
  })
  .superRefine((rule, context) => {
    for (const message of findSubjectProblems(rule)) context.addIssue({ code: 'custom', message });
  });

const KINDS = ['namespace', 'serviceAccount', 'issuer', 'client', 'user', 'group'] as const;
const FIELDS_OF: Readonly<Record<string, readonly string[]>> = {
  workload: ['cluster', 'namespace', 'serviceAccount'],
  issuer: ['issuer', 'subject', 'claims'],
  client: ['client'],
  user: ['user'],
  group: ['group'],
};

function findSubjectProblems(rule: object): string[] {
  const stated = Object.keys(rule);
  const first = KINDS.find((kind) => stated.includes(kind));
  if (first === undefined)
    return ['must state namespace and serviceAccount, or issuer, client, user or group'];
  const isWorkload = first === 'namespace' || first === 'serviceAccount';
  const fields = FIELDS_OF[isWorkload ? 'workload' : first] ?? [];
  const problems = stated
    .filter((field) => !fields.includes(field))
    .map((field) => `${field} does not go with ${first}: state another subject for it`);
  // A missing name would mean "any": that must be written, as *.
  if (isWorkload) {
    for (const field of ['namespace', 'serviceAccount']) {
      if (!stated.includes(field)) problems.push(`must state ${field} too (* for any)`);
    }
  }
  return problems;
}

const duration = z.unknown().transform((value, context) => {
  const seconds = findSeconds(value);
  if (seconds !== undefined && seconds >= MIN_TTL_SECONDS) return seconds;
  context.addIssue({
    code: 'custom',
    message: `must be ${DURATION_RULE}, at least ${MIN_TTL_SECONDS}s`,
  });
  return z.NEVER;
});

// RFC 6749 §3.3.
const scope = matching(
  /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/,
  'a scope: printable ASCII without space, quote and backslash',
);
const policy = matching(
  /^[A-Za-z0-9][\w.:/-]{0,127}$/,
  'a policy: letters, digits, and . _ : / - after the first',
);

function tokenSchema(limits: RoleLimits) {
  return z
    .strictObject({
      type: z
        .enum(['jwt', 'opaque'])
        .default('jwt')
        .refine((type) => type === 'jwt', { error: 'this version issues jwt only' }),
      ttl: duration.optional(),
      maxTtl: duration.optional(),
      outliveSubject: z.boolean().default(false),
      scopes: z
        .array(scope)
        .max(100)
        .refine(isUnique, { error: 'must not repeat a scope' })
        .default([]),
      policies: z
        .array(
          policy.refine((name) => !isBrokerPolicy(name, limits), {
            error: 'has power at the broker, which roles may not give (allowBrokerPolicies)',
          }),
        )
        .max(100)
        .refine(isUnique, { error: 'must not repeat a policy' })
        .default([]),
      claims: z
        .record(z.string(), z.json())
        .default({})
        .superRefine((claims, context) => {
          for (const name of Object.keys(claims)) {
            const message = findClaimProblem(name, limits.allowClaims);
            if (message !== undefined)
              context.addIssue({ code: 'custom', path: [name.slice(0, 128)], message });
          }
          if (Buffer.byteLength(JSON.stringify(claims)) > MAX_CLAIMS_BYTES) {
            context.addIssue({
              code: 'custom',
              message: `must be at most ${MAX_CLAIMS_BYTES} bytes as JSON`,
            });
          }
        }),
      jwtType: z.enum(['at+jwt', 'JWT']).default('at+jwt'),
    })
    .superRefine((token, context) => {
      for (const problem of findTtlProblems(token, limits))
        context.addIssue({ code: 'custom', ...problem });
    });
}

function findTtlProblems(
  token: { ttl?: number | undefined; maxTtl?: number | undefined },
  { maxTtlSeconds }: RoleLimits,
) {
  const problems: { path: string[]; message: string }[] = [];
  const longest = token.maxTtl ?? Math.max(DEFAULT_MAX_TTL_SECONDS, token.ttl ?? 0);
  if (token.ttl !== undefined && token.ttl > longest)
    problems.push({ path: ['ttl'], message: 'must not be longer than maxTtl' });
  for (const field of ['ttl', 'maxTtl'] as const) {
    if (maxTtlSeconds !== undefined && (token[field] ?? 0) > maxTtlSeconds) {
      problems.push({
        path: [field],
        message: `must not be longer than ${maxTtlSeconds} s, the broker's ceiling`,
      });
    }
  }
  return problems;
}

function roleSchema(limits: RoleLimits) {
  return z.strictObject({
    apiVersion: z.literal(ROLE_API_VERSION),
    kind: z.literal(ROLE_KIND),
    metadata: z.strictObject({
      name: matching(
        SUBDOMAIN,
        'a DNS name: lower-case letters, digits, dashes and dots, at most 253',
      ),
      labels: z.record(z.string(), z.string()).optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
    spec: z.strictObject({
      audience: z
        .string()
        .refine(isAudience, { error: `must be ${AUDIENCE_RULE}` })
        .refine((audience) => !isReservedAudience(audience, limits.reservedAudiences), {
          error: 'is reserved: a token for it is a credential elsewhere',
        }),
      subjects: z.array(subjectSchema).min(1).max(MAX_SUBJECTS),
      requirePod: z.boolean().default(true),
      allowExtraAudiences: z.boolean().default(false),
      token: tokenSchema(limits).prefault({}),
    }),
  });
}

/** Makes the parser of role documents (already read from YAML or JSON) under an operator's limits. */
export function createRoleParser(
  limits: RoleLimits = {},
): (document: unknown, source: string) => ParsedRole {
  const schema = roleSchema(limits);
  return (document, source) => {
    const checked = checkDocument(schema, document);
    return checked.ok ? { ok: true, role: toRole(checked.value, source) } : checked;
  };
}

function toRole({ metadata, spec }: z.infer<ReturnType<typeof roleSchema>>, source: string): Role {
  const { type, ttl, maxTtl, outliveSubject, scopes, policies, claims, jwtType } = spec.token;
  const maxTtlSeconds = maxTtl ?? Math.max(DEFAULT_MAX_TTL_SECONDS, ttl ?? 0);
  return Object.freeze({
    name: metadata.name,
    source,
    audience: spec.audience,
    subjects: spec.subjects as readonly unknown[] as readonly SubjectRule[],
    requirePod: spec.requirePod,
    allowExtraAudiences: spec.allowExtraAudiences,
    token: {
      type,
      ttlSeconds: ttl ?? Math.min(DEFAULT_TTL_SECONDS, maxTtlSeconds),
      maxTtlSeconds,
      outliveSubject,
      scopes,
      policies,
      claims,
      jwtType,
    },
  });
}

/** Policies with power at the broker; Vault's clients write names in any case. */
function isBrokerPolicy(name: string, { allowBrokerPolicies = [] }: RoleLimits): boolean {
  const lower = name.toLowerCase();
  const isPower = lower === 'root' || lower === 'default' || lower.startsWith('coatcheck:');
  return isPower && !allowBrokerPolicies.includes(name);
}

function isUnique(items: readonly string[]): boolean {
  return new Set(items).size === items.length;
}
