// Runs within a cluster with a node: has a pod there, says so, and ends, or stays until it is killed.
// Usage: node inside.ts [stay]
import { createNamespace } from '../harness/namespace.ts';
import { isReady, openNodeCluster } from '../harness/node/suite.ts';

const cluster = openNodeCluster();
const namespace = await createNamespace(cluster, 'clean');
await cluster.apply({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { namespace: namespace.name, name: 'sleeper' },
  spec: {
    containers: [
      {
        name: 'app',
        image: cluster.node.images['test-shell'],
        imagePullPolicy: 'Never',
        command: ['sleep', '100000'],
      },
    ],
  },
});
await cluster.waitForPod({ namespace: namespace.name, pod: 'sleeper' }, isReady);
console.log('a pod is running');
if (process.argv[2] === 'stay') setInterval(() => undefined, 60_000);
