// docs/install.md: its commands make what the processes accept, its values are values of the chart, its names are the names.
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { findBootstrapProblem } from '../../broker/bootstrap.ts';
import { readCaBundle } from '../../broker/ca-bundle.ts';
import { openKeyFolder } from '../../broker/tokens/key-folder.ts';
import { systemClock } from '../../common/clock.ts';
import { readTlsFiles } from '../../common/tls-files.ts';
import { CHART, renderChart, toTemplate } from './helm.ts';

const page = readFileSync(path.join(CHART, '../../docs/install.md'), 'utf8');
const blocks = [...page.matchAll(/```(sh|yaml)\n([\s\S]*?)```/g)].map(([, language, text]) => ({
  language,
  text: text ?? '',
}));
const find = (words: string) => blocks.find(({ text }) => text.includes(words))?.text ?? '';

describe('docs/install.md', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-install-'));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('makes certificates and a signing key that webhook, broker and pods accept', function () {
    if (spawnSync('openssl', ['version']).status !== 0) {
      console.log('\n!!! SKIPPED the commands of docs/install.md: there is no openssl here\n');
      return this.skip();
    }
    const at = (name: string) => path.join(folder, name);
    execFileSync('sh', ['-euc', find('openssl req -x509')], { cwd: folder, stdio: 'pipe' });
    const bundle = new X509Certificate(readCaBundle(at('ca.crt')).pem);
    for (const part of ['webhook', 'broker']) {
      const { cert } = readTlsFiles({ certFile: at(`${part}.crt`), keyFile: at(`${part}.key`) });
      const leaf = new X509Certificate(cert);
      expect(leaf.verify(bundle.publicKey)).to.equal(true);
      expect(leaf.checkHost(`coatcheck-${part}.auth.svc`)).to.be.a('string');
      expect(leaf.checkHost('coatcheck.auth.svc')).to.equal(undefined);
    }
    mkdirSync(at('keys'));
    renameSync(at('2026-11.pem'), at('keys/2026-11.pem'));
    const keys = openKeyFolder(at('keys'), systemClock);
    expect(keys).to.not.have.property('problems');
    return undefined;
  });

  it('makes Secrets with the names that the pods mount', () => {
    const commands = find('create secret tls').replaceAll('$RELEASE', 'coatcheck');
    const made = ['webhook', 'broker']
      .flatMap((part) => [
        ...commands.replaceAll('$part', part).matchAll(/create secret \w+ "([^"]+)"/g),
      ])
      .map((match) => match[1]);
    const mounted = renderChart({ certificates: { mode: 'provided' } })
      .ofKind('Deployment')
      .flatMap((deployment) => toTemplate(deployment).spec.volumes)
      .map((volume) => (volume.secret as { secretName?: string } | undefined)?.secretName)
      .filter((name) => name !== undefined);
    expect([...new Set(made)].sort()).to.deep.equal([...new Set(mounted)].sort());
    expect(mounted).to.have.lengthOf(3);
  });

  it('has values that the chart takes', () => {
    const values = parse(find('# my-values.yaml')) as object;
    const rendered = renderChart(values);
    expect(JSON.stringify(rendered.get('ConfigMap', 'coatcheck-roles').data)).to.include(
      'payments',
    );
  });

  it('has values for PostgreSQL that the chart takes, and makes what they name', () => {
    const text = find('# in my-values.yaml');
    const commands = find('create configmap').replaceAll('$RELEASE', 'coatcheck');
    for (const name of ['coatcheck-database', 'coatcheck-database-ca']) {
      expect(text).to.match(new RegExp(`\\b${name}\\b`));
      expect(commands).to.include(`"${name}"`);
    }
    const { spec } = toTemplate(
      renderChart(parse(text) as object).get('Deployment', 'coatcheck-broker'),
    );
    expect(JSON.stringify(spec)).to.include('/etc/coatcheck/db').and.include('coatcheck-database');
  });

  it('makes the Secret of the first administrator as the chart reads it', () => {
    const commands = find('rand -hex 32').replaceAll('$RELEASE', 'coatcheck');
    const { bootstrapToken } = (
      parse(readFileSync(path.join(CHART, 'values.yaml'), 'utf8')) as {
        broker: { bootstrapToken: { secretKey: string } };
      }
    ).broker;
    expect(commands).to.include(`--from-file ${bootstrapToken.secretKey}=`);
    expect(commands).to.include('broker.bootstrapToken.secretName="coatcheck-bootstrap"');
    const given = execFileSync('openssl', ['rand', '-hex', '32'], { encoding: 'utf8' }).trim();
    expect(findBootstrapProblem(given)).to.equal(undefined);
  });

  it('speaks only of values there are', () => {
    const known = parse(readFileSync(path.join(CHART, 'values.yaml'), 'utf8')) as object;
    const section = page.split('## Values worth a look')[1]?.split('\n## ')[0] ?? '';
    const named = [...section.matchAll(/^\| `([\w.]+)/gm)].map((match) => match[1] ?? '');
    expect(named.length).to.be.greaterThan(5);
    for (const place of named) {
      const value = place
        .split('.')
        .reduce<unknown>((at, step) => (at as Record<string, unknown> | undefined)?.[step], known);
      expect(value, place).to.not.equal(undefined);
    }
  });

  it('lists every kind of object there is but the accounts, rights and Services', () => {
    const section = page.split('## What you get')[1]?.split('\n## ')[0] ?? '';
    const plain = /^(Service.*|(Cluster)?Role.*|ValidatingAdmissionPolicyBinding)$/;
    const kinds = renderChart({}).objects.map(({ kind }) => kind);
    for (const kind of kinds.filter((one) => !plain.test(one)))
      expect(section).to.include(kind.replace(/y$/, ''));
  });
});
