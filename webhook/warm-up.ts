// The first pods after a start would wait several times as long as the thousandth, until the compiler knows the code. So the
// webhook answers reviews of its own for a moment before it is ready. Nothing of them is counted, logged or sent.
import { ADMISSION_API_VERSION } from '../common/protocol/admission.ts';

const SERVICE_ACCOUNT_MOUNT = {
  name: 'kube-api-access',
  readOnly: true,
  mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
};

const VOLUMES = [
  { name: 'config', configMap: { name: 'app', defaultMode: 420 } },
  { name: 'tmp', emptyDir: {} },
  {
    name: SERVICE_ACCOUNT_MOUNT.name,
    projected: { sources: [{ serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }] },
  },
];

function toContainer(name: string): object {
  return {
    name,
    image: `registry.example.io/${name}:1`,
    env: [
      { name: 'LOG_LEVEL', value: 'info' },
      { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
    ],
    resources: {
      limits: { cpu: '1', memory: '512Mi' },
      requests: { cpu: '100m', memory: '256Mi' },
    },
    volumeMounts: [
      { name: 'config', mountPath: '/etc/app' },
      { name: 'tmp', mountPath: '/tmp' },
      SERVICE_ACCOUNT_MOUNT,
    ],
    securityContext: { capabilities: { drop: ['ALL'] }, allowPrivilegeEscalation: false },
  };
}

function toReview(prefix: string, annotations: Record<string, string>, spec: object): Buffer {
  const named = Object.entries(annotations).map(([key, value]) => [`${prefix}${key}`, value]);
  const object = {
    metadata: {
      generateName: 'warm-up-',
      annotations: { 'example.io/own': 'x', ...Object.fromEntries(named) },
    },
    spec: { volumes: VOLUMES, serviceAccountName: 'app', ...spec },
  };
  const request = {
    uid: 'warm-up',
    kind: { group: '', version: 'v1', kind: 'Pod' },
    operation: 'CREATE',
    namespace: 'warm-up',
    object,
  };
  return Buffer.from(
    JSON.stringify({ apiVersion: ADMISSION_API_VERSION, kind: 'AdmissionReview', request }),
  );
}

const SECURITY_CONTEXT = { runAsUser: 10001, runAsNonRoot: true };

/** The pods of most clusters: a Deployment's, a Job's, one with sidecars and several audiences, one with a mistake. */
function listReviews(prefix: string): readonly Buffer[] {
  const apps = [toContainer('app'), toContainer('metrics')];
  const service = {
    containers: apps,
    restartPolicy: 'Always',
    securityContext: SECURITY_CONTEXT,
  };
  return [
    toReview(prefix, { audience: 'warm-up' }, service),
    toReview(prefix, { audience: 'warm-up', role: 'reader', deadline: '30' }, service),
    toReview(
      prefix,
      { audience: 'warm-up' },
      { containers: [toContainer('job')], restartPolicy: 'Never' },
    ),
    toReview(
      prefix,
      { 'audience.first': 'https://warm-up.example.io', audience: 'second', containers: 'app' },
      { ...service, initContainers: [toContainer('prepare')] },
    ),
    toReview(prefix, { audence: 'warm-up' }, service),
  ];
}

// More than the injection remembers (recipe.ts), so that each is new to it when its turn comes again.
const STRANGERS = 300;

/** Pods of as many Deployments: after a start nearly every pod is the first of its kind. */
function listStrangers(prefix: string): readonly Buffer[] {
  const spec = { containers: [toContainer('app')], securityContext: SECURITY_CONTEXT };
  return Array.from({ length: STRANGERS }, (_, i) =>
    toReview(prefix, { audience: `warm-up-${i}`, role: 'reader' }, spec),
  );
}

/**
 * Calls `answer` with one review after the other until `milliseconds` have passed; how many it was depends on the machine.
 * @param now milliseconds of any clock that only grows.
 */
export function warmUp(
  answer: (body: Uint8Array) => unknown,
  { prefix, milliseconds, now }: { prefix: string; milliseconds: number; now: () => number },
): void {
  const reviews = listReviews(prefix);
  const strangers = listStrangers(prefix);
  const end = now() + milliseconds;
  for (let round = 0; now() < end; round++) {
    for (const body of reviews) answer(body);
    answer(strangers[round % STRANGERS] as Buffer);
  }
}
