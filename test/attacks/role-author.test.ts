// Who may write roles, and nothing else, tries to come to power at the broker, at the API server, or over tokens of
// others: by policies, claims, audiences, lifetimes, globs, conditions and names. Beside each attempt stands the nearest
// thing that is allowed.
import { expect } from 'chai';
import type { Identity, VerifiedSubject } from '../../broker/identity/identity.ts';
import { findOverlaps, findOverlapsOf } from '../../broker/roles/overlap.ts';
import { resolveRole } from '../../broker/roles/resolve.ts';
import type { Role } from '../../broker/roles/role.ts';
import { indexRoles } from '../../broker/roles/role-index.ts';
import type { RoleLimits } from '../../broker/roles/schema.ts';
import { createRoleParser } from '../../broker/roles/schema.ts';
import { createApiSource } from '../../broker/roles/sources/api.ts';
import { parseFile } from '../../broker/roles/sources/file.ts';
import { limitExpiry } from '../../broker/tokens/expiry.ts';
import { createLogger } from '../../common/log.ts';
import { parseRole, problemsOf, type Tree, toDocument } from '../support/roles.ts';

interface Attempt {
  readonly title: string;
  readonly attempt: unknown;
  readonly near: unknown;
  readonly limits?: RoleLimits;
  readonly problem: RegExp;
}

const withToken = (token: Tree) => toDocument({ token });
const withSubject = (subject: Tree) => toDocument({ subjects: [subject] });
const named = (name: string) => toDocument({}, { metadata: { name } });

function describeAttempts(by: string, attempts: readonly Attempt[]): void {
  describe(`a role author, by ${by}`, () => {
    for (const { title, attempt, near, limits = {}, problem } of attempts) {
      it(`gets nowhere with ${title}`, () => {
        const problems = problemsOf(attempt, limits);
        expect(problems).to.not.have.length(0);
        expect(problems.join('\n')).to.match(problem);
        expect(problemsOf(near, limits)).to.deep.equal([]);
      });
    }
  });
}

const policies = (policy: unknown, near: string, problem = /has power at the broker/): Attempt => ({
  title: `the policy ${JSON.stringify(policy)}`,
  attempt: withToken({ policies: ['payments', policy] }),
  near: withToken({ policies: ['payments', near] }),
  problem,
});
describeAttempts('policies', [
  policies('root', 'rooted'),
  policies('ROOT', 'ROOTS'),
  policies('Root', 'a-root'),
  policies('default', 'default2'),
  policies('DeFault', 'no-default'),
  policies('coatcheck:roles:write', 'coatcheck-roles-write'),
  policies('coatcheck:', 'coatcheck'),
  policies('CoatCheck:Tokens:Read', 'coat:check'),
  policies('coatcheck:roles:write/../x', 'x/coatcheck:roles:write'),
  policies(' root', 'root.', /must be a policy/),
  policies('root ', 'root-', /must be a policy/),
  policies('root\n', 'root/x', /must be a policy/),
  policies('root\0', 'root:x', /must be a policy/),
  policies('root,default', 'root.default', /must be a policy/),
  // Looks like `root` and is another word: Cyrillic, full width, and a Turkish letter that lower-cases to another.
  policies('rооt', 'r00t', /must be a policy/),
  policies('ｒｏｏｔ', 'r-o-o-t', /must be a policy/),
  policies('ROOT\u0130', 'ROOTI', /must be a policy/),
  policies('\u202eroot', '0root', /must be a policy/),
  policies(['root'], 'root1', /must be a text/),
  policies({ name: 'root' }, 'root2', /must be a text/),
  {
    title: 'one policy beside those that the operator allows',
    attempt: withToken({ policies: ['coatcheck:roles:write'] }),
    near: withToken({ policies: ['coatcheck:roles:read'] }),
    limits: { allowBrokerPolicies: ['coatcheck:roles:read'] },
    problem: /has power at the broker/,
  },
  {
    title: 'another spelling of what the operator allows',
    attempt: withToken({ policies: ['Root'] }),
    near: withToken({ policies: ['root'] }),
    limits: { allowBrokerPolicies: ['root'] },
    problem: /has power at the broker/,
  },
  {
    title: 'policies where none is looked for',
    attempt: toDocument({ policies: ['root'] }),
    near: withToken({ policies: ['roots'] }),
    problem: /unknown field policies/,
  },
]);

const claim = (name: string, near: string, limits: RoleLimits = {}): Attempt => ({
  title: `the claim ${JSON.stringify(name)}`,
  attempt: withToken({
    claims: JSON.parse(`{${JSON.stringify(name)}: ["system:masters"]}`) as unknown,
  }),
  near: withToken({ claims: { [near]: ['system:masters'] } }),
  limits,
  problem: /no role may set it|must be a claim name/,
});
describeAttempts('claims', [
  claim('iss', 'issuer'),
  claim('sub', 'subject'),
  claim('aud', 'audience'),
  claim('exp', 'expires'),
  claim('jti', 'id'),
  claim('client_id', 'client'),
  claim('scope', 'scopes'),
  claim('policies', 'policy'),
  claim('cluster', 'clusters'),
  claim('kubernetes.io', 'kubernetes-io'),
  claim('kubernetes.io/serviceaccount/namespace', 'acme.test/namespace'),
  claim('KUBERNETES.IO', 'k8s'),
  claim('groups', 'group'),
  claim('Groups', 'grouping'),
  claim('GROUPS', 'groups_'),
  claim('roles', 'role'),
  claim('entitlements', 'entitlement'),
  claim('email', 'e-mail'),
  claim('email_verified', 'mail_verified'),
  claim('emailAddress', 'mailAddress'),
  claim('name', 'named'),
  claim('preferred_username', 'preferred_name'),
  claim('username', 'user_name'),
  claim('upn', 'upn2'),
  claim('act', 'actor'),
  claim('may_act', 'may_actor'),
  claim('cnf', 'conf'),
  claim('azp', 'az'),
  claim('acr', 'ac'),
  claim('nonce', 'nonce2'),
  claim('_claim_sources', 'claim_sources'),
  claim('authorization_details', 'authorization'),
  claim('__proto__', 'proto'),
  claim(' groups', 'groups.'),
  claim('groups\n', 'groups-'),
  claim('gr\u043eups', 'gr0ups'),
  claim('', 'x'),
  claim('sub', 'tenant', { allowClaims: ['sub', 'tenant'] }),
  claim('kubernetes.io', 'groups', { allowClaims: ['kubernetes.io', 'groups'] }),
  claim('Groups', 'groups', { allowClaims: ['groups'] }),
]);

const audience = (text: unknown, near: string, limits: RoleLimits = {}): Attempt => ({
  title: `the audience ${JSON.stringify(text)}`,
  attempt: toDocument({ audience: text }),
  near: toDocument({ audience: near }),
  limits,
  problem: /is reserved|is shown to receivers directly|must be 1 to 255|must be a text/,
});
describeAttempts('audiences', [
  audience('https://kubernetes.default.svc', 'https://kubernetes.default.svc.test'),
  audience('https://kubernetes.default.svc.cluster.local', 'https://kubernetes.default.svc/api'),
  audience('https://kubernetes.default.svc/', 'https://kubernetes.payments.svc'),
  audience('https://kubernetes.default.svc///', 'kubernetes-default'),
  audience('HTTPS://Kubernetes.Default.SVC', 'https-kubernetes-default-svc'),
  audience('kubernetes', 'kubernetes2'),
  audience('API', 'apis'),
  audience('sts.amazonaws.com', 'sts.amazonaws.test'),
  audience('STS.amazonaws.com/', 'sts-amazonaws'),
  audience('api://AzureADTokenExchange', 'api://AzureADTokenExchange2'),
  audience('coatcheck-control', 'coatcheck-controls'),
  audience('Coatcheck-Control/', 'control'),
  audience(' kubernetes', 'kubernetes-'),
  audience('kubernetes\n', 'kubernetes.'),
  audience('payments,kubernetes', 'payments:kubernetes'),
  audience(['payments', 'kubernetes'], 'payments'),
  audience('', 'p'),
  audience('vault', 'vaults', { reservedAudiences: ['vault'] }),
  audience('VAULT/', 'vault/x', { reservedAudiences: ['vault'] }),
  audience('ledger', 'ledgers', { directAudiences: ['ledger'] }),
  audience('Ledger/', 'ledger/x', { directAudiences: ['ledger'] }),
  audience('*', '*x', { reservedAudiences: ['*'] }),
]);

const ttl = (token: Tree, near: Tree, problem: RegExp, limits: RoleLimits = {}): Attempt => ({
  title: `the lifetime ${JSON.stringify(token)}`,
  attempt: withToken(token),
  near: withToken(near),
  limits,
  problem,
});
const ceiling = { maxTtlSeconds: 3600 };
describeAttempts('lifetimes', [
  ttl({ ttl: '2h', maxTtl: '2h' }, { ttl: '1h', maxTtl: '1h' }, /the broker's ceiling/, ceiling),
  ttl({ maxTtl: '3601s' }, { maxTtl: '3600s' }, /the broker's ceiling/, ceiling),
  ttl({ ttl: 3601 }, { ttl: 3600 }, /the broker's ceiling/, ceiling),
  ttl({ ttl: '0h3601s' }, { ttl: '0h3600s' }, /the broker's ceiling/, ceiling),
  ttl({ ttl: '2h', maxTtl: '1h' }, { ttl: '1h', maxTtl: '2h' }, /must not be longer than maxTtl/),
  ttl({ ttl: '99999999999999999999h' }, { ttl: '24h' }, /must be a duration/),
  ttl({ ttl: 1e21 }, { ttl: 100_000 }, /must be a duration/),
  ttl({ ttl: '1e9' }, { ttl: '1000000' }, /must be a duration/),
  ttl({ ttl: Number.MAX_SAFE_INTEGER }, { ttl: 999_999_999 }, /must be a duration/),
  ttl({ ttl: -900 }, { ttl: 900 }, /must be a duration/),
  ttl({ ttl: '-15m' }, { ttl: '15m' }, /must be a duration/),
  ttl({ ttl: 0 }, { ttl: 10 }, /must be a duration/),
  ttl({ ttl: '0s' }, { ttl: '10s' }, /must be a duration/),
  ttl({ ttl: '15m\n' }, { ttl: '15m' }, /must be a duration/),
  ttl({ ttl: ['15m'] }, { ttl: '15m' }, /must be a duration/),
  ttl({ ttl: 'Infinity' }, { ttl: '10' }, /must be a duration/),
  ttl({ type: 'opaque' }, { type: 'jwt' }, /opaque tokens are kept in a store/),
]);

describe('a role author, by lifetimes at the issue', () => {
  const role = parseRole(withToken({ ttl: '99999h', maxTtl: '99999h', outliveSubject: true }));
  const given = {
    issuedAt: 1000,
    token: role.token,
    ceilingSeconds: 86_400,
    subjectExpiresAt: 1600,
  };
  it('gets no more than the ceiling of the broker, whatever the role says', () => {
    expect(limitExpiry({ ...given, isBound: true })).to.deep.include({
      expiresAt: 87_400,
      cap: 'ceiling',
    });
    expect(limitExpiry({ ...given, isBound: true, ceilingSeconds: 1e9 }).cap).to.equal('ttl');
  });
  it('gets no more than an hour for tokens without a pod', () => {
    expect(limitExpiry({ ...given, isBound: false })).to.deep.include({
      expiresAt: 4600,
      cap: 'unbound',
    });
  });
  it('gets no prolonged life by renewals', () => {
    const renewed = { ...given, isBound: true, issuedAt: 80_000, firstIssuedAt: 1000 };
    expect(limitExpiry(renewed)).to.deep.include({ expiresAt: 87_400, cap: 'ceiling' });
  });
});

const workload = {
  kind: 'workload',
  cluster: 'here',
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: 'u',
  pod: { name: 'checkout-1', uid: 'pu' },
} as const;
const job = {
  kind: 'oidc',
  issuer: 'github',
  subject: 'repo:acme/shop:ref:refs/heads/main',
} as const;
const alice = { kind: 'user', provider: 'idp', subject: 'alice', groups: ['ops'] } as const;

function toSubject(identity: Identity, claims: Tree = {}): VerifiedSubject {
  return {
    identity,
    issuer: 'https://issuer.test',
    audiences: ['payments'],
    issuedAt: 0,
    expiresAt: 3600,
    fingerprint: '0123456789abcdef',
    claims,
  };
}

function isServed(document: unknown, identity: Identity, claims?: Tree): boolean {
  const roles = indexRoles([parseRole(document)]);
  const query = { subject: toSubject(identity, claims), audience: 'payments' };
  return resolveRole(roles, query, { ownCluster: 'here' }).ok;
}

describe('a role author, by globs', () => {
  const rows: readonly { title: string; rule: Tree; wins: Identity; near: Identity }[] = [
    {
      title: 'does not fit a name that only begins so',
      rule: { namespace: 'shop', serviceAccount: 'checkout' },
      wins: workload,
      near: { ...workload, serviceAccount: 'checkout-admin' },
    },
    {
      title: 'does not fit a name that only ends so',
      rule: { namespace: '*-shop', serviceAccount: 'checkout' },
      wins: { ...workload, namespace: 'a-shop' },
      near: { ...workload, namespace: 'a-shop-x' },
    },
    {
      title: 'does not fit over a line break',
      rule: { issuer: 'github', subject: 'repo:acme/shop:ref:refs/heads/main' },
      wins: job,
      near: { ...job, subject: `${job.subject}\n` },
    },
    {
      title: 'does not fit the second line',
      rule: { issuer: 'github', subject: '*:ref:refs/heads/main' },
      wins: job,
      near: { ...job, subject: `${job.subject}\nx` },
    },
    {
      title: 'has no regular expressions',
      rule: { issuer: 'github', subject: 'repo:acme/.+' },
      wins: { ...job, subject: 'repo:acme/.+' },
      near: job,
    },
    {
      title: 'has no question mark and no brackets',
      rule: { issuer: 'github', subject: 'repo:[a]cme/sho?:*' },
      wins: { ...job, subject: 'repo:[a]cme/sho?:x' },
      near: job,
    },
    {
      title: 'of the own cluster does not fit another cluster',
      rule: { namespace: '*', serviceAccount: '*' },
      wins: workload,
      near: { ...workload, cluster: 'there' },
    },
    {
      title: 'of ServiceAccounts does not fit people',
      rule: { cluster: '*', namespace: '*', serviceAccount: '*' },
      wins: workload,
      near: alice,
    },
    {
      title: 'of an issuer does not fit a ServiceAccount',
      rule: { issuer: 'github', subject: '*' },
      wins: job,
      near: workload,
    },
  ];
  for (const { title, rule, wins, near } of rows) {
    it(title, () => {
      expect(isServed(withSubject(rule), near)).to.equal(false);
      expect(isServed(withSubject(rule), wins)).to.equal(true);
    });
  }
});

describeAttempts('subjects', [
  {
    title: 'a cluster by a glob that hides in it',
    attempt: withSubject({ cluster: 'prod*', namespace: 'a', serviceAccount: 'b' }),
    near: withSubject({ cluster: 'prod', namespace: 'a', serviceAccount: 'b' }),
    problem: /cluster: must be the name of a cluster/,
  },
  {
    title: 'every namespace by leaving it out',
    attempt: withSubject({ serviceAccount: 'checkout' }),
    near: withSubject({ namespace: '*', serviceAccount: 'checkout' }),
    problem: /must state namespace too/,
  },
  {
    title: 'every namespace by an empty selector',
    attempt: withSubject({ namespaceSelector: {}, serviceAccount: 'checkout' }),
    near: withSubject({
      namespaceSelector: { matchLabels: { a: 'b' } },
      serviceAccount: 'checkout',
    }),
    problem: /must state a label or an expression/,
  },
  {
    title: 'another cluster by a selector',
    attempt: withSubject({
      cluster: '*',
      namespaceSelector: { matchLabels: { a: 'b' } },
      serviceAccount: 'c',
    }),
    near: withSubject({ cluster: '*', namespace: 'a', serviceAccount: 'c' }),
    problem: /cluster does not go with namespaceSelector/,
  },
  {
    title: 'a group of any provider',
    attempt: withSubject({ group: 'ops' }),
    near: withSubject({ group: 'idp:ops' }),
    problem: /must be <provider>:<group>/,
  },
  {
    title: 'an issuer by its URL',
    attempt: withSubject({ issuer: 'https://evil.test', subject: 'x' }),
    near: withSubject({ issuer: 'evil', subject: 'x' }),
    problem: /must be the name of an issuer/,
  },
  {
    title: 'two kinds in one',
    attempt: withSubject({ namespace: 'shop', serviceAccount: 'checkout', user: 'idp:alice' }),
    near: toDocument({
      subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }, { user: 'idp:alice' }],
    }),
    problem: /user does not go with namespace/,
  },
  {
    title: 'no subjects at all',
    attempt: toDocument({ subjects: [] }),
    near: withSubject({ client: 'ci' }),
    problem: /must be at least 1 items/,
  },
]);

describe('a role author, by conditions', () => {
  const big = {
    text: 'a'.repeat(4000),
    many: Array.from({ length: 1500 }, (_, i) => `i${i}`),
    level: 1,
  };
  // Each would let a pod in, were the first of the pair what its author hopes for.
  const rows: readonly { title: string; condition: string; near: string; claims?: Tree }[] = [
    { title: 'an error', condition: '1 / 0 == 1 || 1 / 0 != 1', near: '1 / 1 == 1' },
    { title: 'a negated error', condition: '!(claims.nope)', near: '!has(claims.nope)' },
    { title: 'a missing variable', condition: "issuer != 'x'", near: "cluster != 'x'" },
    { title: 'a number for true', condition: 'claims.level', near: 'claims.level == 1' },
    { title: 'a text for true', condition: "'true'", near: "bool('true')" },
    { title: 'a list for true', condition: '[true]', near: '[true][0]' },
    { title: 'null for true', condition: 'null', near: 'null == null' },
    { title: 'a type for true', condition: 'type(true)', near: 'type(true) == bool' },
    {
      title: 'a comparison across types',
      condition: "claims.level == '1'",
      near: "string(claims.level) == '1'",
    },
    {
      title: 'a large number that is none',
      condition: 'claims.level + 9223372036854775807 > 0',
      near: 'claims.level + 9223372036854775806 > 0',
    },
    {
      title: 'a moment that is none',
      condition: "timestamp('2026-13-01T00:00:00Z') > timestamp('2026-01-01T00:00:00Z')",
      near: "timestamp('2026-12-01T00:00:00Z') > timestamp('2026-01-01T00:00:00Z')",
    },
    {
      title: 'loops in loops',
      condition: 'claims.many.all(a, claims.many.exists(b, a == b)) || true',
      near: "claims.many.exists(a, a == 'i7')",
    },
    {
      title: 'a text that doubles',
      condition:
        "['a'].map(x, claims.text + claims.text).map(x, x + x + x + x).map(x, x + x + x + x)[0] != ''",
      near: "['a'].map(x, x + x)[0] == 'aa'",
    },
    {
      title: 'a regular expression over a long text',
      condition: "!claims.text.matches('^(a|a|aa)+(a|a|aa)+$!')",
      near: "!pod.name.matches('^(a|a|aa)+(a|a|aa)+$!')",
    },
  ];
  for (const { title, condition, near } of rows) {
    it(`lets nobody in by ${title}`, () => {
      expect(isServed(toDocument({ condition }), workload, big)).to.equal(false);
      expect(isServed(toDocument({ condition: near }), workload, big)).to.equal(true);
    });
  }
});

const condition = (text: string, near: string, problem: RegExp): Attempt => ({
  title: `the condition ${text.slice(0, 60)}`,
  attempt: toDocument({ condition: text }),
  near: toDocument({ condition: near }),
  problem,
});
describeAttempts('conditions that are looked at before they run', [
  condition('pod.name.matches(claims.pattern)', "pod.name.matches('a')", /literal text/),
  condition("pod.name.matches('((a{9}){9}){9}')", "pod.name.matches('a{9}')", /must be smaller/),
  condition(
    "pod.name.matches('(?i)[b-\\\\x{10fffe}]')",
    "pod.name.matches('(?i)[b-y]')",
    /printable ASCII/,
  ),
  condition(
    '[1].all(a,[1].all(b,[1].all(c,[1].all(d,true))))',
    '[1].all(a,[1].all(b,[1].all(c,true)))',
    /loops/,
  ),
  condition(
    `${'('.repeat(1000)}true${')'.repeat(1000)}`,
    '((true))',
    /at most 100 opening brackets/,
  ),
  condition(
    `'${'a'.repeat(3000)}' == ''`,
    `'${'a'.repeat(1000)}' == ''`,
    /at most 2048 characters/,
  ),
  condition(
    "constructor.constructor('return process') == 1",
    'claims.constructor == 1',
    /knows no/,
  ),
  condition('process.env == 1', "claims.env == '1'", /knows no variable/),
  condition("fetch('http://a.test') == ''", "'http://a.test' != ''", /knows no function/),
  condition('google.protobuf.Any{} == null', '{} == null', /makes a message/),
  condition('@tick(1, true)', 'true', /not valid CEL/),
]);

describeAttempts('names', [
  ...[
    ['Pay', 'pay'],
    ['pay\n', 'pay2'],
    ['pay/checkout', 'pay-checkout'],
    ['../pay', 'a.pay'],
    ['pay..x', 'pay.x'],
    ['', 'p'],
    ['a'.repeat(254), 'a'.repeat(253)],
    ['p\u0430y', 'pay3'],
  ].map(([name = '', near = '']) => ({
    title: `the name ${JSON.stringify(name.slice(0, 40))}`,
    attempt: named(name),
    near: named(near),
    problem: /metadata.name: must be a DNS name/,
  })),
  ...[
    ['kubernetes/a/b', 'kubernetes/ab'],
    ['kubernetes/Pay', 'kubernetes/pay'],
    ['/pay', 'k/pay'],
    ['kubernetes/', 'kubernetes/p'],
    ['kubernetes/..', 'kubernetes/a.b'],
    ['../kubernetes', 'a/kubernetes'],
    ['kubernetes/pay\n', 'kubernetes/pay_1'],
    ['kubernetes//pay', 'kubernetes/pay.v2'],
  ].map(([name = '', near = '']) => ({
    title: `the name ${JSON.stringify(name)} at a Vault mount`,
    attempt: named(name),
    near: named(near),
    limits: { allowMountNames: true },
    problem: /metadata.name: must be a DNS name/,
  })),
]);

describe('a role author, by documents', () => {
  const source = (rows: { name: string; document: unknown; version: number }[]) =>
    createApiSource({
      stored: { roles: () => rows, onRolesChange: () => undefined },
      log: createLogger({ level: 'error', process: 'test', stream: { write: () => true } }),
    });
  it('cannot have a role stored under the name of another', async () => {
    const stolen = source([{ name: 'payments', document: named('mine'), version: 1 }]);
    await stolen.start();
    expect(stolen.current()).to.deep.equal([]);
    const own = source([{ name: 'mine', document: named('mine'), version: 1 }]);
    await own.start();
    expect(own.current()).to.have.length(1);
  });
  it('cannot hide a policy behind a repeated key or an alias', () => {
    const text = (token: string) =>
      `apiVersion: auth.example.io/v1alpha1\nkind: TokenRole\nmetadata: { name: a }\nspec:\n  audience: payments\n  subjects: [{ client: ci }]\n  token: ${token}\n`;
    const read = (token: string) => parseFile('a.yaml', text(token), createRoleParser());
    expect(read('{ policies: [a], policies: [root] }').roles).to.have.length(0);
    expect(read('{ scopes: [&x root], policies: [*x] }').problems.join()).to.match(
      /has power at the broker/,
    );
    expect(read('{ scopes: [&x read], policies: [*x] }').roles).to.have.length(1);
  });
  it('cannot bring a field in by a prototype', () => {
    const hidden = JSON.parse(
      JSON.stringify(toDocument()).replace(
        '"audience"',
        '"__proto__":{"requirePod":false},"audience"',
      ),
    ) as unknown;
    const parsed = createRoleParser()(hidden, 'file:a');
    expect(parsed.ok ? parsed.role.requirePod : 'refused').to.not.equal(false);
    expect(parseRole(toDocument({ requirePod: false })).requirePod).to.equal(false);
  });
});

describe('a role author, by size', () => {
  const nested = (depth: number) =>
    withToken({ claims: { a: JSON.parse('['.repeat(depth) + ']'.repeat(depth)) as unknown } });
  it('ends no broker with claims that are nested as deep as an API server takes them', () => {
    expect(problemsOf(nested(9000)).join()).to.match(/must not be nested more than 32 levels/);
    expect(problemsOf(nested(20))).to.deep.equal([]);
  });

  it('fills no log, status or answer with thousands of things that are wrong', () => {
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`bad claim ${i}`, i]));
    const claims = problemsOf(withToken({ claims: many(5000) }));
    expect([claims.length, claims.at(-1)]).to.deep.equal([101, '4900 more problems']);
    const [unknown = ''] = problemsOf(toDocument(many(5000)));
    expect(unknown.length).to.be.below(4000);
    expect(unknown).to.match(/unknown field bad claim 19, 4980 more unknown fields$/);
    expect(problemsOf(withToken({ claims: many(100) }))).to.have.length(100);
  });

  const context = { ownCluster: 'own' };
  const long = (name: string, count: number, length: number) =>
    parseRole(
      toDocument(
        {
          subjects: Array.from({ length: count }, (_, i) => ({
            issuer: 'github',
            subject: `*${'a*'.repeat(length / 2 - 5)}${i}*`,
          })),
        },
        { metadata: { name } },
      ),
    );
  const selecting = (name: string, count: number, length: number) =>
    parseRole(
      toDocument(
        {
          subjects: Array.from({ length: count }, (_, i) => ({
            namespaceSelector: {
              matchExpressions: Array.from({ length }, (_e, j) => ({
                key: 'k',
                operator: 'NotIn',
                values: Array.from({ length }, (_v, k) => `v${i}-${j}-${k}`),
              })),
            },
            serviceAccount: '*',
          })),
        },
        { metadata: { name } },
      ),
    );
  const bombs: readonly {
    title: string;
    make: (name: string) => Role;
    near: (name: string) => Role;
  }[] = [
    {
      title: 'long globs full of stars',
      make: (name) => long(name, 200, 500),
      near: (name) => long(name, 200, 14),
    },
    {
      title: 'selectors with thousands of values',
      make: (name) => selecting(name, 20, 64),
      near: (name) => selecting(name, 20, 4),
    },
    {
      title: 'the same subject again and again',
      make: (name) => toMany(name, 256),
      near: (name) => toMany(name, 20),
    },
  ];
  function toMany(name: string, count: number): Role {
    const subject = { namespace: 'shop', serviceAccount: 'checkout' };
    return parseRole(
      toDocument({ subjects: Array<Tree>(count).fill(subject) }, { metadata: { name } }),
    );
  }
  for (const { title, make, near } of bombs) {
    it(`does not hold up the broker with ${title}`, () => {
      const roles = Array.from({ length: 8 }, (_, i) => make(`bomb-${i}`));
      const startedAt = performance.now();
      const all = findOverlaps(roles, context);
      const [first, ...others] = roles;
      findOverlapsOf(first as Role, others, context);
      // Minutes without a bound.
      expect(performance.now() - startedAt).to.be.below(10_000);
      expect(all.isComplete).to.equal(false);
      expect(findOverlaps([near('a'), near('b')], context).isComplete).to.equal(true);
    });
  }
});
