// The shape of a TokenRole document and what a role may hold at all, whatever source it comes from. Every problem is
// found, with its path; none quotes a value.
import { z } from 'zod';
import { checkDocument, isDeeperThan } from '../../common/documents.ts';
import { AUDIENCE_RULE, isAudience, isReservedAudience } from '../../common/protocol/audiences.ts';
import { type CompileCondition, createConditionCompiler } from './condition/compile.ts';
import type { RoleLimits } from './limits.ts';
import type { Condition, Role } from './role.ts';
import { subjectSchema } from './subject-schema.ts';
import { tokenSchema } from './token-schema.ts';

export type { RoleLimits } from './limits.ts';

export const ROLE_API_VERSION = 'auth.example.io/v1alpha1';
export const ROLE_KIND = 'TokenRole';

export type ParsedRole =
  | { readonly ok: true; readonly role: Role }
  | { readonly ok: false; readonly problems: readonly string[] };

/** @param source as `Role.source` */
export type RoleParser = (document: unknown, source: string) => ParsedRole;

const MAX_SUBJECTS = 256;
/** Extra claims may have some depth of their own. An API server takes ten thousand; that would end this process. */
const MAX_DEPTH = 32;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
// Vault's names may hold underscores; the broker lower-cases them before they come here.
const MOUNT_NAME = /^(?=.{1,253}$)[a-z0-9_]([-.\w]*\w)?\/[a-z0-9_]([-.\w]*\w)?$/;

/** Makes the parser of role documents (already read from YAML or JSON) under an operator's limits. */
export function createRoleParser(limits: RoleLimits = {}): RoleParser {
  const schema = roleSchema(limits, createConditionCompiler());
  return (document, source) => {
    if (isDeeperThan(document, MAX_DEPTH))
      return { ok: false, problems: [`must not be nested more than ${MAX_DEPTH} levels deep`] };
    const checked = checkDocument(schema, document);
    if (!checked.ok) return checked;
    const { metadata, spec } = checked.value;
    const { condition, ...rest } = spec;
    return {
      ok: true,
      role: Object.freeze({
        name: metadata.name,
        source,
        ...rest,
        ...(condition && { condition }),
      }),
    };
  };
}

function roleSchema(limits: RoleLimits, compile: CompileCondition) {
  return z.strictObject({
    apiVersion: z.literal(ROLE_API_VERSION),
    kind: z.literal(ROLE_KIND),
    metadata: z.strictObject({
      name: nameSchema(limits),
      labels: z.record(z.string(), z.string()).optional(),
      annotations: z.record(z.string(), z.string()).optional(),
    }),
    spec: z.strictObject({
      audience: audienceSchema(limits),
      subjects: z.array(subjectSchema).min(1).max(MAX_SUBJECTS),
      condition: conditionSchema(compile).optional(),
      requirePod: z.boolean().default(true),
      allowExtraAudiences: z.boolean().default(false),
      token: tokenSchema(limits).prefault({}),
    }),
  });
}

function nameSchema({ allowMountNames = false }: RoleLimits) {
  const rule = 'a DNS name: lower-case letters, digits, dashes and dots, at most 253';
  return z
    .string()
    .refine((name) => SUBDOMAIN.test(name) || (allowMountNames && isMountName(name)), {
      error: `must be ${rule}${allowMountNames ? '; or <mount>/<name>' : ''}`,
    });
}

/** Whether it is the name of a role written at a Vault mount: `<mount>/<name>`, both in lower case. */
export function isMountName(name: string): boolean {
  return MOUNT_NAME.test(name) && name === name.toLowerCase();
}

function audienceSchema({ reservedAudiences, directAudiences = [] }: RoleLimits) {
  return z.string().superRefine((audience, context) => {
    const message = findAudienceProblem(audience);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });

  function findAudienceProblem(audience: string): string | undefined {
    if (!isAudience(audience)) return `must be ${AUDIENCE_RULE}`;
    if (isReservedAudience(audience, reservedAudiences))
      return 'is reserved: a token for it is a credential elsewhere';
    // Whoever was shown a ServiceAccount token could have it exchanged.
    return isReservedAudience(audience, directAudiences)
      ? 'is shown to receivers directly (directAudiences): no role can be made for it'
      : undefined;
  }
}

function conditionSchema(compile: CompileCondition) {
  return z.string().transform((text, context): Condition => {
    const compiled = compile(text);
    if (compiled.ok) return compiled.condition;
    for (const message of compiled.problems) context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}
