// The doctor at a release whose certificates the controller keeps, as they are by default; and in a pod, from the image.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { type Row, runDoctor, type Told, toLines } from './doctor.ts';

const VALUES = {
  certificates: { mode: 'controller' },
  caBundle: '',
  webhook: { replicas: 2 },
  controller: { enabled: true, replicas: 1 },
};
const IN_IMAGE = ['/usr/bin/node', '/coatcheck/coatcheck.mjs', 'doctor', '--output', 'json'];

describe('coatcheck doctor where the controller keeps the certificates', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;

  before(async () => {
    cluster = openNodeCluster();
    const subjects = [{ namespace: 'coatcheck-test-default-*', serviceAccount: '*' }];
    const roles = { payments: { audience: 'payments', subjects } };
    installation = await installProduct(cluster, { purpose: 'default', roles, values: VALUES });
    await installation.createNamespace('default');
  });
  after(async () => installation?.uninstall());

  it('finds every row well', async () => {
    let told: Told | undefined;
    // The broker's first set, and the rest of a start.
    const isWell = async () => {
      told = await runDoctor(cluster.facts.kubeconfig, '--namespace', installation.namespace);
      return told.bad.length === 0;
    };
    await waitFor(isWell, { what: 'every row to be well' }).catch(() => undefined);
    expect(toLines(told?.bad ?? [])).to.deep.equal([]);
    expect(told?.rows.find(({ check }) => check === 'authorities')?.seen).to.match(/^1 authority/);
    expect(told?.rows.find(({ check }) => check === 'rights')?.state).to.equal('ok');
  });

  it('runs in a pod of the image with the ServiceAccount of the pod', async () => {
    const selector = `app.kubernetes.io/instance=${installation.release},app.kubernetes.io/component=controller`;
    const args = ['-n', installation.namespace, 'get', 'pods', '-l', selector];
    const { stdout: pod } = await cluster.kubectl([
      ...args,
      '-o',
      'jsonpath={.items[0].metadata.name}',
    ]);
    const { stdout, stderr, code } = await cluster.exec(
      { namespace: installation.namespace, pod },
      ...IN_IMAGE,
    );
    keep('doctor-in-pod.json', stdout + stderr);
    expect(stderr.replace(/^command terminated.*\n/m, '')).to.equal('');
    const { context, rows } = JSON.parse(stdout) as { context: string; rows: readonly Row[] };
    expect(context).to.equal('in-cluster');
    const findRow = (check: string) => rows.find((row) => row.check === check);
    // What the controller may see, and what it may not.
    expect(findRow('api-server')?.state).to.equal('ok');
    expect(findRow('issuer')?.state).to.equal('ok');
    expect(findRow('missed-pods')?.state).to.equal('ok');
    expect(findRow('installation')?.seen).to.equal('no right to list deployments.apps');
    expect(findRow('injection')?.state).to.equal('unknown');
    expect(code).to.equal(0);
  });
});
