// What the lint says about roles that are allowed and still deserve a second look.
import { expect } from 'chai';
import { lintRoles } from '../../../broker/roles/lint.ts';
import type { Role } from '../../../broker/roles/role.ts';
import { toRole } from '../../support/roles.ts';

const rows: readonly { title: string; roles: readonly Role[]; expected: readonly string[] }[] = [
  { title: 'one exact role', roles: [toRole('a')], expected: [] },
  {
    title: 'the same subjects for two audiences',
    roles: [toRole('a'), toRole('b', { audience: 'ledger' })],
    expected: [],
  },
  {
    title: 'the same exact subject twice',
    roles: [toRole('a'), toRole('b')],
    expected: ['ambiguous a b'],
  },
  {
    title: 'the own cluster written and not written',
    roles: [
      toRole('a'),
      toRole('b', {
        subjects: [{ cluster: 'here', namespace: 'shop', serviceAccount: 'checkout' }],
      }),
    ],
    expected: ['ambiguous a b'],
  },
  {
    title: 'the same names in another cluster',
    roles: [
      toRole('a'),
      toRole('b', {
        subjects: [{ cluster: 'there', namespace: 'shop', serviceAccount: 'checkout' }],
      }),
    ],
    expected: [],
  },
  {
    title: 'a glob over an exact subject',
    roles: [
      toRole('a'),
      toRole('b', { subjects: [{ namespace: 'sh*', serviceAccount: 'checkout' }] }),
    ],
    expected: ['shadowed b a'],
  },
  {
    title: 'a glob beside an exact subject',
    roles: [
      toRole('a'),
      toRole('b', { subjects: [{ namespace: 'team-*', serviceAccount: 'checkout' }] }),
    ],
    expected: [],
  },
  {
    title: 'two globs that meet',
    roles: [
      toRole('a', { subjects: [{ namespace: 'team-*', serviceAccount: 'x' }] }),
      toRole('b', { subjects: [{ namespace: '*-a', serviceAccount: 'x' }] }),
    ],
    expected: ['ambiguous a b'],
  },
  {
    title: 'two globs that do not meet',
    roles: [
      toRole('a', { subjects: [{ namespace: 'team-*', serviceAccount: 'x' }] }),
      toRole('b', { subjects: [{ namespace: 'shop-*', serviceAccount: 'x' }] }),
    ],
    expected: [],
  },
  {
    title: 'every cluster',
    roles: [
      toRole('a', { subjects: [{ cluster: '*', namespace: 'shop', serviceAccount: 'checkout' }] }),
    ],
    expected: ['wildcard_cluster a'],
  },
  {
    title: 'every ServiceAccount',
    roles: [toRole('a', { subjects: [{ namespace: '*', serviceAccount: '**' }] })],
    expected: ['wildcard_all a'],
  },
  {
    title: 'a subject that nothing fits yet',
    roles: [toRole('a', { subjects: [{ client: 'ci' }] })],
    expected: ['unserved_subject a'],
  },
];

describe('the lint of roles', () => {
  for (const { title, roles, expected } of rows) {
    it(`${title}: ${expected.join(', ') || 'nothing'}`, () => {
      const findings = lintRoles(roles, { ownCluster: 'here' });
      expect(
        findings.map(({ kind, role, other }) => [kind, role, other].filter(Boolean).join(' ')),
      ).to.deep.equal(expected);
    });
  }
});
