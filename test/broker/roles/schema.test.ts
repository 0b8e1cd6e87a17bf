// Role documents: what is accepted and how it is read, and one row per thing that is refused.
import { expect } from 'chai';
import { findClaimProblem } from '../../../broker/roles/claim-names.ts';
import { findSeconds } from '../../../broker/roles/duration.ts';
import { createRoleParser, type RoleLimits } from '../../../broker/roles/schema.ts';
import { problemsOf, type Tree, toDocument } from '../../support/roles.ts';

const withToken = (token: Tree) => toDocument({ token });
const withSubject = (subject: Tree) => toDocument({ subjects: [subject] });

describe('a role document', () => {
  it('fills in the defaults of the contract', () => {
    const parsed = createRoleParser()(toDocument(), 'file:a.yaml#1');
    expect(parsed).to.deep.equal({
      ok: true,
      role: {
        name: 'pay',
        source: 'file:a.yaml#1',
        audience: 'payments',
        subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
        requirePod: true,
        allowExtraAudiences: false,
        token: {
          type: 'jwt',
          ttlSeconds: 900,
          maxTtlSeconds: 3600,
          outliveSubject: false,
          scopes: [],
          policies: [],
          claims: {},
          jwtType: 'at+jwt',
        },
      },
    });
  });

  const accepted: readonly { title: string; value: Tree; limits?: RoleLimits }[] = [
    {
      title: 'a glob subject of another cluster',
      value: withSubject({ cluster: 'staging', namespace: 'team-*', serviceAccount: '*' }),
    },
    {
      title: 'every cluster, written out',
      value: withSubject({ cluster: '*', namespace: 'shop', serviceAccount: 'checkout' }),
    },
    {
      title: 'a subject of another issuer',
      value: withSubject({
        issuer: 'github',
        subject: 'repo:acme/shop:*',
        claims: { ref: 'refs/heads/main' },
      }),
    },
    {
      title: 'a client, a user, a group',
      value: toDocument({
        subjects: [{ client: 'ci' }, { user: 'idp:alice' }, { group: 'idp:ops:all' }],
      }),
    },
    {
      title: 'a namespaceSelector',
      value: withSubject({
        namespaceSelector: {
          matchLabels: { 'acme.test/tier': 'web', empty: '' },
          matchExpressions: [
            { key: 'env', operator: 'NotIn', values: ['dev', 'test'] },
            { key: 'old', operator: 'DoesNotExist' },
          ],
        },
        serviceAccount: 'frontend',
      }),
    },
    {
      title: 'a condition',
      value: toDocument({ condition: "pod.name.startsWith('checkout-') && namespace == 'shop'" }),
    },
    {
      title: 'type opaque, where there is a store',
      value: withToken({ type: 'opaque' }),
      limits: { allowOpaque: true },
    },
    {
      title: 'the name of a role at a Vault mount, of the API',
      value: toDocument({}, { metadata: { name: 'kubernetes/my_role.v2' } }),
      limits: { allowMountNames: true },
    },
    {
      title: 'an audience like one that receivers are shown directly',
      value: toDocument({ audience: 'https://ledger.test/api' }),
      limits: { directAudiences: ['https://ledger.test'] },
    },
    { title: 'a URL as audience', value: toDocument({ audience: 'https://payments.test/api' }) },
    {
      title: 'labels and annotations',
      value: toDocument(
        {},
        { metadata: { name: 'pay', labels: { a: 'b' }, annotations: { c: 'd' } } },
      ),
    },
    {
      title: 'a ttl as long as the ceiling',
      value: withToken({ ttl: '1h', maxTtl: '1h' }),
      limits: { maxTtlSeconds: 3600 },
    },
    { title: 'a ttl longer than the default maxTtl', value: withToken({ ttl: '2h' }) },
    {
      title: 'a policy with power, where the operator allows it',
      value: withToken({ policies: ['coatcheck:roles:write'] }),
      limits: { allowBrokerPolicies: ['coatcheck:roles:write'] },
    },
    {
      title: 'a registered claim, where the operator allows it',
      value: withToken({ claims: { groups: ['a'] } }),
      limits: { allowClaims: ['groups'] },
    },
    {
      title: 'claims of every JSON type',
      value: withToken({
        claims: { tenant: 'shop', level: 2, beta: true, list: [1, { a: null }] },
      }),
    },
    {
      title: 'a policy that begins like one with power',
      value: withToken({ policies: ['rooted', 'coatcheck-x', 'defaults'] }),
    },
  ];
  for (const { title, value, limits } of accepted) {
    it(`accepts ${title}`, () => expect(problemsOf(value, limits)).to.deep.equal([]));
  }

  const refused: readonly {
    title: string;
    value: unknown;
    limits?: RoleLimits;
    problem: string | RegExp;
  }[] = [
    {
      title: 'another kind',
      value: toDocument({}, { kind: 'Role' }),
      problem: 'kind: must be TokenRole',
    },
    {
      title: 'another version',
      value: toDocument({}, { apiVersion: 'v1' }),
      problem: 'apiVersion: must be auth.example.io/v1alpha1',
    },
    { title: 'a list', value: [], problem: 'must be an object' },
    {
      title: 'no name',
      value: toDocument({}, { metadata: {} }),
      problem: 'metadata.name: is required',
    },
    {
      title: 'a name in upper case',
      value: toDocument({}, { metadata: { name: 'Pay' } }),
      problem: /^metadata.name: must be a DNS name/,
    },
    {
      title: 'a misspelt field',
      value: toDocument({ requirePods: true }),
      problem: 'spec: unknown field requirePods; did you mean requirePod?',
    },
    {
      title: 'a condition that is no CEL, with its place',
      value: toDocument({ condition: 'pod.name ==\n  == 1' }),
      problem: 'spec.condition: is not valid CEL at line 1, column 10',
    },
    {
      title: 'a condition over a variable that no subject has',
      value: toDocument({ condition: "podd.name == 'a'" }),
      problem:
        /^spec.condition: knows no variable of the name podd; did you mean pod\? at line 1, column 1$/,
    },
    {
      title: 'a condition that is no text',
      value: toDocument({ condition: true }),
      problem: 'spec.condition: must be a text',
    },
    {
      title: 'a namespaceSelector beside a namespace',
      value: withSubject({
        namespaceSelector: { matchLabels: { tier: 'web' } },
        namespace: 'a',
        serviceAccount: 'x',
      }),
      problem:
        'spec.subjects[0]: namespace does not go with namespaceSelector: state another subject for it',
    },
    {
      title: 'a namespaceSelector of another cluster',
      value: withSubject({
        cluster: 'staging',
        namespaceSelector: { matchLabels: { tier: 'web' } },
        serviceAccount: 'x',
      }),
      problem: /^spec.subjects\[0\]: cluster does not go with namespaceSelector/,
    },
    {
      title: 'a namespaceSelector without ServiceAccount',
      value: withSubject({ namespaceSelector: { matchLabels: { tier: 'web' } } }),
      problem: 'spec.subjects[0]: must state serviceAccount too (* for any)',
    },
    {
      title: 'a namespaceSelector that selects everything without saying so',
      value: withSubject({ namespaceSelector: {}, serviceAccount: 'x' }),
      problem: /^spec.subjects\[0\].namespaceSelector: must state a label or an expression/,
    },
    {
      title: 'an empty list of labels',
      value: withSubject({
        namespaceSelector: { matchLabels: {}, matchExpressions: [] },
        serviceAccount: 'x',
      }),
      problem: /^spec.subjects\[0\].namespaceSelector: must state a label or an expression/,
    },
    {
      title: 'In without values',
      value: withSubject({
        namespaceSelector: { matchExpressions: [{ key: 'tier', operator: 'In', values: [] }] },
        serviceAccount: 'x',
      }),
      problem: /matchExpressions\[0\]: must have values with In and NotIn/,
    },
    {
      title: 'Exists with values',
      value: withSubject({
        namespaceSelector: {
          matchExpressions: [{ key: 'tier', operator: 'Exists', values: ['a'] }],
        },
        serviceAccount: 'x',
      }),
      problem: /matchExpressions\[0\]: must have values with In and NotIn/,
    },
    {
      title: 'a label value that no label can have',
      value: withSubject({
        namespaceSelector: { matchLabels: { tier: 'web*' } },
        serviceAccount: 'x',
      }),
      problem: /matchLabels.tier: must be the value of a label/,
    },
    {
      title: 'an issuer by its URL',
      value: withSubject({ issuer: 'https://token.actions.test', subject: 'x' }),
      problem: 'spec.subjects[0].issuer: must be the name of an issuer in the table, not its URL',
    },
    {
      title: 'an issuer without subject',
      value: withSubject({ issuer: 'github', claims: { ref: 'x' } }),
      problem: 'spec.subjects[0]: must state subject too (* for any)',
    },
    {
      title: 'a subject with a newline',
      value: withSubject({ issuer: 'github', subject: 'repo:acme/shop\n*' }),
      problem: /^spec.subjects\[0\].subject: must be a subject of at most 512/,
    },
    {
      title: 'a claim rule that is a list',
      value: withSubject({ issuer: 'github', subject: 'x', claims: { ref: ['a'] } }),
      problem: /^spec.subjects\[0\].claims.ref/,
    },
    {
      title: 'a user without provider',
      value: withSubject({ user: 'alice' }),
      problem: /^spec.subjects\[0\].user: must be <provider>:<subject>/,
    },
    {
      title: 'a group of no name',
      value: withSubject({ group: 'idp:' }),
      problem: /^spec.subjects\[0\].group: must be <provider>:<group>/,
    },
    {
      title: 'a client with a colon',
      value: withSubject({ client: 'k8s:here' }),
      problem: /^spec.subjects\[0\].client: must be the id of a client/,
    },
    {
      title: 'an audience that receivers are shown directly, in another spelling',
      value: toDocument({ audience: 'https://Ledger.test/' }),
      limits: { directAudiences: ['https://ledger.test'] },
      problem: /^spec.audience: is shown to receivers directly/,
    },
    {
      title: 'the name of a role at a Vault mount',
      value: toDocument({}, { metadata: { name: 'kubernetes/pay' } }),
      problem: /^metadata.name: must be a DNS name/,
    },
    {
      title: 'two slashes in the name of a role at a Vault mount',
      value: toDocument({}, { metadata: { name: 'auth/kubernetes/pay' } }),
      limits: { allowMountNames: true },
      problem: /^metadata.name: must be a DNS name.*; or <mount>\/<name>/,
    },
    {
      title: 'upper case in the name of a role at a Vault mount',
      value: toDocument({}, { metadata: { name: 'kubernetes/Pay' } }),
      limits: { allowMountNames: true },
      problem: /^metadata.name: must be a DNS name/,
    },
    {
      title: 'a claim named __proto__',
      value: withToken({ claims: JSON.parse('{"__proto__": 1}') as unknown }),
      problem: /^spec.token.claims.__proto__: is a registered/,
    },
    {
      title: 'no audience',
      value: toDocument({ audience: undefined }),
      problem: 'spec.audience: is required',
    },
    {
      title: 'a list as audience',
      value: toDocument({ audience: ['payments'] }),
      problem: 'spec.audience: must be a text',
    },
    {
      title: 'an audience with a comma',
      value: toDocument({ audience: 'a,b' }),
      problem: /^spec.audience: must be 1 to 255 printable/,
    },
    {
      title: 'an empty audience',
      value: toDocument({ audience: '' }),
      problem: /^spec.audience: must be 1 to 255 printable/,
    },
    {
      title: 'the API server’s audience',
      value: toDocument({ audience: 'https://kubernetes.default.svc/' }),
      problem: /^spec.audience: is reserved/,
    },
    {
      title: 'a cloud’s audience',
      value: toDocument({ audience: 'sts.amazonaws.com' }),
      problem: /^spec.audience: is reserved/,
    },
    {
      title: 'the operator’s reserved audience',
      value: toDocument({ audience: 'vault' }),
      limits: { reservedAudiences: ['vault'] },
      problem: /^spec.audience: is reserved/,
    },
    {
      title: 'no subjects',
      value: toDocument({ subjects: [] }),
      problem: 'spec.subjects: must be at least 1 items',
    },
    {
      title: 'a subject that states nothing',
      value: withSubject({}),
      problem: /^spec.subjects\[0\]: must state namespace and serviceAccount/,
    },
    {
      title: 'a subject with a cluster alone',
      value: withSubject({ cluster: '*' }),
      problem: /^spec.subjects\[0\]: must state namespace and serviceAccount/,
    },
    {
      title: 'a subject without ServiceAccount',
      value: withSubject({ namespace: 'shop' }),
      problem: 'spec.subjects[0]: must state serviceAccount too (* for any)',
    },
    {
      title: 'a subject without namespace',
      value: withSubject({ serviceAccount: 'x' }),
      problem: 'spec.subjects[0]: must state namespace too (* for any)',
    },
    {
      title: 'a glob for the cluster',
      value: withSubject({ cluster: 'st*', namespace: 'a', serviceAccount: 'b' }),
      problem: /^spec.subjects\[0\].cluster: must be the name of a cluster, or \*/,
    },
    {
      title: 'a regular expression as namespace',
      value: withSubject({ namespace: 'team-.+', serviceAccount: 'b' }),
      problem: /^spec.subjects\[0\].namespace/,
    },
    {
      title: 'a subject of two kinds',
      value: withSubject({ namespace: 'a', serviceAccount: 'b', client: 'ci' }),
      problem: /client does not go with namespace/,
    },
    {
      title: 'requirePod as text',
      value: toDocument({ requirePod: 'no' }),
      problem: 'spec.requirePod: must be true or false',
    },
    {
      title: 'type opaque, where there is no store',
      value: withToken({ type: 'opaque' }),
      problem: /^spec.token.type: must be jwt: opaque tokens are kept in a store/,
    },
    {
      title: 'type unknown',
      value: withToken({ type: 'macaroon' }),
      problem: /^spec.token.type: must be one of jwt, opaque/,
    },
    {
      title: 'a ttl that is no duration',
      value: withToken({ ttl: '15 minutes' }),
      problem: /^spec.token.ttl: must be a duration/,
    },
    {
      title: 'a ttl of nothing',
      value: withToken({ ttl: '0s' }),
      problem: /^spec.token.ttl: must be a duration/,
    },
    {
      title: 'a ttl longer than maxTtl',
      value: withToken({ ttl: '2h', maxTtl: '1h' }),
      problem: 'spec.token.ttl: must not be longer than maxTtl',
    },
    {
      title: 'a maxTtl above the ceiling',
      value: withToken({ maxTtl: '2h' }),
      limits: { maxTtlSeconds: 3600 },
      problem: /^spec.token.maxTtl: must not be longer than 3600 s/,
    },
    {
      title: 'a scope with a blank',
      value: withToken({ scopes: ['a b'] }),
      problem: /^spec.token.scopes\[0\]: must be a scope/,
    },
    {
      title: 'a scope twice',
      value: withToken({ scopes: ['a', 'a'] }),
      problem: 'spec.token.scopes: must not repeat a scope',
    },
    {
      title: 'the policy root',
      value: withToken({ policies: ['root'] }),
      problem: /^spec.token.policies\[0\]: has power at the broker/,
    },
    {
      title: 'the policy Root',
      value: withToken({ policies: ['Root'] }),
      problem: /^spec.token.policies\[0\]: has power at the broker/,
    },
    {
      title: 'the policy default',
      value: withToken({ policies: ['default'] }),
      problem: /^spec.token.policies\[0\]: has power at the broker/,
    },
    {
      title: 'a policy of the broker',
      value: withToken({ policies: ['coatcheck:roles:write'] }),
      problem: /has power at the broker/,
    },
    {
      title: 'a policy of the broker beside an allowed one',
      value: withToken({ policies: ['coatcheck:roles:write'] }),
      limits: { allowBrokerPolicies: ['coatcheck:roles:read'] },
      problem: /has power at the broker/,
    },
    {
      title: 'a policy with a newline',
      value: withToken({ policies: ['a\nb'] }),
      problem: /^spec.token.policies\[0\]: must be a policy/,
    },
    {
      title: 'a claim that our tokens state, even if allowed',
      value: withToken({ claims: { sub: 'x' } }),
      limits: { allowClaims: ['sub'] },
      problem: 'spec.token.claims.sub: is a claim of the broker, no role may set it',
    },
    {
      title: 'claims of more than 4 KiB',
      value: withToken({ claims: { big: 'x'.repeat(5000) } }),
      problem: /^spec.token.claims: must be at most 4096 bytes/,
    },
    {
      title: 'a jwtType unknown',
      value: withToken({ jwtType: 'jwt' }),
      problem: /^spec.token.jwtType: must be one of at\+jwt, JWT/,
    },
  ];
  for (const { title, value, limits, problem } of refused) {
    it(`refuses ${title}`, () => {
      const problems = problemsOf(value, limits);
      expect(problems).to.have.length(1);
      if (typeof problem === 'string') expect(problems[0]).to.equal(problem);
      else expect(problems[0]).to.match(problem);
    });
  }
  it('tells all problems at once, and no value', () => {
    const problems = problemsOf(
      toDocument({
        audience: 'sensitive one',
        requirePod: 'sensitive',
        token: { ttl: 'sensitive', type: 'opaque' },
      }),
    );
    expect(problems).to.have.length(4);
    expect(problems.join('\n')).to.not.contain('sensitive');
  });
});

describe('a claim of a role', () => {
  const refused = [
    'iss',
    'groups',
    'Groups',
    'GROUPS',
    'roles',
    'entitlements',
    'email',
    'email_verified',
    'emails',
    'EmailX',
    'name',
    'preferred_username',
    'upn',
    'username',
    'policies',
    'cluster',
    'kubernetes.io',
    'kubernetes.io/serviceaccount/namespace',
    'act',
    'may_act',
    'cnf',
    'scope',
    'client_id',
    'authorization_details',
    '_claim_names',
    'azp',
    'acr',
    'jwks',
    'metadata_policy',
    'Status',
    'vct',
    'sub_id',
    '...',
    '_sd',
    '__proto__',
    '',
    'a b',
    'é',
  ];
  for (const name of refused) {
    it(`may not be named ${JSON.stringify(name)}`, () =>
      expect(findClaimProblem(name)).to.be.a('string'));
  }
  for (const name of [
    'tenant',
    'https://acme.test/tenant',
    'group',
    'named',
    'user_name',
    'e-mail',
    'kubernetes',
  ]) {
    it(`may be named ${name}`, () => expect(findClaimProblem(name)).to.equal(undefined));
  }
});

describe('a duration', () => {
  const rows: readonly [value: unknown, seconds: number | undefined][] = [
    ['15m', 900],
    ['1h30m', 5400],
    ['90s', 90],
    ['1h', 3600],
    ['1h0m5s', 3605],
    [900, 900],
    ['900', 900],
    ['', undefined],
    ['0', undefined],
    [0, undefined],
    [-5, undefined],
    [1.5, undefined],
    ['1.5h', undefined],
    ['m', undefined],
    ['15', 15],
    ['15M', undefined],
    ['1m1h', undefined],
    ['-15m', undefined],
    ['1e3', undefined],
    [null, undefined],
    [Number.NaN, undefined],
    ['15m ', undefined],
  ];
  for (const [value, seconds] of rows) {
    it(`${JSON.stringify(value)} is ${seconds ?? 'refused'}`, () =>
      expect(findSeconds(value)).to.equal(seconds));
  }
});
