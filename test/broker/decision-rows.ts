// The decision table: roles, and what each token gets by them. A theme has tokens that are allowed and near misses that
// are not; decision-table.test.ts takes each through the live broker and through `coatcheck explain`.
import { createSigningKey, type FakeIssuer, mint } from '../support/issuer.ts';

export const TABLE_ROLES = `
${role('exact', 'payments', '[{ namespace: shop, serviceAccount: checkout }]', 'token: { ttl: 15m, scopes: [pay:read, pay:write] }')}
${role('glob-namespace', 'glob-namespace', '[{ namespace: "team-*", serviceAccount: worker }]')}
${role('glob-account', 'glob-account', '[{ namespace: shop, serviceAccount: "check*out" }]')}
${role('any-account', 'any-account', '[{ namespace: shop, serviceAccount: "*" }]')}
${role('second-subject', 'second-subject', '[{ namespace: shop, serviceAccount: nobody }, { namespace: bank, serviceAccount: "tell*" }]')}
${role('remote', 'remote', '[{ cluster: staging, namespace: shop, serviceAccount: checkout }]')}
${role('every-cluster', 'every-cluster', '[{ cluster: "*", namespace: shop, serviceAccount: checkout }]')}
${role('batch', 'batch', '[{ namespace: shop, serviceAccount: checkout }]', 'requirePod: false')}
${role('multi', 'multi', '[{ namespace: shop, serviceAccount: checkout }]', 'allowExtraAudiences: true')}
${role('ledger-exact', 'ledger', '[{ namespace: shop, serviceAccount: checkout }]', 'token: { scopes: [ledger:write] }')}
${role('ledger-glob', 'ledger', '[{ namespace: shop, serviceAccount: "*" }]')}
${role('ledger-strict', 'strict', '[{ namespace: shop, serviceAccount: checkout }]')}
${role('ledger-weak', 'strict', '[{ namespace: shop, serviceAccount: "*" }]', 'requirePod: false')}
${role('twin-a', 'twins', '[{ namespace: shop, serviceAccount: checkout }]')}
${role('twin-b', 'twins', '[{ namespace: shop, serviceAccount: checkout }]')}
${role('glob-twin-a', 'glob-twins', '[{ namespace: shop, serviceAccount: "c*" }]')}
${role('glob-twin-b', 'glob-twins', '[{ namespace: "s*", serviceAccount: checkout }, { namespace: bank, serviceAccount: teller }]')}
${role('short', 'short', '[{ namespace: shop, serviceAccount: checkout }]', 'token: { ttl: 60s, maxTtl: 60s }')}
${role('long', 'long', '[{ namespace: shop, serviceAccount: checkout }]', 'token: { ttl: 48h, maxTtl: 72h, outliveSubject: true }')}
${role('unbound', 'unbound', '[{ namespace: shop, serviceAccount: checkout }]', 'requirePod: false, token: { ttl: 2h, maxTtl: 2h, outliveSubject: true }')}
${role('subject-end', 'subject-end', '[{ namespace: shop, serviceAccount: checkout }]', 'token: { ttl: 10h, maxTtl: 10h }')}
${role('opaque', 'opaque', '[{ namespace: shop, serviceAccount: checkout }]', 'token: { type: opaque }')}
${role('selected', 'selected', '[{ namespaceSelector: { matchLabels: { tier: web } }, serviceAccount: frontend }]')}
${role('expressed', 'expressed', '[{ namespaceSelector: { matchExpressions: [{ key: tier, operator: NotIn, values: [db] }, { key: team, operator: Exists }] }, serviceAccount: "*" }]')}
${role('by-pod', 'by-pod', '[{ namespace: shop, serviceAccount: checkout }]', `condition: "pod.name.startsWith('checkout-')"`)}
${role('by-scope', 'by-scope', '[{ namespace: shop, serviceAccount: checkout }]', `condition: "request.scopes == ['read']", token: { scopes: [read, write] }`)}
${role('by-claim', 'by-claim', '[{ namespace: shop, serviceAccount: checkout }]', `condition: "claims.tenant == 'acme'"`)}
${role('by-dialect', 'by-dialect', '[{ namespace: shop, serviceAccount: checkout }]', `condition: "request.dialect == 'oauth'"`)}
${role('release', 'release', '[{ issuer: github, subject: "repo:acme/shop:ref:refs/heads/main", claims: { repository_owner: acme } }]')}
${role('any-branch', 'any-branch', '[{ issuer: github, subject: "repo:acme/shop:ref:refs/heads/*" }]')}
${role('deploy', 'deploy', '[{ issuer: github, subject: "repo:acme/shop:environment:*", claims: { environment: production, job_workflow_ref: "acme/shop/.github/workflows/release.yaml@refs/heads/main" } }]')}
${role('flags', 'flags', '[{ issuer: github, subject: "repo:acme/*", claims: { protected: true, run_attempt: 1 } }]')}
${role('in-group', 'in-group', '[{ issuer: github, subject: "*", claims: { teams: release } }]')}
${role('main-only', 'main-only', '[{ issuer: github, subject: "repo:acme/shop:*" }]', `condition: "claims.ref == 'refs/heads/main' && claims.event_name != 'pull_request'"`)}
${role('other-issuer', 'other-issuer', '[{ issuer: gitlab, subject: "repo:acme/shop:ref:refs/heads/main" }]')}
${role('machine', 'machine', '[{ client: ci }]')}
${role('person', 'person', '[{ user: "corp:jane" }, { group: "corp:admins" }]')}
`;

function role(name: string, audience: string, subjects: string, more = ''): string {
  return `---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: ${name} }
spec: { audience: ${audience}, subjects: ${subjects}${more && `, ${more}`} }`;
}

/** Labels of the namespaces of the own cluster. */
export const NAMESPACES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  shop: { tier: 'web', team: 'shop' },
  bank: { tier: 'db', team: 'bank' },
  lab: { tier: 'web' },
};

export interface Issuers {
  readonly own: FakeIssuer;
  readonly staging: FakeIssuer;
  readonly github: FakeIssuer;
  readonly gitlab: FakeIssuer;
}

export interface Ask {
  readonly token: string;
  readonly audience?: string;
  readonly role?: string;
  readonly scope?: string;
  /** Where a role asks for labels: the namespace of the token. */
  readonly namespace?: string;
}

export interface Row {
  readonly name: string;
  readonly ask: (issuers: Issuers) => Ask;
  /** The role that allows it, or the reason of the refusal. */
  readonly expected: string;
  /** What sets the end, where the row is about that. */
  readonly cap?: string;
}

export interface Theme {
  readonly title: string;
  readonly allowed: readonly Row[];
  readonly denied: readonly Row[];
}

type TokenOptions = Omit<NonNullable<Parameters<FakeIssuer['token']>[0]>, 'issuedAt'> & {
  /** Seconds before the request, which may be minutes after this file was loaded; negative: after it. */
  readonly issuedAgo?: number;
};
type More = Omit<Ask, 'token'> & { readonly from?: 'own' | 'staging' };

const now = () => Math.floor(Date.now() / 1000);
const HOUR = 3600;

/** A row about a pod's token for `audience`. */
function pod(
  name: string,
  expected: string,
  audience: string,
  { issuedAgo, ...options }: TokenOptions = {},
  { from = 'own', ...more }: More = {},
): Row {
  const ask = (issuers: Issuers): Ask => ({
    token: issuers[from].token({
      audiences: [audience],
      ...options,
      ...(issuedAgo !== undefined && { issuedAt: now() - issuedAgo }),
    }),
    ...(options.namespace !== undefined && { namespace: options.namespace }),
    ...more,
  });
  return { name, expected, ask };
}

/** A row about a job's token for `audience`, as GitHub Actions makes them. */
function job(
  name: string,
  expected: string,
  audience: string,
  claims: Readonly<Record<string, unknown>> = {},
  from: 'github' | 'gitlab' = 'github',
): Row {
  const ask = (issuers: Issuers): Ask => ({
    token: mint({
      key: issuers[from].key,
      header: { typ: 'JWT' },
      claims: {
        sub: 'repo:acme/shop:ref:refs/heads/main',
        aud: audience,
        ref: 'refs/heads/main',
        repository: 'acme/shop',
        repository_owner: 'acme',
        event_name: 'push',
        job_workflow_ref: 'acme/shop/.github/workflows/release.yaml@refs/heads/main',
        iss: issuers[from].issuer,
        jti: 'job-1',
        iat: now(),
        nbf: now() - 5,
        exp: now() + 300,
        ...claims,
      },
    }),
  });
  return { name, expected, ask };
}

const ENVIRONMENT = { sub: 'repo:acme/shop:environment:production', environment: 'production' };

export const THEMES: readonly Theme[] = [
  {
    title: 'an exact subject',
    allowed: [
      pod('its ServiceAccount', 'exact', 'payments'),
      pod('by an audience that is stated too', 'exact', 'payments', {}, { audience: 'payments' }),
    ],
    denied: [
      pod('another ServiceAccount', 'role_mismatch', 'payments', { serviceAccount: 'checkout2' }),
      pod('the ServiceAccount of another namespace', 'role_mismatch', 'payments', {
        namespace: 'shop2',
      }),
      pod('a beginning of its name', 'role_mismatch', 'payments', { serviceAccount: 'check' }),
      pod(
        'the same names in another cluster',
        'role_mismatch',
        'payments',
        {},
        { from: 'staging' },
      ),
      pod('an audience of no role', 'role_unknown', 'nothing'),
      pod('the audience in capitals', 'role_unknown', 'Payments'),
    ],
  },
  {
    title: 'globs',
    allowed: [
      pod('a namespace that begins so', 'glob-namespace', 'glob-namespace', {
        namespace: 'team-a',
        serviceAccount: 'worker',
      }),
      pod('with nothing for the star', 'glob-namespace', 'glob-namespace', {
        namespace: 'team-0',
        serviceAccount: 'worker',
      }),
      pod('a star in the middle', 'glob-account', 'glob-account', {
        serviceAccount: 'check-and-out',
      }),
      pod('a star for nothing', 'glob-account', 'glob-account', { serviceAccount: 'checkout' }),
      pod('any ServiceAccount of the namespace', 'any-account', 'any-account', {
        serviceAccount: 'whoever.x',
      }),
      pod('the second subject of a role', 'second-subject', 'second-subject', {
        namespace: 'bank',
        serviceAccount: 'teller',
      }),
    ],
    denied: [
      pod('a namespace that only holds it', 'role_mismatch', 'glob-namespace', {
        namespace: 'my-team-a',
        serviceAccount: 'worker',
      }),
      pod('the namespace with another ServiceAccount', 'role_mismatch', 'glob-namespace', {
        namespace: 'team-a',
        serviceAccount: 'boss',
      }),
      pod('a name that goes on after the end', 'role_mismatch', 'glob-account', {
        serviceAccount: 'checkouts',
      }),
      pod('any ServiceAccount of another namespace', 'role_mismatch', 'any-account', {
        namespace: 'bank',
      }),
      pod(
        'the namespace of one subject, the account of the other',
        'role_mismatch',
        'second-subject',
        { namespace: 'bank', serviceAccount: 'nobody' },
      ),
    ],
  },
  {
    title: 'clusters',
    allowed: [
      pod('the cluster that is written', 'remote', 'remote', {}, { from: 'staging' }),
      pod('every cluster: the own one', 'every-cluster', 'every-cluster'),
      pod('every cluster: another one', 'every-cluster', 'every-cluster', {}, { from: 'staging' }),
    ],
    denied: [
      pod('the own cluster where another is written', 'role_mismatch', 'remote'),
      pod(
        'every cluster, another account',
        'role_mismatch',
        'every-cluster',
        { serviceAccount: 'x' },
        { from: 'staging' },
      ),
      pod('the issuer of one cluster under the key of another', 'token_signature', 'remote', {
        mint: { key: createSigningKey('ES256') },
      }),
    ],
  },
  {
    title: 'what a role demands of the token',
    allowed: [
      pod('no pod where none is demanded', 'batch', 'batch', { pod: null, node: null }),
      pod('a pod where none is demanded', 'batch', 'batch'),
      pod(
        'further audiences where the role allows them',
        'multi',
        'multi',
        { audiences: ['multi', 'other'] },
        { audience: 'multi' },
      ),
      pod('one audience where the role allows more', 'multi', 'multi'),
      pod('an audience twice is one', 'exact', 'payments', { audiences: ['payments', 'payments'] }),
      pod('the audience as a text', 'exact', 'payments', { claims: { aud: 'payments' } }),
    ],
    denied: [
      pod('no pod', 'token_unbound', 'payments', { pod: null, node: null }),
      pod('no pod, and a stranger: learns nothing', 'role_mismatch', 'payments', {
        pod: null,
        node: null,
        namespace: 'x',
      }),
      pod(
        'further audiences',
        'token_audience',
        'payments',
        { audiences: ['payments', 'other'] },
        { audience: 'payments' },
      ),
      pod('several audiences and none asked for', 'token_audience', 'multi', {
        audiences: ['multi', 'other'],
      }),
      pod(
        'an audience that is not in the token',
        'target_refused',
        'payments',
        {},
        { audience: 'batch' },
      ),
      pod('no audience at all', 'token_audience', 'payments', { claims: { aud: [] } }),
      pod('the demand of the exact role, though a weaker one fits', 'token_unbound', 'strict', {
        pod: null,
        node: null,
      }),
    ],
  },
  {
    title: 'several roles',
    allowed: [
      pod('the exact one before the glob', 'ledger-exact', 'ledger'),
      pod('the glob for others', 'ledger-glob', 'ledger', { serviceAccount: 'other' }),
      pod('the weaker one by its name', 'ledger-glob', 'ledger', {}, { role: 'ledger-glob' }),
      pod('the weaker one for whom the stricter is not', 'ledger-weak', 'strict', {
        serviceAccount: 'other',
        pod: null,
        node: null,
      }),
      pod('one of two equals by its name', 'twin-a', 'twins', {}, { role: 'twin-a' }),
      pod('the other by its name', 'twin-b', 'twins', {}, { role: 'twin-b' }),
      pod('one of two globs, where one alone fits', 'glob-twin-a', 'glob-twins', {
        serviceAccount: 'cart',
      }),
      pod('an exact subject of a role that has globs too', 'glob-twin-b', 'glob-twins', {
        namespace: 'bank',
        serviceAccount: 'teller',
      }),
    ],
    denied: [
      pod('two exact ones', 'role_ambiguous', 'twins'),
      pod('two globs', 'role_ambiguous', 'glob-twins'),
      pod(
        'a role of another audience by its name',
        'role_mismatch',
        'payments',
        {},
        { role: 'batch' },
      ),
      pod(
        'a role of that name that does not fit',
        'role_mismatch',
        'ledger',
        { serviceAccount: 'other' },
        { role: 'ledger-exact' },
      ),
      pod('no role of that name', 'role_unknown', 'payments', {}, { role: 'exact2' }),
    ],
  },
  {
    title: 'scopes',
    allowed: [
      pod('all of them by name', 'exact', 'payments', {}, { scope: 'pay:read pay:write' }),
      pod('one of them', 'exact', 'payments', {}, { scope: 'pay:read' }),
    ],
    denied: [
      pod('one more', 'scope_refused', 'payments', {}, { scope: 'pay:read pay:admin' }),
      pod('a beginning of one', 'scope_refused', 'payments', {}, { scope: 'pay' }),
      pod('any of a role without scopes', 'scope_refused', 'batch', {}, { scope: 'pay:read' }),
    ],
  },
  {
    title: 'ends of tokens',
    allowed: [
      { ...pod('the role’s ttl', 'short', 'short'), cap: 'ttl' },
      { ...pod('the broker’s ceiling', 'long', 'long'), cap: 'ceiling' },
      {
        ...pod('an hour without a pod', 'unbound', 'unbound', { pod: null, node: null }),
        cap: 'unbound',
      },
      { ...pod('the role’s ttl with a pod', 'unbound', 'unbound'), cap: 'ttl' },
      {
        ...pod('the end of the ServiceAccount token', 'subject-end', 'subject-end'),
        cap: 'subject',
      },
      pod('seconds after its end: the leeway, and a role that may outlive', 'long', 'long', {
        issuedAgo: HOUR + 10,
      }),
    ],
    denied: [
      pod('seconds after its end, with nothing left to give', 'token_expired', 'subject-end', {
        issuedAgo: HOUR + 10,
      }),
      pod('after its end and the leeway', 'token_expired', 'long', { issuedAgo: HOUR + 40 }),
      pod('before its beginning', 'token_not_yet_valid', 'long', { issuedAgo: -90 }),
    ],
  },
  {
    title: 'opaque tokens',
    allowed: [pod('a role of opaque tokens', 'opaque', 'opaque')],
    denied: [
      pod('a role of opaque tokens, another account', 'role_mismatch', 'opaque', {
        serviceAccount: 'x',
      }),
    ],
  },
  {
    title: 'namespaces by their labels',
    allowed: [
      pod('a label that is demanded', 'selected', 'selected', {
        namespace: 'shop',
        serviceAccount: 'frontend',
      }),
      pod('the same in another namespace', 'selected', 'selected', {
        namespace: 'lab',
        serviceAccount: 'frontend',
      }),
      pod('expressions that hold', 'expressed', 'expressed', {
        namespace: 'shop',
        serviceAccount: 'any',
      }),
    ],
    denied: [
      pod('another value', 'role_mismatch', 'selected', {
        namespace: 'bank',
        serviceAccount: 'frontend',
      }),
      pod('the label, another account', 'role_mismatch', 'selected', {
        namespace: 'shop',
        serviceAccount: 'backend',
      }),
      pod(
        'the namespace of that name in another cluster',
        'role_mismatch',
        'selected',
        { namespace: 'shop', serviceAccount: 'frontend' },
        { from: 'staging' },
      ),
      pod('an expression that does not hold: NotIn', 'role_mismatch', 'expressed', {
        namespace: 'bank',
      }),
      pod('an expression that does not hold: Exists', 'role_mismatch', 'expressed', {
        namespace: 'lab',
      }),
    ],
  },
  {
    title: 'conditions',
    allowed: [
      pod('over the pod', 'by-pod', 'by-pod'),
      pod('over what is asked for', 'by-scope', 'by-scope', {}, { scope: 'read' }),
      pod('over a claim', 'by-claim', 'by-claim', { claims: { tenant: 'acme' } }),
      pod('over the way it came in', 'by-dialect', 'by-dialect'),
    ],
    denied: [
      pod('another pod', 'role_mismatch', 'by-pod', { pod: { name: 'checkin-1', uid: 'u' } }),
      pod('a stranger, whatever the condition says', 'role_mismatch', 'by-pod', { namespace: 'x' }),
      pod('more than is asked for', 'role_mismatch', 'by-scope', {}, { scope: 'read write' }),
      pod('nothing asked for', 'role_mismatch', 'by-scope'),
      pod('another value of the claim', 'role_mismatch', 'by-claim', {
        claims: { tenant: 'acme2' },
      }),
      pod('a claim that is not there: an error, and no', 'role_mismatch', 'by-claim'),
      pod('a claim of another type', 'role_mismatch', 'by-claim', { claims: { tenant: ['acme'] } }),
    ],
  },
  {
    title: 'jobs of an OIDC issuer',
    allowed: [
      job('the branch that is written', 'release', 'release'),
      job('any branch', 'any-branch', 'any-branch', { sub: 'repo:acme/shop:ref:refs/heads/fix-1' }),
      job('an environment and a workflow', 'deploy', 'deploy', ENVIRONMENT),
      job('a boolean and a number', 'flags', 'flags', { protected: true, run_attempt: 1 }),
      job('one item of a list', 'in-group', 'in-group', { teams: ['dev', 'release'] }),
      job('a condition over claims', 'main-only', 'main-only'),
      job('the issuer that is written', 'other-issuer', 'other-issuer', {}, 'gitlab'),
    ],
    denied: [
      job('another branch', 'role_mismatch', 'release', {
        sub: 'repo:acme/shop:ref:refs/heads/dev',
      }),
      job('a branch that begins so', 'role_mismatch', 'release', {
        sub: 'repo:acme/shop:ref:refs/heads/main2',
      }),
      job('a pull request', 'role_mismatch', 'release', { sub: 'repo:acme/shop:pull_request' }),
      job('another owner', 'role_mismatch', 'release', { repository_owner: 'evil' }),
      job('without the claim', 'role_mismatch', 'release', { repository_owner: undefined }),
      job('a repository that begins so', 'role_mismatch', 'any-branch', {
        sub: 'repo:acme/shop-evil:ref:refs/heads/main',
      }),
      job('a repository that ends so', 'role_mismatch', 'any-branch', {
        sub: 'evil/repo:acme/shop:ref:refs/heads/main',
      }),
      job('a tag', 'role_mismatch', 'any-branch', { sub: 'repo:acme/shop:ref:refs/tags/v1' }),
      job('the repository in capitals', 'role_mismatch', 'any-branch', {
        sub: 'repo:ACME/shop:ref:refs/heads/x',
      }),
      job('another environment', 'role_mismatch', 'deploy', {
        ...ENVIRONMENT,
        environment: 'staging',
      }),
      job('another workflow', 'role_mismatch', 'deploy', {
        ...ENVIRONMENT,
        job_workflow_ref: 'acme/shop/.github/workflows/evil.yaml@refs/heads/main',
      }),
      job('the text true', 'role_mismatch', 'flags', { protected: 'true', run_attempt: 1 }),
      job('the text of a number', 'role_mismatch', 'flags', { protected: true, run_attempt: '1' }),
      job('a list without the item', 'role_mismatch', 'in-group', { teams: ['dev', 'releases'] }),
      job('an object for a text', 'role_mismatch', 'in-group', { teams: { release: true } }),
      job('a condition that does not hold', 'role_mismatch', 'main-only', {
        ref: 'refs/heads/dev',
      }),
      job('a condition over an event', 'role_mismatch', 'main-only', {
        event_name: 'pull_request',
      }),
      job('the same subject of another issuer', 'role_mismatch', 'other-issuer'),
      job('a role for pods', 'role_mismatch', 'payments'),
      job('a subject of a cluster', 'token_claims', 'release', {
        sub: 'system:serviceaccount:shop:checkout',
      }),
      job('a bound token', 'token_claims', 'release', { cnf: { jkt: 'x' } }),
      job('an old token that has not ended', 'token_expired', 'release', { iat: 1_600_000_000 }),
    ],
  },
  {
    title: 'clients and people, who show no token here',
    allowed: [],
    denied: [
      pod('a role for a client', 'role_mismatch', 'machine'),
      pod('a ServiceAccount named as the client', 'role_mismatch', 'machine', {
        serviceAccount: 'ci',
      }),
      pod('a role for a person', 'role_mismatch', 'person', { serviceAccount: 'jane' }),
      job('a subject named as the person', 'role_mismatch', 'person', {
        sub: 'corp:jane',
        groups: ['corp:admins'],
      }),
    ],
  },
  {
    title: 'tokens that are none',
    allowed: [pod('a good one', 'exact', 'payments')],
    denied: [
      pod('an issuer outside the table', 'token_issuer', 'payments', {
        issuer: 'https://elsewhere.test',
      }),
      pod('a forged signature', 'token_signature', 'payments', {
        mint: { sign: () => Buffer.alloc(64, 1) },
      }),
      pod('no algorithm', 'token_malformed', 'payments', { mint: { header: { alg: 'none' } } }),
      pod('a key of its own', 'token_malformed', 'payments', {
        mint: { header: { jku: 'https://evil.test' } },
      }),
      pod('no namespace', 'token_claims', 'payments', { claims: { 'kubernetes.io': {} } }),
      pod('two segments', 'token_malformed', 'payments', { mint: { edit: ([a, b]) => [a, b] } }),
    ],
  },
];
