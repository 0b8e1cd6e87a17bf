// The command as a shell sees it, twice: from the sources, and as the folder that ships, away from the checkout.
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { generateSigningKey } from '../../broker/tokens/keys.ts';
import { COMMANDS } from '../../cli/commands.ts';
import { issueAuthority, issueCertificate } from '../../common/certificates.ts';
import manifest from '../../package.json' with { type: 'json' };
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';

const ROOT = path.join(import.meta.dirname, '../..');
const FOLDER = mkdtempSync(path.join(tmpdir(), 'coatcheck-cli-'));
const EMPTY = path.join(FOLDER, 'empty');
const POD = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'a', annotations: { 'auth.example.io/audience': 'payments' } },
  spec: { containers: [{ name: 'app', image: 'app' }] },
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Run {
  readonly args: readonly string[];
  readonly stdin?: string;
  /** Closes our end of its standard output at once, like a `head` that has seen enough. */
  readonly isDeaf?: boolean;
  /** Arguments of Node itself. */
  readonly nodeArgs?: readonly string[];
  /** The process is told to end once this was seen in what it writes. */
  readonly stopAt?: string;
}

/** Runs the command without an environment, in a folder where nothing lies. */
async function run(
  program: string,
  { args, stdin = '', isDeaf = false, nodeArgs = [], stopAt }: Run,
): Promise<Ended> {
  const child = spawn(process.execPath, [...nodeArgs, program, ...args], { cwd: EMPTY, env: {} });
  let stdout = '';
  let stderr = '';
  const onText = () => {
    // Once: a second signal ends a process at once, with 1.
    if (stopAt === undefined || child.killed || !(stdout + stderr).includes(stopAt)) return;
    child.kill('SIGTERM');
  };
  if (isDeaf) child.stdout.destroy();
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
    onText();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
    onText();
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(stdin);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  keep('cli', stdout + stderr);
  return { code, stdout, stderr };
}

/** What the help text of a command holds: its flags, or its verbs. */
function toTaught({ name, load, verbs = [] }: (typeof COMMANDS)[number]): readonly RegExp[] {
  if (name === 'completion') return [];
  return load
    ? [/^ {2}(-\w, )?--[a-z-]+ .*\((default: .*|required|optional)\)/m]
    : verbs.map((verb) => new RegExp(`^  ${verb.name} `, 'm'));
}

const programs: readonly { name: string; program: string; prepare: () => void }[] = [
  { name: 'from the sources', program: path.join(ROOT, 'cli/main.ts'), prepare: () => undefined },
  {
    name: 'as the bundle that ships',
    program: path.join(FOLDER, 'server/coatcheck.mjs'),
    prepare: () => {
      execFileSync(process.execPath, [path.join(ROOT, 'scripts/build.ts'), 'server'], {
        stdio: ['ignore', 'ignore', 'inherit'],
      });
      // Away from the checkout: what it did not bring along it cannot find.
      cpSync(path.join(ROOT, 'dist/server'), path.join(FOLDER, 'server'), { recursive: true });
    },
  },
];

const at = (name: string) => path.join(FOLDER, name);
const LOOPBACK = ['--listen', '127.0.0.1:0', '--operations-listen', '127.0.0.1:0'];
const CERTIFICATE = ['--tls-cert-file', at('tls.crt'), '--tls-key-file', at('tls.key')];

describe('the command', () => {
  let issuer: FakeIssuer;

  before(async () => {
    mkdirSync(EMPTY);
    issuer = await startIssuer();
    const validity = { notBefore: new Date(0), notAfter: new Date(Date.now() + 3_600_000) };
    const authority = issueAuthority({ commonName: 'test CA', ...validity });
    const leaf = issueCertificate(
      { commonName: 'a', names: ['127.0.0.1'], ...validity },
      authority,
    );
    writeFileSync(path.join(FOLDER, 'tls.crt'), leaf.certificate);
    writeFileSync(path.join(FOLDER, 'tls.key'), leaf.key);
    writeFileSync(path.join(FOLDER, 'ca.crt'), authority.certificate);
    for (const name of ['keys', 'roles']) mkdirSync(path.join(FOLDER, name));
    const key = generateSigningKey().privateKey.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(path.join(FOLDER, 'keys/1.pem'), key);
    writeFileSync(
      path.join(FOLDER, 'clusters.yaml'),
      `clusters: [{ name: a, kind: kubernetes, issuer: "${issuer.issuer}", keys: { url: "${issuer.jwksUrl}" } }]`,
    );
  });
  after(async () => {
    await issuer.close();
    rmSync(FOLDER, { recursive: true });
  });

  for (const { name, program, prepare } of programs) {
    describe(`coatcheck, ${name}`, function () {
      this.timeout(30_000);
      before(prepare);

      for (const entry of COMMANDS) {
        it(`teaches ${entry.name}: usage, an explanation, every flag`, async () => {
          const { code, stdout, stderr } = await run(program, { args: [entry.name, '--help'] });
          expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
          expect(stdout).to.match(new RegExp(`^coatcheck ${entry.name}[ :]`));
          for (const text of toTaught(entry)) expect(stdout).to.match(text);
        });
      }

      const wrong: readonly { args: readonly string[]; says: RegExp }[] = [
        { args: [], says: /^$/ },
        { args: ['brokre'], says: /no command of this name; did you mean broker\?/ },
        { args: ['version', 'json'], says: /takes flags only/ },
        { args: ['version', '--outptu', 'json'], says: /did you mean --output\?/ },
        { args: ['explain'], says: /3 problems.*--token-file.*--clusters-file.*--roles/s },
        { args: ['webhook'], says: /problems.*BROKER_URL.*IMAGE.*TLS_CERT_FILE/s },
        { args: ['broker'], says: /problems.*ISSUER.*CLUSTERS_FILE.*ROLES_PATH/s },
        { args: ['exchange'], says: /problems?/ },
        { args: ['inject'], says: /-f is required/ },
        { args: ['lint'], says: /-f is required/ },
        { args: ['dev', '--listen', '0.0.0.0:0'], says: /--insecure-listen/ },
        { args: ['token'], says: /Usage: coatcheck token <command>/ },
        { args: ['token', 'revok'], says: /did you mean revoke\?/ },
        { args: ['whoami'], says: /2 problems.*COATCHECK_SERVER.*--token-file/s },
        { args: ['role', 'apply'], says: /COATCHECK_SERVER/ },
        { args: ['completion', 'bahs'], says: /did you mean bash\?/ },
      ];
      for (const { args, says } of wrong) {
        it(`exits with 2 when used wrongly: ${args.join(' ') || '(nothing)'}`, async () => {
          const { code, stdout, stderr } = await run(program, { args });
          expect(code).to.equal(2);
          // The exchange says it where `kubectl logs` shows it, the tools beside their result.
          expect(args[0] === 'exchange' ? stdout : stderr).to.match(says);
          expect(stdout + stderr).not.to.contain('    at ');
        });
      }

      it('prints its version for people and for programs', async () => {
        const text = await run(program, { args: ['version'] });
        expect(text.stdout).to.contain(`coatcheck ${manifest.version} (node `);
        const json = await run(program, { args: ['version', '--output', 'json'] });
        expect(JSON.parse(json.stdout)).to.include({ version: manifest.version });
      });

      it('injects and lints a pod from standard input', async () => {
        const injected = await run(program, { args: ['inject', '-f', '-'], stdin: POD });
        expect(injected.code, injected.stderr).to.equal(0);
        expect(injected.stdout).to.contain('coatcheck-exchange');
        const good = await run(program, { args: ['lint', '-f', '-'], stdin: POD });
        expect(good.code, good.stderr).to.equal(0);
        const bad = POD.replace('/audience', '/audence');
        expect((await run(program, { args: ['lint', '-f', '-'], stdin: bad })).code).to.equal(1);
      });

      it('explains a token, from allow to deny by one role file', async () => {
        const explain = {
          args: [
            'explain',
            '--token-file',
            '-',
            '--clusters-file',
            at('clusters.yaml'),
            '--roles',
            at('roles'),
          ],
          stdin: issuer.token(),
        };
        const denied = await run(program, explain);
        expect({ code: denied.code, why: denied.stdout.includes('role_unknown') }).to.deep.equal({
          code: 1,
          why: true,
        });
        writeFileSync(
          at('roles/a.yaml'),
          'apiVersion: auth.example.io/v1alpha1\nkind: TokenRole\nmetadata: { name: a }\nspec: { audience: payments, subjects: [{ namespace: "*", serviceAccount: "*" }] }\n',
        );
        const allowed = await run(program, explain);
        rmSync(at('roles/a.yaml'));
        expect(allowed.stdout).to.contain('allowed by role a');
        expect(allowed.code).to.equal(0);
      });

      const servers: readonly { args: readonly string[]; ready: string }[] = [
        {
          args: [
            'broker',
            '--issuer',
            'https://broker.example',
            '--clusters-file',
            at('clusters.yaml'),
            '--roles-path',
            at('roles'),
            '--signing-keys-dir',
            at('keys'),
            ...LOOPBACK,
            ...CERTIFICATE,
          ],
          ready: 'broker is listening',
        },
        {
          args: [
            'webhook',
            '--broker-url',
            'https://broker.example',
            '--image',
            'image:1',
            ...LOOPBACK,
            ...CERTIFICATE,
          ],
          ready: 'webhook ready',
        },
        {
          args: ['dev', '--listen', '127.0.0.1:0'],
          ready: 'coatcheck dev ready http://127.0.0.1:',
        },
      ];
      for (const { args, ready } of servers) {
        it(`starts ${args[0]}, which says so and ends with 0 on SIGTERM`, async () => {
          const { code, stdout, stderr } = await run(program, { args, stopAt: ready });
          expect(stdout + stderr).to.contain(ready);
          expect(code, stderr).to.equal(0);
        });
      }

      if (program.endsWith('.mjs')) {
        it('does without undici, which would cost every server 3 MiB', async () => {
          const tell = 'process.on("exit",()=>console.error(process.moduleLoadList.join()))';
          const { stderr } = await run(program, {
            args: servers[1]?.args ?? [],
            nodeArgs: ['--import', `data:text/javascript,${encodeURIComponent(tell)}`],
            stopAt: 'webhook ready',
          });
          expect(stderr).to.contain('NativeModule https');
          expect(stderr).not.to.contain('undici');
        });
      }

      it('asks a broker, and prints what it answers as YAML too', async () => {
        const asked: (string | undefined)[] = [];
        const server = createServer((request, response) => {
          asked.push(request.url);
          response.end('{"subject":"client:ops","via":"token","policies":["root"]}');
        });
        await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
        const { port } = server.address() as AddressInfo;
        const { code, stdout, stderr } = await run(program, {
          args: [
            'whoami',
            '--server',
            `http://127.0.0.1:${port}`,
            '--token-file',
            '-',
            '-o',
            'yaml',
          ],
          stdin: noteToken('a-token-from-standard-input'),
        });
        await new Promise((resolve) => server.close(resolve));
        expect(stdout, stderr).to.equal('subject: client:ops\nvia: token\npolicies:\n  - root\n');
        expect({ code, asked }).to.deep.equal({ code: 0, asked: ['/api/v1/whoami'] });
      });

      it('ends quietly where nobody reads what it prints', async () => {
        const { stderr } = await run(program, { args: ['broker', '--help'], isDeaf: true });
        expect(stderr).to.equal('');
      });

      it('leaves nothing behind in the folder it was started in', () => {
        expect(readdirSync(EMPTY)).to.deep.equal([]);
      });
    });
  }
});
