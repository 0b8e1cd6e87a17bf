// `coatcheck inject` and `coatcheck lint` on manifests as people write them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parse, parseAllDocuments } from 'yaml';
import type { Command } from '../../common/command.ts';
import { command as inject } from '../../webhook/commands/inject.ts';
import { command as lint } from '../../webhook/commands/lint.ts';

const POD = `apiVersion: v1
kind: Pod
metadata:
  name: app
  annotations:
    auth.example.io/audience: payments
spec:
  volumes:
    - name: s
      secret: { secretName: s, defaultMode: 0400 }
  containers:
    - name: app
      image: registry.example.io/app:1
`;
const template = (indent: string, annotation: string) =>
  `metadata: { annotations: { ${annotation} } }\nspec: { restartPolicy: Always, containers: [{ name: app, image: x }] }`
    .split('\n')
    .map((line) => indent + line)
    .join('\n');
const DEPLOYMENT = `apiVersion: apps/v1
kind: Deployment
metadata: { name: web }
spec:
  template:
${template('    ', 'auth.example.io/audience: payments')}
`;
const CRON_JOB = `apiVersion: batch/v1
kind: CronJob
metadata: { name: tick }
spec:
  jobTemplate:
    spec:
      template:
${template('        ', 'auth.example.io/audence: payments')}
`;
const MISPLACED = `apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db, annotations: { auth.example.io/audience: payments } }
spec:
  template:
${template('    ', 'other: x')}
`;
const CONFIG_MAP = `# keep this comment
apiVersion: v1
kind: ConfigMap
metadata: { name: c }
`;

interface Ran {
  code: number;
  stdout: string;
  stderr: string;
}

async function run(
  command: Command,
  args: readonly string[],
  given: { stdin?: string; environment?: Record<string, string> } = {},
): Promise<Ran> {
  let stdout = '';
  let stderr = '';
  const code = await command.run(args, {
    stdout: (text) => {
      stdout += text;
    },
    stderr: (text) => {
      stderr += text;
    },
    stdin: async () => given.stdin ?? '',
    environment: given.environment ?? {},
  });
  return { code, stdout, stderr };
}

describe('coatcheck inject', () => {
  it('prints a pod as the webhook would leave it, octal numbers and all', async () => {
    const { code, stdout } = await run(inject, ['-f', '-'], { stdin: POD });
    const pod = parse(stdout);
    expect(code).to.equal(0);
    expect(pod.spec.initContainers[0].name).to.equal('coatcheck-exchange');
    expect(pod.spec.volumes[0].secret.defaultMode).to.equal(0o400);
    expect(pod.spec.containers[0].env[0].name).to.equal('AUTH_TOKEN_FILE');
  });

  it('takes the settings of the operator, and a CA', async () => {
    const { stdout } = await run(
      inject,
      ['-f', '-', '--broker-url=https://b.example.io', '--image', 'i.example.io/x:2'],
      {
        stdin: POD,
        environment: { COATCHECK_DEADLINE_SECONDS: '7', COATCHECK_LISTEN: 'of another process' },
      },
    );
    const [exchange] = parse(stdout).spec.initContainers;
    expect(exchange.image).to.equal('i.example.io/x:2');
    expect(exchange.env).to.deep.include({
      name: 'COATCHECK_BROKER_URL',
      value: 'https://b.example.io',
    });
    expect(exchange.env).to.deep.include({ name: 'COATCHECK_DEADLINE_SECONDS', value: '7' });
  });

  it('injects templates of workloads and items of lists, and leaves other documents as they were written', async () => {
    const list = JSON.stringify({
      apiVersion: 'v1',
      kind: 'List',
      items: [parse(POD), { kind: 'Service' }],
    });
    const { code, stdout } = await run(inject, ['-f', '-'], {
      stdin: [CONFIG_MAP, DEPLOYMENT, list].join('---\n'),
    });
    expect(code).to.equal(0);
    expect(stdout.startsWith(CONFIG_MAP)).to.equal(true);
    const [, deployment, items] = parseAllDocuments(stdout).map((one) => one.toJS());
    expect(deployment.spec.template.spec.initContainers[0].name).to.equal('coatcheck-exchange');
    expect(items.items[0].spec.initContainers[0].name).to.equal('coatcheck-exchange');
    expect(items.items[1]).to.deep.equal({ kind: 'Service' });
  });

  it('prints nothing and exits with 1 where one pod of several would be denied', async () => {
    const { code, stdout, stderr } = await run(inject, ['-f', '-'], {
      stdin: `${POD}---\n${CRON_JOB}`,
    });
    expect([code, stdout]).to.deep.equal([1, '']);
    expect(stderr).to.match(
      /^-:2:spec\.jobTemplate\.spec\.template: denied: auth\.example\.io\/audence: .*did you mean audience\?.*\[annotation_unknown\]/,
    );
  });

  it('tells warnings on standard error', async () => {
    const { code, stderr } = await run(inject, ['-f', '-'], {
      stdin: POD.replace('spec:', 'spec:\n  shareProcessNamespace: true'),
    });
    expect(code).to.equal(0);
    expect(stderr).to.match(/^-:1:: warning: shareProcessNamespace/);
  });

  it('prints JSON when asked', async () => {
    const { stdout } = await run(inject, ['-f', '-', '-o', 'json'], { stdin: POD });
    expect(JSON.parse(stdout).kind).to.equal('Pod');
  });

  it('gives the same again when fed its own output', async () => {
    const once = await run(inject, ['-f', '-'], { stdin: POD });
    const twice = await run(inject, ['-f', '-'], { stdin: once.stdout });
    expect(parse(twice.stdout, { version: '1.1' })).to.deep.equal(
      parse(once.stdout, { version: '1.1' }),
    );
  });

  const wrong: { name: string; args: string[]; stdin?: string; code: number; expected: RegExp }[] =
    [
      { name: 'no file', args: [], code: 2, expected: /-f is required/ },
      {
        name: 'an unknown flag',
        args: ['-f', '-', '--imag', 'x'],
        code: 2,
        expected: /--imag is not a flag.*did you mean --image/,
      },
      {
        name: 'a missing file',
        args: ['-f', '/nowhere/x.yaml'],
        code: 1,
        expected: /cannot be read \(ENOENT\)/,
      },
      {
        name: 'broken YAML',
        args: ['-f', '-'],
        stdin: 'a: [',
        code: 1,
        expected: /-: document 1 is no YAML/,
      },
      {
        name: 'a bomb of aliases',
        args: ['-f', '-'],
        stdin: bomb(),
        code: 1,
        expected: /-: document 1 cannot be read/,
      },
    ];
  for (const { name, args, stdin, code, expected } of wrong) {
    it(`says what is wrong with ${name}`, async () => {
      const ran = await run(inject, args, { stdin: stdin ?? '' });
      expect([ran.code, ran.stdout]).to.deep.equal([code, '']);
      expect(ran.stderr).to.match(expected);
    });
  }
});

function bomb(): string {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x]'];
  for (let i = 1; i < 9; i++)
    lines.push(
      `a${i}: &a${i} [${Array(9)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    );
  return lines.join('\n');
}

describe('coatcheck lint', () => {
  let folder: string;
  const write = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'lint-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('finds nothing in manifests that are right', async () => {
    const { code, stdout } = await run(lint, [
      '-f',
      write('a.yaml', POD),
      write('b.yaml', DEPLOYMENT),
    ]);
    expect([code, stdout]).to.deep.equal([0, '2 pods and pod templates: 0 denied, 0 warnings\n']);
  });

  it('says where a misspelt key stands and exits with 1', async () => {
    const file = write('c.yaml', `${CONFIG_MAP}---\n${CRON_JOB}`);
    const { code, stdout } = await run(lint, ['-f', file]);
    expect(code).to.equal(1);
    expect(stdout).to.include(
      `${file}:2:spec.jobTemplate.spec.template.metadata.annotations["auth.example.io/audence"]: denied: CronJob/tick:`,
    );
  });

  it('warns of a key on the workload itself and exits with 0', async () => {
    const { code, stdout } = await run(lint, ['-f', write('d.yaml', MISPLACED)]);
    expect(code).to.equal(0);
    expect(stdout)
      .to.include(
        'metadata.annotations["auth.example.io/audience"]: warning: StatefulSet/db: auth.example.io/audience stands on the workload itself',
      )
      .and.include('[annotation_misplaced]');
  });

  it('has a stable JSON form, over several files', async () => {
    const { code, stdout } = await run(lint, [
      '-f',
      write('e.yaml', MISPLACED),
      '-f',
      write('f.yaml', CRON_JOB),
      '--output',
      'json',
    ]);
    const { pods, findings } = JSON.parse(stdout);
    expect([code, pods]).to.deep.equal([1, 2]);
    expect(findings.map((one: { code: string }) => one.code)).to.deep.equal([
      'annotation_misplaced',
      'annotation_unknown',
      'audience_missing',
    ]);
    expect(Object.keys(findings[1]).sort()).to.deep.equal([
      'code',
      'document',
      'file',
      'kind',
      'message',
      'name',
      'path',
      'severity',
    ]);
  });

  it('knows custom workloads by their template', async () => {
    const rollout = DEPLOYMENT.replace('kind: Deployment', 'kind: Rollout').replace(
      'audience:',
      'audienc:',
    );
    expect((await run(lint, ['-f', '-'], { stdin: rollout })).code).to.equal(1);
  });
});
