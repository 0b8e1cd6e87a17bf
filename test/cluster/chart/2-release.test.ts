// Step 2: a release of the chart. Nothing serves behind it, which is the point: annotated pods wait, others do not, whoever
// applies a workload is warned, and after `helm uninstall` nothing waits any more.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { CHART, findHelmLack, runHelm } from '../../chart/helm.ts';
import { createCa, toUsualValues } from '../../chart/values.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import { waitFor } from '../harness/process.ts';

const PREFIX = 'auth.example.io/';

interface Workload {
  kind: string;
  path: string;
  apiVersion: string;
  /** The `spec` around a pod template. */
  toSpec: (template: object) => object;
  templatePath: string;
}

const selector = { matchLabels: { app: 'x' } };
const apps = (kind: string, resource: string, spec: object = {}): Workload => ({
  kind,
  apiVersion: 'apps/v1',
  path: `/apis/apps/v1/namespaces/{}/${resource}`,
  toSpec: (template) => ({ selector, template, ...spec }),
  templatePath: 'spec.template',
});

const WORKLOADS: readonly Workload[] = [
  apps('Deployment', 'deployments'),
  apps('StatefulSet', 'statefulsets', { serviceName: 'x' }),
  apps('DaemonSet', 'daemonsets'),
  apps('ReplicaSet', 'replicasets'),
  {
    kind: 'Job',
    apiVersion: 'batch/v1',
    path: '/apis/batch/v1/namespaces/{}/jobs',
    toSpec: (template) => ({ template }),
    templatePath: 'spec.template',
  },
  {
    kind: 'CronJob',
    apiVersion: 'batch/v1',
    path: '/apis/batch/v1/namespaces/{}/cronjobs',
    toSpec: (template) => ({ schedule: '0 0 * * *', jobTemplate: { spec: { template } } }),
    templatePath: 'spec.jobTemplate.spec.template',
  },
];

describe('chart, step 2: a release', function () {
  this.timeout(120_000);
  let cluster: Cluster;
  let home: TestNamespace;
  let work: TestNamespace;
  const release = `coatcheck-test-chart-${randomBytes(4).toString('hex')}`;
  let isInstalled = false;

  const helm = (args: readonly string[], values?: object) =>
    runHelm([...args, `--kubeconfig=${cluster.facts.kubeconfig}`, '-n', home.name], values);

  before(async function () {
    const lack = findHelmLack(process.env);
    if (lack !== undefined) {
      console.log(`\n!!! SKIPPED the chart: ${lack}\n`);
      return this.skip();
    }
    cluster = openCluster();
    home = await createNamespace(cluster, 'chart-home');
    work = await createNamespace(cluster, 'chart-work', { 'coatcheck-test': release });
    const values = {
      ...toUsualValues(createCa()),
      webhook: {
        replicas: 0,
        namespaceSelector: { matchLabels: { 'coatcheck-test': release } },
      },
      broker: { replicas: 0 },
      tokenVolumePolicy: { enabled: true },
      // On somebody else's cluster it is not ours to bring, nor to take away.
      crds: { install: cluster.facts.isOurs },
    };
    const { code, stdout, stderr } = helm(['install', release, CHART, '-f', '-'], values);
    expect(code, stderr).to.equal(0);
    isInstalled = true;
    notes = stdout;
    // The API server takes up policies in its own time.
    await waitFor(async () => (await apply(deployment, { onWorkload: ['audience'] })).length > 0, {
      what: 'the policy to be in force',
    });
    return undefined;
  });
  after(async () => {
    if (isInstalled) helm(['uninstall', release]);
    await work?.remove();
    await home?.remove();
  });

  let notes = '';
  const [deployment] = WORKLOADS as readonly [Workload];

  interface Keys {
    onTemplate?: readonly string[];
    onWorkload?: readonly string[];
    ownerReferences?: readonly object[];
  }
  const toAnnotations = (keys: readonly string[] = []) => ({
    annotations: Object.fromEntries(keys.map((key) => [`${PREFIX}${key}`, 'payments'])),
  });

  /** What is said about the workload by us; it must be admitted whatever is said. */
  async function apply(
    { kind, apiVersion, path, toSpec }: Workload,
    { onTemplate, onWorkload, ownerReferences }: Keys,
  ): Promise<readonly string[]> {
    const template = {
      metadata: { labels: { app: 'x' }, ...(onTemplate && toAnnotations(onTemplate)) },
      spec: {
        ...(/Job$/.test(kind) && { restartPolicy: 'Never' }),
        containers: [{ name: 'app', image: 'registry.example/app:1' }],
      },
    };
    const { status, body, warnings } = await cluster.request(
      'POST',
      `${path.replace('{}', work.name)}?dryRun=All`,
      {
        kind,
        apiVersion,
        metadata: {
          generateName: 'x-',
          ...(ownerReferences && { ownerReferences }),
          ...(onWorkload && toAnnotations(onWorkload)),
        },
        spec: toSpec(template),
      },
    );
    expect(status, String(body.message)).to.equal(201);
    return warnings.filter((text) => text.includes(`${release}-workloads`));
  }

  it('says in its notes which Secrets it waits for and what comes next', () => {
    for (const words of [
      `${release}-webhook-tls`,
      `${release}-broker-tls`,
      `${release}-signing-keys`,
      `${release}-broker.${home.name}.svc`,
      'rollout status',
      `${PREFIX}audience`,
    ]) {
      expect(notes).to.include(words);
    }
    expect(notes).to.not.include('WARNING');
  });

  it('says in its notes where there is no default StorageClass, and nothing where there is one', async function () {
    if (!cluster.facts.isOurs) return this.skip();
    const lack = 'this cluster has no default StorageClass';
    const notesWith = (values: object) =>
      helm(['upgrade', release, CHART, '--dry-run=server', '-f', '-'], values).stdout;
    expect(notes).to.include(lack);
    const chosen = { broker: { store: { persistence: { storageClass: 'mine' } } } };
    expect(notesWith(chosen)).to.include('NOTES').and.not.include(lack);
    const name = `${release}-class`;
    await cluster.kubectl(['create', '-f', '-'], {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: {
        name,
        annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
      },
      provisioner: 'example.com/none',
    });
    expect(notesWith({})).to.include('NOTES').and.not.include(lack);
    await cluster.kubectl(['delete', 'storageclass', name]);
    expect(notesWith({})).to.include(lack);
    return undefined;
  });

  it('has a policy whose expressions the API server finds no fault with', async () => {
    const path = `/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/${release}-workloads`;
    if (!cluster.facts.hasControllers) return;
    let status: { typeChecking?: object; observedGeneration?: number } = {};
    await waitFor(
      async () => {
        status = ((await cluster.request('GET', path)).body.status ?? {}) as typeof status;
        return status.observedGeneration !== undefined;
      },
      { what: 'the policy to be type checked' },
    );
    expect(status.typeChecking).to.deep.equal({});
  });

  for (const workload of WORKLOADS) {
    const { kind, templatePath } = workload;

    it(`warns about a misspelt annotation in the template of a ${kind}`, async () => {
      const [warning, ...others] = await apply(workload, { onTemplate: ['audience', 'audence'] });
      expect(others).to.deep.equal([]);
      expect(warning).to.include(`the pod template has ${PREFIX}audence, not known`);
      expect(warning).to.include('allowed: audience, mode, role');
    });

    it(`warns about an annotation on the ${kind} itself, and says where it belongs`, async () => {
      const [warning, ...others] = await apply(workload, {
        onWorkload: ['audience'],
        onTemplate: ['audience.db'],
      });
      expect(others).to.deep.equal([]);
      expect(warning).to.include(`${PREFIX}audience on the workload itself does nothing`);
      expect(warning).to.include(`it belongs to ${templatePath}.metadata.annotations`);
    });

    it(`says nothing about a ${kind} with every annotation there is, or with none`, async () => {
      const onTemplate = [
        ...['audience', 'mode', 'role', 'containers', 'init-order', 'token-expiration'],
        ...['deadline', 'status', 'audience.db', 'role.db', 'containers.db'],
      ];
      expect(await apply(workload, { onTemplate })).to.deep.equal([]);
      expect(await apply(workload, {})).to.deep.equal([]);
    });
  }

  it('says nothing about what a controller made', async () => {
    const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'x', uid: 'x' };
    const misspelt = { onTemplate: ['audence'] };
    const replicaSet = WORKLOADS[3] as Workload;
    const made = { ...misspelt, ownerReferences: [{ ...owner, controller: true }] };
    expect(await apply(replicaSet, made)).to.deep.equal([]);
    const related = { ...misspelt, ownerReferences: [owner] };
    expect(await apply(replicaSet, related)).to.have.lengthOf(1);
  });

  const createPod = (annotations?: object) =>
    cluster.request('POST', `/api/v1/namespaces/${work.name}/pods?dryRun=All`, {
      metadata: { generateName: 'x-', ...(annotations && { annotations }) },
      spec: { containers: [{ name: 'app', image: 'registry.example/app:1' }] },
    });
  const annotated = { [`${PREFIX}audience`]: 'payments' };

  it('holds back annotated pods while no webhook answers, and no other pod', async () => {
    const waiting = await createPod(annotated);
    expect(waiting.status).to.equal(500);
    expect(String(waiting.body.message)).to.include('failed calling webhook "pods.coatcheck');
    for (const others of [undefined, {}, { [`${PREFIX}status`]: 'x' }, { 'example.com/a': 'b' }]) {
      const { status, body } = await createPod(others);
      expect(status, String(body.message)).to.equal(201);
    }
  });

  it('lets nobody mount the volumes of tokens into a running pod, and other volumes as before', async () => {
    const volumes = ['coatcheck-tokens', 'scratch'].map((name) => ({ name, emptyDir: {} }));
    const container = { image: 'registry.example/app:1' };
    const path = `/api/v1/namespaces/${work.name}/pods`;
    const made = await cluster.request('POST', path, {
      metadata: { name: 'debugged' },
      spec: { volumes, containers: [{ name: 'app', ...container }] },
    });
    expect(made.status, String(made.body.message)).to.equal(201);
    const debug = async (name: string, volume?: string) => {
      const pod = await cluster.request('GET', `${path}/debugged`);
      const spec = pod.body.spec as { ephemeralContainers?: object[] };
      const volumeMounts = volume === undefined ? [] : [{ name: volume, mountPath: '/seen' }];
      const added = { name, ...container, volumeMounts };
      return cluster.request('PUT', `${path}/debugged/ephemeralcontainers`, {
        ...pod.body,
        spec: { ...spec, ephemeralContainers: [...(spec.ephemeralContainers ?? []), added] },
      });
    };
    let tries = 0;
    const isInForce = async () =>
      (await debug(`early-${++tries}`, 'coatcheck-tokens')).status !== 200;
    await waitFor(isInForce, { what: 'the policy to be in force' });
    const refused = await debug('first', 'coatcheck-tokens');
    expect(refused.status).to.equal(403);
    expect(String(refused.body.message)).to.include(
      'the ephemeral container first may not mount the volumes coatcheck-identity and coatcheck-tokens',
    );
    for (const [name, volume] of [['second'], ['third', 'scratch']] as const) {
      const { status, body } = await debug(name, volume);
      expect(status, String(body.message)).to.equal(200);
    }
    expect((await debug('fourth', 'coatcheck-tokens')).status).to.equal(403);
  });

  it('holds back nothing once it is uninstalled, and leaves nothing in the cluster', async () => {
    const { code, stderr } = helm(['uninstall', release]);
    expect(code, stderr).to.equal(0);
    isInstalled = false;
    await waitFor(async () => (await createPod(annotated)).status === 201, {
      what: 'annotated pods to be admitted again',
    });
    const left = await cluster.kubectl([
      'get',
      [
        'mutatingwebhookconfigurations,validatingadmissionpolicies',
        'validatingadmissionpolicybindings,clusterroles,clusterrolebindings',
      ].join(),
      '-l',
      `app.kubernetes.io/instance=${release}`,
      '-o',
      'name',
    ]);
    expect(left.stdout).to.equal('');
  });

  it('leaves the CRD, and a TokenRole in it, and is installed over both again', async function () {
    if (!cluster.facts.isOurs) return this.skip();
    const role = { kind: 'TokenRole', apiVersion: 'auth.example.io/v1alpha1' };
    const spec = { audience: 'kept', subjects: [{ namespace: 'a', serviceAccount: 'b' }] };
    const made = await cluster.kubectl(['create', '-f', '-'], {
      ...role,
      metadata: { name: 'kept' },
      spec,
    });
    expect(made.code, made.stderr).to.equal(0);
    const values = { webhook: { replicas: 0 }, broker: { replicas: 0 } };
    const again = helm(['install', release, CHART, '-f', '-'], values);
    expect(again.code, again.stderr).to.equal(0);
    isInstalled = true;
    helm(['uninstall', release]);
    isInstalled = false;
    const kept = await cluster.kubectl(['get', 'trole', '-o', 'name']);
    expect(kept.stdout.trim(), kept.stderr).to.equal('tokenrole.auth.example.io/kept');
    await cluster.kubectl(['delete', 'crd', 'tokenroles.auth.example.io']);
    return undefined;
  });
});
