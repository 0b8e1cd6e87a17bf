// Step 2: what is wrong with a pod is said where its author looks: in kubectl for a bare pod, in the conditions of a
// Deployment otherwise. Each refusal has a neighbour that is allowed.
import { expect } from 'chai';
import { waitFor } from '../harness/process.ts';
import { type Stage, setStage, toPod } from './stage.ts';

interface Refusal {
  name: string;
  annotations: Readonly<Record<string, string>>;
  /** What kubectl must show. */
  says: readonly string[];
  /** The near miss that is allowed. */
  allowed: Readonly<Record<string, string>>;
}

const REFUSALS: readonly Refusal[] = [
  {
    name: 'a misspelt key',
    annotations: { 'auth.example.io/audence': 'payments' },
    says: ['auth.example.io/audence', 'did you mean', 'audience'],
    allowed: { 'auth.example.io/audience': 'payments' },
  },
  {
    name: 'a mode that does not exist',
    annotations: { 'auth.example.io/audience': 'payments', 'auth.example.io/mode': 'once' },
    says: ['auth.example.io/mode', 'init', 'refresh'],
    allowed: { 'auth.example.io/audience': 'payments', 'auth.example.io/mode': 'refresh' },
  },
  {
    name: 'a key of ours without any audience',
    annotations: { 'auth.example.io/mode': 'refresh' },
    says: ['auth.example.io/audience'],
    allowed: { 'auth.example.io/mode': 'refresh', 'auth.example.io/audience.db': 'payments' },
  },
  {
    name: "the API server's own audience",
    annotations: { 'auth.example.io/audience': 'https://kubernetes.default.svc.cluster.local' },
    says: ['auth.example.io/audience', 'reserved'],
    allowed: { 'auth.example.io/audience': 'https://payments.default.svc.cluster.local' },
  },
  {
    name: 'a container that is not in the pod',
    annotations: { 'auth.example.io/audience': 'payments', 'auth.example.io/containers': 'ap' },
    says: ['auth.example.io/containers', 'app'],
    allowed: { 'auth.example.io/audience': 'payments', 'auth.example.io/containers': 'app' },
  },
  {
    name: 'a token life that the kubelet would not ask for',
    annotations: {
      'auth.example.io/audience': 'payments',
      'auth.example.io/token-expiration': '599',
    },
    says: ['auth.example.io/token-expiration', '600', '86400'],
    allowed: { 'auth.example.io/audience': 'payments', 'auth.example.io/token-expiration': '600' },
  },
];

describe('step 2: refusals by a real API server', function () {
  this.timeout(60_000);
  let stage: Stage;
  before(async () => {
    stage = await setStage('refusals');
  });
  after(() => stage?.clear());

  const kubectl = (args: readonly string[], input?: object) =>
    stage.cluster.kubectl([`--namespace=${stage.namespace.name}`, ...args], input);

  for (const [index, { name, annotations, says, allowed }] of REFUSALS.entries()) {
    it(`refuses ${name} in kubectl, and says what is allowed`, async () => {
      const { code, stderr } = await kubectl(
        ['create', '-f', '-'],
        toPod(`refused-${index}`, { annotations }),
      );
      expect(code).to.not.equal(0);
      expect(stderr).to.contain('denied the request');
      for (const words of says) expect(stderr).to.contain(words);
      expect((await kubectl(['get', 'pod', `refused-${index}`])).stderr).to.contain('NotFound');
    });

    it(`allows the neighbour of ${name}`, async () => {
      const { code, stderr } = await kubectl(
        ['create', '-f', '-'],
        toPod(`allowed-${index}`, { annotations: allowed }),
      );
      expect(code, stderr).to.equal(0);
    });
  }

  it('tells a Deployment in its conditions why it has no pods', async function () {
    if (!stage.cluster.facts.hasControllers) return this.skip();
    const labels = { app: 'misspelt' };
    const { code } = await kubectl(['create', '-f', '-'], {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'misspelt' },
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels, annotations: { 'auth.example.io/audence': 'payments' } },
          spec: toPod('x').spec,
        },
      },
    });
    expect(code).to.equal(0);
    const readFailure = async () => {
      const path = "jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].message}";
      return (await kubectl(['get', 'deployment', 'misspelt', '-o', path])).stdout;
    };
    await waitFor(async () => (await readFailure()) !== '', {
      what: 'the ReplicaFailure condition',
    });
    expect(await readFailure()).to.contain('did you mean');
    expect((await kubectl(['get', 'pods', '-l', 'app=misspelt', '-o', 'name'])).stdout).to.equal(
      '',
    );
    return undefined;
  });
});
