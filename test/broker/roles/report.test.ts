// What is told about every role that somebody wrote: whether it serves, with whom it shares subjects, and how surely.
import { expect } from 'chai';
import { createReporter, type RoleReport } from '../../../broker/roles/report.ts';
import type { Role, SubjectRule } from '../../../broker/roles/role.ts';
import { indexRoles } from '../../../broker/roles/role-index.ts';
import { toRole } from '../../support/roles.ts';

const one = (name: string, rule: SubjectRule, more: Partial<Role> = {}) =>
  toRole(name, { subjects: [rule], ...more });
const exact = { namespace: 'shop', serviceAccount: 'checkout' };
const glob = { namespace: 'sh*', serviceAccount: 'checkout' };
const wide = { namespace: 'shop', serviceAccount: 'check*' };

function report(...roles: readonly Role[]): readonly RoleReport[] {
  const merged = roles.map((role) => ({ kind: 'file' as const, role }));
  return createReporter({ ownCluster: 'here' }).report(merged, {
    sources: [],
    index: indexRoles(roles),
  });
}

const told = (reports: readonly RoleReport[]) =>
  reports.map(({ name, message, overlaps }) => [name, message, overlaps]);
const REFUSED = 'fits as well are refused, unless they name a role';

describe('reports on roles', () => {
  it('say nothing of roles that share no subject', () => {
    const other = one('b', { namespace: 'bank', serviceAccount: 'teller' });
    expect(report(one('a', exact), other)).to.deep.equal([
      { name: 'a', source: 'file', writtenAt: 'file:roles.yaml#a', state: 'Ready', overlaps: [] },
      { name: 'b', source: 'file', writtenAt: 'file:roles.yaml#b', state: 'Ready', overlaps: [] },
    ]);
  });

  it('come in the order of names', () => {
    const reports = report(one('c', exact), one('a', exact), one('b', exact), one('a2', exact));
    expect(reports.map(({ name }) => name)).to.deep.equal(['a', 'a2', 'b', 'c']);
  });

  it('name the roles that refuse the same subjects, in order', () => {
    expect(told(report(one('c', exact), one('a', exact), one('b', exact)))).to.deep.equal([
      ['a', `subjects that b, c ${REFUSED}`, ['b', 'c']],
      ['b', `subjects that a, c ${REFUSED}`, ['a', 'c']],
      ['c', `subjects that a, b ${REFUSED}`, ['a', 'b']],
    ]);
  });

  it('name no more than five of them, and list all', () => {
    const many = Array.from({ length: 7 }, (_, i) => one(`r${i}`, exact));
    const [first] = report(...many);
    expect(first?.message).to.equal(`subjects that r1, r2, r3, r4, r5 ${REFUSED}`);
    expect(first?.overlaps).to.deep.equal(['r1', 'r2', 'r3', 'r4', 'r5', 'r6']);
  });

  it('say who serves a subject that a glob fits too, at the glob alone', () => {
    expect(told(report(one('a', exact), one('b', glob)))).to.deep.equal([
      ['a', undefined, ['b']],
      ['b', 'a names some of its subjects exactly and serves them', ['a']],
    ]);
  });

  it('say what is certain before what may be', () => {
    const maybe = one('m', { namespaceSelector: { matchLabels: { t: 'w' } }, serviceAccount: '*' });
    const reports = report(one('g', glob), one('w', wide), maybe);
    expect(told(reports).map(([name, message]) => [name, message])).to.deep.equal([
      ['g', `subjects that w ${REFUSED}`],
      [
        'm',
        'subjects may be refused: labels, groups, claims or conditions may let them fit g, w as well',
      ],
      ['w', `subjects that g ${REFUSED}`],
    ]);
  });

  it('compare roles of one audience alone', () => {
    const reports = report(one('a', exact), one('b', exact, { audience: 'ledger' }));
    expect(told(reports)).to.deep.equal([
      ['a', undefined, []],
      ['b', undefined, []],
    ]);
  });

  it('follow a change among the roles of an audience', () => {
    const reporter = createReporter({ ownCluster: 'here' });
    const ask = (...roles: readonly Role[]) =>
      reporter
        .report(
          roles.map((role) => ({ kind: 'file', role })),
          { sources: [], index: indexRoles(roles) },
        )
        .map(({ overlaps }) => overlaps.join());
    const [a, b] = [one('a', exact), one('b', exact)];
    expect(ask(a)).to.deep.equal(['']);
    expect(ask(a, b)).to.deep.equal(['b', 'a']);
    expect(ask(a, b)).to.deep.equal(['b', 'a']);
    expect(ask(a, one('b', { namespace: 'x', serviceAccount: 'y' }))).to.deep.equal(['', '']);
  });

  describe('hold rules against each other', () => {
    const oidc = (
      subject: string,
      claims?: Readonly<Record<string, string | number | boolean>>,
    ) => ({
      issuer: 'github',
      subject,
      ...(claims && { claims }),
    });
    const certain = 'certain';
    const maybe = 'maybe';
    const never = 'never';
    const rows: readonly (readonly [string, SubjectRule, SubjectRule, string])[] = [
      ['one client twice', { client: 'ci' }, { client: 'ci' }, certain],
      ['two clients', { client: 'ci' }, { client: 'cd' }, never],
      ['one person twice', { user: 'corp:jane' }, { user: 'corp:jane' }, certain],
      ['two persons', { user: 'corp:jane' }, { user: 'corp:joe' }, never],
      [
        'a person and a group of one provider',
        { user: 'corp:jane' },
        { group: 'corp:ops' },
        'shadowed',
      ],
      ['a person and a group of another', { user: 'corp:jane' }, { group: 'club:ops' }, never],
      ['one group twice', { group: 'corp:ops' }, { group: 'corp:ops' }, certain],
      ['two groups of one provider', { group: 'corp:ops' }, { group: 'corp:dev' }, maybe],
      ['two groups of two providers', { group: 'corp:ops' }, { group: 'club:ops' }, never],
      ['a client and a person', { client: 'corp:jane' }, { user: 'corp:jane' }, never],
      ['two issuers', oidc('a*'), { issuer: 'gitlab', subject: 'a*' }, never],
      ['globs that meet', oidc('a*'), oidc('*b'), certain],
      ['globs that do not', oidc('a*'), oidc('b*'), never],
      ['the same claim', oidc('a*', { ref: 'x' }), oidc('*b', { ref: 'x' }), certain],
      ['other values of a claim', oidc('a*', { ref: 'x' }), oidc('*b', { ref: 'y' }), never],
      ['globs of a claim that meet', oidc('a*', { ref: 'x*' }), oidc('*b', { ref: '*y' }), certain],
      ['two claims', oidc('a*', { ref: 'x' }), oidc('*b', { env: 'y' }), maybe],
      ['a claim and none', oidc('a*', { ref: 'x' }), oidc('*b'), maybe],
      ['one number', oidc('a*', { run: 1 }), oidc('*b', { run: 1 }), certain],
      ['two numbers', oidc('a*', { run: 1 }), oidc('*b', { run: 2 }), never],
      ['a number and a text', oidc('a*', { run: 1 }), oidc('*b', { run: '1' }), never],
      ['true and a text', oidc('a*', { run: true }), oidc('*b', { run: '*' }), never],
      ['a workload and a client', exact, { client: 'ci' }, never],
      ['a cluster and another', { ...glob, cluster: 'here' }, { ...wide, cluster: 'there' }, never],
      ['a cluster and all', { ...glob, cluster: 'here' }, { ...wide, cluster: '*' }, certain],
    ];
    for (const [title, a, b, expected] of rows) {
      it(`${title}: ${expected}`, () => {
        const messages = report(one('a', a), one('b', b)).map(({ message }) => message ?? '');
        const found = messages.some((message) => message.includes('are refused'))
          ? certain
          : messages.some((message) => message.includes('may be refused'))
            ? maybe
            : messages.some((message) => message.includes('serves them'))
              ? 'shadowed'
              : never;
        expect(found).to.equal(expected);
      });
    }
  });
});
