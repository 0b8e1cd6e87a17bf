// Which role serves whom: by name and without, exact before glob, equals refused, and every refusal's stable reason.
import { expect } from 'chai';
import fc from 'fast-check';
import type { Identity, WorkloadSubject } from '../../../broker/identity/identity.ts';
import { NO_NAMESPACES } from '../../../broker/roles/namespaces.ts';
import { type RoleQuery, resolveRole } from '../../../broker/roles/resolve.ts';
import type { Role, SubjectRule } from '../../../broker/roles/role.ts';
import { indexRoles } from '../../../broker/roles/role-index.ts';
import { parseRole, type Tree, toDocument, toRole } from '../../support/roles.ts';

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
const resolve = (roles: readonly Role[], query: Partial<RoleQuery>) =>
  resolveRole(indexRoles(roles), { subject, audience: 'payments', ...query }, context);
const parsed = (name: string, spec: Tree): Role => ({ ...parseRole(toDocument(spec)), name });
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
  it('a role whose condition does not hold is no candidate: the others decide', () => {
    const roles = [
      parsed('a', { condition: "pod.name == 'x'" }),
      parsed('b', { condition: "pod.name == 'p'" }),
      parsed('c', { subjects: [everyone] }),
    ];
    const resolution = resolve(roles, {});
    expect(resolution.ok && resolution.role.name).to.equal('b');
    expect(resolution.tried.map(({ role, ok }) => `${role} ${ok}`)).to.deep.equal([
      'a false',
      'b true',
      'c true',
    ]);
    expect(resolution.tried[0]).to.deep.include({
      failed: { claim: 'condition', got: false, want: "pod.name == 'x'" },
    });
    const without = resolve(roles.slice(0, 1).concat(roles.slice(2)), {});
    expect(without.ok && without.role.name).to.equal('c');
  });
  it('a condition that holds makes a role no better than another', () => {
    const roles = [parsed('a', { condition: 'true' }), toRole('b')];
    const resolution = resolve(roles, {});
    expect(resolution.ok ? undefined : resolution.reason).to.equal('role_ambiguous');
  });
  it('a condition that does not hold is what failed, before rules that do not fit', () => {
    const roles = [
      toRole('a', { subjects: [stranger] }),
      parsed('b', { condition: "claims.nope == 'x'" }),
    ];
    const resolution = resolve(roles, {});
    expect(resolution.ok ? undefined : [resolution.reason, resolution.failed]).to.deep.equal([
      'role_mismatch',
      { claim: 'condition', got: 'error: field not found: nope', want: "claims.nope == 'x'" },
    ]);
  });
  it('a condition is not asked about strangers', () => {
    let asked = 0;
    const condition = {
      text: 'true',
      kinds: [],
      evaluate: () => {
        asked += 1;
        return { ok: true } as const;
      },
    };
    resolve([toRole('a', { subjects: [stranger], condition })], {});
    expect(asked).to.equal(0);
    resolve([toRole('a', { condition })], {});
    expect(asked).to.equal(1);
  });
  it('a condition knows the role and the scopes that were asked for, and whose way it came', () => {
    const condition =
      "request.role == 'a' && request.scopes == ['read'] && request.dialect == 'vault' && request.audience == 'payments'";
    const roles = [parsed('a', { condition })];
    const query = { roleName: 'a', scopes: ['read'], dialect: 'vault' };
    expect(resolve(roles, query).ok).to.equal(true);
    expect(resolve(roles, { ...query, scopes: ['write'] }).ok).to.equal(false);
    expect(resolve(roles, { ...query, dialect: 'oauth' }).ok).to.equal(false);
    expect(resolve(roles, { scopes: ['read'], dialect: 'vault' }).ok).to.equal(false);
  });
  it('conditions of many roles together cost one request no more than a few of them', () => {
    const heavy = 'claims.many.all(a, claims.many.exists(b, a == b))';
    const roles = Array.from({ length: 500 }, (_, i) => parsed(`r${i}`, { condition: heavy }));
    const claims = { many: Array.from({ length: 1500 }, (_, i) => `item${i}`) };
    const started = performance.now();
    const resolution = resolve(roles, { subject: { ...subject, claims } });
    expect(performance.now() - started).to.be.below(500);
    expect(resolution.ok).to.equal(false);
    expect(resolution.tried).to.have.length(500);
  });
  it('decides alike whether it looks at all roles or at the likely ones', () => {
    const rule = fc.oneof(
      fc.record({
        cluster: fc.constantFrom(undefined, 'here', 'there', '*'),
        namespace: fc.constantFrom('shop', 'bank', 'sh*', '*'),
        serviceAccount: fc.constantFrom('checkout', 'cart', 'c*'),
      }),
      fc.record({
        namespaceSelector: fc.constant({ matchLabels: { a: 'b' } }),
        serviceAccount: fc.constantFrom('checkout', '*'),
      }),
      fc.record({
        issuer: fc.constantFrom('github', 'gitlab'),
        subject: fc.constantFrom('repo:a', 'repo:b', 'repo:*'),
      }),
      fc.record({ client: fc.constantFrom('ci', 'cd') }),
      fc.record({ user: fc.constantFrom('idp:a', 'idp:b') }),
      fc.record({ group: fc.constantFrom('idp:ops', 'idp:dev') }),
    );
    const rules = fc.array(rule, { minLength: 1, maxLength: 3 });
    const identities: readonly Identity[] = [
      subject.identity,
      { ...subject.identity, cluster: 'there' },
      { ...subject.identity, namespace: 'bank', serviceAccount: 'cart' },
      { kind: 'oidc', issuer: 'github', subject: 'repo:a' },
      { kind: 'client', id: 'ci' },
      { kind: 'user', provider: 'idp', subject: 'a', groups: ['dev'] },
    ];
    const namespaces = { isReady: () => true, find: () => ({ a: 'b' }) };
    fc.assert(
      // More than are tried one by one.
      fc.property(fc.array(rules, { minLength: 17, maxLength: 40 }), (all) => {
        const index = indexRoles(
          all.map((subjects, i) =>
            toRole(`r${i}`, { subjects: subjects as readonly SubjectRule[] }),
          ),
        );
        for (const identity of identities) {
          const query = { subject: { ...subject, identity }, audience: 'payments' };
          const few = resolveRole(index, query, { ownCluster: 'here', namespaces });
          const every = resolveRole(index, query, {
            ownCluster: 'here',
            namespaces,
            triesAll: true,
          });
          if (few.ok && every.ok) expect(few.role).to.equal(every.role);
          else expect(few).to.deep.equal(every);
        }
      }),
      { numRuns: 200 },
    );
  });
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
