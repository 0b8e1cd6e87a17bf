// The images as they ship, on a real node: any uid, a root that cannot be written, no shell, no package manager.
import { expect } from 'chai';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import {
  getContainerStatus,
  isFinished,
  type NodeCluster,
  openNodeCluster,
} from '../harness/node/suite.ts';
import { RESTRICTED, RESTRICTED_NAMESPACE, toContainer, toPod } from './pods.ts';

const UIDS = [1000, 65532, 1000720000];

describe('the images', function () {
  this.timeout(120_000);
  let cluster: NodeCluster;
  let namespace: TestNamespace;

  before(async () => {
    cluster = openNodeCluster();
    namespace = await createNamespace(cluster, 'images', RESTRICTED_NAMESPACE);
  });
  after(async () => namespace?.remove());

  const run = async (pod: string, image: string, container: object) => {
    const spec = {
      restartPolicy: 'Never',
      containers: [toContainer(cluster.node, image, container)],
    };
    await cluster.apply(toPod(namespace.name, pod, spec));
    const name = { namespace: namespace.name, pod, container: 'app' };
    const { terminated } = getContainerStatus(
      await cluster.waitForPod(name, isFinished),
      'app',
    ).state;
    const output = terminated?.reason === 'StartError' ? '' : await cluster.logs(name);
    return { code: terminated?.exitCode, message: terminated?.message ?? '', output };
  };
  const asUser = (runAsUser: number) => ({ securityContext: { ...RESTRICTED, runAsUser } });

  for (const uid of UIDS) {
    it(`start the exchange as uid ${uid}, which says what its settings lack`, async () => {
      const { code, output, message } = await run(
        `exchange-${uid}`,
        'coatcheck-exchange',
        asUser(uid),
      );
      expect(code).to.equal(2);
      expect(output).to.contain('COATCHECK_BROKER_URL');
      expect(message).to.contain('COATCHECK_BROKER_URL');
    });

    it(`start the command as uid ${uid}`, async () => {
      const container = { ...asUser(uid), args: ['version'] };
      const { code, output } = await run(`coatcheck-${uid}`, 'coatcheck', container);
      expect(output).to.match(/^coatcheck \d+\.\d+\.\d+ \(node 24\.\d+\.\d+, linux\/\w+\)\n$/);
      expect(code).to.equal(0);
    });
  }

  it('start as a number that is not root, where the pod states no uid', async () => {
    const { runAsUser: _, ...securityContext } = RESTRICTED;
    const ended = await run('own-uid', 'coatcheck', { securityContext, args: ['version'] });
    expect(ended.code).to.equal(0);
    expect(
      (await run('own-uid-exchange', 'coatcheck-exchange', { securityContext })).code,
    ).to.equal(2);
  });

  for (const image of ['coatcheck', 'coatcheck-exchange']) {
    for (const program of ['sh', '/bin/sh', '/bin/busybox', 'apt-get']) {
      it(`${image} has no ${program}`, async () => {
        const pod = `${image}-no-${program.replaceAll('/', '-')}`.replaceAll('--', '-');
        const { code, message } = await run(pod, image, { command: [program] });
        expect(code).to.equal(128);
        expect(message).to.match(/no such file or directory|executable file not found/);
      });
    }
  }
});
