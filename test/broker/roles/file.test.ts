// Roles from files: hot reload, a broken file, duplicates, and the kubelet's way of swapping a ConfigMap.
import { mkdir, mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import {
  createFileSource,
  type FileSource,
  POLL_MS,
  type RolesEvent,
} from '../../../broker/roles/sources/file.ts';
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
  let events: RolesEvent[];
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
    return createFileSource({ path: at, clock, log, onChange: (event) => events.push(event) });
  }
  const write = (name: string, text: string) => writeFile(path.join(folder, name), text);
  const names = () => source.current().all.map(({ name }) => name);
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
    expect(source.current().findByAudience('c')[0]?.source).to.equal(
      `file:${path.join(folder, 'c.json')}#1`,
    );
    expect(source.current().findByName('b2')?.source).to.match(/b\.yaml#3$/);
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
    expect(source.current().findByName('a')?.audience).to.equal('payments');
    expect(source.problems().length).to.be.greaterThan(0);
    for (const problem of source.problems())
      expect(problem).to.match(/a\.yaml#2: not valid YAML at line \d+, column \d+/);
    const said = lines.length;
    await source.reload();
    expect(lines).to.have.length(said);
    await write('a.yaml', role('a', 'mended'));
    await source.reload();
    expect(source.current().findByName('a')?.audience).to.equal('mended');
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
    expect(source.current().all.map(({ audience }) => audience)).to.deep.equal(['first']);
    expect(source.problems()[0]).to.match(
      /b\.yaml#1: metadata\.name: is the name of file:.*a\.yaml#1 already; ignored$/,
    );
    await unlink(path.join(folder, 'a.yaml'));
    await source.reload();
    expect(source.current().all.map(({ audience }) => audience)).to.deep.equal(['second']);
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
    expect(source.current().all.map(({ name }) => name)).to.deep.equal(
      before.all.map(({ name }) => name),
    );
    const again = source.current();
    await source.reload();
    expect(source.current()).to.equal(again);
  });
  it('logs what the lint finds after a change, where it knows the own cluster', async () => {
    const log = createLogger({
      level: 'debug',
      process: 'test',
      stream: { write: (line) => lines.push(line) },
    });
    source = createFileSource({ path: folder, clock, log, ownCluster: 'here' });
    await write('a.yaml', `${role('a')}---\n${role('b')}`);
    await source.reload();
    const found = lines.map(
      (line) => JSON.parse(line) as { msg: string; findings?: { kind: string }[] },
    );
    const second = found.find(({ msg }) => msg === 'roles deserve a second look');
    expect(second?.findings?.map(({ kind }) => kind)).to.deep.equal(['ambiguous']);
    await write('a.yaml', role('a'));
    await source.reload();
    expect(lines.at(-1)).to.contain('"msg":"roles loaded"');
  });
  it('does not lint so many rules that nobody would be served meanwhile', async () => {
    const log = createLogger({
      level: 'debug',
      process: 'test',
      stream: { write: (line) => lines.push(line) },
    });
    source = createFileSource({ path: folder, clock, log, ownCluster: 'here' });
    const globs = Array.from(
      { length: 251 },
      (_, i) => `{ namespace: "a${i}-*", serviceAccount: b }`,
    );
    const many = (name: string) =>
      role(name).replace(/subjects: .*/, `subjects: [${globs.slice(1).join(', ')}]`);
    await write('a.yaml', ['a', 'b', 'c', 'd'].map(many).join('---\n'));
    await source.reload();
    expect(lines.at(-1)).to.contain('"msg":"roles deserve a second look"');
    await write('b.yaml', role('e'));
    await source.reload();
    expect(lines.at(-1)).to.match(/"rules":1001.*too many rules to be linted/);
    expect(source.current().all).to.have.length(5);
  });
  it('refuses a file larger than 1 MiB', async () => {
    await write('a.yaml', `${role('a')}#${'x'.repeat(1024 * 1024)}`);
    await source.reload();
    expect(source.problems()[0]).to.match(/a\.yaml: larger than 1048576 bytes/);
  });
});
