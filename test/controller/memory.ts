// Prints what 100,000 pods cost the controller: memory of what is kept, time and size of a complete set. Run by hand:
// node --expose-gc test/controller/memory.ts [pods]
import { createPodTrimmer, type TrackedPod } from '../../controller/pods.ts';

const count = Number(process.argv[2] ?? 100_000);
const trim = createPodTrimmer('auth.example.io/');
const collectGarbage = (globalThis as { gc?: () => void }).gc;
if (!collectGarbage) throw new Error('needs node --expose-gc');

/** As an API server sends one: some 5 KiB, from JSON, so that texts are what they are in the process. */
function toObject(i: number): Parameters<typeof trim>[0] {
  const workload = `workload-${Math.floor(i / 20)}`;
  const text = JSON.stringify({
    metadata: {
      name: `${workload}-7c9f8d6b5-${i.toString(36).padStart(5, '0')}`,
      namespace: `team-${i % 400}`,
      uid: crypto.randomUUID(),
      resourceVersion: String(1_000_000 + i),
      labels: { app: workload, 'pod-template-hash': '7c9f8d6b5' },
      annotations: {
        'auth.example.io/audience': 'payments',
        'kubernetes.io/config.seen': 'x'.repeat(200),
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: `${workload}-7c9f8d6b5`,
          uid: `uid-of-${workload}`,
          controller: true,
        },
      ],
      managedFields: [{ manager: 'kubelet', fieldsV1: { 'f:status': 'y'.repeat(2500) } }],
    },
    spec: {
      serviceAccountName: `sa-${i % 2000}`,
      volumes: [{ name: 'coatcheck-tokens' }, { name: 'kube-api-access' }, { name: 'config' }],
      containers: [{ name: 'app', image: 'registry.example/app:1', env: 'z'.repeat(1500) }],
    },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  });
  return JSON.parse(text) as Parameters<typeof trim>[0];
}

const toMiB = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
collectGarbage();
const before = process.memoryUsage().heapUsed;
const started = performance.now();
const items = new Map<string, TrackedPod>();
for (let i = 0; i < count; i += 1) {
  const pod = trim(toObject(i));
  items.set(`${pod.namespace}/${pod.name}`, pod);
}
const parsed = performance.now() - started;
collectGarbage();
const kept = process.memoryUsage().heapUsed - before;
const uids = new Set([...items.values()].map(({ uid }) => uid));
const serializing = performance.now();
const text = JSON.stringify({
  takenAt: new Date(0).toISOString(),
  pods: [...uids],
  serviceAccounts: [],
});
const serialized = performance.now() - serializing;
console.log(
  `${count} pods: ${toMiB(kept)} kept (${Math.round(kept / count)} bytes each), ` +
    `${(parsed / 1000).toFixed(1)} s to make, parse and trim; resident ${toMiB(process.memoryUsage().rss)}; ` +
    `a complete set is ${toMiB(Buffer.byteLength(text))}, ${serialized.toFixed(0)} ms to write`,
);
