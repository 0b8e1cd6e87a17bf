// Values for the chart's tests: what a person gives for a first installation, and everything set to something unusual.
import { issueAuthority } from '../../common/certificates.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/** PEM of a CA. */
export function createCa(): string {
  const now = Date.parse('2026-06-01T00:00:00Z');
  return issueAuthority({
    commonName: 'chart-test',
    notBefore: new Date(now),
    notAfter: new Date(now + DAY_MS),
  }).certificate;
}

export const ROLE = {
  audience: 'payments',
  subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
  token: { ttl: '15m', scopes: ['payments:read'] },
};

/** Certificates of one's own; also for a chart without a controller. */
export const PROVIDED = { certificates: { mode: 'provided' } };

/** A first installation with a role. */
export function toUsualValues(ca: string): object {
  return { ...PROVIDED, caBundle: ca, roles: { 'payments-checkout': ROLE } };
}

/** Every value away from its default. */
export function toUnusualValues(ca: string): object {
  const process = {
    replicas: 3,
    tls: { secretName: 'my-tls' },
    preStopSeconds: 7,
    drainSeconds: 11,
    podDisruptionBudget: { enabled: true, maxUnavailable: '50%' },
    resources: { requests: { cpu: '1', memory: '1Gi' }, limits: { memory: '1Gi' } },
    podSecurityContext: { runAsUser: 4711, fsGroup: 4711 },
    podAnnotations: { 'example.com/note': 'one' },
    podLabels: { team: 'identity' },
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ key: 'dedicated', operator: 'Exists' }],
    affinity: { nodeAffinity: {} },
    extraEnv: [{ name: 'OTEL_SERVICE_NAME', value: 'tokens' }],
    topologySpreadConstraints: [
      {
        maxSkew: 2,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable: 'DoNotSchedule',
      },
      {
        maxSkew: 1,
        topologyKey: 'rack',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: { team: 'identity' } },
      },
    ],
    priorityClassName: 'system-cluster-critical',
  };
  return {
    nameOverride: 'tokens',
    fullnameOverride: 'identity',
    commonLabels: { 'example.com/owner': 'platform' },
    image: {
      repository: 'registry.example/coatcheck',
      digest: `sha256:${'a'.repeat(64)}`,
      pullPolicy: 'Never',
    },
    imagePullSecrets: [{ name: 'pull' }],
    prefix: 'tokens.example.org/',
    excludeNamespaces: ['kube-system'],
    certificates: { mode: 'provided', clusterDomain: 'example.local' },
    caBundle: ca,
    reservedAudiences: ['https://api.example.org', 'sts'],
    listenHost: '0.0.0.0',
    logLevel: 'debug',
    revisionHistoryLimit: 7,
    webhook: {
      ...process,
      port: 10_250,
      operationsPort: 9999,
      namespaceSelector: { matchLabels: { tokens: 'yes' } },
      configurationAnnotations: { 'example.com/inject-ca': 'true' },
    },
    exchange: {
      image: { repository: 'registry.example/exchange', tag: 'v7', pullPolicy: 'Always' },
      command: ['/bin/exchange', 'price is $(HOME) or $$5'],
      brokerFallbackAddress: '[fd00::7]:8443',
      mountRoot: '/var/run/secrets/tokens',
      skipContainers: ['istio-proxy', 'my-agent'],
      defaultMode: 'init',
      initOrder: 'last',
      tokenExpirationSeconds: 7200,
      deadlineSeconds: 30,
      resources: {
        requests: { cpu: '20m', memory: '64Mi' },
        limits: { cpu: '1', memory: '256Mi' },
      },
      tokensSizeLimit: '2Mi',
      podAnnotations: { 'traffic.sidecar.istio.io/excludeOutboundPorts': '443' },
    },
    broker: {
      ...process,
      port: 9443,
      operationsPort: 9090,
      issuer: 'https://tokens.example.org',
      signingKeys: { secretName: 'my-keys' },
      service: { clusterIP: '10.96.0.7' },
      adminListen: { port: 9444, from: [{ podSelector: { matchLabels: { team: 'identity' } } }] },
      maxTokenTtlSeconds: 2_592_000,
      store: {
        type: 'postgres',
        postgres: { secretName: 'my-database', secretKey: 'dsn', port: 6432 },
        awaySeconds: 60,
        keepDecisionsSeconds: 3600,
        maxDecisions: 500,
      },
      keyEncryption: {
        secretName: 'my-sealing-keys',
        signingAlgorithm: 'RS256',
        rotationSeconds: 86_400,
      },
      bootstrapToken: { secretName: 'my-bootstrap', secretKey: 'first', ttlSeconds: 600 },
      maxTokensPerIdentity: 8,
      allowPrivateClusterAddresses: true,
      sourceRefusalsPerSecond: 7,
      identityRequestsPerSecond: 0,
      maxConnections: 900,
      trustedProxies: ['10.0.0.0/8', '2001:db8::1'],
      maxStaticTokenTtlSeconds: 86_400,
      formerIssuers: ['https://old-tokens.example.org'],
      tokenRoles: { enabled: false },
      namespaceSelectors: true,
      allowBrokerPolicies: ['coatcheck:roles:read'],
      allowExtraClaims: ['groups', 'email'],
      extraVolumes: [{ name: 'lab', secret: { secretName: 'lab-ca' } }],
      extraVolumeMounts: [{ name: 'lab', mountPath: '/etc/coatcheck/lab', readOnly: true }],
    },
    controller: {
      replicas: 3,
      operationsPort: 9082,
      liveSetSeconds: 60,
      missedPods: { namespaces: ['shop', 'team-*'] },
      evictMissedPods: { enabled: true, perMinute: 2 },
      podDisruptionBudget: process.podDisruptionBudget,
      resources: process.resources,
      podSecurityContext: process.podSecurityContext,
      podAnnotations: process.podAnnotations,
      podLabels: process.podLabels,
      nodeSelector: process.nodeSelector,
      tolerations: process.tolerations,
      affinity: process.affinity,
      extraEnv: process.extraEnv,
      topologySpreadConstraints: process.topologySpreadConstraints,
      priorityClassName: process.priorityClassName,
    },
    cluster: {
      name: 'production',
      issuers: ['https://oidc.example.org', 'https://old.example.org'],
    },
    clusters: [
      {
        name: 'lab',
        kind: 'kubernetes',
        issuer: 'https://lab.example.org',
        keys: { url: 'https://lab.example.org/jwks', caFile: '/etc/coatcheck/lab/ca.crt' },
      },
      {
        name: 'remote',
        kind: 'kubernetes',
        issuer: 'https://remote.example.org',
        validation: 'review',
        review: {
          url: 'https://remote.example.org:6443',
          caFile: '/etc/coatcheck/lab/remote-ca.crt',
          tokenFile: '/etc/coatcheck/lab/remote-token',
        },
      },
    ],
    roles: { 'payments-checkout': ROLE, ci: { ...ROLE, audience: 'ci' } },
    receivers: [{ identity: 'k8s:production:shop:api', audiences: ['payments'] }],
    crds: { install: false },
    networkPolicy: {
      enabled: true,
      metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
      dnsPorts: [53],
      brokerEgressPorts: [8443],
    },
    workloadWarnings: { enabled: true },
    tokenVolumePolicy: { enabled: true },
    monitoring: {
      serviceMonitor: { enabled: true, interval: '15s', labels: { release: 'prometheus' } },
      prometheusRule: {
        enabled: true,
        labels: { release: 'prometheus' },
        disabled: ['CoatcheckWebhookRefusing'],
        runbookUrl: 'https://docs.example.org/operations',
      },
      dashboard: { enabled: true, labels: { dashboards: 'yes' }, annotations: { folder: 'auth' } },
    },
  };
}
