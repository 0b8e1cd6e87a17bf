// Which role serves whom: by name and without, exact before glob, equals refused, and every refusal's stable reason.
import { expect } from 'chai';
import type { WorkloadSubject } from '../../../broker/identity/identity.ts';
import { NO_NAMESPACES } from '../../../broker/roles/namespaces.ts';
import { type RoleQuery, resolveRole } from '../../../broker/roles/resolve.ts';
import type { Role } from '../../../broker/roles/role.ts';
import { indexRoles } from '../../../broker/roles/role-index.ts';
import { toRole } from '../../support/roles.ts';

const context = { ownCluster: 'here', namespaces: NO_NAMESPACES };
const subject: WorkloadSubject = {
  identity: {
    kind: 'workload',
    cluster: 'here',
    namespace: 'shop',
    serviceAccount: 'checkout',
    serviceAccountUid: 'u',
    pod: { name: 'p', uid: 'pu' },
  },
  issuer: 'https://cluster.test',
  audiences: ['payments'],
  issuedAt: 0,
  expiresAt: 3600,
  fingerprint: '0123456789abcdef',
  claims: {},
};
const { pod: _, ...unbound } = subject.identity;
const everyone = { namespace: '*', serviceAccount: '*' };
const stranger = { namespace: 'bank', serviceAccount: 'teller' };

const rows: readonly {
  title: string;
  roles: readonly Role[];
  query?: Partial<RoleQuery>;
  expected: string;
  failed?: string;
}[] = [
  { title: 'the only role that fits', roles: [toRole('pay')], expected: 'pay' },
  {
    title: 'the role of that name',
    roles: [toRole('pay'), toRole('too')],
    query: { roleName: 'too' },
    expected: 'too',
  },
  {
    title: 'an exact subject before a glob',
    roles: [toRole('all', { subjects: [everyone] }), toRole('pay')],
    expected: 'pay',
  },
  {
    title: 'an exact subject behind a glob of the same role',
    roles: [
      toRole('all', { subjects: [everyone] }),
      toRole('mix', { subjects: [everyone, { namespace: 'shop', serviceAccount: 'checkout' }] }),
    ],
    expected: 'mix',
  },
  {
    title: 'a glob by its name, although an exact one is there',
    roles: [toRole('all', { subjects: [everyone] }), toRole('pay')],
    query: { roleName: 'all' },
    expected: 'all',
  },
  {
    title: 'a role for the audience beside roles for others',
    roles: [toRole('led', { audience: 'ledger' }), toRole('pay')],
    expected: 'pay',
  },
  {
    title: 'a token without pod, where the role allows it',
    roles: [toRole('pay', { requirePod: false })],
    query: { subject: { ...subject, identity: unbound } },
    expected: 'pay',
  },
  {
    title: 'further audiences, where the role allows them',
    roles: [toRole('pay', { allowExtraAudiences: true })],
    query: { subject: { ...subject, audiences: ['x', 'payments'] } },
    expected: 'pay',
  },
  { title: 'no roles at all', roles: [], expected: 'role_unknown', failed: 'aud' },
  {
    title: 'no role for the audience',
    roles: [toRole('led', { audience: 'ledger' })],
    expected: 'role_unknown',
    failed: 'aud',
  },
  {
    title: 'no role of the name',
    roles: [toRole('pay')],
    query: { roleName: 'pa' },
    expected: 'role_unknown',
    failed: 'role',
  },
  {
    title: 'a name every object has',
    roles: [toRole('pay')],
    query: { roleName: 'constructor' },
    expected: 'role_unknown',
    failed: 'role',
  },
  {
    title: 'a role of the name for another audience',
    roles: [toRole('led', { audience: 'ledger' })],
    query: { roleName: 'led' },
    expected: 'role_mismatch',
    failed: 'audience',
  },
  {
    title: 'a role of the name for other subjects',
    roles: [toRole('pay'), toRole('bank', { subjects: [stranger] })],
    query: { roleName: 'bank' },
    expected: 'role_mismatch',
    failed: 'kubernetes.io.namespace',
  },
  {
    title: 'only roles for other subjects',
    roles: [toRole('bank', { subjects: [stranger] })],
    expected: 'role_mismatch',
    failed: 'kubernetes.io.namespace',
  },
  {
    title: 'two exact roles',
    roles: [toRole('pay'), toRole('too')],
    expected: 'role_ambiguous',
    failed: 'role',
  },
  {
    title: 'two globs',
    roles: [
      toRole('a', { subjects: [everyone] }),
      toRole('b', { subjects: [{ namespace: 'shop', serviceAccount: '*' }] }),
    ],
    expected: 'role_ambiguous',
    failed: 'role',
  },
  {
    title: 'a token without pod',
    roles: [toRole('pay')],
    query: { subject: { ...subject, identity: unbound } },
    expected: 'token_unbound',
    failed: 'kubernetes.io.pod',
  },
  {
    title: 'a token without pod, although a glob would take it',
    roles: [toRole('pay'), toRole('all', { subjects: [everyone], requirePod: false })],
    query: { subject: { ...subject, identity: unbound } },
    expected: 'token_unbound',
    failed: 'kubernetes.io.pod',
  },
  {
    title: 'a token without pod and without role: a stranger learns nothing',
    roles: [toRole('bank', { subjects: [stranger] })],
    query: { subject: { ...subject, identity: unbound } },
    expected: 'role_mismatch',
  },
  {
    title: 'further audiences',
    roles: [toRole('pay')],
    query: { subject: { ...subject, audiences: ['x', 'payments'] } },
    expected: 'token_audience',
    failed: 'aud',
  },
  {
    title: 'an audience that is not in the token',
    roles: [toRole('pay')],
    query: { subject: { ...subject, audiences: ['ledger'] } },
    expected: 'target_refused',
    failed: 'aud',
  },
  {
    title: 'the same ServiceAccount of another cluster',
    roles: [toRole('pay')],
    query: { subject: { ...subject, identity: { ...subject.identity, cluster: 'there' } } },
    expected: 'role_mismatch',
    failed: 'cluster',
  },
];

describe('resolving a role', () => {
  for (const { title, roles, query, expected, failed } of rows) {
    it(`${title}: ${expected}`, () => {
      const asked = { subject, audience: 'payments', ...query };
      const resolution = resolveRole(indexRoles(roles), asked, context);
      expect(resolution.ok ? resolution.role.name : resolution.reason).to.equal(expected);
      if (failed !== undefined)
        expect(resolution.ok ? undefined : resolution.failed.claim).to.equal(failed);
    });
  }
  it('lists every role and rule it tried, with what failed', () => {
    const roles = [toRole('bank', { subjects: [stranger, { client: 'ci' }] }), toRole('pay')];
    const resolution = resolveRole(indexRoles(roles), { subject, audience: 'payments' }, context);
    expect(resolution.tried.map(({ role, ok }) => ({ role, ok }))).to.deep.equal([
      { role: 'bank', ok: false },
      { role: 'pay', ok: true },
    ]);
    expect(
      resolution.tried[0]?.subjects.map((match) => !match.ok && match.failed.claim),
    ).to.deep.equal(['kubernetes.io.namespace', 'kind']);
  });
  it('shows the demand of the chosen role as what failed there', () => {
    const asked = { subject: { ...subject, identity: unbound }, audience: 'payments' };
    const resolution = resolveRole(indexRoles([toRole('pay')]), asked, context);
    expect(resolution.tried[0]).to.deep.include({ role: 'pay', ok: false });
    expect(resolution.tried[0]?.failed?.claim).to.equal('kubernetes.io.pod');
  });
});
