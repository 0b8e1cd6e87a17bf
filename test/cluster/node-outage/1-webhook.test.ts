// Step 1: no webhook. Pods that ask for nothing start as if we did not exist; those that ask wait, and start when it is back.
import { expect } from 'chai';
import { keep } from '../../support/tokens.ts';
import { type Installation, installProduct } from '../harness/node/installation.ts';
import {
  ANNOTATED,
  getClaims,
  keepAndRemove,
  toReader,
  toReaderRole,
} from '../harness/node/reader.ts';
import { isReady, type NodeCluster, openNodeCluster } from '../harness/node/suite.ts';
import { waitFor } from '../harness/process.ts';
import { listPods, toDeployment } from './deployment.ts';

const REFUSAL = 'failed calling webhook "pods.coatcheck.example.io"';

describe('node outage, step 1: the webhook is away', function () {
  this.timeout(240_000);
  let cluster: NodeCluster;
  let installation: Installation;
  let namespace: string;

  before(async () => {
    cluster = openNodeCluster();
    installation = await installProduct(cluster, {
      purpose: 'no-webhook',
      roles: { reader: toReaderRole('no-webhook') },
    });
    namespace = (await installation.createNamespace('no-webhook')).name;
    await installation.logs('webhook');
    await installation.scale('webhook', 0);
  });
  after(async () => {
    if (namespace) await keepAndRemove(cluster, namespace);
    await installation?.uninstall();
  });

  const applyPod = (name: string, annotations?: Readonly<Record<string, string>>) => {
    const pod = toReader(cluster, { namespace, name, ...(annotations && { annotations }) });
    return cluster.kubectl(['apply', '-f', '-'], pod);
  };

  it('starts a pod without annotations, and one with annotations of others', async () => {
    for (const [name, annotations] of [
      ['plain', undefined],
      ['of-others', { 'example.org/audience': 'payments' }],
    ] as const) {
      // Its app must not read a token that it does not have.
      const { spec } = toReader(cluster, { namespace, name }) as { spec: object };
      await cluster.apply(
        toReader(cluster, { namespace, name, spec, ...(annotations && { annotations }) }),
      );
      await cluster.waitForPod({ namespace, pod: name }, isReady, 120_000);
    }
  });

  it('starts a Deployment without annotations', async () => {
    await cluster.apply(toDeployment(cluster, { namespace, name: 'plain-deployment' }));
    await waitFor(async () => (await listReady('plain-deployment')).length === 1, {
      what: 'a pod of the Deployment without annotations',
      withinMs: 120_000,
    });
  });

  it('refuses an annotated bare pod, and kubectl says why', async () => {
    const { code, stderr } = await applyPod('bare', ANNOTATED);
    keep('refused-bare.txt', stderr);
    expect(code).to.equal(1);
    expect(stderr).to.include(REFUSAL);
  });

  it('has an annotated Deployment wait without any pod, and its status says why', async () => {
    await cluster.apply(
      toDeployment(cluster, { namespace, name: 'waiting', annotations: ANNOTATED }),
    );
    let message: string | undefined;
    await waitFor(
      async () => {
        message = await findReplicaFailure('waiting');
        return message !== undefined;
      },
      { what: 'the Deployment to say that its pods fail', withinMs: 60_000 },
    );
    expect(message).to.include(REFUSAL);
    expect(await listPods(cluster, namespace, 'waiting')).to.deep.equal([]);
  });

  it('starts all of them when it is back, by themselves', async () => {
    await installation.scale('webhook', 1);
    // The controller tries again in its own rhythm: each wait is twice the one before.
    await waitFor(async () => (await listReady('waiting')).length === 1, {
      what: 'the waiting Deployment to start',
      withinMs: 180_000,
    });
    const [pod] = await listReady('waiting');
    await getClaims({ cluster, installation }, { namespace, pod: pod ?? '', container: 'app' });
    expect(await findReplicaFailure('waiting')).to.equal(undefined);
    const { code, stderr } = await applyPod('bare', ANNOTATED);
    expect(code, stderr).to.equal(0);
    await getClaims({ cluster, installation }, { namespace, pod: 'bare', container: 'app' });
  });

  const listReady = async (app: string) =>
    (await listPods(cluster, namespace, app)).filter(isReady).map(({ metadata }) => metadata.name);

  /** The message of the condition ReplicaFailure, while there is one. */
  async function findReplicaFailure(name: string): Promise<string | undefined> {
    const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${name}`;
    const { conditions = [] } = (await cluster.request('GET', path)).body.status as {
      conditions?: { type: string; status: string; message: string }[];
    };
    return conditions.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True')
      ?.message;
  }
});
