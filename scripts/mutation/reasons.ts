// Why what survives may survive. The first rule that fits a survivor gives its reason. A place is named by its source
// line, which changes less often than its number.

export interface ReasonRule {
  /** One sentence; a heading in docs/mutation.md. */
  readonly reason: string;
  /** All that is stated must fit. */
  readonly at: readonly {
    /** A glob. */
    readonly file?: string;
    /** Over the source line. */
    readonly text?: RegExp;
    readonly mutator?: string;
  }[];
}

export const REASONS: readonly ReasonRule[] = [
  {
    reason: 'It saves work: without it the same comes out, later',
    at: [
      {
        file: 'webhook/inject.ts',
        text: /added\.length === 0|warnings\.length === 0|targets\.length === pod\.foreign/,
      },
      { file: 'webhook/inject.ts', text: /const key = audiences === |if \(!plan\)|plans\.set/ },
      { file: 'broker/identity/verify.ts', text: /if \(incomplete\.length === 0\)/ },
      {
        file: 'broker/identity/jwks.ts',
        text: /isSameSet|a\.length === b\.length|a\.every|const name = /,
      },
      {
        file: 'broker/roles/resolve.ts',
        text: /const isFew|triesAll = false|=== 'exact'\) break|const done = /,
      },
      { file: 'broker/roles/role-index.ts' },
      { file: 'broker/roles/glob.ts', text: /isSameAsFarAsWritten|a\.slice\(0, head\)/ },
      { file: 'broker/roles/report.ts', text: /isSameList|a\.length === b\.length/ },
      {
        file: 'broker/identity/review-cache.ts',
        text: /accepted\.(delete|set)|map\.delete|put\(accepted/,
      },
      { file: 'broker/identity/reviewer.ts', text: /flights/ },
    ],
  },
  {
    reason: 'Cannot differ: the types, or the step before, leave no other value',
    at: [
      { file: 'webhook/inject.ts', text: /const rules = / },
      {
        file: 'broker/authorize.ts',
        text: /tried: \[\], \.\.\.draft|audiences\.length === 1|dialect !== undefined/,
      },
      {
        file: 'broker/identity/claims.ts',
        text: /Number\.isSafeInteger|=== undefined \? undefined : toReference|jti === undefined/,
      },
      { file: 'broker/identity/{claims,subject,refusal,fetch}.ts', text: /=== undefined \? \{/ },
      {
        file: 'broker/identity/{claims,verify}.ts',
        text: /begins === issuedAt|typeof iss === 'string'/,
      },
      {
        file: 'broker/identity/jose.ts',
        text: /json\.indexOf|json\.charAt|filter\(isNested\)|next < json/,
      },
      { mutator: 'OptionalChaining' },
      {
        file: 'broker/identity/review-cache.ts',
        text: /identity\.pod|if \(pod\)|podUid|serviceAccountUid|oldest/,
      },
      { file: 'broker/identity/{review-cache,reviewer}.ts', mutator: 'AssignmentOperator' },
      {
        file: 'broker/identity/{clusters,cluster-review,reviewer}.ts',
        text: /=== undefined \?|!== undefined|^\.\.\.\(/,
      },
      {
        file: 'broker/roles/condition/*.ts',
        text: /keyKind|case 'constExpr'|kind\.value|^case |\^\\\./,
      },
      { file: 'broker/roles/condition/variables.ts' },
      { file: 'broker/identity/review-answer.ts', mutator: 'ArrayDeclaration' },
      { file: 'broker/roles/duration.ts', text: /typeof text/ },
      { file: 'broker/identity/address.ts' },
      { file: 'broker/identity/clusters.ts', text: /own === 0|const pace|kind === 'oidc'/ },
      { file: 'broker/identity/validate.ts', text: /TypeError/ },
      {
        file: 'broker/roles/{schema,token-schema,subject-schema,claim-names,selector,resolve}.ts',
        mutator: 'ArrayDeclaration',
      },
    ],
  },
  {
    reason: 'A check behind it refuses the same, for the same reason',
    at: [
      { file: 'broker/identity/jose.ts', text: /first < 1|typeof alg|catch|typeof value/ },
      {
        file: 'broker/identity/review-answer.ts',
        text: /catch|not JSON|typeof status|list\.length === 1/,
      },
      {
        file: 'broker/identity/keys.ts',
        text: /catch|is not JSON|typeof value|isCurve|const fits|isForVerification/,
      },
      {
        file: 'broker/roles/token-schema.ts',
        text: /typeof claims !== 'object'|seconds !== undefined|!== undefined &&/,
      },
    ],
  },
  {
    reason: 'What operators read (logs, metrics, details, lists): no decision depends on it',
    at: [
      { file: 'broker/identity/{claims,oidc-claims}.ts', text: /detail: |failed: / },
      {
        file: 'broker/identity/{cluster-keys,jwks}.ts',
        text: /onEvent|log\.|const kids|const facts|const alarm|\{ cluster, other/,
      },
      {
        file: 'broker/identity/cluster-keys.ts',
        text: /findLoadedAt|hasUsableKeys|usableKeys|findObstacles|\.map\(|findUsable\(\)\)|clusters$/,
      },
      { file: 'broker/roles/{report,lint}.ts' },
      { file: 'broker/roles/condition/*.ts', text: /fail\(|name\.slice|missing|const message/ },
      { file: 'broker/roles/match.ts', text: /return fail/ },
      { file: 'broker/identity/review-answer.ts', text: /got: |want: |scrubTokens|split\('\.'\)/ },
      { file: 'broker/identity/clusters.ts', text: /const count = |^error: |problems\.map/ },
      { file: 'broker/roles/sources/api.ts', text: /const facts|invalid\.length|log\./ },
      {
        file: 'broker/roles/registry.ts',
        text: /findings|MAX_|told|shadowed|NOT_COMPARED|isFirst|otherSubject/,
      },
    ],
  },
  {
    reason:
      'How rules are held against each other, for reports and the lint alone: no token is decided on here',
    at: [
      { file: 'broker/roles/overlap.ts' },
      { file: 'broker/roles/glob.ts', text: /work|next|reach|left|right/ },
      { file: 'broker/roles/selector.ts' },
    ],
  },
  {
    reason:
      'What a step of a condition costs: a little more or less; that costly ones end in a deny is tested as a whole',
    at: [
      { file: 'broker/roles/condition/environment.ts' },
      { file: 'broker/roles/condition/*.ts', text: /meter\.|walkAll\(|walk\(|once \+ 1|loop\./ },
    ],
  },
  {
    reason: 'The exact edge of a limit, where one more or one less harms nobody',
    at: [
      {
        mutator: 'EqualityOperator',
        text: /MAX_|MIN_|LONGEST|MOST|RSA_BITS|maxBytes|oldest|Seconds|\.length|\.size|spent > most/,
      },
    ],
  },
  {
    reason:
      'A process that starts, waits, retries and stops: held by the slower suites, with servers and a store',
    at: [
      { file: 'broker/identity/{cluster-keys,jwks,limiter,fetch}.ts' },
      { file: 'broker/identity/key-sources.ts' },
      { file: 'broker/roles/registry.ts' },
      { file: 'broker/roles/sources/*.ts' },
      { file: 'broker/identity/{review-cache,reviewer,liveness}.ts' },
      {
        file: 'broker/identity/clusters.ts',
        text: /ontroller|CONTROLLER|ControllerIdentity|readonly Cluster|clusters\.map|namespace, serviceAccount|NAMESPACE/,
      },
    ],
  },
  {
    reason: 'No quick test looks yet',
    at: [{}],
  },
];
