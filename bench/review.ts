// The AdmissionReview of the admission lines: a Deployment's pod with two containers as kube-apiserver sends it, every
// default written out, some 6 kB.
const CONTAINER_DEFAULTS = {
  imagePullPolicy: 'IfNotPresent',
  terminationMessagePath: '/dev/termination-log',
  terminationMessagePolicy: 'File',
};
const API_ACCESS_MOUNT = {
  name: 'kube-api-access-x7k2p',
  readOnly: true,
  mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
};

function toContainer(name: string, port: number): object {
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
      API_ACCESS_MOUNT,
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

function toPod(): object {
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      generateName: 'checkout-6d5f8b9c7-',
      creationTimestamp: null,
      labels: {
        'app.kubernetes.io/name': 'checkout',
        'app.kubernetes.io/instance': 'checkout',
        'app.kubernetes.io/version': '1.4.2',
        'pod-template-hash': '6d5f8b9c7',
      },
      annotations: {
        'auth.example.io/audience': 'payments',
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': '8080',
      },
      ownerReferences: [
        {
          apiVersion: 'apps/v1',
          kind: 'ReplicaSet',
          name: 'checkout-6d5f8b9c7',
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
        { name: 'config', configMap: { name: 'checkout', defaultMode: 420 } },
        { name: 'tmp', emptyDir: {} },
        {
          name: API_ACCESS_MOUNT.name,
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
      containers: [toContainer('checkout', 8080), toContainer('metrics', 9090)],
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      dnsPolicy: 'ClusterFirst',
      serviceAccountName: 'checkout',
      serviceAccount: 'checkout',
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

/** The body of the request, as JSON. */
export function renderReview(): string {
  const resource = { group: '', version: 'v1', resource: 'pods' };
  const kind = { group: '', version: 'v1', kind: 'Pod' };
  return JSON.stringify({
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
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
      object: toPod(),
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
    },
  });
}
