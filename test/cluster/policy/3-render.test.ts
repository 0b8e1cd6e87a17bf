// Step 3: what the command prints, applied by kubectl as an operator would: taken strictly, without a type warning, without
// drift; it holds for annotated pods and leaves all others alone.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { expect } from 'chai';
import { dryRun, isInjected, toPod } from '../api-server/stage.ts';
import { type Cluster, openCluster } from '../harness/cluster.ts';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import {
  narrow,
  needPolicies,
  type PolicyObject,
  remove,
  toCollection,
  waitForPolicy,
} from './stage.ts';

const CLI = path.join(import.meta.dirname, '../../../cli/main.ts');

describe('policy mode, step 3: what the command prints', function () {
  this.timeout(180_000);
  const name = `coatcheck-test-${randomBytes(4).toString('hex')}`;
  const labels = { 'coatcheck-test': name };
  let cluster: Cluster;
  let namespace: TestNamespace;
  let excluded: TestNamespace;
  let objects: readonly PolicyObject[] = [];
  const list = () => ({ apiVersion: 'v1', kind: 'List', items: objects });

  before(async function () {
    cluster = openCluster();
    const version = await needPolicies(this, cluster);
    namespace = await createNamespace(cluster, 'policy', labels);
    excluded = await createNamespace(cluster, 'policy-excluded', labels);
    const flags = {
      mode: 'policy',
      name,
      'api-version': version,
      'broker-url': 'https://coatcheck-broker.coatcheck.svc',
      image: 'registry.example/coatcheck-exchange:test',
      'exclude-namespaces': excluded.name,
      output: 'json',
    };
    const given = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
    const printed = execFileSync(process.execPath, [CLI, 'render', ...given], {
      encoding: 'utf8',
      env: { PATH: process.env.PATH },
    });
    const { items } = JSON.parse(printed) as { items: readonly PolicyObject[] };
    objects = items.map((one) => narrow(one, labels));
  });
  after(async () => {
    for (const object of objects) await remove(cluster, object);
    await namespace?.remove();
    await excluded?.remove();
  });

  const pod = (annotations?: Readonly<Record<string, string>>, podName = 'other') =>
    toPod(podName, annotations && { annotations });
  const audience = (value: string) => ({ 'auth.example.io/audience': value });

  it('is applied by kubectl, strictly and without a warning', async () => {
    const { code, stderr } = await cluster.kubectl(
      ['apply', '--validate=strict', '-f', '-'],
      list(),
    );
    expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
  });

  it('does not drift', async () => {
    const { code, stdout } = await cluster.kubectl(['diff', '-f', '-'], list());
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: '' });
  });

  it('injects what kubectl applies', async () => {
    const isAsked = async () =>
      isInjected((await dryRun(cluster, namespace.name, pod(audience('payments')))).body);
    await waitForPolicy(isAsked, 'the API server to inject by the policy');
    const isRefused = async () =>
      (await dryRun(cluster, namespace.name, pod({ 'auth.example.io/x': 'y' }))).status === 422;
    await waitForPolicy(isRefused, 'the API server to refuse by the policy');
    const args = ['apply', '-n', namespace.name, '-f', '-'];
    const applied = await cluster.kubectl(args, pod(audience('payments'), 'app'));
    expect(applied.code, applied.stderr).to.equal(0);
    const { body } = await cluster.request('GET', `/api/v1/namespaces/${namespace.name}/pods/app`);
    const { initContainers } = body.spec as { initContainers: { name: string; image: string }[] };
    expect(initContainers.map(({ name: one, image }) => [one, image])).to.deep.equal([
      ['coatcheck-exchange', 'registry.example/coatcheck-exchange:test'],
    ]);
  });

  it('tells kubectl what is wrong with an annotation, and what is allowed', async () => {
    const args = ['create', '-n', namespace.name, '-f', '-'];
    const wrong = toPod('wrong', {
      annotations: { ...audience('payments'), 'auth.example.io/mode': 'x' },
    });
    const { code, stderr } = await cluster.kubectl(args, wrong);
    expect(code).to.equal(1);
    expect(stderr).to.contain('auth.example.io/mode: "x" is not allowed; allowed: init, refresh');
  });

  const untouched: readonly (readonly [string, Readonly<Record<string, string>> | undefined])[] = [
    ['without annotations', undefined],
    ['with annotations of others', { 'other.example/audience': 'payments' }],
    ['with nothing of ours but a status', { 'auth.example.io/status': '{}' }],
  ];
  for (const [what, annotations] of untouched) {
    it(`leaves a pod alone ${what}`, async () => {
      const { status, body } = await dryRun(cluster, namespace.name, pod(annotations));
      expect(status, String(body.message)).to.equal(201);
      expect(isInjected(body)).to.equal(false);
    });
  }

  it('leaves pods of excluded namespaces alone, also wrong ones', async () => {
    const { status, body } = await dryRun(
      cluster,
      excluded.name,
      pod({ 'auth.example.io/x': 'y' }),
    );
    expect(status, String(body.message)).to.equal(201);
  });

  it('has expressions that the type checker finds nothing wrong with', async function () {
    // The checker is a controller.
    if (!cluster.facts.hasControllers) return this.skip();
    const validating = objects.find(({ kind }) => kind === 'ValidatingAdmissionPolicy');
    if (!validating) throw new Error('there is no ValidatingAdmissionPolicy');
    const url = `${toCollection(validating)}/${validating.metadata.name}`;
    const read = async () =>
      (await cluster.request('GET', url)).body as {
        metadata: { generation: number };
        status?: { observedGeneration?: number; typeChecking?: object };
      };
    const isChecked = async () => {
      const { metadata, status } = await read();
      return status?.observedGeneration === metadata.generation;
    };
    await waitForPolicy(isChecked, 'the types to be checked');
    expect((await read()).status?.typeChecking).to.deep.equal({});
    return undefined;
  });
});
