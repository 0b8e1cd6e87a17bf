// The exchange's image resolves names: its C library has what it needs for that, from /etc/hosts and from the cluster's
// DNS. Nobody answers as a broker here; what the program says of it tells how far it came.
import { expect } from 'chai';
import { createNamespace, type TestNamespace } from '../harness/namespace.ts';
import {
  getContainerStatus,
  isFinished,
  type NodeCluster,
  openNodeCluster,
} from '../harness/node/suite.ts';
import { RESTRICTED_NAMESPACE, toContainer, toPod } from './pods.ts';

const CASES = [
  {
    name: 'comes to a Service by its full name, and does not trust it',
    broker: 'https://kubernetes.default.svc.cluster.local',
    says: /certificate/i,
  },
  {
    name: 'comes to a Service by the name that its namespace completes',
    broker: 'https://kubernetes.default.svc',
    says: /certificate/i,
  },
  {
    name: 'comes to itself by a name of /etc/hosts, where nobody listens',
    broker: 'https://localhost:9',
    says: /refused|connect/i,
    not: /resolve|certificate/i,
  },
  {
    name: 'does not find a name that nobody has',
    broker: 'https://nobody.default.svc.cluster.local',
    says: /resolve|not found|DNS/i,
  },
];

describe('the exchange image in a pod', function () {
  this.timeout(120_000);
  let cluster: NodeCluster;
  let namespace: TestNamespace;

  before(async () => {
    cluster = openNodeCluster();
    namespace = await createNamespace(cluster, 'names', RESTRICTED_NAMESPACE);
  });
  after(async () => namespace?.remove());

  for (const [index, { name, broker, says, not }] of CASES.entries()) {
    it(name, async () => {
      const pod = `names-${index}`;
      await cluster.apply(toExchange(cluster, { namespace: namespace.name, pod, broker }));
      const where = { namespace: namespace.name, pod, container: 'app' };
      const ended = await cluster.waitForPod(where, isFinished);
      const { terminated } = getContainerStatus(ended, 'app').state;
      expect(terminated?.exitCode).to.equal(1);
      expect(terminated?.message).to.match(says);
      if (not) expect(terminated?.message).to.not.match(not);
      await cluster.logs(where);
    });
  }
});

function toExchange(
  { node }: NodeCluster,
  { namespace, pod, broker }: { namespace: string; pod: string; broker: string },
): object {
  const variables = {
    COATCHECK_BROKER_URL: broker,
    COATCHECK_AUDIENCES: JSON.stringify([{ name: 'payments', audience: 'payments' }]),
    COATCHECK_DEADLINE_SECONDS: '2',
  };
  const source = {
    serviceAccountToken: { audience: 'payments', expirationSeconds: 600, path: 'payments' },
  };
  return toPod(namespace, pod, {
    restartPolicy: 'Never',
    containers: [
      toContainer(node, 'coatcheck-exchange', {
        env: Object.entries(variables).map(([name, value]) => ({ name, value })),
        volumeMounts: [
          { name: 'identity', mountPath: '/var/run/coatcheck/identity', readOnly: true },
          { name: 'tokens', mountPath: '/var/run/secrets/auth.example.io' },
        ],
      }),
    ],
    volumes: [
      { name: 'identity', projected: { sources: [source] } },
      { name: 'tokens', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
    ],
  });
}
