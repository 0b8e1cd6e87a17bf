// Finding roles without looking at all of them: in order, by audience, and just those that may serve an identity.
import { expect } from 'chai';
import type { Identity } from '../../../broker/identity/identity.ts';
import type { Role, SubjectRule } from '../../../broker/roles/role.ts';
import { indexRoles } from '../../../broker/roles/role-index.ts';
import { toRole } from '../../support/roles.ts';

const namesOf = (roles: readonly Role[]) => roles.map(({ name }) => name);
const SUBJECTS: Readonly<Record<string, SubjectRule>> = {
  exact: { namespace: 'shop', serviceAccount: 'checkout' },
  'exact-here': { cluster: 'here', namespace: 'shop', serviceAccount: 'checkout' },
  'exact-there': { cluster: 'there', namespace: 'shop', serviceAccount: 'checkout' },
  'glob-account': { namespace: 'shop', serviceAccount: 'check*' },
  'glob-cluster': { cluster: '*', namespace: 'shop', serviceAccount: 'checkout' },
  'glob-namespace': { namespace: 's*', serviceAccount: 'checkout' },
  other: { namespace: 'shop', serviceAccount: 'billing' },
  selector: { namespaceSelector: { matchLabels: { tier: 'web' } }, serviceAccount: 'checkout' },
  'oidc-exact': { issuer: 'github', subject: 'repo:acme/shop' },
  'oidc-glob': { issuer: 'github', subject: 'repo:acme/*' },
  'oidc-other': { issuer: 'gitlab', subject: 'repo:acme/shop' },
  client: { client: 'ci' },
  'client-other': { client: 'cd' },
  user: { user: 'corp:jane' },
  'user-other': { user: 'corp:joe' },
  group: { group: 'corp:admins' },
};
const WIDE = ['glob-account', 'glob-cluster', 'glob-namespace', 'selector'];
const workload = (cluster: string): Identity => ({
  kind: 'workload',
  cluster,
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: 'u',
});

describe('the index of roles', () => {
  const index = () =>
    indexRoles([
      ...Object.entries(SUBJECTS).map(([name, rule]) => toRole(name, { subjects: [rule] })),
      toRole('elsewhere', { audience: 'ledger', subjects: [SUBJECTS.exact as SubjectRule] }),
    ]);

  for (const order of [
    ['a', 'b', 'c'],
    ['c', 'b', 'a'],
    ['b', 'c', 'a'],
  ]) {
    it(`holds roles by their names, given as ${order.join()}`, () => {
      const { all, findByAudience } = indexRoles(order.map((name) => toRole(name)));
      expect(namesOf(all)).to.deep.equal(['a', 'b', 'c']);
      expect(namesOf(findByAudience('payments'))).to.deep.equal(['a', 'b', 'c']);
    });
  }

  it('finds by name and by audience, or nothing', () => {
    expect(index().findByName('user')?.name).to.equal('user');
    expect(index().findByName('User')).to.equal(undefined);
    expect(namesOf(index().findByAudience('ledger'))).to.deep.equal(['elsewhere']);
    expect(index().findByAudience('ledge')).to.deep.equal([]);
    expect(index().findCandidates('ledge', workload('here'), 'here')).to.deep.equal([]);
  });

  const rows: readonly (readonly [string, Identity, readonly string[]])[] = [
    ['a workload of the own cluster', workload('here'), ['exact', 'exact-here', ...WIDE]],
    ['a workload of another cluster', workload('there'), ['exact-there', ...WIDE]],
    [
      'an OIDC subject',
      { kind: 'oidc', issuer: 'github', subject: 'repo:acme/shop' },
      ['oidc-exact', 'oidc-glob'],
    ],
    [
      'an OIDC subject that is named nowhere',
      { kind: 'oidc', issuer: 'x', subject: 'y' },
      ['oidc-glob'],
    ],
    ['a client', { kind: 'client', id: 'ci' }, ['client']],
    ['a client that is named nowhere', { kind: 'client', id: 'x' }, []],
    [
      'a person',
      { kind: 'user', provider: 'corp', subject: 'jane', groups: [] },
      ['group', 'user'],
    ],
  ];
  for (const [title, identity, expected] of rows) {
    it(`knows whom to ask about ${title}, in order`, () => {
      const found = index().findCandidates('payments', identity, 'here');
      expect(namesOf(found)).to.deep.equal([...expected].sort());
    });
  }

  it('names a role once that fits by several rules', () => {
    const subjects = Object.values(SUBJECTS);
    const { findCandidates } = indexRoles([toRole('b', { subjects }), toRole('a', { subjects })]);
    expect(namesOf(findCandidates('payments', workload('here'), 'here'))).to.deep.equal(['a', 'b']);
  });
});
