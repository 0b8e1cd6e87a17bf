// One thing that can be wrong with an installation per case: how a healthy cluster is spoilt, and the rows of the doctor that
// are then not ok, all of them.
import { issueAuthority } from '../../../common/certificates.ts';
import {
  get,
  type Json,
  type PartName,
  PORTS,
  toAppPod,
  toPath,
  toRegistration,
  toStatus,
  type World,
} from './cluster.ts';

export interface Case {
  readonly name: string;
  readonly spoil: (world: World) => void;
  /** Rows that are not ok, in order: check, state, and a part of what is seen. */
  readonly rows: readonly (readonly [check: string, state: string, seen: string])[];
  readonly mend?: string;
  readonly code?: number;
}

const spec = (world: World, part: PartName) =>
  get(world, toPath.deployment(part)).spec as {
    replicas: number;
    template: {
      spec: { containers: { env: { name: string; value: string }[] }[]; volumes: object[] };
    };
  };
export const setVariable = (world: World, part: PartName, name: string, value?: string) => {
  const [container] = spec(world, part).template.spec.containers;
  if (!container) throw new Error('no container');
  container.env = container.env.filter((one) => one.name !== name);
  if (value !== undefined) container.env.push({ name, value });
};
export const setStatus = (world: World, path: string, status: Json) =>
  Object.assign(get(world, path).status as Json, status);
const failWebhook = (world: World, why: string) => {
  const message = `Internal error occurred: failed calling webhook "pods.coatcheck.example.io": failed to call webhook: Post "https://coatcheck-webhook.auth.svc:443/mutate?timeout=5s": ${why}`;
  world.createPod = () => ({ status: 500, body: toStatus(500, message) });
};
const setMetric = (world: World, part: PartName, line: string) => {
  const port = PORTS[part];
  world.proxied.set(`auth/pods/http:coatcheck-${part}-1:${port}/metrics`, {
    status: 200,
    body: `${line}\n`,
  });
};
const inSeconds = (seconds: number) => Math.round(Date.now() / 1000) + seconds;

export const CASES: readonly Case[] = [
  {
    name: 'an API server that is too old',
    spoil: ({ paths }) =>
      void paths.set('/version', {
        status: 200,
        body: { major: '1', minor: '29', gitVersion: 'v1.29.9' },
      }),
    rows: [['api-server', 'problem', 'v1.29.9']],
    mend: 'upgrade the cluster',
  },
  {
    name: 'an installation of another version',
    spoil: (world) => {
      const { labels } = get(world, toPath.deployment('webhook')).metadata as { labels: Json };
      labels['app.kubernetes.io/version'] = '9.9.9';
    },
    rows: [['installation', 'warning', '9.9.9']],
  },
  {
    name: 'a clock of this machine that is wrong',
    spoil: (world) => {
      world.skewMs = -90_000;
    },
    rows: [['clocks', 'warning', ' s ahead of the API server']],
  },
  {
    name: "a broker's clock that costs tokens",
    spoil: (world) => {
      world.brokerSkewMs = 45_000;
    },
    rows: [['clocks', 'problem', ' s ahead of the API server']],
    mend: 'NTP',
  },
  {
    name: "a broker's clock that is off by less than the leeway",
    spoil: (world) => {
      world.brokerSkewMs = -12_000;
    },
    rows: [['clocks', 'warning', ' s behind the API server']],
  },
  {
    name: 'a webhook that was scaled to nothing',
    spoil: (world) => {
      spec(world, 'webhook').replicas = 0;
      setStatus(world, toPath.deployment('webhook'), { availableReplicas: 0 });
      for (const n of [1, 2]) world.objects.delete(toPath.pod('webhook', n));
      failWebhook(world, 'no endpoints available for service "coatcheck-webhook"');
    },
    rows: [
      ['deployments', 'problem', '0 of 0 replicas available'],
      ['injection', 'problem', 'no pod of the webhook answers'],
    ],
    mend: 'kubectl -n auth scale deployment/coatcheck-webhook --replicas=2',
  },
  {
    name: 'a replica that is not available yet',
    spoil: (world) => setStatus(world, toPath.deployment('controller'), { availableReplicas: 1 }),
    rows: [['deployments', 'warning', '1 of 2 replicas available']],
  },
  {
    name: 'a single webhook',
    spoil: (world) => {
      spec(world, 'webhook').replicas = 1;
    },
    rows: [['deployments', 'warning', '2 of 1 replicas available']],
  },
  {
    name: 'a pod that keeps ending, by its last words',
    spoil: (world) =>
      setStatus(world, toPath.pod('broker'), {
        containerStatuses: [
          {
            name: 'broker',
            restartCount: 7,
            state: { waiting: { reason: 'CrashLoopBackOff' } },
            lastState: {
              terminated: {
                exitCode: 2,
                reason: 'Error',
                message: 'one problem with\nthe settings',
              },
            },
          },
        ],
      }),
    rows: [
      [
        'pods',
        'problem',
        'CrashLoopBackOff: it last ended with code 2 (Error): one problem with the settings',
      ],
    ],
  },
  {
    name: 'a pod that was restarted',
    spoil: (world) =>
      setStatus(world, toPath.pod('webhook'), {
        containerStatuses: [
          {
            restartCount: 1,
            state: { running: {} },
            lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } },
          },
        ],
      }),
    rows: [['pods', 'warning', '1 restart; it last ended with code 137 (OOMKilled)']],
    mend: 'kubectl -n auth logs coatcheck-webhook-1 --previous',
  },
  {
    name: 'an image that cannot be pulled',
    spoil: (world) =>
      setStatus(world, toPath.pod('controller', 2), {
        containerStatuses: [
          { state: { waiting: { reason: 'ImagePullBackOff', message: 'Back-off pulling' } } },
        ],
      }),
    rows: [['pods', 'problem', 'waiting, ImagePullBackOff: Back-off pulling']],
    mend: 'imagePullSecrets',
  },
  {
    name: 'a Secret that is missing, by the event of the kubelet',
    spoil: (world) => {
      setStatus(world, toPath.pod('broker', 2), {
        phase: 'Pending',
        containerStatuses: [{ state: { waiting: { reason: 'ContainerCreating' } } }],
      });
      world.objects.set('/api/v1/namespaces/auth/events/e1', {
        metadata: { name: 'e1' },
        involvedObject: { name: 'coatcheck-broker-2' },
        type: 'Warning',
        message:
          'MountVolume.SetUp failed for volume "tls": secret "coatcheck-broker-tls" not found',
      });
    },
    rows: [['pods', 'problem', 'secret "coatcheck-broker-tls" not found']],
  },
  {
    name: 'a pod that is not scheduled',
    spoil: (world) =>
      setStatus(world, toPath.pod('webhook', 2), {
        phase: 'Pending',
        conditions: [{ type: 'PodScheduled', status: 'False', message: '0/3 nodes are available' }],
        containerStatuses: [],
      }),
    rows: [['pods', 'problem', 'not scheduled: 0/3 nodes are available']],
  },
  {
    name: 'what keeps a broker from being ready',
    spoil: ({ proxied }) =>
      void proxied.set('auth/pods/http:coatcheck-broker-1:8081/readyz', {
        status: 503,
        body: 'keys of main were not fetched yet\nthe store is away\n',
      }),
    rows: [['readiness', 'problem', 'keys of main were not fetched yet; the store is away']],
  },
  {
    name: 'a pod that a NetworkPolicy keeps the API server from',
    spoil: ({ proxied }) =>
      void proxied.delete('auth/pods/http:coatcheck-controller-1:8082/readyz'),
    rows: [['readiness', 'unknown', 'the API server could not reach it']],
    code: 0,
  },
  {
    name: 'an installation of which nothing runs',
    spoil: (world) => {
      for (const part of ['webhook', 'broker', 'controller'] as const)
        for (const n of [1, 2])
          if (world.objects.has(toPath.pod(part, n)))
            setStatus(world, toPath.pod(part, n), { phase: 'Pending', containerStatuses: [] });
    },
    rows: [
      ['readiness', 'unknown', 'no pod of ours runs'],
      ['certificates', 'unknown', 'no pod of webhook or broker runs'],
      ['live-sets', 'unknown', 'no pod of the broker runs'],
    ],
    code: 0,
  },
  {
    name: 'a certificate that ends within a day',
    spoil: (world) =>
      setMetric(
        world,
        'webhook',
        `coatcheck_webhook_certificate_not_after_seconds ${inSeconds(3600)}`,
      ),
    rows: [['certificates', 'warning', 'its certificate ends at']],
    code: 0,
  },
  {
    name: 'a certificate that has ended',
    spoil: (world) =>
      setMetric(
        world,
        'webhook',
        `coatcheck_webhook_certificate_not_after_seconds ${inSeconds(-60)}`,
      ),
    rows: [['certificates', 'problem', 'its certificate ended at']],
  },
  {
    name: 'a controller that could not tell the API server its authorities',
    spoil: (world) =>
      setMetric(
        world,
        'controller',
        'coatcheck_controller_ca_bundle_injected{configuration="x"} 0',
      ),
    rows: [['certificates', 'problem', 'was not told the authorities']],
    mend: 'docs/operations.md#the-cabundle-and-the-certificate-differ',
  },
  {
    name: 'an authority that has ended',
    spoil: (world) => {
      const ca = issueAuthority({
        commonName: 'old',
        notBefore: new Date(0),
        notAfter: new Date(1_000_000),
      });
      world.objects.set(toPath.registration(), toRegistration(ca.certificate));
      get(world, toPath.configMap('ca')).data = { 'ca.crt': ca.certificate };
    },
    rows: [['authorities', 'problem', 'none of its 1 authorities is valid now']],
  },
  {
    name: 'a caBundle that is not the one that pods are given',
    spoil: (world) => {
      const validity = { notBefore: new Date(0), notAfter: new Date(Date.now() + 1e10) };
      const { certificate } = issueAuthority({ commonName: 'other', ...validity });
      world.objects.set(toPath.registration(), toRegistration(certificate));
      failWebhook(
        world,
        'tls: failed to verify certificate: x509: certificate signed by unknown authority',
      );
    },
    rows: [
      ['authorities', 'warning', 'have none in common'],
      ['injection', 'problem', 'the caBundle of the registration is not the authority that signed'],
    ],
    mend: 'docs/operations.md#the-cabundle-and-the-certificate-differ',
  },
  {
    name: 'a registration without caBundle',
    spoil: ({ objects }) => void objects.set(toPath.registration(), toRegistration(undefined)),
    rows: [['webhook-registration', 'problem', 'it has no caBundle']],
  },
  {
    name: 'a registration that somebody deleted',
    spoil: (world) => {
      world.objects.delete(toPath.registration());
      world.createPod = (pod) => ({ status: 201, body: { ...pod, spec: { volumes: [] } } });
    },
    rows: [
      [
        'webhook-registration',
        'problem',
        'no MutatingWebhookConfiguration leads to the webhook of auth',
      ],
      ['injection', 'problem', 'stored without being injected'],
    ],
  },
  {
    name: 'a registration that lets pods pass',
    spoil: ({ objects, ca }) =>
      void objects.set(
        toPath.registration(),
        toRegistration(ca, 'coatcheck-webhook', { failurePolicy: 'Ignore' }),
      ),
    rows: [['webhook-registration', 'warning', 'failurePolicy is Ignore, not Fail']],
  },
  {
    name: 'a registration that sends every pod',
    spoil: ({ objects, ca }) =>
      void objects.set(
        toPath.registration(),
        toRegistration(ca, 'coatcheck-webhook', { matchConditions: [] }),
      ),
    rows: [['webhook-registration', 'warning', 'it has no match conditions']],
  },
  {
    name: 'a registration that an older release left behind',
    spoil: ({ objects, ca }) =>
      void objects.set(toPath.registration('gone'), toRegistration(ca, 'gone')),
    rows: [['other-webhooks', 'problem', 'auth/gone, which does not exist']],
    mend: 'kubectl delete mutatingwebhookconfiguration gone',
  },
  {
    name: 'another installation for the same pods',
    spoil: ({ objects, ca }) => {
      objects.set(toPath.registration('second'), toRegistration(ca, 'second'));
      objects.set('/api/v1/namespaces/auth/services/second', { metadata: { name: 'second' } });
    },
    rows: [['other-webhooks', 'warning', 'asked about the same pods']],
  },
  ...(
    [
      ['x509: certificate has expired or is not yet valid: current time', 'has expired'],
      [
        'x509: certificate is valid for other.svc, not coatcheck-webhook.auth.svc',
        'for other names',
      ],
      ['dial tcp 10.0.0.9:8443: connect: connection refused', 'no pod of the webhook answers'],
      ['context deadline exceeded', 'cannot reach the pods of the webhook in time'],
      ['service "coatcheck-webhook" not found', 'the Service of the webhook does not exist'],
      ['something new', 'the webhook fails'],
    ] as const
  ).map(
    ([why, seen]): Case => ({
      name: `a webhook that the API server does not get an answer of: ${why}`,
      spoil: (world) => failWebhook(world, why),
      rows: [['injection', 'problem', seen]],
    }),
  ),
  {
    name: 'a quota that refuses the dry run',
    spoil: (world) => {
      const message = 'pods "coatcheck-doctor-1" is forbidden: exceeded quota: small';
      world.createPod = () => ({ status: 403, body: toStatus(403, message) });
    },
    rows: [
      [
        'injection',
        'unknown',
        'refused by something else: pods "coatcheck-doctor-1" is forbidden: exceeded quota',
      ],
    ],
    mend: '--probe-namespace',
    code: 0,
  },
  {
    name: 'pods that were missed, with who makes them again',
    spoil: ({ objects }) => {
      objects.set(toPath.appPod('late'), toAppPod('late', { owner: 'checkout-6d5f8' }));
      objects.set(toPath.appPod('bare'), toAppPod('bare'));
    },
    rows: [
      ['missed-pods', 'problem', 'of ReplicaSet checkout-6d5f8'],
      ['missed-pods', 'problem', 'nothing makes it again'],
    ],
    mend: 'kubectl -n shop delete pod late',
  },
  {
    name: 'an issuer that the broker does not believe',
    spoil: ({ paths }) =>
      void paths.set('/.well-known/openid-configuration', {
        status: 200,
        body: { issuer: 'https://kubernetes.default.svc.cluster.local/' },
      }),
    rows: [
      [
        'issuer',
        'problem',
        'issues as https://kubernetes.default.svc.cluster.local/, and the broker believes',
      ],
    ],
    mend: "--set 'cluster.issuers={https://kubernetes.default.svc.cluster.local/}'",
  },
  {
    name: 'an issuer that is none for a shell',
    spoil: ({ paths }) =>
      void paths.set('/.well-known/openid-configuration', {
        status: 200,
        body: { issuer: "https://x'; touch /tmp/x; '" },
      }),
    rows: [['issuer', 'problem', 'and the broker believes']],
    mend: 'write it into cluster.issuers of your values file',
  },
  {
    name: 'an API server without discovery document',
    spoil: ({ paths }) =>
      void paths.set('/.well-known/openid-configuration', { status: 404, body: 'no' }),
    rows: [['issuer', 'unknown', 'no discovery document (status 404)']],
    code: 0,
  },
  {
    name: 'an API server that publishes no keys',
    spoil: ({ paths }) => void paths.set('/openid/v1/jwks', { status: 200, body: { keys: [] } }),
    rows: [['cluster-keys', 'problem', 'publishes no keys']],
  },
  {
    name: 'a webhook that tells pods another issuer',
    spoil: (world) => setVariable(world, 'webhook', 'COATCHECK_ISSUER', 'https://old.example'),
    rows: [['broker', 'problem', 'pods are told the issuer https://old.example']],
  },
  {
    name: 'a broker that is another one than the Deployment says',
    spoil: ({ proxied }) =>
      void proxied.set(
        'auth/services/https:coatcheck-broker:https/.well-known/openid-configuration',
        {
          status: 200,
          body: { issuer: 'https://other.example', jwks_uri: 'https://other.example/oauth2/jwks' },
        },
      ),
    rows: [['broker', 'problem', 'the broker says it is https://other.example']],
  },
  {
    name: 'a broker without a key',
    spoil: ({ proxied }) =>
      void proxied.set('auth/services/https:coatcheck-broker:https/oauth2/jwks', {
        status: 200,
        body: { keys: [] },
      }),
    rows: [['broker', 'problem', 'the JWKS of the broker is empty']],
  },
  {
    name: 'no role at all',
    spoil: (world) => {
      get(world, toPath.configMap('roles')).data = {};
    },
    rows: [['roles', 'warning', 'there is no role']],
    code: 0,
  },
  {
    name: 'a TokenRole that is shadowed, and one that nobody looked at',
    spoil: ({ objects }) => {
      const conditions = [
        { type: 'Ready', status: 'False', reason: 'Shadowed', message: 'by a file' },
      ];
      const base = '/apis/auth.example.io/v1alpha1/tokenroles';
      objects.set(`${base}/a`, { metadata: { name: 'a' }, status: { conditions } });
      objects.set(`${base}/b`, { metadata: { name: 'b' } });
    },
    rows: [
      ['roles', 'problem', 'Shadowed: by a file'],
      ['roles', 'warning', 'no broker has looked at it'],
    ],
    mend: 'kubectl describe tokenrole a',
  },
  {
    name: 'a cluster without the CRD',
    spoil: ({ paths }) =>
      void paths.set('/apis/auth.example.io/v1alpha1/tokenroles', { status: 404, body: {} }),
    rows: [['roles', 'problem', 'the CRD tokenroles.auth.example.io is missing']],
  },
  {
    name: 'several brokers on one sqlite file',
    spoil: (world) => {
      setVariable(world, 'broker', 'COATCHECK_STORE_FILE');
      setVariable(world, 'broker', 'COATCHECK_STORE', 'sqlite:/var/lib/coatcheck/store.db');
    },
    rows: [['store', 'problem', '2 brokers on one sqlite file']],
  },
  {
    name: 'a volume that nobody provides',
    spoil: (world) => {
      setVariable(world, 'broker', 'COATCHECK_STORE_FILE');
      setVariable(world, 'broker', 'COATCHECK_STORE', 'sqlite:/var/lib/coatcheck/store.db');
      spec(world, 'broker').replicas = 1;
      spec(world, 'broker').template.spec.volumes.push({
        name: 'store',
        persistentVolumeClaim: { claimName: 'coatcheck-store' },
      });
      const status = { phase: 'Pending' };
      world.objects.set('/api/v1/namespaces/auth/persistentvolumeclaims/coatcheck-store', {
        status,
      });
    },
    rows: [['store', 'problem', 'the volume coatcheck-store is Pending']],
    mend: 'storageClass',
  },
  {
    name: 'a Lease that nobody renews',
    spoil: (world) => {
      const old = new Date(Date.now() - 120_000).toISOString();
      Object.assign(get(world, toPath.lease).spec as Json, { renewTime: old });
    },
    rows: [['controller-lease', 'problem', 'last renewed it 120 s ago']],
  },
  {
    name: 'a Lease that nobody holds',
    spoil: (world) => {
      Object.assign(get(world, toPath.lease).spec as Json, { holderIdentity: '' });
    },
    rows: [['controller-lease', 'problem', 'nobody holds it']],
  },
  {
    name: 'a Lease that somebody else holds',
    spoil: (world) => {
      Object.assign(get(world, toPath.lease).spec as Json, { holderIdentity: 'other-1_x' });
    },
    rows: [['controller-lease', 'warning', 'no pod of this installation']],
    code: 0,
  },
  {
    name: 'a broker that was not told who lives for long',
    spoil: (world) =>
      setMetric(
        world,
        'broker',
        `coatcheck_broker_certificate_not_after_seconds ${inSeconds(1e6)}\ncoatcheck_broker_live_report_age_seconds{cluster="main"} 1800`,
      ),
    rows: [['live-sets', 'problem', 'is 1800 s old']],
  },
  {
    name: 'a broker that may not ask for reviews',
    spoil: ({ fewer }) => void fewer.add('coatcheck-broker create tokenreviews'),
    rows: [
      ['rights', 'problem', 'coatcheck-broker may not create tokenreviews.authentication.k8s.io'],
    ],
  },
  {
    name: 'a controller that may not keep its certificates',
    spoil: ({ fewer }) => void fewer.add('coatcheck-controller update secrets'),
    rows: [['rights', 'problem', 'may not update secrets coatcheck-certificates in auth']],
  },
  {
    name: 'a controller that wants to evict and may not',
    spoil: (world) => setVariable(world, 'controller', 'COATCHECK_EVICT_MISSED', 'true'),
    rows: [['rights', 'problem', 'coatcheck-controller may not create pods/eviction']],
  },
  {
    name: 'a webhook that may read Secrets',
    spoil: ({ more }) => void more.add('coatcheck-webhook list secrets'),
    rows: [
      ['rights', 'warning', 'coatcheck-webhook may list secrets in auth, which it does not need'],
    ],
    code: 0,
  },
  {
    name: 'replicas without a disruption budget',
    spoil: ({ objects }) =>
      void objects.delete('/apis/policy/v1/namespaces/auth/poddisruptionbudgets/coatcheck-webhook'),
    rows: [['disruption', 'warning', 'no PodDisruptionBudget']],
    code: 0,
  },
  {
    name: 'an object that has not the shape of one',
    spoil: (world) => {
      world.objects.set(toPath.lease, { spec: { holderIdentity: 17 } });
    },
    rows: [['controller-lease', 'problem', '']],
  },
];
