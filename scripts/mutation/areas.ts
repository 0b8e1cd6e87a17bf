// What is mutated, and the specs that must notice. Only quick ones: no processes, no database, no waiting. What a slow
// suite alone would notice counts as unnoticed here. Small parts with few specs each: a change costs every test that
// runs it.

export interface Part {
  readonly name: string;
  /** The score counts per area. */
  readonly area: 'webhook-inject' | 'authorize' | 'identity' | 'roles';
  /** Globs of files. */
  readonly mutate: readonly string[];
  /** Globs of specs. */
  readonly specs: readonly string[];
  /** Stryker's names of kinds of changes that are not made. */
  readonly excluded: readonly string[];
  /** Leaves out what runs only while a module is loaded: each such change costs a process of its own. */
  readonly ignoresStatic: boolean;
}

/** Titles of tests that repeat one thing thousands of times, or wait: what they notice others notice sooner. */
export const SLOW_TITLES = [
  '10,000 random kids',
  'not asked about anything that the keys refuse',
  'a hundred tokens at once',
  'fails on silence',
  'whose leading zero was left out',
  'is a deny within milliseconds',
];

export const PARTS: readonly Part[] = [
  {
    name: 'webhook-inject',
    area: 'webhook-inject',
    mutate: ['webhook/inject*.ts'],
    specs: [
      'test/webhook/golden.test.ts',
      'test/webhook/inject.test.ts',
      'test/webhook/review.test.ts',
      'test/webhook/size.test.ts',
    ],
    excluded: [],
    ignoresStatic: true,
  },
  {
    name: 'authorize',
    area: 'authorize',
    mutate: ['broker/authorize*.ts'],
    specs: ['test/broker/authorize*.test.ts'],
    excluded: [],
    ignoresStatic: false,
  },
  toIdentity('tokens', '{claims,identity,jose,oidc-claims,refusal,subject,verify}', [
    'test/broker/identity/claims.test.ts',
    'test/broker/identity/jose.test.ts',
    'test/broker/identity/verify.test.ts',
    'test/broker/identity/verify-clusters.test.ts',
    'test/attacks/audience.test.ts',
    'test/attacks/claims.test.ts',
    'test/attacks/issuer.test.ts',
    'test/attacks/jose.test.ts',
    'test/attacks/oidc.test.ts',
    'test/attacks/times.test.ts',
  ]),
  toIdentity(
    'keys',
    '{cluster-keys,fair-queue,fetch,first-key-set,jwks,key-set,key-sources,keys,limiter,pushed-keys}',
    [
      'test/broker/identity/fetch.test.ts',
      'test/broker/identity/changing-table.test.ts',
      'test/broker/identity/fair-queue.test.ts',
      'test/broker/identity/key-set.test.ts',
      'test/broker/identity/keys.test.ts',
      'test/broker/identity/limiter.test.ts',
      'test/attacks/issuer.test.ts',
      'test/attacks/keys.test.ts',
      'test/attacks/oidc.test.ts',
    ],
  ),
  toIdentity('reviews', '{liveness,review-answer,review-cache,reviewer,validate}', [
    'test/broker/identity/liveness.test.ts',
    'test/broker/identity/review.test.ts',
    'test/broker/identity/review-answer.test.ts',
    'test/broker/identity/review-cache.test.ts',
    'test/attacks/review.test.ts',
  ]),
  toIdentity(
    'table',
    '{address,cluster-review,cluster-table,clusters,oidc-issuer,registered-entry}',
    [
      'test/broker/identity/cluster-table.test.ts',
      'test/broker/identity/clusters.test.ts',
      'test/broker/identity/oidc-issuer.test.ts',
      'test/broker/identity/oidc-keys.test.ts',
      'test/broker/identity/registered-entry.test.ts',
    ],
  ),
  toRoles('documents', '{claim-names,duration,limits,role,schema,subject-schema,token-schema}', [
    'test/broker/roles/schema.test.ts',
    'test/broker/roles/schema-edges.test.ts',
  ]),
  toRoles('matching', '{glob,match,namespaces,resolve,role-index,selector}', [
    'test/broker/roles/glob.test.ts',
    'test/broker/roles/match.test.ts',
    'test/broker/roles/resolve.test.ts',
    'test/broker/roles/subjects.test.ts',
    'test/broker/roles/role-index.test.ts',
    'test/broker/roles/resolve-told.test.ts',
    'test/broker/roles/lint.test.ts',
  ]),
  toRoles('overlaps', '{lint,of-cluster,overlap,registry,report,source}', [
    'test/broker/roles/report.test.ts',
    'test/broker/roles/lint.test.ts',
    'test/broker/roles/registry.test.ts',
  ]),
  toRoles('conditions', 'condition/*', ['test/broker/roles/condition*.test.ts']),
  toRoles('sources', 'sources/*', [
    'test/broker/roles/crd-source.test.ts',
    'test/broker/roles/file.test.ts',
    'test/broker/roles/file-told.test.ts',
    'test/broker/roles/registry.test.ts',
  ]),
];

function toIdentity(name: string, files: string, specs: readonly string[]): Part {
  return toPart('identity', name, files, specs);
}

function toRoles(name: string, files: string, specs: readonly string[]): Part {
  return toPart('roles', name, files, specs);
}

/** Their texts are details for operators; reasons are of a closed type, so that `tsc` refuses another word. */
function toPart(
  area: 'identity' | 'roles',
  name: string,
  files: string,
  specs: readonly string[],
): Part {
  return {
    name: `${area}-${name}`,
    area,
    mutate: [`broker/${area}/${files}.ts`],
    specs,
    excluded: ['StringLiteral'],
    ignoresStatic: true,
  };
}
