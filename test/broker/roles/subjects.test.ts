// Subjects other than ServiceAccounts by name: selectors, CI jobs, clients, people. Each rule with a near miss, and no
// rule of one kind for an identity of another.
import { expect } from 'chai';
import fc from 'fast-check';
import type { Identity } from '../../../broker/identity/identity.ts';
import { matchSubject } from '../../../broker/roles/match.ts';
import { type NamespaceLabels, NO_NAMESPACES } from '../../../broker/roles/namespaces.ts';
import type { LabelExpression, LabelSelector, SubjectRule } from '../../../broker/roles/role.ts';
import { isDisjoint, isSelected, toSelectorText } from '../../../broker/roles/selector.ts';

const workload = {
  kind: 'workload',
  cluster: 'here',
  namespace: 'shop',
  serviceAccount: 'frontend',
  serviceAccountUid: 'u',
} as const;
const job = {
  kind: 'oidc',
  issuer: 'github',
  subject: 'repo:acme/shop:ref:refs/heads/main',
} as const;
const ci = { kind: 'client', id: 'ci' } as const;
const alice = {
  kind: 'user',
  provider: 'idp',
  subject: 'auth0|alice:1',
  groups: ['ops', 'a:b'],
} as const;
const labels: Readonly<Record<string, string>> = { tier: 'web', env: 'prod' };
const known: NamespaceLabels = {
  isReady: () => true,
  find: (namespace) => (namespace === 'shop' ? labels : undefined),
};
const claims = {
  ref: 'refs/heads/main',
  run_attempt: 1,
  trusted: true,
  environments: ['test', 'prod'],
  numbers: [1, 2],
  nested: { ref: 'x' },
  nothing: null,
};
const web = { namespaceSelector: { matchLabels: { tier: 'web' } }, serviceAccount: 'frontend' };
const main = { issuer: 'github', subject: 'repo:acme/shop:*' };

const rows: readonly {
  title: string;
  rule: SubjectRule;
  identity?: Identity;
  namespaces?: NamespaceLabels;
  /** How well it fits, or what failed. */
  expected: string;
}[] = [
  { title: 'a selector and its ServiceAccount', rule: web, expected: 'selector' },
  {
    title: 'a selector and a glob',
    rule: { ...web, serviceAccount: 'front*' },
    expected: 'selector',
  },
  {
    title: 'a selector and another ServiceAccount',
    rule: { ...web, serviceAccount: 'front' },
    expected: 'kubernetes.io.serviceaccount.name',
  },
  {
    title: 'a selector of other labels',
    rule: { ...web, namespaceSelector: { matchLabels: { tier: 'api' } } },
    expected: 'namespaceSelector',
  },
  {
    title: 'a selector of all its labels, where one is missing',
    rule: { ...web, namespaceSelector: { matchLabels: { tier: 'web', team: 'a' } } },
    expected: 'namespaceSelector',
  },
  {
    title: 'a selector in another cluster',
    rule: web,
    identity: { ...workload, cluster: 'there' },
    expected: 'cluster',
  },
  {
    title: 'a selector in a namespace that nothing is known of',
    rule: {
      ...web,
      namespaceSelector: { matchExpressions: [{ key: 'x', operator: 'DoesNotExist' }] },
    },
    identity: { ...workload, namespace: 'new' },
    expected: 'namespaceSelector',
  },
  {
    title: 'a selector where namespaces cannot be read',
    rule: web,
    namespaces: NO_NAMESPACES,
    expected: 'namespaceSelector',
  },
  {
    title: 'a selector where namespaces were not read yet',
    rule: web,
    namespaces: { isReady: () => false, find: () => labels },
    expected: 'namespaceSelector',
  },
  { title: 'a CI job by glob', rule: main, identity: job, expected: 'glob' },
  {
    title: 'a CI job exactly',
    rule: { ...main, subject: job.subject },
    identity: job,
    expected: 'exact',
  },
  {
    title: 'a CI job of another repository',
    rule: { ...main, subject: 'repo:acme/sho:*' },
    identity: job,
    expected: 'sub',
  },
  {
    title: 'a CI job whose subject only begins so',
    rule: { ...main, subject: 'repo:acme/shop' },
    identity: job,
    expected: 'sub',
  },
  {
    title: 'a CI job of another issuer',
    rule: { ...main, issuer: 'gitlab' },
    identity: job,
    expected: 'issuer',
  },
  {
    title: 'the issuer by a glob, which there is not',
    rule: { ...main, issuer: '*' },
    identity: job,
    expected: 'issuer',
  },
  ...(
    [
      [{ ref: 'refs/heads/main' }, 'glob'],
      [{ ref: 'refs/heads/*' }, 'glob'],
      [{ ref: 'refs/tags/*' }, 'ref'],
      [{ ref: 'main' }, 'ref'],
      [{ ref: 'refs/heads/main', run_attempt: 1, trusted: true }, 'glob'],
      [{ ref: 'refs/heads/main', run_attempt: 2 }, 'run_attempt'],
      [{ run_attempt: '1' }, 'run_attempt'],
      [{ run_attempt: '*' }, 'run_attempt'],
      [{ trusted: 'true' }, 'trusted'],
      [{ trusted: false }, 'trusted'],
      [{ environments: 'prod' }, 'glob'],
      [{ environments: 'pr*' }, 'glob'],
      [{ environments: 'dev' }, 'environments'],
      [{ environments: 'test,prod' }, 'environments'],
      [{ numbers: 2 }, 'glob'],
      [{ numbers: '2' }, 'numbers'],
      [{ nested: '*' }, 'nested'],
      [{ 'nested.ref': 'x' }, 'nested.ref'],
      [{ nothing: '*' }, 'nothing'],
      [{ missing: '*' }, 'missing'],
      [{ toString: '*' }, 'toString'],
      [{ constructor: '*' }, 'constructor'],
    ] as const
  ).map(([wanted, expected]) => ({
    title: `a CI job with the claims ${JSON.stringify(wanted)}`,
    rule: { ...main, claims: wanted as Readonly<Record<string, string | number | boolean>> },
    identity: job,
    expected,
  })),
  { title: 'a client', rule: { client: 'ci' }, identity: ci, expected: 'exact' },
  { title: 'another client', rule: { client: 'c' }, identity: ci, expected: 'client' },
  {
    title: 'a client by a glob, which there is not',
    rule: { client: '*' },
    identity: ci,
    expected: 'client',
  },
  { title: 'a user', rule: { user: 'idp:auth0|alice:1' }, identity: alice, expected: 'exact' },
  {
    title: 'a user of another provider',
    rule: { user: 'corp:auth0|alice:1' },
    identity: alice,
    expected: 'user',
  },
  {
    title: 'a user without provider',
    rule: { user: 'auth0|alice:1' },
    identity: alice,
    expected: 'user',
  },
  { title: 'a group', rule: { group: 'idp:ops' }, identity: alice, expected: 'group' },
  { title: 'a group with a colon', rule: { group: 'idp:a:b' }, identity: alice, expected: 'group' },
  {
    title: 'a group of another provider',
    rule: { group: 'corp:ops' },
    identity: alice,
    expected: 'group!',
  },
  {
    title: 'a group that only begins so',
    rule: { group: 'idp:op' },
    identity: alice,
    expected: 'group!',
  },
  {
    title: 'a group by a glob, which there is not',
    rule: { group: 'idp:*' },
    identity: alice,
    expected: 'group!',
  },
];

const kinds: readonly { identity: Identity; rules: readonly SubjectRule[] }[] = [
  { identity: workload, rules: [{ cluster: '*', namespace: '*', serviceAccount: '*' }, web] },
  { identity: job, rules: [{ issuer: 'github', subject: '*' }] },
  { identity: ci, rules: [{ client: 'ci' }] },
  { identity: alice, rules: [{ user: 'idp:auth0|alice:1' }, { group: 'idp:ops' }] },
];

describe('a subject rule about', () => {
  for (const { title, rule, identity = workload, namespaces = known, expected } of rows) {
    it(`${title}: ${expected}`, () => {
      const match = matchSubject(rule, { identity, claims }, { ownCluster: 'here', namespaces });
      const got = match.ok ? match.specificity : match.failed.claim;
      expect(match.ok).to.equal(['exact', 'glob', 'selector', 'group'].includes(expected));
      expect(got).to.equal(expected.replace('!', ''));
    });
  }
  for (const { identity } of kinds) {
    for (const other of kinds) {
      it(`a ${other.identity.kind} ${identity === other.identity ? 'fits' : 'does not fit'} a ${identity.kind}`, () => {
        for (const rule of other.rules) {
          const match = matchSubject(
            rule,
            { identity, claims },
            { ownCluster: 'here', namespaces: known },
          );
          expect(match.ok).to.equal(identity === other.identity);
          if (!match.ok)
            expect(match.failed).to.deep.equal({
              claim: 'kind',
              got: identity.kind,
              want: other.identity.kind,
            });
        }
      });
    }
  }
  it('namespaces by label says that it does not know them', () => {
    const match = matchSubject(web, { identity: workload, claims }, { ownCluster: 'here' });
    expect(match).to.deep.equal({
      ok: false,
      failed: {
        claim: 'namespaceSelector',
        got: 'labels of namespaces are not known to this broker',
        want: 'tier=web',
      },
    });
  });
});

describe('a label selector', () => {
  const selected: readonly [selector: LabelSelector, text: string, expected: boolean][] = [
    [{ matchLabels: { tier: 'web' } }, 'tier=web', true],
    [{ matchLabels: { tier: 'Web' } }, 'tier=Web', false],
    [{ matchLabels: { tier: 'web', env: 'prod' } }, 'tier=web,env=prod', true],
    [{ matchLabels: { tier: 'web', env: 'dev' } }, 'tier=web,env=dev', false],
    [toSelector('tier', 'In', ['api', 'web']), 'tier in (api,web)', true],
    [toSelector('tier', 'In', ['api', 'db']), 'tier in (api,db)', false],
    [toSelector('tier', 'NotIn', ['api']), 'tier notin (api)', true],
    [toSelector('tier', 'NotIn', ['api', 'web']), 'tier notin (api,web)', false],
    [toSelector('team', 'NotIn', ['a']), 'team notin (a)', true],
    [toSelector('tier', 'Exists'), 'tier', true],
    [toSelector('team', 'Exists'), 'team', false],
    [toSelector('team', 'DoesNotExist'), '!team', true],
    [toSelector('tier', 'DoesNotExist'), '!tier', false],
    [toSelector('constructor', 'Exists'), 'constructor', false],
    [
      { matchLabels: { tier: 'web' }, ...toSelector('env', 'DoesNotExist') },
      'tier=web,!env',
      false,
    ],
  ];
  for (const [selector, text, expected] of selected) {
    it(`${text} ${expected ? 'selects' : 'does not select'} tier=web,env=prod`, () => {
      expect(toSelectorText(selector)).to.equal(text);
      expect(isSelected(selector, labels)).to.equal(expected);
    });
  }
  it('is disjoint from another exactly if no labels satisfy both', () => {
    const value = fc.constantFrom('a', 'b', 'c');
    const expression = fc.record({
      key: fc.constantFrom('x', 'y'),
      operator: fc.constantFrom(
        'In' as const,
        'NotIn' as const,
        'Exists' as const,
        'DoesNotExist' as const,
      ),
      values: fc.uniqueArray(value, { minLength: 1, maxLength: 2 }),
    });
    const selector = fc
      .array(expression, { minLength: 1, maxLength: 3 })
      .map((matchExpressions): LabelSelector => ({ matchExpressions }));
    const values = [undefined, 'a', 'b', 'c', 'd'];
    const worlds = values.flatMap((x) =>
      values.map((y) => ({ ...(x !== undefined && { x }), ...(y !== undefined && { y }) })),
    );
    fc.assert(
      fc.property(selector, selector, (a, b) => {
        const isPossible = worlds.some((world) => isSelected(a, world) && isSelected(b, world));
        expect(isDisjoint(a, b)).to.equal(!isPossible);
      }),
      { numRuns: 500 },
    );
  });
});

function toSelector(
  key: string,
  operator: LabelExpression['operator'],
  values?: readonly string[],
): LabelSelector {
  return { matchExpressions: [{ key, operator, ...(values && { values }) }] };
}
