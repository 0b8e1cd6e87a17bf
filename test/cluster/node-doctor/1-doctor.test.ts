// The doctor at a release that is well, and at the same one with one thing broken after the other.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { issueAuthority } from '../../../common/certificates.ts';
import { toApp } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { isReady, type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { requestToken } from '../harness/service-account-token.ts';
import { runDoctor, type Told, toLines } from './doctor.ts';

const subjects = [{ namespace: 'coatcheck-test-doctor-*', serviceAccount: '*' }];
const ROLES = { payments: { audience: 'payments', subjects } };
const VALUES = {
  webhook: { replicas: 2 },
  controller: { enabled: true, replicas: 1 },
};
const ISSUER = 'https://kubernetes.default.svc.cluster.local';

describe('coatcheck doctor', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: string;
  const kubectl = async (...args: string[]) => {
    const { code, stdout, stderr } = await cluster.kubectl(args);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const ask = (...args: readonly string[]) =>
    runDoctor(cluster.facts.kubeconfig, '--namespace', installation.namespace, ...args);
  /** What it tells once it tells that; API servers take up a change in their own time. */
  const waitForState = async (check: string, state: string, about?: string): Promise<Told> => {
    let told: Told | undefined;
    const isTold = async () => {
      told = await ask();
      return told.rows.some(
        (row) => row.check === check && row.state === state && (!about || row.about === about),
      );
    };
    await waitFor(isTold, { what: `${check} to be ${state}` }).catch((error: unknown) => {
      throw new Error(`${(error as Error).message}\n${toLines(told?.rows ?? []).join('\n')}`);
    });
    if (!told) throw new Error('nothing was told');
    return told;
  };
  const patch = (kind: string, name: string, change: object, ...more: string[]) =>
    kubectl('patch', kind, name, '--type=merge', '-p', JSON.stringify(change), ...more);

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'doctor',
      roles: ROLES,
      values: VALUES,
    });
    namespace = (await installation.createNamespace('doctor')).name;
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'injected',
        namespace,
        annotations: { 'auth.example.io/audience': 'payments' },
      },
      spec: { terminationGracePeriodSeconds: 1, containers: [toApp(cluster.node)] },
    });
    await kubectl(
      ...['-n', installation.namespace, 'rollout', 'status', '--timeout=90s'],
      `deployment/${installation.release}-controller`,
    );
    await cluster.waitForPod({ namespace, pod: 'injected' }, isReady);
  });
  after(async () => installation?.uninstall());

  it('finds every row well at a release that is', async () => {
    // Until the controller holds the Lease and every broker has the first set.
    const { rows, bad, code } = await waitForState('live-sets', 'ok').then(() =>
      waitForState('controller-lease', 'ok'),
    );
    console.log(toLines(rows).join('\n'));
    expect(toLines(bad)).to.deep.equal([]);
    expect(code).to.equal(0);
    expect(rows.find(({ check }) => check === 'issuer')?.seen).to.contain(ISSUER);
    expect(rows.find(({ check }) => check === 'missed-pods')?.seen).to.match(/none was missed/);
  });

  it('finds the release without being told where it is', async () => {
    const told = await runDoctor(
      ...([cluster.facts.kubeconfig, '--release', installation.release] as const),
    );
    expect(toLines(told.bad)).to.deep.equal([]);
    expect(told.rows.find(({ check }) => check === 'installation')?.seen).to.contain(
      installation.namespace,
    );
  });

  it('names a caBundle of another authority', async () => {
    const name = `${installation.release}-webhook`;
    const registration = ['mutatingwebhookconfiguration', name] as const;
    const path = '{.webhooks[0].clientConfig.caBundle}';
    const own = await kubectl('get', ...registration, '-o', `jsonpath=${path}`);
    const now = Date.now();
    const { certificate } = issueAuthority({
      commonName: 'another',
      notBefore: new Date(now - 60_000),
      notAfter: new Date(now + 1e10),
    });
    const setBundle = (caBundle: string) =>
      kubectl(
        ...['patch', ...registration, '--type=json', '-p'],
        JSON.stringify([
          { op: 'replace', path: '/webhooks/0/clientConfig/caBundle', value: caBundle },
        ]),
      );
    await setBundle(Buffer.from(certificate).toString('base64'));
    const told = await waitForState('injection', 'problem');
    const row = told.bad.find(({ check }) => check === 'injection');
    expect(row?.seen).to.contain('is not the authority that signed the certificate of the webhook');
    expect(row?.mend).to.contain('docs/operations.md');
    expect(told.code).to.equal(1);
    await setBundle(own);
    await waitForState('injection', 'ok');
  });

  it('names an issuer that the broker does not believe', async () => {
    const name = `${installation.release}-clusters`;
    const inNamespace = ['-n', installation.namespace] as const;
    const own = await kubectl('get', 'configmap', name, ...inNamespace, '-o', 'json');
    const { data } = JSON.parse(own) as { data: Record<string, string> };
    const text = data['clusters.yaml'] ?? '';
    expect(text).to.contain(ISSUER);
    const wrong = { 'clusters.yaml': text.replaceAll(ISSUER, `${ISSUER}/`) };
    await patch('configmap', name, { data: wrong }, ...inNamespace);
    const told = await ask();
    expect(told.bad.map(({ check, state }) => [check, state])).to.deep.equal([
      ['issuer', 'problem'],
    ]);
    expect(told.bad[0]?.mend).to.contain(`cluster.issuers={${ISSUER}}`);
    await patch('configmap', name, { data }, ...inNamespace);
  });

  it('names a pod that asks for a token and was never injected', async () => {
    const pod = { namespace, pod: 'late' };
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod.pod, namespace },
      spec: { terminationGracePeriodSeconds: 1, containers: [toApp(cluster.node)] },
    });
    await kubectl('-n', namespace, 'annotate', 'pod', pod.pod, 'auth.example.io/audience=payments');
    const told = await ask();
    expect(toLines(told.bad)).to.have.lengthOf(1);
    expect(told.bad[0]).to.include({ check: 'missed-pods', about: `${namespace}/late` });
    await kubectl('-n', namespace, 'delete', 'pod', pod.pod, '--grace-period=0', '--force');
  });

  it('names a webhook that was scaled to nothing', async () => {
    await installation.scale('webhook', 0);
    const told = await waitForState('injection', 'problem');
    expect(told.bad.map(({ check, state }) => [check, state])).to.deep.include.members([
      ['deployments', 'problem'],
      ['injection', 'problem'],
    ]);
    expect(told.bad.find(({ check }) => check === 'deployments')?.mend).to.contain('kubectl -n');
    await installation.scale('webhook', 2);
    await waitForState('injection', 'ok');
  });

  it('says what it may not see with a credential without rights', async () => {
    const token = await requestToken(cluster, { namespace, serviceAccount: 'default' });
    const { server, caFile, workFolder } = cluster.facts;
    const kubeconfig = path.join(workFolder, 'nobody.kubeconfig');
    const content = {
      'current-context': 'nobody',
      contexts: [{ name: 'nobody', context: { cluster: 'c', user: 'u', namespace } }],
      clusters: [{ name: 'c', cluster: { server, 'certificate-authority': caFile } }],
      users: [{ name: 'u', user: { token } }],
    };
    writeFileSync(kubeconfig, JSON.stringify(content), { mode: 0o600 });
    const told = await runDoctor(kubeconfig, '--namespace', installation.namespace);
    const unknown = told.rows.filter(({ state }) => state === 'unknown');
    expect(toLines(told.bad)).to.deep.equal(toLines(unknown));
    expect(unknown.map(({ check }) => check)).to.deep.equal([
      'installation',
      'injection',
      'missed-pods',
    ]);
    for (const { seen } of unknown) expect(seen).to.match(/^no right to /);
    expect(told.code).to.equal(0);
    expect(told.stderr).to.equal('');
  });
});
