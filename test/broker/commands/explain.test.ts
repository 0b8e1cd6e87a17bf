// `coatcheck explain` against the live broker: the same decision and the same first failing rule, for every kind of
// token; its output for people and for programs; and never a token in it.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { command, run } from '../../../broker/commands/explain.ts';
import type { DecisionRecord } from '../../../broker/decision-record.ts';
import { startApiServer } from '../../support/api-server.ts';
import { type FakeIssuer, startIssuer } from '../../support/issuer.ts';
import { keep } from '../../support/tokens.ts';
import { toComparable } from '../comparable.ts';
import { startTestBroker, type TestBroker } from '../harness.ts';

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

describe('explain', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('explain');
  });
  after(() => broker.stop());

  async function explain(
    token: string,
    args: readonly string[] = [],
    clustersFile = broker.clustersFile,
  ): Promise<Outcome> {
    const file = path.join(path.dirname(broker.clustersFile), 'token');
    writeFileSync(file, `${token}\n`);
    return runExplain([
      '--token-file',
      file,
      '--clusters-file',
      clustersFile,
      '--roles',
      broker.rolesDir,
      ...args,
    ]);
  }

  async function runExplain(
    args: readonly string[],
    { stdin = '', environment = {} } = {},
  ): Promise<Outcome> {
    let stdout = '';
    let stderr = '';
    const code = await run(args, {
      stdout: (text) => {
        stdout += text;
      },
      stderr: (text) => {
        stderr += text;
      },
      stdin: async () => stdin,
      environment,
    });
    keep('explain', stdout + stderr);
    return { code, stdout, stderr };
  }

  const now = () => Math.floor(Date.now() / 1000);
  const rows: readonly {
    name: string;
    token: () => string;
    audience?: string;
    role?: string;
    scope?: string;
    code: number;
  }[] = [
    { name: 'an allowed token', token: () => broker.issuer.token(), code: 0 },
    { name: 'fewer scopes', token: () => broker.issuer.token(), scope: 'payments:read', code: 0 },
    {
      name: 'a role by name',
      token: () => broker.issuer.token({ audiences: ['twins'] }),
      role: 'twin-a',
      code: 0,
    },
    {
      name: 'another namespace',
      token: () => broker.issuer.token({ namespace: 'other' }),
      code: 1,
    },
    {
      name: 'another ServiceAccount',
      token: () => broker.issuer.token({ serviceAccount: 'other' }),
      code: 1,
    },
    {
      name: 'an audience of no role',
      token: () => broker.issuer.token({ audiences: ['nothing'] }),
      code: 1,
    },
    { name: 'a foreign audience', token: () => broker.issuer.token(), audience: 'batch', code: 1 },
    {
      name: 'an ambiguous role',
      token: () => broker.issuer.token({ audiences: ['twins'] }),
      code: 1,
    },
    { name: 'an unknown role', token: () => broker.issuer.token(), role: 'nobody', code: 1 },
    {
      name: 'a scope too many',
      token: () => broker.issuer.token(),
      scope: 'payments:admin',
      code: 1,
    },
    {
      name: 'several audiences',
      token: () => broker.issuer.token({ audiences: ['multi', 'payments'] }),
      audience: 'payments',
      code: 1,
    },
    { name: 'no pod', token: () => broker.issuer.token({ pod: null, node: null }), code: 1 },
    {
      name: 'an expired token',
      token: () => broker.issuer.token({ issuedAt: now() - 4000 }),
      code: 1,
    },
    {
      name: 'a token of tomorrow',
      token: () => broker.issuer.token({ issuedAt: now() + 86_400 }),
      code: 1,
    },
    {
      name: 'a foreign issuer',
      token: () => broker.issuer.token({ issuer: 'https://elsewhere.example' }),
      code: 1,
    },
    {
      name: 'a forged signature',
      token: () => broker.issuer.token({ mint: { sign: () => Buffer.alloc(64, 1) } }),
      code: 1,
    },
    { name: 'no token at all', token: () => 'nonsense', code: 1 },
  ];
  for (const { name, token, audience, role, scope, code } of rows) {
    it(`decides like the broker: ${name}`, async () => {
      const subject = token();
      await broker.exchange({ subject_token: subject, audience, role, scope });
      const live = broker.audit.at(-1);
      const args = [
        ...(audience ? ['--audience', audience] : []),
        ...(role ? ['--role', role] : []),
        ...(scope ? ['--scope', scope] : []),
        '--output',
        'json',
      ];
      const outcome = await explain(subject, args);
      expect(outcome.code, outcome.stdout + outcome.stderr).to.equal(code);
      const explained = JSON.parse(outcome.stdout) as DecisionRecord;
      expect(explained.dialect).to.equal('explain');
      expect(toComparable(explained)).to.deep.equal(toComparable(live));
    });
  }

  it('sees, as the broker does, that another cluster has the same key', async () => {
    const other = await startIssuer();
    try {
      const table = path.join(path.dirname(broker.clustersFile), 'two-clusters.yaml');
      const toEntry = ({ issuer, jwksUrl }: FakeIssuer, rest: string) =>
        `{ kind: kubernetes, issuer: "${issuer}", keys: { url: "${jwksUrl}" }, ${rest} }`;
      writeFileSync(
        table,
        `clusters: [${toEntry(broker.issuer, 'name: local, own: true')}, ${toEntry(other, 'name: other')}]`,
      );
      const token = broker.issuer.token();
      expect((await explain(token, [], table)).stdout).to.contain('allowed by role');
      other.publish([broker.issuer.key.jwk]);
      const { stdout, code } = await explain(token, [], table);
      expect(stdout).to.match(
        /our failure: keys_unavailable.*its key is in the entries local and other/s,
      );
      expect(code).to.equal(1);
    } finally {
      await other.close();
    }
  });

  it('shows people every rule it tried and the first that failed', async () => {
    const { stdout } = await explain(broker.issuer.token({ namespace: 'web' }));
    expect(stdout).to.contain('decision    denied: role_mismatch (the caller is told: no_role)');
    expect(stdout).to.contain('because     kubernetes.io.namespace: got "web", want "shop"');
    expect(stdout).to.contain('no  payments-checkout: does not fit');
    expect(stdout).to.contain('no  subject 1: kubernetes.io.namespace: got "web", want "shop"');
  });

  it('shows people what is allowed, by which role, and which cap set the end', async () => {
    const { stdout } = await explain(broker.issuer.token());
    expect(stdout).to.match(/^decision {4}allowed by role payments-checkout\n/);
    expect(stdout).to.match(/expires {5}\S+Z, set by ttl\n/);
    expect(stdout).to.contain('scopes      payments:read payments:write');
    expect(stdout).to.contain('yes payments-checkout: fits, and is the one');
  });

  it('prints no token, not even one that stands in a claim', async () => {
    const inner = broker.issuer.token();
    for (const output of ['text', 'json']) {
      const token = broker.issuer.token({ audiences: [inner.slice(0, 200)] });
      const { stdout } = await explain(token, ['--output', output]);
      expect(stdout).not.to.contain(inner.slice(0, 100));
      expect(stdout).to.contain('[redacted]');
    }
  });

  it('reads the token from standard input', async () => {
    const args = [
      '--token-file',
      '-',
      '--clusters-file',
      broker.clustersFile,
      '--roles',
      broker.rolesDir,
    ];
    expect((await runExplain(args, { stdin: `${broker.issuer.token()}\n` })).code).to.equal(0);
  });

  it('uses the variables of the broker in its pod, and minds no others', async () => {
    const environment = {
      COATCHECK_CLUSTERS_FILE: broker.clustersFile,
      COATCHECK_ROLES_PATH: broker.rolesDir,
      COATCHECK_LISTEN: ':1',
      COATCHECK_MAX_TOKEN_TTL_SECONDS: '60',
    };
    const { code, stdout } = await runExplain(['--token-file', '-'], {
      stdin: broker.issuer.token(),
      environment,
    });
    expect(code).to.equal(0);
    expect(stdout).to.contain('set by ceiling');
  });

  it('warns of broken role files and decides by the others', async () => {
    await broker.writeRoles('broken.yaml', 'kind: Nonsense');
    const { code, stderr } = await explain(broker.issuer.token());
    await broker.writeRoles('broken.yaml', '');
    expect(code).to.equal(0);
    expect(stderr).to.match(/^warning: .*broken\.yaml/);
  });

  it('names everything that is wrong with its use, and exits with 2', async () => {
    const { code, stderr } = await runExplain([
      '--clusters-file',
      '/nowhere.yaml',
      '--output',
      'xml',
    ]);
    expect(code).to.equal(2);
    for (const part of [
      '--token-file is required',
      '--roles is required',
      '--output must be one of text, json',
      '/nowhere.yaml: cannot be read (ENOENT)',
    ]) {
      expect(stderr).to.contain(part);
    }
  });

  it('says which token file cannot be read', async () => {
    const { code, stderr } = await runExplain([
      '--token-file',
      '/nowhere',
      '--clusters-file',
      broker.clustersFile,
      '--roles',
      broker.rolesDir,
    ]);
    expect([code, stderr]).to.deep.equal([
      2,
      'coatcheck explain: one problem with the settings:\n  - --token-file cannot be read (ENOENT)\n',
    ]);
  });

  it('teaches its use', () => {
    expect(command.help()).to.contain('--token-file').and.to.contain('Exit codes: 0 allowed');
  });

  for (const { mode, keys } of [
    { mode: 'hybrid', keys: true },
    { mode: 'review', keys: false },
  ]) {
    it(`asks no API server for a cluster with ${mode}, and says so`, async () => {
      const server = await startApiServer();
      const { url, caFile, tokenFile } = server;
      const entry = {
        name: 'local',
        kind: 'kubernetes',
        issuer: broker.issuer.issuer,
        validation: mode,
        review: { url, caFile, tokenFile },
        ...(keys && { keys: { url: broker.issuer.jwksUrl } }),
      };
      const folder = path.dirname(broker.clustersFile);
      const clustersFile = path.join(folder, `${mode}.yaml`);
      writeFileSync(clustersFile, JSON.stringify({ clusters: [entry] }));
      const explainBy = (token: string) => explain(token, [], clustersFile);
      const { code, stdout } = await explainBy(broker.issuer.token());
      expect(code, stdout).to.equal(0);
      expect(stdout).to.match(
        new RegExp(`^validated +${mode}: the API server was not asked$`, 'm'),
      );
      expect((await explainBy(broker.issuer.token({ namespace: 'other' }))).code).to.equal(1);
      expect(server.answered).to.deep.equal([]);
      await server.close();
    });
  }
});
