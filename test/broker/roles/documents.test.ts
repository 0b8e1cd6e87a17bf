// The examples in docs/roles.md and docs/clusters.md are what the broker reads.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { parseFixtures } from '../../../broker/commands/role/fixtures.ts';
import { runFixtures } from '../../../broker/commands/role/test.ts';
import { parseClusters } from '../../../broker/identity/clusters.ts';
import { parseRegisteredEntry } from '../../../broker/identity/registered-entry.ts';
import { ALL_VARIABLES } from '../../../broker/roles/condition/variables.ts';
import { FINDING_KINDS } from '../../../broker/roles/lint.ts';
import { createRoleParser } from '../../../broker/roles/schema.ts';
import { parseFile } from '../../../broker/roles/sources/file.ts';
import { createSigningKey } from '../../support/minting.ts';

const docs = path.join(import.meta.dirname, '../../../docs');
const read = (name: string) => readFileSync(path.join(docs, name), 'utf8');
const examplesOf = (name: string) =>
  [...read(name).matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text);

describe('docs/roles.md', () => {
  const examples = examplesOf('roles.md').filter((text) => text.startsWith('apiVersion:'));
  const fixtures = examplesOf('roles.md').filter((text) => !text.startsWith('apiVersion:'));
  const roles = examples.flatMap((text) => parseFile('roles.md', text, createRoleParser()).roles);
  it('has examples', () => expect(examples.length).to.be.greaterThan(3));
  examples.forEach((text, at) => {
    it(`has an example ${at + 1} that is a role`, () => {
      const parsed = parseFile('roles.md', text, createRoleParser());
      expect(parsed.problems).to.deep.equal([]);
      expect(parsed.roles).to.have.length(1);
    });
  });
  it('shows defaults that are the defaults: the full example means what the short token does', () => {
    const [short, full] = roles;
    expect(full?.token).to.deep.equal({
      ...short?.token,
      scopes: ['payments:read', 'payments:write'],
      policies: ['payments'],
      claims: { tenant: 'shop' },
    });
    expect([full?.requirePod, full?.allowExtraAudiences]).to.deep.equal([
      short?.requirePod,
      short?.allowExtraAudiences,
    ]);
  });
  it('shows every field of the schema, and every kind of subject', () => {
    const full = roles[1];
    expect(full?.condition?.text).to.be.a('string');
    expect(full?.subjects.map((subject) => Object.keys(subject).join(' '))).to.deep.equal([
      'namespace serviceAccount',
      'cluster namespace serviceAccount',
      'namespaceSelector serviceAccount',
      'issuer subject claims',
      'client',
      'user',
      'group',
    ]);
  });
  it('has fixtures that hold for its roles', async () => {
    const parsed = parseFixtures('roles.md', fixtures.join('---\n'));
    expect(parsed.problems).to.deep.equal([]);
    expect(parsed.fixtures.length).to.be.greaterThan(2);
    const around = { roles, ownCluster: 'local', maxTokenTtlSeconds: 86_400 };
    const results = await runFixtures(parsed.fixtures, around);
    expect(results.filter(({ ok }) => !ok)).to.deep.equal([]);
  });
  it('has a fixture that an asked-for scope would turn', async () => {
    const { fixtures: all } = parseFixtures('roles.md', fixtures.join('---\n'));
    const asked = all.flatMap((one) =>
      one.audience === 'ledger'
        ? [{ ...one, scopes: ['ledger:write'], expect: { outcome: 'allow' as const } }]
        : [],
    );
    const around = { roles, ownCluster: 'local', maxTokenTtlSeconds: 86_400 };
    expect((await runFixtures(asked, around)).map(({ ok }) => ok)).to.deep.equal([true]);
  });
  it('names every variable of conditions, and every warning of the lint', () => {
    const page = read('roles.md');
    for (const name of ALL_VARIABLES)
      expect(page, name).to.match(new RegExp(`^\\|[^|]*\`${name}[\`.]`, 'm'));
    for (const kind of FINDING_KINDS)
      expect(page, kind).to.match(new RegExp(`^\\|[^|]*\`${kind}\``, 'm'));
  });
});

describe('docs/clusters.md', () => {
  const all = examplesOf('clusters.md');
  const examples = all.filter((text) => text.startsWith('clusters:'));
  it('has examples', () => expect(examples.length).to.be.greaterThan(1));
  it('has an entry that can be registered, once its keys are added', () => {
    const entries = all.filter((text) => text.startsWith('name:') || /^# .*\nname:/.test(text));
    expect(entries).to.have.length(1);
    const { name, ...entry } = parse(entries[0] ?? '') as { name: string };
    const jwks = { keys: [createSigningKey('ES256', 'first').jwk] };
    const document = { ...entry, keys: { pushed: { jwks } } };
    expect(parseRegisteredEntry(document, { name, allowsPrivate: false })).to.include({ ok: true });
  });
  it('has a role that is one', () => {
    const roles = all.filter((text) => text.includes('kind: TokenRole'));
    expect(roles).to.have.length(1);
    for (const text of roles)
      expect(createRoleParser()(parse(text), 'docs')).to.include({ ok: true });
  });
  examples.forEach((text, at) => {
    it(`has an example ${at + 1} that is a clusters table`, () => {
      expect(
        parseClusters(text, { file: '/etc/coatcheck/clusters.yaml' }).length,
      ).to.be.greaterThan(0);
    });
  });
  it('shows one entry per way to get keys', () => {
    const clusters = parseClusters(examples[1] ?? '', { file: '/etc/coatcheck/clusters.yaml' });
    expect(clusters.map(({ keys }) => keys?.from)).to.deep.equal([
      'apiServer',
      'discovery',
      'file',
      'url',
    ]);
  });
});
