// The examples in docs/roles.md and docs/clusters.md are what the broker reads.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parseClusters } from '../../../broker/identity/clusters.ts';
import { createRoleParser } from '../../../broker/roles/schema.ts';
import { parseFile } from '../../../broker/roles/sources/file.ts';

const docs = path.join(import.meta.dirname, '../../../docs');
const read = (name: string) => readFileSync(path.join(docs, name), 'utf8');
const examplesOf = (name: string) =>
  [...read(name).matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text = '']) => text);

describe('docs/roles.md', () => {
  const examples = examplesOf('roles.md');
  it('has examples', () => expect(examples.length).to.be.greaterThan(1));
  examples.forEach((text, at) => {
    it(`has an example ${at + 1} that is a role`, () => {
      const { roles, problems } = parseFile('roles.md', text, createRoleParser());
      expect(problems).to.deep.equal([]);
      expect(roles).to.have.length(1);
    });
  });
  it('shows defaults that are the defaults: the full example means what the short token does', () => {
    const [full] = parseFile('roles.md', examples[1] ?? '', createRoleParser()).roles;
    const [short] = parseFile('roles.md', examples[0] ?? '', createRoleParser()).roles;
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
});

describe('docs/clusters.md', () => {
  const examples = examplesOf('clusters.md');
  it('has examples', () => expect(examples.length).to.be.greaterThan(1));
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
