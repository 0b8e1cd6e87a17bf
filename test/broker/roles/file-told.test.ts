// Which files of a folder hold roles, in which order roles come, and what is told about those that are none.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { createFileSource, type FileSource } from '../../../broker/roles/sources/file.ts';
import { createLogger } from '../../../common/log.ts';
import { createFakeClock } from '../../support/clock.ts';
import { keep } from '../../support/tokens.ts';

const role = (name: string, audience = 'payments') => `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: ${name} }
spec: { audience: ${audience}, subjects: [{ namespace: shop, serviceAccount: checkout }] }
`;

describe('a folder of roles', () => {
  let folder: string;
  let source: FileSource;
  let lines: string[];
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'coatcheck-roles-'));
    lines = [];
    const stream = { write: (line: string) => lines.push(line) };
    const log = createLogger({ level: 'debug', process: 'test', stream });
    source = createFileSource({ path: folder, clock: createFakeClock(), log });
  });
  afterEach(async () => {
    keep('roles.log', lines.join(''));
    await source.stop();
    await rm(folder, { recursive: true });
  });

  async function start(files: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, text] of Object.entries(files))
      await writeFile(path.join(folder, name), text);
    await source.start();
  }
  const names = () => source.current().map(({ name }) => name);
  const logged = () => lines.map((line) => JSON.parse(line) as Record<string, unknown>);

  it('holds nothing before it was read', () => {
    expect(source.current()).to.deep.equal([]);
    expect(source.invalid()).to.deep.equal([]);
    expect(source.problems()).to.deep.equal([]);
  });

  it('gives its roles in the order of their names, whatever files they are in', async () => {
    await start({ 'a.yaml': role('c'), 'b.yml': role('a'), 'c.json': role('b') });
    expect(names()).to.deep.equal(['a', 'b', 'c']);
    expect(logged().at(-1)).to.include({ level: 'info', roles: 3, msg: 'roles loaded' });
  });

  it('is read by the ends of names, and not what is hidden', async () => {
    await start({
      'a.yaml': role('a'),
      'b.yaml.bak': role('b'),
      '.c.yaml': role('c'),
      'd.txt': role('d'),
    });
    expect(names()).to.deep.equal(['a']);
  });

  it('tells of a file that cannot be read, and serves the others', async () => {
    await mkdir(path.join(folder, 'b.yaml'));
    await start({ 'a.yaml': role('a') });
    expect(names()).to.deep.equal(['a']);
    expect(source.invalid()).to.deep.equal([]);
    expect(source.problems()).to.deep.equal([`${folder}/b.yaml: cannot be read (EISDIR)`]);
    const said = logged().find(({ level }) => level !== 'info' && level !== 'debug');
    expect(said).to.deep.include({ problems: source.problems(), roles: 1 });
  });

  it('gives no role of a file in which one document is wrong', async () => {
    await start({ 'a.yaml': `${role('a')}---\n${role('b', '"not legal"')}`, 'c.yaml': role('c') });
    expect(names()).to.deep.equal(['c']);
    expect(source.invalid().map(({ name }) => name)).to.deep.equal(['b']);
    expect(source.problems()).to.have.length(1);
    expect(source.problems()[0]).to.include('a.yaml#2: spec.audience');
  });

  for (const [name, expected] of [
    ['a-role', ['a-role']],
    ['A_role.1', ['A_role.1']],
    ['x'.repeat(253), ['x'.repeat(253)]],
    ['x'.repeat(254), []],
    ['"two words"', []],
    ['"line\\nbreak"', []],
    ['""', []],
    ['5', []],
    ['[a]', []],
  ] as const) {
    it(`tells the name of what is no role only where it could be one: ${name.slice(0, 20)}`, async () => {
      await start({ 'a.yaml': role(name, '"not legal"') });
      expect(source.invalid().map((one) => one.name)).to.deep.equal(expected);
    });
  }

  it('takes the first of two roles with one name, and tells where both are', async () => {
    await start({ 'a.yaml': role('a'), 'b.yaml': role('a', 'ledger') });
    expect(source.current().map(({ audience }) => audience)).to.deep.equal(['payments']);
    expect(source.problems()).to.deep.equal([
      `${folder}/b.yaml#1: metadata.name: is the name of file:${folder}/a.yaml#1 already; ignored`,
    ]);
  });
});
