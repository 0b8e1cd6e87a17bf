// Roles from files: hot reload, a broken file, duplicates, and the kubelet's way of swapping a ConfigMap.
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { createFileSource, type FileSource, POLL_MS } from '../../../broker/roles/sources/file.ts';
import { createLogger } from '../../../common/log.ts';
import { createFakeClock, type FakeClock } from '../../support/clock.ts';
import { keep } from '../../support/tokens.ts';

const role = (name: string, audience = 'payments') => `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: ${name} }
spec:
  audience: ${audience}
  subjects: [{ namespace: shop, serviceAccount: checkout }]
`;

describe('roles from files', () => {
  let folder: string;
  let clock: FakeClock;
  let lines: string[];
  let events: { roles: number; problems: number }[];
  let source: FileSource;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'coatcheck-roles-'));
    clock = createFakeClock();
    lines = [];
    events = [];
    source = make(folder);
  });
  afterEach(async () => {
    keep('roles.log', lines.join(''));
    await source.stop();
    await rm(folder, { recursive: true });
  });
  function make(at: string): FileSource {
    const log = createLogger({
      level: 'debug',
      process: 'test',
      stream: { write: (line) => lines.push(line) },
    });
    const made = createFileSource({ path: at, clock, log });
    made.onChange(() =>
      events.push({ roles: made.current().length, problems: made.problems().length }),
    );
    return made;
  }
  const write = (name: string, text: string) => writeFile(path.join(folder, name), text);
  const names = () => source.current().map(({ name }) => name);
  const find = (name: string) => source.current().find((one) => one.name === name);
  /** Two polls: the first sees the change, the second sees that it has settled. Reading is real, so it is waited for. */
  async function poll(isDone: () => boolean): Promise<void> {
    for (let round = 0; round < 200 && !isDone(); round++) {
      await clock.advance(POLL_MS);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(isDone()).to.equal(true);
  }

  it('reads every document of every YAML and JSON file, and nothing else', async () => {
    await write('b.yaml', `${role('b1')}---\n# nothing\n---\n${role('b2')}`);
    await write('a.yml', role('a'));
    await write(
      'c.json',
      JSON.stringify({
        apiVersion: 'auth.example.io/v1alpha1',
        kind: 'TokenRole',
        metadata: { name: 'c' },
        spec: { audience: 'c', subjects: [{ client: 'ci' }] },
      }),
    );
    await write('README.md', 'not: a role');
    await write('.hidden.yaml', 'not: a role');
    await source.reload();
    expect(names()).to.deep.equal(['a', 'b1', 'b2', 'c']);
    expect(source.problems()).to.deep.equal([]);
    expect(find('c')?.source).to.equal(`file:${path.join(folder, 'c.json')}#1`);
    expect(find('b2')?.source).to.match(/b\.yaml#3$/);
  });
  it('reads a single file', async () => {
    await write('roles.yaml', role('one'));
    source = make(path.join(folder, 'roles.yaml'));
    await source.reload();
    expect(names()).to.deep.equal(['one']);
  });
  it('is not ready before it has read anything, and is with an empty folder', async () => {
    source = make(path.join(folder, 'missing'));
    await source.reload();
    expect(source.findObstacles()).to.have.length(1);
    expect(source.problems()[0]).to.match(/missing: cannot be read \(ENOENT\)$/);
    await mkdir(path.join(folder, 'missing'));
    await source.reload();
    expect(source.findObstacles()).to.deep.equal([]);
    expect(source.problems()).to.deep.equal([]);
  });
  it('keeps the last good roles of a broken file, takes the changes of the others, and says so once', async () => {
    await write('a.yaml', role('a'));
    await write('b.yaml', role('b'));
    await source.reload();
    await write('a.yaml', `${role('a', 'changed')}---\nkind: [`);
    await write('b.yaml', role('b2'));
    await source.reload();
    expect(names()).to.deep.equal(['a', 'b2']);
    expect(find('a')?.audience).to.equal('payments');
    expect(source.problems().length).to.be.greaterThan(0);
    for (const problem of source.problems())
      expect(problem).to.match(/a\.yaml#2: not valid YAML at line \d+, column \d+/);
    const said = lines.length;
    await source.reload();
    expect(lines).to.have.length(said);
    await write('a.yaml', role('a', 'mended'));
    await source.reload();
    expect(find('a')?.audience).to.equal('mended');
    expect(source.problems()).to.deep.equal([]);
    expect(events.map(({ roles, problems }) => [roles, problems > 0])).to.deep.equal([
      [2, false],
      [2, true],
      [2, false],
    ]);
  });
  it('survives a file whose value holds itself', async () => {
    await write('a.yaml', role('a'));
    await write('b.yaml', `${role('b')}  token: { claims: &c { again: *c } }\n`);
    await source.reload();
    expect(names()).to.deep.equal(['a']);
    expect(source.problems().join()).to.match(/b\.yaml#1: an alias inside of its own anchor/);
  });
  it('gives no role of a file that was never good', async () => {
    await write('a.yaml', `${role('a')}---\nkind: Secret\ndata: { sensitive: sensitive-value }\n`);
    await source.reload();
    expect(names()).to.deep.equal([]);
    expect(source.problems().join('\n')).to.contain('a.yaml#2: kind: must be TokenRole');
    expect(lines.join('')).to.not.contain('sensitive-value');
  });
  it('gives a name to the first file by path, and reports the other', async () => {
    await write('b.yaml', role('pay', 'second'));
    await write('a.yaml', role('pay', 'first'));
    await source.reload();
    expect(source.current().map(({ audience }) => audience)).to.deep.equal(['first']);
    expect(source.problems()[0]).to.match(
      /b\.yaml#1: metadata\.name: is the name of file:.*a\.yaml#1 already; ignored$/,
    );
    await unlink(path.join(folder, 'a.yaml'));
    await source.reload();
    expect(source.current().map(({ audience }) => audience)).to.deep.equal(['second']);
    expect(source.problems()).to.deep.equal([]);
  });
  it('takes away the roles of a deleted file, but keeps all when the whole folder is gone', async () => {
    await write('a.yaml', role('a'));
    await write('b.yaml', role('b'));
    await source.reload();
    await unlink(path.join(folder, 'a.yaml'));
    await source.reload();
    expect(names()).to.deep.equal(['b']);
    await rename(folder, `${folder}-away`);
    await source.reload();
    expect(names()).to.deep.equal(['b']);
    expect(source.problems()).to.have.length(1);
    await rename(`${folder}-away`, folder);
    await source.reload();
    expect(source.problems()).to.deep.equal([]);
  });
  it('watches: a changed, a new and a swapped file are read without a restart', async () => {
    await mkdir(path.join(folder, '..v1'));
    await writeFile(path.join(folder, '..v1', 'roles.yaml'), role('one'));
    await symlink('..v1', path.join(folder, '..data'));
    await symlink('..data/roles.yaml', path.join(folder, 'roles.yaml'));
    await source.start();
    expect(names()).to.deep.equal(['one']);
    await mkdir(path.join(folder, '..v2'));
    await writeFile(path.join(folder, '..v2', 'roles.yaml'), role('two'));
    await symlink('..v2', path.join(folder, '..data_tmp'));
    await rename(path.join(folder, '..data_tmp'), path.join(folder, '..data'));
    await poll(() => names().join() === 'two');
    await write('more.yaml', role('three', 'other'));
    await poll(() => names().join() === 'three,two');
  });
  it('hands out one unchanged object while nothing changes', async () => {
    await write('a.yaml', role('a'));
    await source.reload();
    const before = source.current();
    await write('a.yaml', `# a comment\n${role('a')}`);
    await source.reload();
    expect(source.current().map(({ name }) => name)).to.deep.equal(before.map(({ name }) => name));
    const again = source.current();
    await source.reload();
    expect(source.current()).to.equal(again);
  });
  it('names what is no role, and keeps its last good form in use', async () => {
    await write('a.yaml', role('a'));
    await source.reload();
    await write('a.yaml', role('a', 'not an audience'));
    await source.reload();
    expect(names()).to.deep.equal(['a']);
    expect(source.invalid().map(({ name, problems }) => [name, problems.length])).to.deep.equal([
      ['a', 1],
    ]);
    expect(source.invalid()[0]?.source).to.match(/^file:.*a\.yaml#1$/);
    await write('a.yaml', role('a'));
    await source.reload();
    expect(source.invalid()).to.deep.equal([]);
  });
  it('refuses a file larger than 1 MiB', async () => {
    await write('a.yaml', `${role('a')}#${'x'.repeat(1024 * 1024)}`);
    await source.reload();
    expect(source.problems()[0]).to.match(/a\.yaml: larger than 1048576 bytes/);
  });
});
