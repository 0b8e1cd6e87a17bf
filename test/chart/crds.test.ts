// The CRD TokenRole in the chart: there by default, changed by upgrades, kept when the release goes. What it accepts:
// test/cluster/token-roles.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { CHART, type Manifest, renderChart } from './helm.ts';

const NAME = 'tokenroles.auth.example.io';
type Crd = Manifest & { readonly spec: object };
const read = () => parse(readFileSync(path.join(CHART, 'files/tokenroles.yaml'), 'utf8')) as Crd;

describe('the CRD in the chart', () => {
  const crd = renderChart({}).get('CustomResourceDefinition', NAME);

  it('is the file that people may apply themselves, with the labels of the release', () => {
    expect(crd.spec).to.deep.equal(read().spec);
    expect(crd.metadata.labels).to.include({
      'app.kubernetes.io/instance': 'coatcheck',
      'app.kubernetes.io/part-of': 'coatcheck',
    });
  });
  it('stays when the release is uninstalled: with it every TokenRole would go', () => {
    expect(crd.metadata.annotations).to.deep.equal({ 'helm.sh/resource-policy': 'keep' });
  });
  it('is not there where another release brings it', () => {
    expect(renderChart({ crds: { install: false } }).ofKind('CustomResourceDefinition')).to.eql([]);
  });
  it('says of every field what it is for', () => {
    const missing: string[] = [];
    const visit = (schema: Schema, at: string) => {
      for (const [name, below] of Object.entries(schema.properties ?? {})) {
        const here = `${at}.${name}`;
        const isOfKubernetes = /^\.(metadata|status\.conditions\.)/.test(here);
        if (below.description === undefined && !isOfKubernetes) missing.push(here);
        visit(below, here);
        if (below.items) visit(below.items, here);
      }
    };
    const [version] = (crd.spec as CrdSpec).versions;
    visit(version.schema.openAPIV3Schema, '');
    expect(missing).to.deep.equal([]);
  });
});

interface Schema {
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

interface CrdSpec {
  readonly versions: readonly [{ readonly schema: { readonly openAPIV3Schema: Schema } }];
}
