// Specs of TokenRoles, good and bad: what the API server says of each must be what the broker says.

export interface SpecRow {
  readonly name: string;
  readonly spec: object;
  readonly good: boolean;
}

const subjects = [{ namespace: 'shop', serviceAccount: 'checkout' }];
const withSubject = (...given: readonly object[]) => ({ audience: 'payments', subjects: given });
const withAudience = (audience: unknown) => ({ audience, subjects });
const withToken = (token: object) => ({ audience: 'payments', subjects, token });
const withSelector = (namespaceSelector: unknown) =>
  withSubject({ namespaceSelector, serviceAccount: 'frontend' });
const good = (name: string, spec: object): SpecRow => ({ name, spec, good: true });
const bad = (name: string, spec: object): SpecRow => ({ name, spec, good: false });
const times = <T>(count: number, make: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => make(at));

const RESERVED = [
  'https://kubernetes.default.svc',
  'https://kubernetes.default.svc.cluster.local',
  'kubernetes.default.svc',
  'kubernetes.default.svc.cluster.local',
  'https://kubernetes.default',
  'kubernetes',
  'api',
  'sts.amazonaws.com',
  'pods.eks.amazonaws.com',
  'sts.googleapis.com',
  'api://AzureADTokenExchange',
  'coatcheck-control',
];

export const SPECS: readonly SpecRow[] = [
  good('an audience and a subject', { audience: 'payments', subjects }),
  bad('no audience', { subjects }),
  bad('no subjects', { audience: 'payments' }),
  bad('an empty list of subjects', withSubject()),
  bad('a field nobody knows', { audience: 'payments', subjects, role: 'x' }),
  good('as many subjects as may be', withSubject(...times(256, () => subjects[0] as object))),
  bad('one subject more', withSubject(...times(257, () => subjects[0] as object))),

  good('an audience that is a URL', withAudience('https://payments.test/api')),
  good('an audience of every character', withAudience(`!#$%&()*+-./:;<=>?@[]^_\`{|}~aZ09`)),
  good('the longest audience', withAudience('a'.repeat(255))),
  bad('an audience that is longer', withAudience('a'.repeat(256))),
  bad('an empty audience', withAudience('')),
  bad('a number for an audience', withAudience(7)),
  ...[' ', ',', '"', "'", '\\', '\n', 'é'].map((char) =>
    bad(`an audience with ${JSON.stringify(char)}`, withAudience(`a${char}b`)),
  ),
  ...RESERVED.map((audience) => bad(`the reserved audience ${audience}`, withAudience(audience))),
  bad('a reserved audience in capitals, with slashes', withAudience('API//')),
  good('an audience that only begins like a reserved one', withAudience('api.payments')),
  good('an audience that only ends like a reserved one', withAudience('my-kubernetes')),
  good('an audience like a reserved one without its dots', withAudience('sts-amazonaws-com')),

  good(
    'globs, and every cluster written out',
    withSubject({ cluster: '*', namespace: 'team-*', serviceAccount: '*' }),
  ),
  good(
    'another cluster',
    withSubject({ cluster: 'staging-2', namespace: 'a', serviceAccount: 'b.c' }),
  ),
  bad('a cluster by a glob', withSubject({ cluster: 's*', namespace: 'a', serviceAccount: 'b' })),
  bad('an empty cluster', withSubject({ cluster: '', namespace: 'a', serviceAccount: 'b' })),
  bad('a cluster alone', withSubject({ cluster: 'staging' })),
  bad('a namespace alone', withSubject({ namespace: 'shop' })),
  bad('a serviceAccount alone', withSubject({ serviceAccount: 'checkout' })),
  bad('a namespace in capitals', withSubject({ namespace: 'Shop', serviceAccount: 'a' })),
  bad('an empty namespace', withSubject({ namespace: '', serviceAccount: 'a' })),
  bad('a namespace too long', withSubject({ namespace: 'a'.repeat(64), serviceAccount: 'a' })),
  bad('an empty serviceAccount', withSubject({ namespace: 'a', serviceAccount: '' })),
  bad('a subject of nothing', withSubject({})),
  bad('a subject with a field nobody knows', withSubject({ ...subjects[0], pod: 'x' })),
  bad('one bad subject behind a good one', withSubject(subjects[0] as object, {})),

  good('a selector by labels', withSelector({ matchLabels: { 'acme.test/tier': 'web', x: '' } })),
  good(
    'a selector by expressions',
    withSelector({
      matchExpressions: [
        { key: 'env', operator: 'In', values: ['a', 'b'] },
        { key: 'env', operator: 'NotIn', values: ['c'] },
        { key: 'a.b/c', operator: 'Exists' },
        { key: 'old', operator: 'DoesNotExist', values: [] },
      ],
    }),
  ),
  bad('an empty selector', withSelector({})),
  bad('a selector of empty parts', withSelector({ matchLabels: {}, matchExpressions: [] })),
  bad(
    'a selector without serviceAccount',
    withSubject({ namespaceSelector: { matchLabels: { a: 'b' } } }),
  ),
  bad(
    'a selector and a namespace',
    withSubject({
      namespace: 'a',
      namespaceSelector: { matchLabels: { a: 'b' } },
      serviceAccount: 'a',
    }),
  ),
  bad(
    'a selector in another cluster',
    withSubject({
      cluster: 'b',
      namespaceSelector: { matchLabels: { a: 'b' } },
      serviceAccount: 'a',
    }),
  ),
  bad('a label key that is none', withSelector({ matchLabels: { 'a b': 'c' } })),
  bad('a label key with an empty prefix', withSelector({ matchLabels: { '/b': 'c' } })),
  bad('a label value that is none', withSelector({ matchLabels: { a: 'b c' } })),
  bad('a label value too long', withSelector({ matchLabels: { a: 'b'.repeat(64) } })),
  good('a label value as long as may be', withSelector({ matchLabels: { a: 'b'.repeat(63) } })),
  bad(
    'an operator nobody knows',
    withSelector({ matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] }),
  ),
  bad('In without values', withSelector({ matchExpressions: [{ key: 'a', operator: 'In' }] })),
  bad(
    'NotIn with no values',
    withSelector({ matchExpressions: [{ key: 'a', operator: 'NotIn', values: [] }] }),
  ),
  bad(
    'Exists with values',
    withSelector({ matchExpressions: [{ key: 'a', operator: 'Exists', values: ['b'] }] }),
  ),
  bad('an expression without key', withSelector({ matchExpressions: [{ operator: 'Exists' }] })),
  good(
    'as many labels as may be',
    withSelector({ matchLabels: Object.fromEntries(times(64, (at) => [`a${at}`, ''])) }),
  ),
  bad(
    'one label more',
    withSelector({ matchLabels: Object.fromEntries(times(65, (at) => [`a${at}`, ''])) }),
  ),

  good('a subject of an issuer', withSubject({ issuer: 'github', subject: 'repo:acme/shop:*' })),
  good(
    'a subject of an issuer with claims of each kind',
    withSubject({
      issuer: 'github',
      subject: '*',
      claims: { ref: 'refs/heads/*', run: 7, own: true },
    }),
  ),
  bad('an issuer without subject', withSubject({ issuer: 'github' })),
  bad('a subject without issuer', withSubject({ subject: 'repo:acme/shop' })),
  bad('an issuer by its URL', withSubject({ issuer: 'https://github.test', subject: '*' })),
  bad('an empty subject', withSubject({ issuer: 'github', subject: '' })),
  bad('a subject with a line break', withSubject({ issuer: 'github', subject: 'a\nb' })),
  good('a subject in another script', withSubject({ issuer: 'github', subject: 'Zoë ☃' })),
  bad('claims without issuer', withSubject({ ...subjects[0], claims: { a: 'b' } })),
  bad(
    'too many claims',
    withSubject({
      issuer: 'a',
      subject: '*',
      claims: Object.fromEntries(times(33, (at) => [`c${at}`, 'x'])),
    }),
  ),
  good('a client', withSubject({ client: 'ci' })),
  bad('a client with a colon', withSubject({ client: 'a:b' })),
  bad('an empty client', withSubject({ client: '' })),
  bad('a client too long', withSubject({ client: 'a'.repeat(256) })),
  good(
    'a user and a group',
    withSubject({ user: 'idp:alice@acme.test' }, { group: 'idp:ops:all' }),
  ),
  bad('a user without provider', withSubject({ user: 'alice' })),
  bad('a user with an empty provider', withSubject({ user: ':alice' })),
  bad('a user of a provider alone', withSubject({ user: 'idp:' })),
  bad('a group without provider', withSubject({ group: 'ops' })),
  bad('a client and a user in one', withSubject({ client: 'ci', user: 'idp:alice' })),
  bad('a ServiceAccount and a group in one', withSubject({ ...subjects[0], group: 'idp:ops' })),
  bad('an issuer and a client in one', withSubject({ issuer: 'a', subject: 'b', client: 'c' })),

  good('a condition', { audience: 'p', subjects, condition: "pod.name.startsWith('checkout-')" }),
  bad('an empty condition', { audience: 'p', subjects, condition: '' }),
  bad('a condition that is too long', {
    audience: 'p',
    subjects,
    condition: `'${'a'.repeat(2050)}' == pod.name`,
  }),
  good('both switches', { audience: 'p', subjects, requirePod: false, allowExtraAudiences: true }),
  bad('a text for a switch', { audience: 'p', subjects, requirePod: 'false' }),

  good('an empty token', withToken({})),
  good(
    'everything about the token',
    withToken({
      type: 'opaque',
      ttl: '10m',
      maxTtl: '1h30m',
      outliveSubject: true,
      scopes: ['payments:read', 'payments:write'],
      policies: ['payments', 'team/shop.v2'],
      claims: { tenant: 'shop', level: 2, list: [1, { a: null }] },
      jwtType: 'JWT',
    }),
  ),
  bad('a type nobody knows', withToken({ type: 'saml' })),
  bad('a jwtType nobody knows', withToken({ jwtType: 'jwt' })),
  bad('a field of the token nobody knows', withToken({ lifetime: '1h' })),
  ...['10s', '90s', '15m', '1h', '1h30m', '1h1m1s', '900', 900, 10, '0h15m'].map((ttl) =>
    good(`the ttl ${JSON.stringify(ttl)}`, withToken({ ttl })),
  ),
  ...[
    '',
    'soon',
    '15',
    '9s',
    9,
    0,
    -900,
    '-15m',
    '1.5h',
    1.5,
    '1d',
    '1m1h',
    '15 m',
    '15M',
    true,
    {},
  ]
    .filter((ttl) => ttl !== '15')
    .map((ttl) => bad(`the ttl ${JSON.stringify(ttl)}`, withToken({ ttl }))),
  good('a ttl in text as seconds', withToken({ ttl: '15' })),
  good('a ttl as long as maxTtl', withToken({ ttl: '60m', maxTtl: '1h' })),
  good('a ttl in seconds as long as maxTtl', withToken({ ttl: 3600, maxTtl: '3600' })),
  bad('a ttl longer than maxTtl', withToken({ ttl: '61m', maxTtl: '1h' })),
  bad('a ttl in seconds longer than maxTtl', withToken({ ttl: 3601, maxTtl: '1h' })),
  bad('a ttl longer than a maxTtl in seconds', withToken({ ttl: '2h', maxTtl: 3600 })),
  good('a ttl longer than the maxTtl that is not there', withToken({ ttl: '24h' })),
  good('a maxTtl shorter than the ttl that is not there', withToken({ maxTtl: '5m' })),
  bad('a maxTtl too short', withToken({ maxTtl: '5s' })),
  bad('a scope twice', withToken({ scopes: ['a', 'b', 'a'] })),
  bad('a scope with a space', withToken({ scopes: ['a b'] })),
  bad('a scope with a quote', withToken({ scopes: ['a"b'] })),
  bad('a scope with a backslash', withToken({ scopes: ['a\\b'] })),
  bad('an empty scope', withToken({ scopes: [''] })),
  bad('a scope too long', withToken({ scopes: ['a'.repeat(129)] })),
  good('as many scopes as may be', withToken({ scopes: times(100, (at) => `s${at}`) })),
  bad('one scope more', withToken({ scopes: times(101, (at) => `s${at}`) })),
  bad('a text for scopes', withToken({ scopes: 'a b' })),
  bad('a policy twice', withToken({ policies: ['a', 'a'] })),
  bad('a policy that begins with a dot', withToken({ policies: ['.a'] })),
  bad('an empty policy', withToken({ policies: [''] })),
  bad('a list for claims', withToken({ claims: [] })),
];

/** What only the broker can say: its limits are the operator's, or more than an API server's rules can express. */
export const BROKER_ALONE: readonly Omit<SpecRow, 'good'>[] = [
  { name: 'a policy with power at the broker', spec: withToken({ policies: ['root'] }) },
  { name: 'a claim of the registry', spec: withToken({ claims: { sub: 'system:admin' } }) },
  { name: 'a claim that others read groups from', spec: withToken({ claims: { groups: ['a'] } }) },
  { name: 'claims of more than 4096 bytes', spec: withToken({ claims: { a: 'x'.repeat(5000) } }) },
  {
    name: 'a list as the value of a claim to fit',
    spec: withSubject({ issuer: 'github', subject: '*', claims: { a: ['b'] } }),
  },
  {
    name: 'a condition that is no CEL',
    spec: { audience: 'p', subjects, condition: 'pod.name ==' },
  },
  {
    name: 'a condition about something that is not there',
    spec: { audience: 'p', subjects, condition: 'secret == 1' },
  },
];
