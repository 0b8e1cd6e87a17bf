// What a resolution tells whoever has to explain it: which roles were tried, what failed first, and nothing about roles
// to whom no rule lets in.
import { expect } from 'chai';
import type { WorkloadSubject } from '../../../broker/identity/identity.ts';
import { type Resolution, type RoleQuery, resolveRole } from '../../../broker/roles/resolve.ts';
import type { Condition, ConditionRequest, Role } from '../../../broker/roles/role.ts';
import { indexRoles } from '../../../broker/roles/role-index.ts';
import { toRole } from '../../support/roles.ts';

const SUBJECT: WorkloadSubject = {
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
const STRANGER = [{ namespace: 'bank', serviceAccount: 'teller' }];

function resolve(
  roles: readonly Role[],
  query: Partial<RoleQuery> = {},
  context: { triesAll?: boolean } = {},
): Resolution {
  const asked = { subject: SUBJECT, audience: 'payments', ...query };
  return resolveRole(indexRoles(roles), asked, { ownCluster: 'here', ...context });
}

function toTold(resolution: Resolution): unknown {
  if (resolution.ok) return resolution.role.name;
  const { reason, detail, failed } = resolution;
  return { reason, detail, failed };
}

const never = (text: string, seen: ConditionRequest[] = []): Condition => ({
  text,
  kinds: ['workload'],
  evaluate: (_subject, request) => {
    seen.push(request);
    return { ok: false, got: false };
  },
});

describe('a refusal by the roles', () => {
  it('names the several that fit equally well', () => {
    expect(toTold(resolve([toRole('b'), toRole('a')]))).to.deep.equal({
      reason: 'role_ambiguous',
      detail: 'several roles fit equally well',
      failed: { claim: 'role', got: ['a', 'b'], want: 'one' },
    });
  });

  it('by one that almost fits names its last rule', () => {
    expect(toTold(resolve([toRole('a', { subjects: STRANGER })]))).to.deep.equal({
      reason: 'role_mismatch',
      detail: 'no rule of the roles tried fits the subject',
      failed: { claim: 'kubernetes.io.namespace', got: 'shop', want: 'bank' },
    });
  });

  it('by a role without rules says that there are none', () => {
    expect(toTold(resolve([toRole('a', { subjects: [] })]))).to.deep.equal({
      reason: 'role_mismatch',
      detail: 'no rule of the roles tried fits the subject',
      failed: { claim: 'subjects', got: 0, want: 'a rule that fits' },
    });
  });

  it('by a condition names it, also behind roles without rules', () => {
    const roles = [
      toRole('a', { subjects: [] }),
      toRole('b', { subjects: STRANGER }),
      toRole('c', { condition: never('false') }),
    ];
    expect(toTold(resolve(roles))).to.deep.equal({
      reason: 'role_mismatch',
      detail: 'the condition of a role that would fit does not hold',
      failed: { claim: 'condition', got: false, want: 'false' },
    });
  });

  it('for further audiences shows them and the role’s own', () => {
    const audiences = ['payments', 'ledger'];
    const resolution = resolve([toRole('a'), toRole('b', { subjects: STRANGER })], {
      subject: { ...SUBJECT, audiences },
    });
    const failed = { claim: 'aud', got: audiences, want: ['payments'] };
    expect(toTold(resolution)).to.deep.equal({
      reason: 'token_audience',
      detail: 'the role does not accept a token with further audiences',
      failed,
    });
    // The demand is shown at the role that made it, and at no other.
    expect(resolution.tried.map(({ role, ok, failed: why }) => [role, ok, why])).to.deep.equal([
      ['a', false, failed],
      ['b', false, { claim: 'kubernetes.io.namespace', got: 'shop', want: 'bank' }],
    ]);
  });

  it('says nothing of demands where several fit', () => {
    const audiences = ['payments', 'ledger'];
    const resolution = resolve([toRole('a'), toRole('b')], { subject: { ...SUBJECT, audiences } });
    expect(resolution.ok || resolution.reason).to.equal('role_ambiguous');
  });

  it('for an audience that is not in the token tries no role', () => {
    expect(resolve([toRole('a', { audience: 'ledger' })], { audience: 'ledger' })).to.deep.equal({
      ok: false,
      reason: 'target_refused',
      detail: 'the audience is not in the subject token',
      failed: { claim: 'aud', got: ['payments'], want: 'ledger' },
      tried: [],
    });
  });

  it('for a role of another audience tries none of its rules', () => {
    const resolution = resolve([toRole('a', { audience: 'ledger' })], { roleName: 'a' });
    expect(resolution.tried).to.deep.equal([
      {
        role: 'a',
        ok: false,
        failed: { claim: 'audience', got: 'payments', want: 'ledger' },
        subjects: [],
      },
    ]);
  });

  it('for want of a pod is told to a workload alone', () => {
    const identity = { kind: 'oidc', issuer: 'github', subject: 's' } as const;
    const role = toRole('a', { subjects: [{ issuer: 'github', subject: 's' }], requirePod: true });
    expect(toTold(resolve([role], { subject: { ...SUBJECT, identity } }))).to.equal('a');
  });
});

describe('what was tried', () => {
  it('stops at the first rule that fits exactly', () => {
    const exact = { namespace: 'shop', serviceAccount: 'checkout' };
    const subjects = [{ namespace: '*', serviceAccount: '*' }, exact, exact];
    const { tried } = resolve([toRole('a', { subjects })]);
    expect(tried[0]?.subjects.map((match) => match.ok && match.specificity)).to.deep.equal([
      'glob',
      'exact',
    ]);
  });

  const crowd = (count: number) => [
    toRole('fits'),
    ...Array.from({ length: count - 1 }, (_, i) => toRole(`role-${i}`, { subjects: STRANGER })),
  ];

  it('is every role of 16', () => {
    expect(resolve(crowd(16)).tried).to.have.length(16);
  });

  it('is of 17 only who may fit', () => {
    expect(resolve(crowd(17)).tried.map(({ role }) => role)).to.deep.equal(['fits']);
  });

  it('is all of 17 for people who ask why', () => {
    expect(resolve(crowd(17), {}, { triesAll: true }).tried).to.have.length(17);
  });

  it('is all of 17 where nobody fits', () => {
    expect(resolve(crowd(17).slice(1)).tried).to.have.length(16);
    expect(
      resolve([...crowd(17).slice(1), toRole('z', { subjects: STRANGER })]).tried,
    ).to.have.length(17);
  });

  it('asks a condition once, with nothing where nothing was asked for', () => {
    const seen: ConditionRequest[] = [];
    resolve([toRole('a', { condition: never('false', seen) })]);
    expect(seen).to.deep.equal([{ audience: 'payments', scopes: [], role: '', dialect: '' }]);
  });
});
