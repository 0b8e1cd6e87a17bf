// `coatcheck cluster …`, as processes, against a whole broker with a real store.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { type AdminUnderTest, startAdmin } from '../broker/dialects/admin/harness.ts';
import { createSigningKey } from '../support/minting.ts';
import { coatcheck, type Ended } from './shell.ts';

const ENTRY = `name: edge
kind: kubernetes
issuer: https://kubernetes.default.svc.cluster.local
controller: { namespace: coatcheck, serviceAccount: controller }
`;

describe('coatcheck cluster', function () {
  this.timeout(30_000);
  const key = createSigningKey('ES256', 'edge-1');
  let admin: AdminUnderTest;
  let folder: string;
  const at = (name: string, content?: string) => {
    const file = path.join(folder, name);
    if (content !== undefined) writeFileSync(file, content, { mode: 0o600 });
    return file;
  };

  before(async () => {
    admin = await startAdmin('cli cluster');
    folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-cli-cluster-'));
    at('root', admin.root);
    at('edge.yaml', ENTRY);
    at('edge.jwks', JSON.stringify({ keys: [key.jwk] }));
  });
  after(async () => {
    await admin.stop();
    rmSync(folder, { recursive: true });
  });

  const run = (args: readonly string[], stdin?: string): Promise<Ended> =>
    coatcheck(['cluster', ...args], {
      ...(stdin !== undefined && { stdin }),
      environment: { COATCHECK_SERVER: admin.broker.url, COATCHECK_TOKEN_FILE: at('root') },
    });

  it('registers one with its first keys, prints it, leaves it as it is, and deletes it', async () => {
    const files = ['-f', at('edge.yaml'), '--jwks-file', at('edge.jwks')];
    const dry = await run(['apply', ...files, '--dry-run']);
    expect(dry.stdout, dry.stderr).to.match(/^edge\s+created \(dry run\)$/m);
    const created = await run(['apply', ...files]);
    expect(created.stdout, created.stderr).to.match(/^edge\s+created$/m);
    const got = await run(['get', 'edge']);
    expect(got.stderr).to.contain('source api, Ready');
    expect(parse(got.stdout)).to.deep.include({ ...parse(ENTRY) });
    const again = await run(['apply', '-f', '-'], got.stdout);
    expect(again.stdout, again.stderr).to.match(/^edge\s+unchanged$/m);
    const listed = await run(['list']);
    expect(listed.stdout).to.match(/^edge\s+kubernetes\s+api\s+Ready\s+offline\s+pushed\s+\d+/m);
    expect(listed.stdout).to.match(/^local \(own\)\s+kubernetes\s+file\s+Ready/m);
    const deleted = await run(['delete', 'edge', '--revoke']);
    expect(deleted.stdout, deleted.stderr).to.match(/^edge\s+deleted\s+0$/m);
    expect((await run(['get', 'edge'])).code).to.equal(1);
  });

  it('sends no private key, and says what the broker refuses', async () => {
    const pair = { keys: [key.privateKey.export({ format: 'jwk' })] };
    const file = at('private.jwks', JSON.stringify(pair));
    const secret = await run(['apply', '-f', at('edge.yaml'), '--jwks-file', file]);
    expect(secret).to.include({ code: 2, stdout: '' });
    expect(secret.stderr).to.contain('holds a private key; nothing was sent');
    expect(secret.stderr).not.to.contain(String(pair.keys[0]?.d));
    const own = await run(['apply', '-f', '-'], `${ENTRY}own: true\nkeys: { file: /etc/keys }\n`);
    expect(own.code).to.equal(1);
    expect(own.stderr)
      .to.match(/own:? must be false: the own cluster stands in the clusters file/)
      .and.to.match(/keys\.file:? is for entries of the clusters file alone/);
  });
});
