// What the lint says about roles that are allowed and still deserve a second look, and which roles share subjects.
import { expect } from 'chai';
import fc from 'fast-check';
import { type LintContext, lintRoles } from '../../../broker/roles/lint.ts';
import { matchSubject } from '../../../broker/roles/match.ts';
import { findOverlaps, findOverlapsOf } from '../../../broker/roles/overlap.ts';
import type { Role, SubjectRule } from '../../../broker/roles/role.ts';
import { parseRole, type Tree, toDocument, toRole } from '../../support/roles.ts';

const scoped: Role['token'] = { ...toRole('x').token, scopes: ['read'] };
/** A role with a scope for some subjects. */
const role = (name: string, subjects?: readonly SubjectRule[], more: Partial<Role> = {}): Role =>
  toRole(name, { token: scoped, ...(subjects && { subjects }), ...more });
const parsed = (name: string, spec: Tree): Role => ({
  ...parseRole(toDocument({ token: { scopes: ['read'] }, ...spec })),
  name,
});
const web = { namespaceSelector: { matchLabels: { tier: 'web' } }, serviceAccount: 'x' };
const main = { issuer: 'github', subject: 'repo:acme/shop:*', claims: { ref: 'refs/heads/main' } };

const rows: readonly {
  title: string;
  roles: readonly Role[];
  context?: Partial<LintContext>;
  expected: readonly string[];
}[] = [
  { title: 'one exact role', roles: [role('a')], expected: [] },
  {
    title: 'the same subjects for two audiences',
    roles: [role('a'), role('b', undefined, { audience: 'ledger' })],
    expected: [],
  },
  {
    title: 'the same exact subject twice',
    roles: [role('a'), role('b')],
    expected: ['ambiguous a b'],
  },
  {
    title: 'the own cluster written and not written',
    roles: [
      role('a'),
      role('b', [{ cluster: 'here', namespace: 'shop', serviceAccount: 'checkout' }]),
    ],
    expected: ['ambiguous a b'],
  },
  {
    title: 'the same names in another cluster',
    roles: [
      role('a'),
      role('b', [{ cluster: 'there', namespace: 'shop', serviceAccount: 'checkout' }]),
    ],
    expected: [],
  },
  {
    title: 'a glob over an exact subject',
    roles: [role('a'), role('b', [{ namespace: 'sh*', serviceAccount: 'checkout' }])],
    expected: ['shadowed b a'],
  },
  {
    title: 'a glob beside an exact subject',
    roles: [role('a'), role('b', [{ namespace: 'team-*', serviceAccount: 'checkout' }])],
    expected: [],
  },
  {
    title: 'two globs that meet',
    roles: [
      role('a', [{ namespace: 'team-*', serviceAccount: 'x' }]),
      role('b', [{ namespace: '*-a', serviceAccount: 'x' }]),
    ],
    expected: ['ambiguous a b'],
  },
  {
    title: 'two globs that do not meet',
    roles: [
      role('a', [{ namespace: 'team-*', serviceAccount: 'x' }]),
      role('b', [{ namespace: 'shop-*', serviceAccount: 'x' }]),
    ],
    expected: [],
  },
  {
    title: 'one subject under two conditions',
    roles: [
      parsed('a', { condition: "pod.name.startsWith('a')" }),
      parsed('b', { condition: "pod.name.startsWith('b')" }),
    ],
    expected: ['maybe_ambiguous a b'],
  },
  {
    title: 'one subject under the same condition twice',
    roles: [
      parsed('a', { condition: "pod.name.startsWith('a')" }),
      parsed('b', { condition: "pod.name.startsWith('a')" }),
    ],
    expected: ['ambiguous a b'],
  },
  {
    title: 'one selector twice',
    roles: [role('a', [web]), role('b', [web])],
    expected: ['ambiguous a b'],
  },
  {
    title: 'two selectors that may select one namespace',
    roles: [
      role('a', [web]),
      role('b', [{ ...web, namespaceSelector: { matchLabels: { env: 'prod' } } }]),
    ],
    expected: ['maybe_ambiguous a b'],
  },
  {
    title: 'two selectors that exclude one another',
    roles: [
      role('a', [web]),
      role('b', [
        {
          ...web,
          namespaceSelector: {
            matchExpressions: [{ key: 'tier', operator: 'NotIn', values: ['web', 'api'] }],
          },
        },
      ]),
    ],
    expected: [],
  },
  {
    title: 'a selector beside a glob of namespaces',
    roles: [role('a', [web]), role('b', [{ namespace: '*', serviceAccount: 'x' }])],
    expected: ['maybe_ambiguous a b'],
  },
  {
    title: 'a selector beside another ServiceAccount',
    roles: [role('a', [web]), role('b', [{ namespace: '*', serviceAccount: 'y' }])],
    expected: [],
  },
  {
    title: 'a selector that names another namespace',
    roles: [
      role('a', [
        {
          ...web,
          namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'shop' } },
        },
      ]),
      role('b', [{ namespace: 'team-*', serviceAccount: 'x' }]),
    ],
    expected: [],
  },
  {
    title: 'an exact subject in a selector',
    roles: [role('a', [web]), role('b', [{ namespace: 'shop', serviceAccount: 'x' }])],
    expected: ['shadowed a b'],
  },
  {
    title: 'one CI subject twice',
    roles: [role('a', [main]), role('b', [main])],
    expected: ['ambiguous a b'],
  },
  {
    title: 'CI subjects that a claim keeps apart',
    roles: [role('a', [main]), role('b', [{ ...main, claims: { ref: 'refs/tags/*' } }])],
    expected: [],
  },
  {
    title: 'a CI subject with a claim and one without',
    roles: [role('a', [main]), role('b', [{ issuer: 'github', subject: 'repo:acme/shop:*' }])],
    expected: ['maybe_ambiguous a b'],
  },
  {
    title: 'CI subjects of two issuers',
    roles: [role('a', [main]), role('b', [{ ...main, issuer: 'gitlab' }])],
    expected: [],
  },
  {
    title: 'a workload and a CI job',
    roles: [
      role('a', [{ namespace: '*', serviceAccount: 'x' }]),
      role('b', [{ issuer: 'github', subject: 'repo:acme/*' }]),
    ],
    expected: [],
  },
  {
    title: 'two groups of one provider, and a user of it',
    roles: [
      role('a', [{ group: 'idp:ops' }]),
      role('b', [{ group: 'idp:dev' }]),
      role('c', [{ user: 'idp:alice' }]),
    ],
    expected: [
      'unserved_subject a',
      'unserved_subject b',
      'unserved_subject c',
      'maybe_ambiguous a b',
      'shadowed a c',
      'shadowed b c',
    ],
  },
  {
    title: 'groups of two providers',
    roles: [role('a', [{ group: 'idp:ops' }]), role('b', [{ group: 'corp:ops' }])],
    expected: ['unserved_subject a', 'unserved_subject b'],
  },
  {
    title: 'every cluster',
    roles: [role('a', [{ cluster: '*', namespace: 'shop', serviceAccount: 'checkout' }])],
    expected: ['wildcard_cluster a'],
  },
  {
    title: 'every ServiceAccount',
    roles: [role('a', [{ namespace: '*', serviceAccount: '**' }])],
    expected: ['wildcard_all a'],
  },
  {
    title: 'every ServiceAccount of one namespace',
    roles: [role('a', [{ namespace: 'shop', serviceAccount: '*' }])],
    expected: [],
  },
  {
    title: 'a cluster that is not in the table',
    roles: [role('a', [{ cluster: 'stagin', namespace: 'shop', serviceAccount: 'x' }])],
    context: { clusters: ['here', 'staging'] },
    expected: ['unknown_cluster a'],
  },
  {
    title: 'a cluster where no table is known',
    roles: [role('a', [{ cluster: 'staging', namespace: 'shop', serviceAccount: 'x' }])],
    expected: [],
  },
  {
    title: 'an issuer that is not in the table',
    roles: [role('a', [main])],
    context: { issuers: ['gitlab'] },
    expected: ['unknown_issuer a'],
  },
  ...['*', '*:acme/shop', 'repo:*', 'repo:acme*', 'repo:acme/shop*'].map((subject) => ({
    title: `the CI subject ${subject}`,
    roles: [role('a', [{ issuer: 'github', subject }])],
    expected: ['broad_subject a'],
  })),
  ...['repo:acme/*', 'repo:acme/shop:*', 'repo:acme/shop:ref:refs/heads/main'].map((subject) => ({
    title: `the CI subject ${subject}`,
    roles: [role('a', [{ issuer: 'github', subject }])],
    expected: [],
  })),
  {
    title: 'a CI subject * with a claim that says whose',
    roles: [role('a', [{ issuer: 'github', subject: '*', claims: { repository_owner_id: '12' } }])],
    expected: [],
  },
  {
    title: 'a CI subject * with a claim of any value',
    roles: [role('a', [{ issuer: 'github', subject: '*', claims: { repository: '*' } }])],
    expected: ['broad_subject a'],
  },
  {
    title: 'a subject that nothing fits yet',
    roles: [role('a', [{ client: 'ci' }])],
    expected: ['unserved_subject a'],
  },
  {
    title: 'a condition over what only other kinds of subjects have',
    roles: [parsed('a', { condition: "issuer == 'github'" })],
    expected: ['condition_never a'],
  },
  {
    title: 'a condition over what its subjects have',
    roles: [parsed('a', { condition: "namespace == 'shop' && has(claims.sub)" })],
    expected: [],
  },
  { title: 'no scopes', roles: [toRole('a')], expected: ['no_scopes a'] },
];

describe('the lint of roles', () => {
  for (const { title, roles, context, expected } of rows) {
    it(`${title}: ${expected.join(', ') || 'nothing'}`, () => {
      const findings = lintRoles(roles, { ownCluster: 'here', ...context });
      expect(
        findings.map((finding) =>
          [finding.kind, finding.role, finding.other].filter(Boolean).join(' '),
        ),
      ).to.deep.equal(expected);
    });
  }
  it('says where so many rules were not compared', () => {
    const many = Array.from({ length: 500 }, (_, i) => ({
      namespace: `a${i}-*`,
      serviceAccount: 'x',
    }));
    const findings = lintRoles([role('a', many), role('b', many)], { ownCluster: 'here' });
    expect(findings.map(({ kind }) => kind)).to.deep.equal(['not_compared']);
  });
});

describe('an overlap of roles', () => {
  const part = fc.string({ unit: fc.constantFrom('a', 'b', '*'), minLength: 1, maxLength: 3 });
  const rule = fc.record({
    cluster: fc.constantFrom('here', 'there', '*'),
    namespace: part,
    serviceAccount: part,
  });
  const names = ['a', 'b', 'aa', 'ab', 'ba', 'bb', 'aab', 'abb', 'bab', 'aba', 'aaa', 'bbb'];
  const identities = ['here', 'there'].flatMap((cluster) =>
    names.flatMap((namespace) =>
      names.map((serviceAccount) => ({
        kind: 'workload' as const,
        cluster,
        namespace,
        serviceAccount,
        serviceAccountUid: 'u',
      })),
    ),
  );
  it('is found wherever one identity fits both roles, and its kind says who serves it', () => {
    fc.assert(
      fc.property(rule, rule, (a, b) => {
        const [first, second] = [role('a', [a]), role('b', [b])];
        const { found } = findOverlaps([first, second], { ownCluster: 'here' });
        const shared = identities
          .map((identity) =>
            [a, b].map((one) =>
              matchSubject(one, { identity, claims: {} }, { ownCluster: 'here' }),
            ),
          )
          .filter((matches) => matches.every(({ ok }) => ok));
        if (shared.length > 0) expect(found).to.have.length(1);
        for (const [left, right] of shared) {
          const isEqual = left?.ok && right?.ok && left.specificity === right.specificity;
          expect(found[0]?.kind).to.equal(isEqual ? 'ambiguous' : 'shadowed');
        }
        expect(findOverlapsOf(first, [second], { ownCluster: 'here' }).found).to.have.length(
          found.length,
        );
      }),
      { numRuns: 500 },
    );
  });
  it('names the role that is served by another first', () => {
    const exact = role('a');
    const glob = role('b', [{ namespace: 'sh*', serviceAccount: '*' }]);
    for (const roles of [
      [exact, glob],
      [glob, exact],
    ]) {
      const [overlap] = findOverlaps(roles, { ownCluster: 'here' }).found;
      expect([overlap?.role.name, overlap?.other.name, overlap?.kind]).to.deep.equal([
        'b',
        'a',
        'shadowed',
      ]);
    }
  });
  it('is not looked for between a role and the one it replaces', () => {
    expect(findOverlapsOf(role('a'), [role('a')], { ownCluster: 'here' }).found).to.deep.equal([]);
    expect(findOverlapsOf(role('a'), [role('b')], { ownCluster: 'here' }).found).to.have.length(1);
  });
});
