// `coatcheck role test`: fixtures decided as the broker decides, differences shown, and a test that cannot pass by chance.
import { expect } from 'chai';
import type { FixtureResult } from '../../../../broker/commands/role/test.ts';
import { run } from '../../../../broker/commands/role/test.ts';
import { createWorkplace, type Workplace } from './harness.ts';

const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: checkout }
spec:
  audience: payments
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  condition: "pod.name.startsWith('checkout-') && request.dialect == 'oauth'"
  token: { ttl: 30m, scopes: [read, write] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: web }
spec:
  audience: payments
  subjects: [{ namespaceSelector: { matchLabels: { tier: web } }, serviceAccount: frontend }]
  token: { scopes: [read] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: release }
spec:
  audience: registry
  subjects: [{ issuer: github, subject: "repo:acme/shop:*", claims: { ref: refs/heads/main } }]
  condition: "claims.run_attempt < 3"
  token: { scopes: [push] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: people }
spec:
  audience: console
  subjects: [{ group: "idp:ops" }, { user: "idp:auth0|alice:1" }, { client: ci }]
`;
const checkout = '{ namespace: shop, serviceAccount: checkout, pod: checkout-1 }';
const job = (ref: string, attempt = 1) =>
  `{ issuer: github, subject: "repo:acme/shop:ref:${ref}", claims: { ref: ${ref}, run_attempt: ${attempt} } }`;

const rows: readonly { title: string; fixture: string; expected: string }[] = [
  {
    title: 'an allowed workload',
    fixture: `subject: ${checkout}, audience: payments, expect: { outcome: allow, role: checkout, scopes: [write, read], ttl: 30m }`,
    expected: '',
  },
  {
    title: 'a workload whose pod the condition does not allow',
    fixture: `subject: { namespace: shop, serviceAccount: checkout, pod: debug }, audience: payments, expect: { outcome: deny, reason: role_mismatch, failed: condition }`,
    expected: '',
  },
  {
    title: 'a workload without pod, whose condition has no answer',
    fixture: `subject: { namespace: shop, serviceAccount: checkout, pod: false }, audience: payments, expect: { outcome: deny, failed: condition }`,
    expected: '',
  },
  {
    title: 'another dialect',
    fixture: `subject: ${checkout}, audience: payments, dialect: vault, expect: { outcome: deny, failed: condition }`,
    expected: '',
  },
  {
    title: 'fewer scopes',
    fixture: `subject: ${checkout}, audience: payments, scopes: [read], expect: { outcome: allow, scopes: [read] }`,
    expected: '',
  },
  {
    title: 'a scope of nobody',
    fixture: `subject: ${checkout}, audience: payments, scopes: [admin], expect: { outcome: deny, reason: scope_refused, failed: scope }`,
    expected: '',
  },
  {
    title: 'a subject token that ends before the ttl',
    fixture: `subject: ${checkout}, audience: payments, subjectTtl: 10m, expect: { outcome: allow, ttl: 600 }`,
    expected: '',
  },
  {
    title: 'a token with another audience',
    fixture: `subject: ${checkout}, audience: payments, audiences: [other], expect: { outcome: deny, reason: target_refused }`,
    expected: '',
  },
  {
    title: 'a token with two audiences',
    fixture: `subject: ${checkout}, audience: payments, audiences: [other, payments], expect: { outcome: deny, reason: token_audience }`,
    expected: '',
  },
  {
    title: 'another cluster',
    fixture: `subject: { cluster: staging, namespace: shop, serviceAccount: checkout, pod: checkout-1 }, audience: payments, expect: { outcome: deny, reason: role_mismatch, failed: cluster }`,
    expected: '',
  },
  {
    title: 'labels of the namespace',
    fixture: `subject: { namespace: a, serviceAccount: frontend, namespaceLabels: { tier: web } }, audience: payments, expect: { outcome: allow, role: web }`,
    expected: '',
  },
  {
    title: 'other labels of the namespace',
    fixture: `subject: { namespace: a, serviceAccount: frontend, namespaceLabels: { tier: api } }, audience: payments, expect: { outcome: deny }`,
    expected: '',
  },
  {
    title: 'unknown labels of the namespace',
    fixture: `subject: { namespace: a, serviceAccount: frontend }, audience: payments, role: web, expect: { outcome: deny, failed: namespaceSelector }`,
    expected: '',
  },
  {
    title: 'a CI job',
    fixture: `subject: ${job('refs/heads/main')}, audience: registry, expect: { outcome: allow, role: release }`,
    expected: '',
  },
  {
    title: 'a CI job of another branch',
    fixture: `subject: ${job('refs/heads/x')}, audience: registry, expect: { outcome: deny, failed: ref }`,
    expected: '',
  },
  {
    title: 'a CI job that the condition does not allow',
    fixture: `subject: ${job('refs/heads/main', 3)}, audience: registry, expect: { outcome: deny, failed: condition }`,
    expected: '',
  },
  {
    title: 'a person of the group',
    fixture: `subject: { user: "idp:bob", groups: [ops] }, audience: console, expect: { outcome: allow, role: people }`,
    expected: '',
  },
  {
    title: 'the same group of another provider',
    fixture: `subject: { user: "corp:bob", groups: [ops] }, audience: console, expect: { outcome: deny }`,
    expected: '',
  },
  {
    title: 'a person whose name holds a colon',
    fixture: `subject: { user: "idp:auth0|alice:1" }, audience: console, expect: { outcome: allow }`,
    expected: '',
  },
  {
    title: 'a client',
    fixture: `subject: { client: ci }, audience: console, expect: { outcome: allow }`,
    expected: '',
  },
  {
    title: 'another client',
    fixture: `subject: { client: cd }, audience: console, expect: { outcome: deny, reason: role_mismatch, failed: client }`,
    expected: '',
  },
  {
    title: 'an allow that was expected to be a deny: it fails',
    fixture: `subject: ${checkout}, audience: payments, expect: { outcome: deny }`,
    expected: 'outcome',
  },
  {
    title: 'a deny that was expected to be an allow: it fails',
    fixture: `subject: { client: cd }, audience: console, expect: { outcome: allow, role: people }`,
    expected: 'outcome role',
  },
  {
    title: 'other scopes, another ttl and another role: it fails in each',
    fixture: `subject: ${checkout}, audience: payments, expect: { outcome: allow, role: web, scopes: [read], ttl: 15m }`,
    expected: 'role scopes ttl',
  },
];

describe('role test', () => {
  let place: Workplace;
  let roles: string;
  beforeEach(() => {
    place = createWorkplace(run);
    roles = place.write('roles/roles.yaml', ROLES);
  });
  afterEach(() => place.remove());
  const test = (fixtures: string, ...args: readonly string[]) =>
    place.run(['-f', roles, '--fixtures', place.write('tests.yaml', fixtures), ...args]);

  for (const { title, fixture, expected } of rows) {
    it(title, async () => {
      const { code, stdout } = await test(`- { name: x, ${fixture} }\n`, '-o', 'json');
      const { results } = JSON.parse(stdout) as { results: FixtureResult[] };
      expect(
        results.map(({ differences }) => differences.map(({ member }) => member).join(' ')),
      ).to.deep.equal([expected]);
      expect(code).to.equal(expected === '' ? 0 : 1);
    });
  }
  it('prints the differences of each failure, what failed first, and a sum', async () => {
    const { code, stdout } = await test(`tests:
- { name: first, subject: ${checkout}, audience: payments, expect: { outcome: allow } }
- { name: second, subject: { client: cd }, audience: console, expect: { outcome: allow } }
`);
    expect(code).to.equal(1);
    expect(stdout).to.equal(`FAIL second
  - outcome: "allow"
  + outcome: "deny"
    because client: got "cd", want "ci"
2 fixtures: 1 as expected, 1 not
`);
  });
  it('counts what the ceiling of the broker cuts', async () => {
    const fixture = `- { name: x, subject: ${checkout}, audience: payments, expect: { outcome: allow, ttl: 5m } }`;
    expect((await test(fixture, '--max-token-ttl-seconds', '300')).code).to.equal(0);
    expect((await test(fixture)).code).to.equal(1);
  });
  it('knows the name of the own cluster', async () => {
    const fixture = `- { name: x, subject: { cluster: prod, namespace: shop, serviceAccount: checkout, pod: checkout-1 }, audience: payments, expect: { outcome: allow } }`;
    expect((await test(fixture, '--own-cluster', 'prod')).code).to.equal(0);
    expect((await test(fixture)).code).to.equal(1);
  });
  it('decides nothing while a role has a problem', async () => {
    place.write('roles/roles.yaml', `${ROLES}---\nkind: TokenRole\n`);
    const { code, stdout } = await test(
      `- { name: x, subject: ${checkout}, audience: payments, expect: { outcome: allow } }`,
    );
    expect(code).to.equal(1);
    expect(stdout).to.match(/^problem: .*#5: apiVersion: is required/);
    expect(stdout).to.contain('nothing was decided');
  });
  const broken: readonly { title: string; text: string; problem: RegExp }[] = [
    { title: 'no fixture', text: '', problem: /there is no fixture in it/ },
    { title: 'an empty list', text: '[]', problem: /there is no fixture in it/ },
    {
      title: 'a misspelt expectation',
      text: `- { name: x, subject: ${checkout}, audience: a, expect: { outcom: allow } }`,
      problem: /unknown field outcom; did you mean outcome\?/,
    },
    {
      title: 'a reason that nothing has',
      text: `- { name: x, subject: ${checkout}, audience: a, expect: { outcome: deny, reason: nope } }`,
      problem: /expect\.reason: must be one of/,
    },
    {
      title: 'a subject of no kind',
      text: '- { name: x, subject: { pod: a }, audience: a, expect: { outcome: deny } }',
      problem: /subject: must be \{ namespace, serviceAccount/,
    },
    { title: 'something else', text: 'roles: []', problem: /tests: is required/ },
    { title: 'no YAML', text: '[', problem: /not valid YAML/ },
  ];
  for (const { title, text, problem } of broken) {
    it(`exits 1 with fixtures that are ${title}`, async () => {
      const { code, stdout } = await test(text);
      expect(code).to.equal(1);
      expect(stdout).to.match(problem);
    });
  }
  it('exits 2 without fixtures', async () => {
    const { code, stderr } = await place.run(['-f', roles]);
    expect(code).to.equal(2);
    expect(stderr).to.contain('--fixtures is required');
  });
});
