// The AdmissionReviews of the admission lines: pods of Deployments with two containers each as kube-apiserver sends them,
// every default written out, some 6 kB. No two are the same, so that whatever remembers whole pods gains nothing here: each
// has a uid, a name and a volume for the API's token of its own, as in a cluster.
const CONTAINER_DEFAULTS = {
  imagePullPolicy: 'IfNotPresent',
  terminationMessagePath: '/dev/termination-log',
  terminationMessagePolicy: 'File',
};

/** What is different from pod to pod. All are of the same length, so that all answers are. */
interface PodNames {
  readonly app: string;
  readonly audience: string;
  readonly replicaSet: string;
  /** Five characters that the API server made up. */
  readonly suffix: string;
}

function toContainer(name: string, port: number, apiAccess: string): object {
  return {
    name,
    image: `registry.example/shop/${name}:1.4.2@sha256:${'5'.repeat(64)}`,
    ports: [{ name: 'http', containerPort: port, protocol: 'TCP' }],
    env: [
      { name: 'LOG_LEVEL', value: 'info' },
      { name: 'PAYMENTS_URL', value: 'https://payments.bank.svc:8443' },
      {
        name: 'POD_NAME',
        valueFrom: { fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.name' } },
      },
      {
        name: 'DB_PASSWORD',
        valueFrom: { secretKeyRef: { name: 'checkout-db', key: 'password' } },
      },
    ],
    resources: {
      limits: { cpu: '1', memory: '512Mi' },
      requests: { cpu: '100m', memory: '256Mi' },
    },
    volumeMounts: [
      { name: 'config', mountPath: '/etc/checkout' },
      { name: 'tmp', mountPath: '/tmp' },
      {
        name: apiAccess,
        readOnly: true,
        mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
      },
    ],
    livenessProbe: toProbe('/livez', port),
    readinessProbe: toProbe('/readyz', port),
    ...CONTAINER_DEFAULTS,
    securityContext: {
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
    },
  };
}

function toProbe(path: string, port: number): object {
  return {
    httpGet: { path, port, scheme: 'HTTP' },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  };
}

function toPod({ app, audience, replicaSet, suffix }: PodNames): object {
  const apiAccess = `kube-api-access-${suffix}`;
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name: `${replicaSet}-${suffix}`,
      generateName: `${replicaSet}-`,
      creationTimestamp: null,
      labels: {
        'app.kubernetes.io/name': app,
        'app.kubernetes.io/instance': app,
        'app.kubernetes.io/version': '1.4.2',
        'pod-template-hash': replicaSet.slice(-9),
      },
      annotations: {
        'auth.example.io/audience': audience,
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': '8080',
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: replicaSet,
          uid: '2f4a1c9e-7d60-4b6f-9f0e-3a5b8c1d2e4f',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
      managedFields: [
        {
          manager: 'kube-controller-manager',
          operation: 'Update',
          apiVersion: 'v1',
          time: '2026-11-22T10:00:00Z',
          fieldsType: 'FieldsV1',
          fieldsV1: {
            'f:metadata': {
              'f:annotations': { '.': {}, 'f:auth.example.io/audience': {} },
              'f:generateName': {},
            },
            'f:spec': { 'f:containers': {}, 'f:restartPolicy': {}, 'f:serviceAccountName': {} },
          },
        },
      ],
    },
    spec: {
      volumes: [
        { name: 'config', configMap: { name: app, defaultMode: 420 } },
        { name: 'tmp', emptyDir: {} },
        {
          name: apiAccess,
          projected: {
            sources: [
              { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
              {
                configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] },
              },
            ],
            defaultMode: 420,
          },
        },
      ],
      containers: [toContainer(app, 8080, apiAccess), toContainer('metrics', 9090, apiAccess)],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      serviceAccountName: app,
      serviceAccount: app,
      securityContext: {
        runAsUser: 10001,
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      schedulerName: 'default-scheduler',
      tolerations: ['not-ready', 'unreachable'].map((condition) => ({
        key: `node.kubernetes.io/${condition}`,
        operator: 'Exists',
        effect: 'NoExecute',
        tolerationSeconds: 300,
      })),
      priority: 0,
      enableServiceLinks: true,
      preemptionPolicy: 'PreemptLowerPriority',
    },
    status: {},
  };
}

const DEPLOYMENTS = 8;
const PODS = 64;

/** {@link PODS} bodies, all of the same length: the pods of {@link DEPLOYMENTS} Deployments in turn. */
export function renderReviews(): readonly string[] {
  return Array.from({ length: PODS }, (_, i) => {
    const deployment = i % DEPLOYMENTS;
    const app = `checkout-${deployment}`;
    const replicaSet = `${app}-6d5f8b9c${deployment}`;
    const suffix = `x7k${String(i).padStart(2, '0')}`;
    return renderReview({ app, audience: `payments-${deployment}`, replicaSet, suffix });
  });
}

function renderReview(names: PodNames): string {
  const resource = { group: '', version: 'v1', resource: 'pods' };
  const kind = { group: '', version: 'v1', kind: 'Pod' };
  return JSON.stringify({
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: `705ab4f5-6393-11e8-b7cc-42010a8${names.suffix}`,
      name: `${names.replicaSet}-${names.suffix}`,
      kind,
      resource,
      requestKind: kind,
      requestResource: resource,
      namespace: 'shop',
      operation: 'CREATE',
      userInfo: {
        username: 'system:serviceaccount:kube-system:replicaset-controller',
        uid: '9b2d6f3e-0a55-4a5e-8c43-1f0e9d8c7b6a',
        groups: [
          'system:serviceaccounts',
          'system:serviceaccounts:kube-system',
          'system:authenticated',
        ],
      },
      object: toPod(names),
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
    },
  });
}
