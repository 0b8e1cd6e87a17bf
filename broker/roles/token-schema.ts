// The shape of a role's `token`: what a client token of the role looks like, and what it may never hold.
import { z } from 'zod';
import { findClaimProblem } from './claim-names.ts';
import { DURATION_RULE, findSeconds } from './duration.ts';
import type { RoleLimits } from './limits.ts';
import type { TokenSpec } from './role.ts';

const DEFAULT_TTL_SECONDS = 15 * 60;
const DEFAULT_MAX_TTL_SECONDS = 3600;
const MIN_TTL_SECONDS = 10;
const MAX_CLAIMS_BYTES = 4096;
const MAX_NAMES = 100;

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
const scope = z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, {
  error: 'must be a scope: printable ASCII without space, quote and backslash',
});
const policy = z.string().regex(/^[A-Za-z0-9][\w.:/-]{0,127}$/, {
  error: 'must be a policy: letters, digits, and . _ : / - after the first',
});

/** The schema under an operator's limits; gives the defaults of the contract. */
export function tokenSchema(limits: RoleLimits) {
  return z
    .strictObject({
      type: z
        .enum(['jwt', 'opaque'])
        .default('jwt')
        .refine((type) => type === 'jwt' || limits.allowOpaque === true, {
          error: 'must be jwt: opaque tokens are kept in a store, and this broker has none',
        }),
      ttl: duration.optional(),
      maxTtl: duration.optional(),
      outliveSubject: z.boolean().default(false),
      scopes: toNames(scope, 'scope'),
      policies: toNames(
        policy.refine((name) => !isBrokerPolicy(name, limits), {
          error: 'has power at the broker, which roles may not give (allowBrokerPolicies)',
        }),
        'policy',
      ),
      claims: claimsSchema(limits).default({}),
      jwtType: z.enum(['at+jwt', 'JWT']).default('at+jwt'),
    })
    .superRefine((token, context) => {
      for (const problem of findTtlProblems(token, limits))
        context.addIssue({ code: 'custom', ...problem });
    })
    .transform(({ ttl, maxTtl, ...rest }): TokenSpec => {
      const maxTtlSeconds = maxTtl ?? Math.max(DEFAULT_MAX_TTL_SECONDS, ttl ?? 0);
      return {
        ...rest,
        ttlSeconds: ttl ?? Math.min(DEFAULT_TTL_SECONDS, maxTtlSeconds),
        maxTtlSeconds,
      };
    });
}

function toNames(name: z.ZodType<string>, what: string) {
  return z
    .array(name)
    .max(MAX_NAMES)
    .refine((names) => new Set(names).size === names.length, { error: `must not repeat a ${what}` })
    .default([]);
}

function claimsSchema(limits: RoleLimits) {
  return z
    .unknown()
    .superRefine((claims, context) => {
      // Before zod makes a new object of it, in which `__proto__` would be missing without a word.
      if (typeof claims !== 'object' || claims === null) return;
      for (const name of Object.keys(claims)) {
        const message = findClaimProblem(name, limits.allowClaims);
        if (message !== undefined)
          context.addIssue({ code: 'custom', path: [name.slice(0, 128)], message });
      }
    })
    .pipe(z.record(z.string(), z.json()))
    .refine((claims) => Buffer.byteLength(JSON.stringify(claims)) <= MAX_CLAIMS_BYTES, {
      error: `must be at most ${MAX_CLAIMS_BYTES} bytes as JSON`,
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

/** Policies with power at the broker; Vault's clients write names in any case. */
function isBrokerPolicy(name: string, { allowBrokerPolicies = [] }: RoleLimits): boolean {
  const lower = name.toLowerCase();
  const isPower = lower === 'root' || lower === 'default' || lower.startsWith('coatcheck:');
  return isPower && !allowBrokerPolicies.includes(name);
}
