// What tools that apply rendered manifests again and again rely on: the same text every time, nothing read from a cluster,
// and no field that somebody else will write.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { CHART, renderChart, templateChart } from './helm.ts';
import { createCa, toUnusualValues, toUsualValues } from './values.ts';

const templates = readdirSync(path.join(CHART, 'templates'), { recursive: true, encoding: 'utf8' })
  .filter((file) => /\.(yaml|tpl)$/.test(file))
  .map((file) => [file, readFileSync(path.join(CHART, 'templates', file), 'utf8')] as const);

/** Functions whose answer depends on the time, on chance, or on the cluster. */
const FICKLE =
  /\b(lookup|now|date|dateModify|ago|rand\w+|shuffle|uuidv4|gen(CA|SignedCert|SelfSignedCert|PrivateKey)\w*|htpasswd|bcrypt|getHostByName|env|expandenv)\b(?=[ ")}])/;

/** Of the definition that only NOTES.txt includes. */
const isForNotes = (action: string) => /lookup "(v1|storage\.k8s\.io\/v1)"/.test(action);

describe('the chart under tools that apply it again and again', () => {
  const ca = createCa();

  it('renders to the same text every time', () => {
    for (const values of [{}, toUsualValues(ca), toUnusualValues(ca)]) {
      const [first, second] = [1, 2].map(() => templateChart(values, { withTests: true }));
      expect(first?.code, first?.stderr).to.equal(0);
      expect(second?.stdout).to.equal(first?.stdout);
    }
  });

  it('asks neither the cluster, nor the clock, nor chance, but in its notes', () => {
    expect(templates.length).to.be.greaterThan(25);
    const asking = templates
      .flatMap(([file, text]) =>
        [...text.matchAll(/\{\{-?(?!-? *\/\*)[^}]*\}\}/g)].map(
          ([action]) => [file, action] as const,
        ),
      )
      .filter(([, action]) => FICKLE.test(action.replace(/"[^"]*"/g, '""')))
      .filter(([file, action]) => !(file.endsWith('_store.tpl') && isForNotes(action)));
    expect(asking).to.deep.equal([]);
    expect(FICKLE.test('{{ randAlphaNum 5 }}')).to.equal(true);
    expect(FICKLE.test('{{ lookup "v1" "Secret" "a" "b" }}')).to.equal(true);
  });

  it('asks the cluster for the notes alone', () => {
    const including = templates.filter(([, text]) =>
      text.includes('include "coatcheck.storageClassNote"'),
    );
    expect(including).to.deep.equal([]);
  });

  it('depends on whether it is installed or upgraded nowhere', () => {
    for (const [file, text] of templates)
      expect(text, file).to.not.match(/\.Release\.(IsInstall|IsUpgrade|Revision)/);
  });

  it('has no hooks but those of helm test, so that every object is one of the release', () => {
    const { objects } = renderChart(toUnusualValues(ca));
    expect(JSON.stringify(objects)).to.not.include('helm.sh/hook');
  });

  it('leaves out what others write: a status, replicas under an autoscaler', () => {
    const { objects, ofKind } = renderChart({ webhook: { autoscaling: { enabled: true } } });
    for (const object of objects) expect(object, object.kind).to.not.have.property('status');
    const [webhook] = ofKind('Deployment').filter(({ metadata }) =>
      metadata.name.endsWith('-webhook'),
    );
    expect(webhook?.spec).to.not.have.property('replicas');
  });
});
