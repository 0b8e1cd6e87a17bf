// Step 1: no role, then a role. The same pods all the time: nobody deletes or restarts one.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import type { TestNamespace } from '../harness/namespace.ts';
import { readToken, toApp } from '../harness/node/app.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  getContainerStatus,
  isReady,
  type NodeCluster,
  openNodeCluster,
  type Pod,
} from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';

const ROLE = {
  audience: 'payments',
  subjects: [{ namespace: 'coatcheck-test-no-role-*', serviceAccount: 'checkout' }],
};
/** The near miss: the right audience and namespace, another account. */
const OTHERS = { ...ROLE, subjects: [{ ...ROLE.subjects[0], serviceAccount: 'accounting' }] };

/** Seconds for the first exchange; patient pods wait for the role without ever failing. */
const DEADLINES = { 'no-role-init': '5', 'no-role-refresh': '5', patient: '600' } as const;

describe('refusals on a node, step 1: no role', function () {
  this.timeout(300_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: TestNamespace;
  const uids = new Map<string, string>();
  const toName = (pod: string, container = 'app') => ({
    namespace: namespace.name,
    pod,
    container,
  });

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, { purpose: 'no-role', roles: { others: OTHERS } });
    namespace = await installation.createNamespace('no-role');
    for (const account of ['checkout', 'accounting']) await namespace.addServiceAccount(account);
    await cluster.apply(
      ...Object.keys(DEADLINES).map((name) => toPod(name)),
      toPod('allowed', 'accounting'),
    );
    for (const pod of Object.keys(DEADLINES))
      uids.set(pod, (await cluster.getPod(toName(pod))).metadata.uid);
  });
  after(async () => installation?.uninstall());

  function toPod(name: string, serviceAccountName = 'checkout'): object {
    const deadline = (DEADLINES as Readonly<Record<string, string>>)[name] ?? '60';
    const metadata = {
      name,
      namespace: namespace.name,
      annotations: {
        'auth.example.io/audience': 'payments',
        'auth.example.io/mode': name === 'no-role-init' ? 'init' : 'refresh',
        'auth.example.io/deadline': deadline,
      },
    };
    const spec = {
      serviceAccountName,
      terminationGracePeriodSeconds: 1,
      containers: [toApp(cluster.node)],
    };
    return { apiVersion: 'v1', kind: 'Pod', metadata, spec };
  }
  /** What kubectl says about a pod, once it says `words`: a status comes and goes while the kubelet tries again. */
  const waitForWords = async (command: readonly string[], pod: string, words: RegExp) => {
    let text = '';
    const isSaid = async () => {
      text = (await cluster.kubectl([...command, pod, '-n', namespace.name])).stdout;
      return words.test(text);
    };
    await waitFor(isSaid, { what: `kubectl to say ${words} of ${pod}`, withinMs: 120_000 });
    keep(`${command.join('-')}-${pod}.txt`, text);
    return text;
  };

  it('starts the pod that a role is for', async () => {
    await cluster.waitForPod(toName('allowed'), isReady, 120_000);
    await installation.verify((await readToken(cluster, toName('allowed'))).token, 'payments');
  });

  for (const pod of ['no-role-init', 'no-role-refresh']) {
    it(`ends ${pod} within its deadline; kubectl shows an init container that failed`, async () => {
      await cluster.waitForPod(toName(pod), hasFailed, 120_000);
      const failed = await cluster.getPod(toName(pod));
      expect(getContainerStatus(failed, 'app').state.running).to.equal(undefined);
      await waitForWords(['get', 'pod'], pod, / Init:(Error|CrashLoopBackOff) /);
    });

    it(`says why in kubectl describe pod ${pod}: reason, what was asked for, what to do`, async () => {
      const text = await waitForWords(['describe', 'pod'], pod, /no_role/);
      const [message = ''] = /Message: +coatcheck: .*no_role.*/.exec(text) ?? [];
      for (const words of ['payments', `${namespace.name}/checkout`, 'apply a TokenRole'])
        expect(message).to.include(words);
      // Not the names of others' roles.
      expect(message).to.not.include('others');
      await cluster.logs(toName(pod, 'coatcheck-exchange'));
    });
  }

  it('goes on with all of them, the same pods, once there is a role', async () => {
    await installation.setRoles({ others: OTHERS, 'payments-checkout': ROLE });
    for (const pod of Object.keys(DEADLINES)) {
      // Back-off of the kubelet: 10 s, 20 s, 40 s …
      const healed = await cluster.waitForPod(toName(pod), isReady, 200_000);
      expect(healed.metadata.uid).to.equal(uids.get(pod));
      const { token } = await readToken(cluster, toName(pod));
      const claims = await installation.verify(token, 'payments');
      expect(claims['kubernetes.io']).to.have.deep.property('pod', {
        name: pod,
        uid: healed.metadata.uid,
      });
      await cluster.logs(toName(pod, 'coatcheck-exchange'));
    }
  });

  it('needed no restart in the pod whose deadline was long', async () => {
    const pod = await cluster.getPod(toName('patient'));
    expect(getContainerStatus(pod, 'coatcheck-exchange').restartCount).to.equal(0);
  });
});

function hasFailed(pod: Pod): boolean {
  const { state, lastState } = getContainerStatus(pod, 'coatcheck-exchange');
  return [state, lastState].some((one) => one?.terminated?.exitCode === 1);
}
