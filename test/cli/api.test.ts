// The commands that speak to the admin API, as processes, against a whole broker with a real store.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { type AdminUnderTest, startAdmin } from '../broker/dialects/admin/harness.ts';
import { noteToken } from '../support/tokens.ts';
import { coatcheck, type Ended, type ShellOptions } from './shell.ts';

const ROLE = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: api-role }
spec:
  audience: reports
  subjects: [{ namespace: shop, serviceAccount: reporter }]
  token: { ttl: 15m }
`;

describe('commands at a broker', function () {
  this.timeout(30_000);
  let admin: AdminUnderTest;
  let folder: string;
  const at = (name: string) => path.join(folder, name);

  before(async () => {
    admin = await startAdmin('cli');
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-cli-api-'));
    writeFileSync(at('root'), admin.root, { mode: 0o600 });
  });
  after(async () => {
    await admin.stop();
    rmSync(folder, { recursive: true });
  });

  const run = (args: readonly string[], options: ShellOptions = {}): Promise<Ended> =>
    coatcheck(args, {
      ...options,
      environment: {
        COATCHECK_SERVER: admin.broker.url,
        COATCHECK_TOKEN_FILE: at('root'),
        ...options.environment,
      },
    });
  const asPolicies = async (...policies: string[]): Promise<ShellOptions> => ({
    environment: { COATCHECK_TOKEN_FILE: '', COATCHECK_TOKEN: await admin.makeToken(policies) },
  });

  it('say who one is, and what one lacks', async () => {
    const root = await run(['whoami']);
    expect(root.code, root.stderr).to.equal(0);
    expect(root.stdout).to.match(/^policies\s+root$/m);
    const reader = await run(['whoami'], await asPolicies('coatcheck:roles:read'));
    expect(reader.stdout)
      .to.match(/^rights\s+roles:read$/m)
      .and.to.contain('MISSING');
    const json = await run(['whoami', '-o', 'json']);
    expect(JSON.parse(json.stdout)).to.include({ via: 'token' });
  });

  describe('for roles', () => {
    it('list those of files, with their state', async () => {
      const { code, stdout } = await run(['role', 'list']);
      expect(code).to.equal(0);
      expect(stdout).to.match(/^NAME\s+AUDIENCE\s+SOURCE\s+STATE\s+OVERLAPS$/m);
      expect(stdout).to.match(/^payments-checkout\s+payments\s+file\s+Ready\s+-$/m);
    });

    it('create, show, change, leave and delete one', async () => {
      writeFileSync(at('role.yaml'), ROLE);
      const dry = await run(['role', 'apply', '-f', at('role.yaml'), '--dry-run']);
      expect(dry.stdout, dry.stderr).to.match(/^api-role\s+created \(dry run\)$/m);
      expect((await run(['role', 'get', 'api-role'])).code).to.equal(1);
      const created = await run(['role', 'apply', '-f', at('role.yaml')]);
      expect(created.stdout).to.match(/^api-role\s+created$/m);
      const got = await run(['role', 'get', 'api-role']);
      expect(parse(got.stdout)).to.deep.equal(parse(ROLE));
      expect(got.stderr).to.contain('source api, Ready');
      const again = await run(['role', 'apply', '-f', '-'], { stdin: got.stdout });
      expect(again.stdout).to.match(/^api-role\s+unchanged$/m);
      const changed = await run(['role', 'apply', '-f', '-'], {
        stdin: got.stdout.replace('15m', '5m'),
      });
      expect(changed.stdout).to.match(/^api-role\s+changed$/m);
      const deleted = await run(['role', 'delete', 'api-role']);
      expect(deleted.stdout).to.match(/^api-role\s+deleted/m);
      const gone = await run(['role', 'delete', 'api-role']);
      expect(gone.code).to.equal(1);
      expect(gone.stderr).to.match(
        /^coatcheck role delete: not found: .*\(not_found, correlation id \S+\)$/m,
      );
    });

    it('write none of several files where the broker refuses one, and say where', async () => {
      mkdirSync(at('roles'));
      writeFileSync(at('roles/good.yaml'), ROLE);
      writeFileSync(at('roles/bad.yaml'), ROLE.replace('api-role', 'bad').replace('15m', 'soon'));
      const { code, stderr } = await run(['role', 'apply', '-f', at('roles')]);
      expect(code).to.equal(1);
      expect(stderr).to.contain('bad.yaml, document 1: ').and.to.contain('ttl');
      expect(stderr).to.contain('nothing was written');
      expect((await run(['role', 'get', 'api-role'])).code).to.equal(1);
    });

    it('take several files after one -f and several -f', async () => {
      for (const name of ['x', 'y', 'z'])
        writeFileSync(
          at(`${name}.yaml`),
          ROLE.replace('api-role', name).replace('reports', `for-${name}`),
        );
      const { stdout, stderr } = await run([
        'role',
        'apply',
        '-f',
        at('x.yaml'),
        at('y.yaml'),
        '-f',
        at('z.yaml'),
        '-o',
        'json',
      ]);
      const { items } = JSON.parse(stdout) as { items: { role: { name: string } }[] };
      expect(
        items.map(({ role }) => role.name),
        stderr,
      ).to.deep.equal(['x', 'y', 'z']);
      expect((await run(['role', 'delete', 'x', 'y', 'z'])).code).to.equal(0);
    });

    it('name the right that is missing', async () => {
      const { code, stderr } = await run(['role', 'apply', '-f', '-'], {
        ...(await asPolicies('coatcheck:roles:read')),
        stdin: ROLE,
      });
      expect(code).to.equal(1);
      expect(stderr).to.contain('coatcheck:roles:write').and.to.contain('update tokenroles');
    });
  });

  describe('for tokens', () => {
    const accessorOf = (text: string) => /accessor\s+(\w{24})/.exec(text)?.[1] ?? 'none';

    it('make one, print it alone, and let it be used, shown and revoked', async () => {
      const made = await run(
        [
          'token',
          'create',
          '--name',
          'reader',
          '--policy',
          'coatcheck:roles:read',
          '--policy',
          'default',
          '--ttl',
          '1h',
        ],
        { showsSecret: true },
      );
      expect(made.code, made.stderr).to.equal(0);
      expect(made.stdout).to.match(/^cc_[0-9A-Za-z]{73}\n$/);
      const token = noteToken(made.stdout.trim());
      expect(made.stderr).to.match(/policies\s+coatcheck:roles:read,default/);
      const mine = { environment: { COATCHECK_TOKEN_FILE: '', COATCHECK_TOKEN: token } };
      expect((await run(['role', 'list'], mine)).code).to.equal(0);
      const accessor = accessorOf(made.stderr);
      const shown = await run(['token', 'show', accessor]);
      expect(shown.stdout).to.match(/^name\s+reader$/m);
      const listed = await run(['token', 'list', '--kind', 'static']);
      expect(listed.stdout).to.contain(accessor);
      const revoked = await run(['token', 'revoke', accessor]);
      expect(revoked.stdout, revoked.stderr).to.match(new RegExp(`^${accessor}\\s+revoked$`, 'm'));
      const refused = await run(['role', 'list'], mine);
      expect(refused.code).to.equal(1);
      expect(refused.stderr).to.contain('the broker does not accept the credential');
      expect((await run(['token', 'show', accessor])).code).to.equal(1);
    });

    it('write one into a new file that nobody else can read', async () => {
      const args = [
        'token',
        'create',
        '--name',
        'filed',
        '--policy',
        'default',
        '--ttl',
        '1h',
        '--out',
        at('filed'),
      ];
      const made = await run(args);
      expect(made.code, made.stderr).to.equal(0);
      expect(made.stdout).to.equal('');
      expect(statSync(at('filed')).mode & 0o777).to.equal(0o600);
      noteToken(readFileSync(at('filed'), 'utf8').trim());
      const again = await run(args.map((arg) => (arg === 'filed' ? 'filed-2' : arg)));
      expect(again.code).to.equal(2);
      expect(again.stderr).to.contain('is there already');
      const list = await run(['token', 'list', '--kind', 'static', '-o', 'json']);
      expect(list.stdout).not.to.contain('filed-2');
    });

    it('make no token and no file where the broker refuses', async () => {
      const { code, stderr } = await run(
        [
          'token',
          'create',
          '--name',
          'x',
          '--policy',
          'root',
          '--ttl',
          '1h',
          '--out',
          at('refused'),
        ],
        await asPolicies('coatcheck:tokens:write'),
      );
      expect(code, stderr).to.equal(1);
      expect(() => statSync(at('refused'))).to.throw('ENOENT');
    });

    it('revoke in bulk only where it is confirmed, and then for the pod that was named alone', async () => {
      const exchange = async (pod: string) => {
        const { issuer } = admin.broker;
        const token = noteToken(issuer.token({ pod: { name: pod, uid: `uid-${pod}` } }));
        const answer = await admin.broker.exchange({ subject_token: token });
        expect(answer.status, answer.text).to.equal(200);
        return String(answer.body.access_token);
      };
      await exchange('one');
      await exchange('two');
      const unasked = await run(['token', 'revoke', '--pod', 'shop/one']);
      expect(unasked.code).to.equal(2);
      expect(unasked.stderr)
        .to.contain('live tokens of pod shop/one end now')
        .and.to.contain('--yes');
      const done = await run(['token', 'revoke', '--pod', 'shop/one', '--yes', '-o', 'yaml']);
      expect(done.code, done.stderr).to.equal(0);
      expect(parse(done.stdout)).to.have.property('deniedBefore');
      const denials = await admin.store.denials.list(0);
      expect(denials.map(({ match }) => match)).to.deep.include({
        namespace: 'shop',
        podName: 'one',
      });
    });

    const wrong: readonly { name: string; args: readonly string[]; says: string }[] = [
      { name: 'nothing to go by', args: [], says: 'it takes accessors, or one of --pod' },
      {
        name: 'a pod without its namespace',
        args: ['--pod', 'one'],
        says: '--pod must be NAMESPACE/NAME',
      },
      {
        name: 'a pod beside another namespace',
        args: ['--pod', 'a/b', '--namespace', 'c'],
        says: 'names its namespace',
      },
      {
        name: 'accessors beside a filter',
        args: ['x', '--role', 'r'],
        says: 'cannot stand beside',
      },
      { name: 'a cluster alone', args: ['--cluster', 'local'], says: 'it takes accessors' },
    ];
    for (const { name, args, says } of wrong) {
      it(`refuse to revoke by ${name}`, async () => {
        const { code, stderr } = await run(['token', 'revoke', ...args]);
        expect(code).to.equal(2);
        expect(stderr).to.contain(says);
      });
    }
  });

  describe('for clients', () => {
    it('register one with a secret shown once, rotate it, and delete it', async () => {
      const made = await run(['client', 'create', 'ledger', '--name', 'Ledger'], {
        showsSecret: true,
      });
      expect(made.code, made.stderr).to.equal(0);
      const first = noteToken(made.stdout.trim());
      expect(first).to.match(/^\S{20,}$/);
      const rotated = await run(['client', 'rotate-secret', 'ledger'], { showsSecret: true });
      expect(noteToken(rotated.stdout.trim())).not.to.equal(first);
      expect((await run(['client', 'show', 'ledger'])).stdout).to.match(/^secrets\s+2$/m);
      const dropped = await run(['client', 'rotate-secret', 'ledger', '--drop-old']);
      expect(dropped.stdout, dropped.stderr).to.match(/^secrets\s+1$/m);
      expect((await run(['client', 'list'])).stdout).to.match(
        /^ledger\s+Ledger\s+client_secret\s+1/m,
      );
      expect((await run(['client', 'delete', 'ledger'])).code).to.equal(0);
      expect((await run(['client', 'show', 'ledger'])).code).to.equal(1);
    });

    it('never quote a file that was meant to hold public keys', async () => {
      writeFileSync(at('keys.jwks'), 'hunter2-not-json');
      const { code, stderr } = await run([
        'client',
        'create',
        'ci',
        '--jwks-file',
        at('keys.jwks'),
      ]);
      expect(code).to.equal(2);
      expect(stderr).to.contain('must hold JSON').and.not.to.contain('hunter2');
    });
  });

  describe('for a pod', () => {
    it('explain what was decided and what would be now', async () => {
      const { issuer } = admin.broker;
      const token = noteToken(issuer.token({ pod: { name: 'explained', uid: 'uid-explained' } }));
      await admin.broker.exchange({ subject_token: token });
      // Decisions are written behind, up to a few hundred milliseconds.
      let asked = await run(['explain', 'pod', 'shop/explained']);
      for (let tries = 0; tries < 20 && !asked.stdout.includes('Decided before'); tries++)
        asked = await run(['explain', 'pod', 'shop/explained']);
      expect(asked.stdout, asked.stderr)
        .to.contain('Decided before')
        .and.to.contain('allowed by role payments-checkout');
      const unknown = await run(['explain', 'pod', 'shop/nobody']);
      expect(unknown.code).to.equal(1);
      expect(unknown.stdout).to.contain('remembers no decision');
      expect((await run(['explain', 'pod', 'nobody'])).code).to.equal(2);
    });
  });
});
