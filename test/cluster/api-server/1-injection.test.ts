// Step 1: pods that people and controllers create come back from the API server with the exchange in them, and the API
// server sends us nothing else.
import { expect } from 'chai';
import { createNamespace } from '../harness/namespace.ts';
import { waitFor } from '../harness/process.ts';
import { dryRun, isInjected, type Stage, setStage, toPod } from './stage.ts';
import { type Container, type StoredPod, toStoredPod } from './stored-pod.ts';

const REVIEWS = 'coatcheck_webhook_requests_total';
const AUDIENCE = { 'auth.example.io/audience': 'payments' };

describe('step 1: injection by a real API server', function () {
  this.timeout(60_000);
  let stage: Stage;
  before(async () => {
    stage = await setStage('injection');
  });
  after(() => stage?.clear());

  const kubectl = (args: readonly string[], input?: object) =>
    stage.cluster.kubectl([`--namespace=${stage.namespace.name}`, ...args], input);

  async function create(object: object): Promise<{ warnings: string }> {
    const { code, stderr } = await kubectl(['create', '-f', '-'], object);
    expect(code, stderr).to.equal(0);
    return { warnings: stderr };
  }

  async function getPod(name: string): Promise<StoredPod> {
    const { stdout, stderr } = await kubectl(['get', 'pod', name, '-o', 'json']);
    expect(stderr).to.equal('');
    return toStoredPod(JSON.parse(stdout));
  }

  function expectInjected(pod: StoredPod): void {
    const app = pod.containers.app as Container;
    expect(pod.initContainerNames[0]).to.equal('coatcheck-exchange');
    expect(pod.initContainers['coatcheck-exchange']?.restartPolicy).to.equal('Always');
    expect(app.env.AUTH_TOKEN_FILE).to.equal('/var/run/secrets/auth.example.io/payments/token');
    expect(app.mounts['coatcheck-tokens']).to.deep.include({ readOnly: true });
    expect(app.mounts).to.not.have.property('coatcheck-identity');
    expect(pod.volumes['coatcheck-identity']).to.have.nested.property(
      'projected.sources[0].serviceAccountToken.audience',
      'payments',
    );
    expect(pod.volumes['coatcheck-tokens']).to.have.nested.property('emptyDir.medium', 'Memory');
  }

  it('injects a pod that kubectl creates', async () => {
    await create(toPod('by-hand', { annotations: AUDIENCE }));
    expectInjected(await getPod('by-hand'));
  });

  it('injects the pods of a Deployment, which the ReplicaSet controller creates', async function () {
    if (!stage.cluster.facts.hasControllers) return this.skip();
    const { metadata: _, ...pod } = toPod('ignored');
    await create({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'shop' },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'shop' } },
        template: { metadata: { labels: { app: 'shop' }, annotations: AUDIENCE }, spec: pod.spec },
      },
    });
    const list = async () => {
      const { stdout } = await kubectl(['get', 'pods', '-l', 'app=shop', '-o', 'json']);
      return (JSON.parse(stdout) as { items: unknown[] }).items.map(toStoredPod);
    };
    await waitFor(async () => (await list()).length === 2, { what: "the Deployment's two pods" });
    const pods = await list();
    for (const pod of pods) expectInjected(pod);
    expect(new Set(pods.map((pod) => pod.owner))).to.have.property('size', 1);
    return undefined;
  });

  describe('what the exchange container sees', () => {
    const OURS = ['coatcheck-identity', 'coatcheck-tokens'];
    const API_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount';
    const findMounts = async (name: string, spec: object) => {
      await create(toPod(name, { annotations: AUDIENCE, spec }));
      return (await getPod(name)).initContainers['coatcheck-exchange']?.mounts ?? {};
    };

    // The ServiceAccount admission runs again after a webhook has changed a pod and treats our container as any other.
    it("is our two volumes, and the API server's own token as in every container", async () => {
      const mounts = await findMounts('with-api-token', {});
      const others = Object.keys(mounts).filter((name) => !OURS.includes(name));
      expect(others).to.have.length(1);
      expect(others[0]).to.match(/^kube-api-access-/);
      expect(mounts[others[0] ?? '']).to.deep.equal({ mountPath: API_TOKEN, readOnly: true });
      expect(mounts).to.include.keys(OURS);
    });

    it('is our two volumes alone in a pod without automount', async () => {
      const mounts = await findMounts('without-api-token', { automountServiceAccountToken: false });
      expect(mounts).to.have.all.keys(OURS);
    });
  });

  it('answers a dry run like a real request and stores nothing', async () => {
    const { code, stdout } = await kubectl(
      ['create', '--dry-run=server', '-o', 'json', '-f', '-'],
      toPod('only-tried', { annotations: AUDIENCE }),
    );
    expect(code).to.equal(0);
    expectInjected(toStoredPod(JSON.parse(stdout)));
    expect((await kubectl(['get', 'pod', 'only-tried'])).stderr).to.contain('NotFound');
  });

  it('gives a pod that is to restart never an init container, without a sidecar', async () => {
    await create(toPod('a-task', { annotations: AUDIENCE, spec: { restartPolicy: 'Never' } }));
    const pod = await getPod('a-task');
    expect(pod.initContainerNames).to.deep.equal(['coatcheck-exchange']);
    expect(pod.initContainers['coatcheck-exchange']).to.not.have.property('restartPolicy');
  });

  it('shows a warning of ours in kubectl', async () => {
    const annotations = { ...AUDIENCE, 'auth.example.io/mode': 'init' };
    const { warnings } = await create(toPod('not-renewed', { annotations }));
    expect(warnings).to.match(/^Warning: .*\bmode\b/m);
    expect((await getPod('not-renewed')).initContainers['coatcheck-exchange']).to.not.have.property(
      'restartPolicy',
    );
  });

  it('shows no warning for a pod without anything odd', async () => {
    const { warnings } = await create(toPod('plain', { annotations: AUDIENCE }));
    expect(warnings).to.equal('');
  });

  describe('what is not sent', () => {
    const count = () => stage.webhook.process().readCounter(REVIEWS);

    for (const { name, given } of [
      { name: 'a pod without annotations', given: {} },
      {
        name: "a pod with others' annotations",
        given: { annotations: { 'example.com/audience': 'payments' } },
      },
      {
        name: 'a pod with nothing of ours but the status that we write',
        given: { annotations: { 'auth.example.io/status': 'injected' } },
      },
      {
        name: 'a pod whose annotation only begins like the prefix',
        given: { annotations: { 'auth.example.iox/audience': 'payments' } },
      },
    ]) {
      it(`${name} never reaches the webhook`, async () => {
        const before = await count();
        await create({
          ...toPod('x', given),
          metadata: { ...toPod('x', given).metadata, name: undefined, generateName: 'unsent-' },
        });
        expect(await count()).to.equal(before);
      });
    }

    it('an annotated pod does reach it, and the counter says so', async () => {
      const before = await count();
      await create(toPod('sent', { annotations: AUDIENCE }));
      expect(await count()).to.be.greaterThan(before);
    });

    it('an update of an injected pod never reaches it', async () => {
      await create(toPod('to-be-labelled', { annotations: AUDIENCE }));
      const before = await count();
      const { code } = await kubectl(['label', 'pod', 'to-be-labelled', 'colour=green']);
      expect(code).to.equal(0);
      expect(await count()).to.equal(before);
    });

    it('a pod of a namespace that is not selected never reaches it', async () => {
      const elsewhere = await createNamespace(stage.cluster, 'elsewhere');
      const before = await count();
      const pod = toPod('elsewhere', { annotations: AUDIENCE });
      const { status, body } = await dryRun(stage.cluster, elsewhere.name, pod);
      await elsewhere.remove();
      expect(status).to.equal(201);
      expect(isInjected(body)).to.equal(false);
      expect(await count()).to.equal(before);
    });
  });
});
