// The shapes of the admin API's JSON, once: requests are validated by them, the OpenAPI document is made of them, and the
// tests hold every answer against them. common/protocol/admin-api.ts says the same in types, for clients.
import { z } from 'zod';
import { AUDIENCE_RULE, isAudience } from '../../../common/protocol/audiences.ts';
import { DURATION_RULE, findSeconds } from '../../roles/duration.ts';
import { isAccessor } from '../../tokens/opaque.ts';

const MAX_PAGE = 1000;
const DEFAULT_PAGE = 100;

/** RFC 3339, UTC. */
export const time = z.iso.datetime().meta({ example: '2026-11-22T10:15:00.000Z' });
const names = z.array(z.string());

/** PostgreSQL has no NUL in a text, and no name holds one. */
const plain = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => !text.includes('\0'), { error: 'must not hold a NUL character' });
/** A filter: compared, never interpreted. */
const word = plain(512);

export const audience = z
  .string()
  .max(255)
  .refine(isAudience, { error: `must be ${AUDIENCE_RULE}` })
  .meta({ example: 'payments' });

export const scope = z
  .string()
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, {
    error: 'must be a scope: printable ASCII without space, quote and backslash',
  })
  .meta({ example: 'payments:read' });

export const policy = z
  .string()
  .regex(/^[A-Za-z0-9][\w.:/-]{0,127}$/, {
    error: 'must be a policy: letters, digits, and . _ : / - after the first',
  })
  .meta({ example: 'coatcheck:roles:read' });

const unique = { error: 'must not repeat an item' };
const isUnique = (items: readonly string[]) => new Set(items).size === items.length;
export const scopes = z.array(scope).max(100).refine(isUnique, unique);
export const policies = z.array(policy).max(100).refine(isUnique, unique);

/** In requests; seconds inside. */
export const duration = z
  .union([z.string().max(32), z.number()])
  .transform((value, context) => {
    const seconds = findSeconds(value);
    if (seconds !== undefined) return seconds;
    context.addIssue({ code: 'custom', message: `must be ${DURATION_RULE}` });
    return z.NEVER;
  })
  .meta({ description: DURATION_RULE, example: '12h' });

export const flag = z
  .enum(['true', 'false'])
  .transform((value) => value === 'true')
  .meta({ example: 'true' });

const wholeNumber = (range: { min: number; max: number }) =>
  z
    .string()
    .regex(/^\d{1,9}$/, { error: 'must be a whole number' })
    .transform(Number)
    .refine((value) => value >= range.min && value <= range.max, {
      error: `must be from ${range.min} to ${range.max}`,
    })
    .meta({ override: { type: 'integer', minimum: range.min, maximum: range.max } });

export const version = wholeNumber({ min: 0, max: 999_999_999 });

export const paging = {
  limit: wholeNumber({ min: 1, max: MAX_PAGE }).default(DEFAULT_PAGE),
  after: plain(1024).optional().meta({ description: '`next` of the page before' }),
};

export const listOf = <T extends z.ZodType>(item: T) =>
  z.strictObject({
    items: z.array(item),
    next: z.string().optional().meta({ description: 'Absent on the last page' }),
  });

export const roleName = z
  .string()
  .min(1)
  .max(253)
  .meta({ description: 'The name of a role', example: 'payments-checkout' });
export const accessor = z
  .string()
  .refine(isAccessor, { error: 'must be an accessor: 24 letters and digits' })
  .meta({ description: 'The accessor of a token', example: '0aB1cD2eF3gH4iJ5kL6mN7oP' });
export const clientId = z
  .string()
  .regex(/^[A-Za-z0-9][\w.-]{0,127}$/, {
    error: 'must be letters, digits, and . _ - after the first, at most 128',
  })
  .meta({ example: 'ci' });

/** For callers whose right is for one namespace. */
const namespace = word
  .optional()
  .meta({ description: 'A namespace; a caller with a right for one namespace must state it' });

export const namespaceQuery = z.strictObject({ namespace });

export const errorView = z
  .strictObject({
    error: z.string(),
    error_description: z.string(),
    reason: z.string().meta({ description: 'Decide by this: docs/errors.md' }),
    correlation_id: z.string(),
    details: z
      .array(z.strictObject({ path: z.string(), problem: z.string() }))
      .optional()
      .meta({ description: 'What can be mended, and where; quotes no value' }),
  })
  .meta({ id: 'Error' });

/** A TokenRole document. The parser of roles checks it (docs/roles.md): one set of rules for files, objects and the API. */
export const roleDocument = z
  .looseObject({
    apiVersion: z.literal('auth.example.io/v1alpha1'),
    kind: z.literal('TokenRole'),
    metadata: z.looseObject({ name: z.string() }),
    spec: z.looseObject({ audience: z.string(), subjects: z.array(z.looseObject({})) }),
  })
  .meta({
    id: 'TokenRole',
    description: 'docs/roles.md has every field',
    example: {
      apiVersion: 'auth.example.io/v1alpha1',
      kind: 'TokenRole',
      metadata: { name: 'payments-checkout' },
      spec: {
        audience: 'payments',
        subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
        token: { ttl: '15m', scopes: ['payments:read'] },
      },
    },
  });

export const roleView = z
  .strictObject({
    name: z.string(),
    source: z.enum(['file', 'crd', 'api']),
    state: z.enum(['Ready', 'Shadowed', 'Invalid']),
    message: z.string().optional(),
    problems: names.optional(),
    overlaps: names,
    audience: z.string().optional(),
    version: z.int().optional(),
    updatedAt: time.optional(),
    updatedBy: z.string().optional(),
    document: roleDocument.optional(),
  })
  .meta({ id: 'Role' });

export const roleApplied = z
  .strictObject({
    result: z.enum(['created', 'changed', 'unchanged']),
    dryRun: z.boolean(),
    role: roleView,
    warnings: names,
  })
  .meta({ id: 'RoleApplied' });

export const roleDeleted = z
  .strictObject({
    name: z.string(),
    revoked: z
      .int()
      .optional()
      .meta({ description: 'Stored tokens that ended with it; JWTs are denied and not counted' }),
    deniedBefore: time.optional(),
  })
  .meta({ id: 'RoleDeleted' });

const tokenFields = {
  accessor: z.string().meta({ description: 'The `jti` of a JWT' }),
  kind: z.enum(['client', 'static', 'jwt']),
  name: z.string().optional(),
  description: z.string().optional(),
  subject: z.string(),
  cluster: z.string().optional(),
  namespace: z.string().optional(),
  serviceAccount: z.string().optional(),
  pod: z.string().optional(),
  podUid: z.string().optional(),
  audience: z.string().optional(),
  role: z.string().optional(),
  scopes: names,
  policies: names,
  issuedAt: time,
  expiresAt: time,
  maxExpiresAt: time.optional(),
  createdBy: z.string().optional(),
};
export const tokenView = z.strictObject(tokenFields).meta({ id: 'Token' });
export const tokenCreated = z
  .strictObject({
    ...tokenFields,
    token: z.string().meta({ description: 'Shown this once' }),
  })
  .meta({ id: 'TokenCreated' });

export const tokenCreate = z
  .strictObject({
    name: z
      .string()
      .regex(/^[A-Za-z0-9][\w.-]{0,127}$/, {
        error: 'must be letters, digits, and . _ - after the first, at most 128',
      })
      .meta({ description: 'Unique among the live static tokens', example: 'ci-deploy' }),
    description: z.string().max(500).optional(),
    audience: audience.optional().meta({ description: 'None: it opens the broker alone' }),
    policies: policies.default([]),
    scopes: scopes.default([]),
    ttl: duration,
  })
  .meta({ id: 'TokenCreate' });

const tokenFilterFields = {
  subject: word.optional(),
  cluster: word.optional(),
  namespace,
  serviceAccount: word.optional(),
  pod: word.optional(),
  podUid: word.optional(),
  role: word.optional(),
  audience: word.optional(),
};
export const tokenQuery = z.strictObject({
  ...tokenFilterFields,
  kind: z.enum(['client', 'static', 'jwt']).optional(),
  ...paging,
});
export const tokensRevoke = z
  .strictObject({
    ...tokenFilterFields,
    kind: z.enum(['client', 'static', 'jwt']).optional(),
    tokenId: word.optional().meta({ description: 'An accessor, or the `jti` of a JWT; alone' }),
  })
  .meta({
    id: 'TokensRevoke',
    description: 'All that is stated must fit, and something must be',
    example: { namespace: 'shop', pod: 'checkout-6d5f8-x2x9p' },
  });
export const tokensRevoked = z
  .strictObject({
    revoked: z.int().meta({ description: 'Stored tokens that ended' }),
    deniedBefore: time.optional().meta({
      description: 'JWTs issued before this moment that fit are refused from now on; not counted',
    }),
    note: z.string().optional(),
  })
  .meta({ id: 'TokensRevoked' });
const jwks = z
  .strictObject({
    keys: z
      .array(z.looseObject({ kty: z.string() }))
      .min(1)
      .max(20),
  })
  .meta({ description: 'Public keys alone (RFC 7517)' });

const clientFields = {
  id: z.string(),
  name: z.string().optional(),
  description: z.string().optional(),
  methods: z.array(z.enum(['client_secret', 'private_key_jwt'])),
  secrets: z.int().meta({ description: 'Two while a secret is rotated' }),
  jwks: jwks.optional(),
  createdAt: time,
  createdBy: z.string(),
};
export const clientView = z.strictObject(clientFields).meta({ id: 'Client' });
export const clientCreated = z
  .strictObject({
    ...clientFields,
    secret: z.string().optional().meta({ description: 'Shown this once' }),
  })
  .meta({ id: 'ClientCreated' });
const clientTexts = {
  name: plain(128).optional(),
  description: z.string().max(500).optional(),
  jwks: jwks.optional(),
};
export const clientCreate = z
  .strictObject({
    id: clientId,
    ...clientTexts,
    secret: z
      .boolean()
      .optional()
      .meta({ description: 'With `jwks` a secret is made only where this is true' }),
  })
  .meta({ id: 'ClientCreate' });
export const clientUpdate = z
  .strictObject(clientTexts)
  .meta({ id: 'ClientUpdate', description: 'Replaces all three; the secrets stay' });
export const secretRotate = z
  .strictObject({
    revokeOld: z.boolean().default(false).meta({
      description: 'The secrets before end at once; else the last one goes on until dropped',
    }),
  })
  .meta({ id: 'SecretRotate' });

export const clusterView = z
  .strictObject({
    name: z.string(),
    kind: z.string(),
    own: z.boolean(),
    source: z.enum(['file', 'api']),
    state: z.enum(['Ready', 'Shadowed', 'Invalid']),
    message: z.string().optional().meta({ description: 'Why it does not count' }),
    issuer: z.string().optional(),
    issuers: names,
    validation: z.string().optional(),
    keysFrom: z.string().optional(),
    maxStalenessSeconds: z.int().optional(),
    controller: z.string().optional().meta({ description: '`namespace/serviceAccount`' }),
    keys: z.array(z.strictObject({ kid: z.string().optional(), algorithms: names })).optional(),
    keysLoadedAt: time.optional(),
    keysAgeSeconds: z.int().optional(),
    lastPushAt: time.optional(),
    pushedBy: z.string().optional(),
    lastReviewAt: time.optional(),
    live: z
      .strictObject({ takenAt: time, receivedAt: time, pods: z.int(), serviceAccounts: z.int() })
      .optional(),
    problems: names,
    version: z.int().optional(),
    updatedAt: time.optional(),
    updatedBy: z.string().optional(),
    document: z
      .looseObject({})
      .optional()
      .meta({ description: 'The entry of a cluster of the API; absent in lists' }),
  })
  .meta({ id: 'Cluster' });

/** An entry of the clusters table. broker/identity/registered-entry.ts checks it. */
export const clusterDocument = z.looseObject({ kind: z.string() }).meta({
  id: 'ClusterEntry',
  description: 'docs/clusters.md has every field',
  example: {
    kind: 'kubernetes',
    issuer: 'https://oidc.staging.example.com',
    keys: { discovery: {} },
  },
});
export const clusterApplied = z
  .strictObject({
    result: z.enum(['created', 'changed', 'unchanged']),
    dryRun: z.boolean(),
    cluster: clusterView,
  })
  .meta({ id: 'ClusterApplied' });
export const clusterDeleted = z
  .strictObject({
    name: z.string(),
    revoked: z
      .int()
      .optional()
      .meta({ description: 'Stored tokens that ended with it; JWTs are denied and not counted' }),
    deniedBefore: time.optional(),
  })
  .meta({ id: 'ClusterDeleted' });

/** Each key is checked by broker/identity/key-set.ts. */
export const pushedKeys = z
  .looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) })
  .meta({ id: 'PushedKeys', description: 'A JWKS (RFC 7517) with public keys alone' });
export const keysPushed = z
  .strictObject({ cluster: z.string(), keys: z.int(), changed: z.boolean() })
  .meta({ id: 'KeysPushed' });

const uid = z
  .string()
  .regex(/^[0-9A-Za-z-]{1,64}$/, { error: 'must be a uid: 1 to 64 letters, digits and dashes' })
  .meta({ example: '6c1f8c0e-7b0a-4f6e-9a52-0d8a3c1b2e01' });
/** A cluster that reports has a controller, so it has a pod and a ServiceAccount: nothing at all is a mistake. */
export const MAX_UIDS = 300_000;
const uids = z.array(uid).min(1).max(MAX_UIDS);
/** RFC 3339, with any offset. */
const moment = z.iso.datetime({ offset: true }).meta({ example: '2026-11-22T10:15:00.000Z' });

export const liveSet = z
  .strictObject({ takenAt: moment, pods: uids, serviceAccounts: uids })
  .meta({ id: 'LiveSet' });
export const liveSetTaken = z
  .strictObject({ pods: z.int(), serviceAccounts: z.int(), died: z.int() })
  .meta({ id: 'LiveSetTaken' });
export const deadReport = z
  .strictObject({
    dead: z
      .array(z.strictObject({ kind: z.enum(['Pod', 'ServiceAccount']), uid, at: moment }))
      .min(1)
      .max(1000),
  })
  .meta({ id: 'DeadReport' });
export const deadReported = z
  .strictObject({ dead: z.int(), news: z.int() })
  .meta({ id: 'DeadReported' });

export const keyView = z
  .strictObject({
    kid: z.string(),
    algorithm: z.string().optional(),
    state: z.enum(['upcoming', 'signing', 'published', 'unreadable']),
    createdAt: time.optional(),
    signsFrom: time.optional(),
    retiresAt: time.optional(),
    sealedBy: z.string().optional(),
  })
  .meta({ id: 'Key' });
export const keyList = z
  .strictObject({
    source: z.enum(['store', 'folder']),
    items: z.array(keyView),
    next: z.string().optional(),
  })
  .meta({ id: 'KeyList' });
export const keysRewrapped = z
  .strictObject({ rewrapped: z.int(), unreadable: z.int(), sealedBy: z.string() })
  .meta({ id: 'KeysRewrapped' });

export const decisionView = z
  .looseObject({
    time,
    correlationId: z.string(),
    outcome: z.enum(['allow', 'deny', 'failure']),
  })
  .meta({ id: 'Decision', description: 'docs/broker.md has every member' });
const decisionFilterFields = {
  cluster: word.optional(),
  namespace,
  serviceAccount: word.optional(),
  pod: word.optional(),
  podUid: word.optional(),
  audience: word.optional(),
  role: word.optional(),
};
export const decisionQuery = z.strictObject({
  ...decisionFilterFields,
  outcome: z.enum(['allow', 'deny', 'failure']).optional(),
  reason: word.optional(),
  id: word.optional().meta({ description: 'The correlation id that a caller was told' }),
  tokenId: word.optional(),
  since: time.optional(),
  ...paging,
});
export const explainQuery = z.strictObject({
  namespace: word.meta({ description: 'Of the pod' }),
  pod: word,
  cluster: word.optional(),
});
export const podExplained = z
  .strictObject({ past: z.array(decisionView), now: z.array(decisionView) })
  .meta({ id: 'PodExplained' });
export const explainRequest = z
  .strictObject({
    token: z.string().min(1).max(16_384).optional().meta({
      description: 'A subject token; validated as at an exchange, never logged',
    }),
    cluster: word.optional(),
    namespace: word.optional(),
    serviceAccount: word.optional(),
    pod: word.optional(),
    audience: word.optional(),
    role: word.optional(),
    scopes: scopes.optional(),
  })
  .meta({
    id: 'ExplainRequest',
    description: 'A token, or whose token it would be: then namespace, serviceAccount and audience',
    example: { namespace: 'shop', serviceAccount: 'checkout', pod: 'web-0', audience: 'payments' },
  });
export const explained = z
  .strictObject({
    hypothetical: z.boolean().meta({ description: 'No token was shown: the subject was made up' }),
    decision: decisionView,
  })
  .meta({ id: 'Explained' });

const rights = z.record(z.string(), z.record(z.string(), z.boolean()));
export const whoamiView = z
  .strictObject({
    subject: z.string(),
    via: z.enum(['token', 'workload', 'client']),
    policies: names,
    capabilities: names.meta({ description: '`roles:read`, `tokens:write` …' }),
    rights: rights.meta({ description: 'Per resource and verb' }),
    namespace: z.string().optional().meta({ description: 'The one that was asked about' }),
    missing: z
      .array(z.strictObject({ capability: z.string(), grantedBy: z.string() }))
      .meta({ description: 'What the caller may not do, and what would let it' }),
    token: z
      .strictObject({
        accessor: z.string(),
        kind: z.enum(['client', 'static', 'jwt']),
        name: z.string().optional(),
        expiresAt: time,
      })
      .optional(),
  })
  .meta({ id: 'Whoami' });
