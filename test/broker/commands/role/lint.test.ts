// `coatcheck role lint`: exit codes, what it says for people and for programs, and that it reads as the broker does.
import { expect } from 'chai';
import { run } from '../../../../broker/commands/role/lint.ts';
import { createWorkplace, type Workplace } from './harness.ts';

const role = (name: string, more = '', token = '{ scopes: [read] }') => `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: ${name} }
spec:
  audience: payments
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: ${token}
${more}`;

describe('role lint', () => {
  let place: Workplace;
  beforeEach(() => {
    place = createWorkplace(run);
  });
  afterEach(() => place.remove());

  it('says nothing but numbers of roles that are well', async () => {
    place.write('a.yaml', role('a'));
    expect(await place.run(['-f', place.folder])).to.deep.equal({
      code: 0,
      stdout: 'roles: 1, problems: 0, warnings: 0\n',
      stderr: '',
    });
  });
  it('exits 1 on a document that is no role, says where and what, and quotes nothing', async () => {
    const file = place.write('a.yaml', `${role('a')}---${role('b', '  audiense: sensitive\n')}`);
    const { code, stdout } = await place.run(['-f', file]);
    expect(code).to.equal(1);
    expect(stdout).to.contain(
      `problem: ${file}#2: spec: unknown field audiense; did you mean audience?`,
    );
    expect(stdout).to.not.contain('sensitive');
  });
  it('shows the place of a mistake in a condition', async () => {
    place.write('a.yaml', role('a', '  condition: "pod.name = 1"\n'));
    const { code, stdout } = await place.run(['-f', place.folder]);
    expect([code, stdout]).to.satisfy(([, text]: [number, string]) =>
      /spec\.condition: is not valid CEL at line 1, column 10/.test(text),
    );
    expect(code).to.equal(1);
  });
  it('exits 0 with warnings, and 1 with --strict', async () => {
    const file = place.write('a.yaml', `${role('a')}---${role('b')}---${role('c', '', '{}')}`);
    const plain = await place.run(['-f', file]);
    expect(plain.code).to.equal(0);
    expect(plain.stdout).to.contain(
      `warning: ${file}#1: a, subject 1: subjects that subject 1 of b fits too are refused both, unless they name a role [ambiguous]`,
    );
    expect(plain.stdout).to.match(/warning: .*#3: c: its tokens have no scopes .*\[no_scopes\]/);
    expect((await place.run(['-f', file, '--strict'])).code).to.equal(1);
  });
  it('exits 0 with --strict where there is nothing to warn about', async () => {
    place.write('a.yaml', role('a'));
    expect((await place.run(['-f', place.folder, '--strict'])).code).to.equal(0);
  });
  it('answers programs in JSON', async () => {
    place.write('a.yaml', role('a', '', '{}'));
    const { stdout } = await place.run(['-f', place.folder, '-o', 'json']);
    const answer = JSON.parse(stdout) as { roles: number; problems: string[]; warnings: object[] };
    expect(answer).to.deep.include({ roles: 1, problems: [] });
    expect(answer.warnings[0]).to.deep.include({ kind: 'no_scopes', role: 'a' });
  });
  it('takes a name that is there twice for a problem, also over several files', async () => {
    const [a, b] = [place.write('a.yaml', role('a')), place.write('b.yaml', role('a'))];
    const { code, stdout } = await place.run(['-f', a, b]);
    expect(code).to.equal(1);
    expect(stdout).to.contain(`${b}#1: metadata.name: is the name of file:${a}#1 already`);
  });
  it('reads standard input', async () => {
    const { code, stdout } = await place.run(['-f', '-'], { stdin: role('a') });
    expect([code, stdout]).to.deep.equal([0, 'roles: 1, problems: 0, warnings: 0\n']);
  });
  it('reads a folder as the broker does: no hidden file, no other kind of file, no folder below', async () => {
    place.write('a.yml', role('a'));
    place.write('.b.yaml', 'no: role');
    place.write('README.md', 'no: role');
    place.write('below/c.yaml', 'no: role');
    expect((await place.run(['-f', place.folder])).stdout).to.equal(
      'roles: 1, problems: 0, warnings: 0\n',
    );
  });
  it('knows the names of clusters and issuers where they are told', async () => {
    const subject = (text: string) =>
      role('a').replace('{ namespace: shop, serviceAccount: checkout }', text);
    const file = place.write(
      'a.yaml',
      subject(
        '{ cluster: stagin, namespace: a, serviceAccount: b }, { issuer: githab, subject: "repo:a/b" }',
      ),
    );
    expect((await place.run(['-f', file, '--strict'])).code).to.equal(0);
    const told = await place.run(['-f', file, '--clusters', 'staging', '--issuers', 'github']);
    expect(told.stdout).to.match(/\[unknown_cluster\]\n.*\[unknown_issuer\]/);
    place.write('a.yaml', subject('{ cluster: local, namespace: a, serviceAccount: b }'));
    expect((await place.run(['-f', file, '--clusters', 'staging', '--strict'])).code).to.equal(0);
  });
  it('holds roles against the limits of the operator', async () => {
    const file = place.write('a.yaml', role('a', '', '{ type: opaque, policies: [root] }'));
    expect((await place.run(['-f', file])).stdout).to.contain('has power at the broker');
    expect((await place.run(['-f', file, '--allow-broker-policies', 'root'])).code).to.equal(0);
    const stateless = await place.run([
      '-f',
      file,
      '--allow-broker-policies',
      'root',
      '--without-store',
    ]);
    expect(stateless.stdout).to.contain('opaque tokens are kept in a store');
    const direct = await place.run(['-f', file, '--direct-audiences', 'payments']);
    expect(direct.stdout).to.contain('is shown to receivers directly');
    const reserved = await place.run(['-f', file], {
      environment: { COATCHECK_RESERVED_AUDIENCES: 'payments', COATCHECK_BROKER_URL: 'ignored' },
    });
    expect(reserved.stdout).to.contain('is reserved');
  });
  const wrong: readonly { title: string; args: readonly string[]; problem: RegExp }[] = [
    { title: 'no file', args: [], problem: /-f is required/ },
    {
      title: 'a file that is not there',
      args: ['-f', '/nonexistent/a.yaml'],
      problem: /cannot be read \(ENOENT\)/,
    },
    { title: 'an unknown flag', args: ['-f', '-', '--stricd'], problem: /--stricd|strict/ },
  ];
  for (const { title, args, problem } of wrong) {
    it(`exits 2 with ${title}`, async () => {
      const { code, stderr, stdout } = await place.run(args);
      expect([code, stdout]).to.deep.equal([2, '']);
      expect(stderr).to.match(problem);
    });
  }
});
