// What helm says after an install: whatever the pods wait for is in it, by its name. Helm shows notes to a cluster alone, so
// they are rendered here as an object of a copy of the chart.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { CHART, type Manifest, renderChart, runHelm, toTemplate } from './helm.ts';

const SEALING = { keyEncryption: { secretName: 'my-sealing' } };
const POSTGRES = { store: { type: 'postgres', postgres: { secretName: 'my-database' } } };
const CASES: readonly (readonly [string, object, readonly string[]])[] = [
  ['nothing is set', {}, []],
  [
    'keys and a database are brought',
    { broker: { ...SEALING, ...POSTGRES } },
    ['my-database', 'my-sealing'],
  ],
  ['signing keys are brought', { broker: { signingKeys: { secretName: 'mine' } } }, ['mine']],
  [
    'the first administrator is brought',
    { broker: { bootstrapToken: { secretName: 'my-bootstrap' } } },
    ['my-bootstrap'],
  ],
  ['cert-manager makes certificates', { certificates: { mode: 'cert-manager' } }, []],
  [
    'cert-manager makes certificates and nobody makes keys',
    { certificates: { mode: 'cert-manager' }, controller: { enabled: false } },
    ['coatcheck-signing-keys'],
  ],
  [
    'all is brought',
    { certificates: { mode: 'provided' }, broker: POSTGRES },
    ['coatcheck-broker-tls', 'coatcheck-signing-keys', 'coatcheck-webhook-tls', 'my-database'],
  ],
];

describe('the notes of the chart', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), 'coatcheck-notes-'));
    cpSync(CHART, folder, { recursive: true });
    const templates = path.join(folder, 'templates');
    const notes = readFileSync(path.join(templates, 'NOTES.txt'), 'utf8');
    rmSync(path.join(templates, 'NOTES.txt'));
    writeFileSync(path.join(templates, '_notes.tpl'), `{{ define "notes" }}${notes}{{ end }}`);
    writeFileSync(path.join(templates, 'notes.yaml'), 'notes: {{ include "notes" . | toJson }}\n');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const render = (values: object): string => {
    const shown = ['--kube-version', '1.34.0', '--show-only', 'templates/notes.yaml', '-f', '-'];
    const { code, stdout, stderr } = runHelm(
      ['template', 'coatcheck', folder, '-n', 'auth', ...shown],
      values,
    );
    expect(code, stderr).to.equal(0);
    return (parse(stdout) as { notes: string }).notes;
  };

  for (const [what, values, brought] of CASES) {
    it(`name each Secret that somebody must bring where ${what}`, () => {
      const { objects, ofKind } = renderChart(values);
      const nameOf = ({ kind, metadata, spec }: Manifest) =>
        kind === 'Certificate' ? (spec as { secretName: string }).secretName : metadata.name;
      const made = objects.filter(({ kind }) => /^(Secret|Certificate)$/.test(kind)).map(nameOf);
      const mounted = ofKind('Deployment')
        .flatMap((deployment) => toTemplate(deployment).spec.volumes)
        .map(({ secret }) => (secret as { secretName?: string } | undefined)?.secretName)
        .filter((name) => name !== undefined && !made.includes(name));
      expect([...new Set(mounted)].toSorted()).to.deep.equal(brought);
      const notes = render(values);
      for (const name of brought) expect(notes).to.match(new RegExp(`\\b${name}\\b`));
    });
  }

  it('warn of a store that ends with its pod, and say nothing of the kind of one that does not', () => {
    const usual = render({});
    expect(usual).to.include('on the volume coatcheck-store');
    expect(usual).to.match(
      /Back up the volume,\nand apart from it the Secret coatcheck-certificates/,
    );
    expect(usual).to.not.include('WARNING');
    const store = { persistence: { enabled: false } };
    const warned = render({ broker: { store } });
    expect(warned).to.include("WARNING: state is in the broker's pod");
    expect(warned).to.match(/The signing keys\nend with it, too/);
    const signingKeys = { secretName: 'mine' };
    expect(render({ broker: { store, signingKeys } })).to.not.include('end with it, too');
  });
});
