// Step 2: annotations that are wrong, as whoever runs kubectl sees it. The near misses beside them are right and pass.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import type { TestNamespace } from '../harness/namespace.ts';
import { toApp } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import { type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';

const RIGHT = { 'auth.example.io/audience': 'payments', 'auth.example.io/deadline': '30' };
const WRONG = [
  {
    what: 'misspelt',
    annotations: { 'auth.example.io/audence': 'payments' },
    says: ['auth.example.io/audence', 'did you mean audience', '[annotation_unknown]'],
  },
  {
    what: 'malformed',
    annotations: { ...RIGHT, 'auth.example.io/deadline': 'soon' },
    says: ['auth.example.io/deadline', '1', '600', '[deadline_malformed]'],
  },
] as const;

describe('refusals on a node, step 2: annotations', function () {
  this.timeout(180_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: TestNamespace;

  before(async () => {
    cluster = openNodeCluster();
    const subjects = [{ namespace: 'coatcheck-test-annotations-*', serviceAccount: 'default' }];
    installation = await installProduct(cluster, {
      purpose: 'annotations',
      roles: { payments: { audience: 'payments', subjects } },
    });
    namespace = await installation.createNamespace('annotations');
    // The API server takes up policies in its own time.
    const isWarned = async () =>
      (await apply(toDeployment('x', WRONG[0].annotations), true)).stderr;
    await waitFor(async () => (await isWarned()).includes('Warning'), { what: 'the policy' });
  });
  after(async () => installation?.uninstall());

  const apply = async (manifest: object, isDry = false) => {
    const args = ['apply', ...(isDry ? ['--dry-run=server'] : []), '-f', '-'];
    const result = await cluster.kubectl(args, manifest);
    keep('kubectl-apply.txt', result.stderr);
    return result;
  };
  const toPod = (name: string, annotations: object) => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: namespace.name, annotations },
    spec: { terminationGracePeriodSeconds: 1, containers: [toApp(cluster.node)] },
  });
  const toDeployment = (name: string, annotations: object) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: namespace.name },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name }, annotations },
        spec: { terminationGracePeriodSeconds: 1, containers: [toApp(cluster.node)] },
      },
    },
  });

  it('are taken where they are right, without a word', async () => {
    for (const manifest of [toPod('right', RIGHT), toDeployment('right', RIGHT)])
      expect(await apply(manifest)).to.deep.include({ code: 0, stderr: '' });
  });

  for (const { what, annotations, says } of WRONG) {
    it(`make kubectl refuse a pod where one is ${what}, and say what is wrong and what is allowed`, async () => {
      const { code, stderr } = await apply(toPod(what, annotations));
      expect(code).to.equal(1);
      for (const words of says) expect(stderr).to.include(words);
      const { status } = await cluster.request(
        'GET',
        `/api/v1/namespaces/${namespace.name}/pods/${what}`,
      );
      expect(status).to.equal(404);
    });

    it(`show in the events of the ReplicaSet where one is ${what} in a Deployment`, async () => {
      expect((await apply(toDeployment(what, annotations))).code).to.equal(0);
      let text = '';
      const isShown = async () => {
        const args = ['describe', 'replicaset', '-l', `app=${what}`, '-n', namespace.name];
        text = (await cluster.kubectl(args)).stdout;
        return text.includes('FailedCreate');
      };
      await waitFor(isShown, { what: 'the event', withinMs: 60_000 });
      keep(`describe-replicaset-${what}.txt`, text);
      for (const words of says) expect(text).to.include(words);
    });
  }

  it('make kubectl warn whoever applies a Deployment where one is misspelt', async () => {
    const { code, stderr } = await apply(toDeployment('warned', WRONG[0].annotations));
    expect(code).to.equal(0);
    expect(stderr).to.match(/^Warning: /);
    expect(stderr).to.include('auth.example.io/audence').and.to.include('allowed: audience, mode');
  });

  it('make kubectl warn whoever puts one on the Deployment itself', async () => {
    const right = toDeployment('misplaced', {});
    const misplaced = { ...right, metadata: { ...right.metadata, annotations: RIGHT } };
    const { code, stderr } = await apply(misplaced);
    expect(code).to.equal(0);
    expect(stderr).to.match(/^Warning: /);
    expect(stderr).to.include('spec.template.metadata.annotations');
  });
});
