// A cluster as the doctor sees it: a real HTTPS server that holds objects by their paths, lists them by labels, proxies to
// pods and Services, and refuses whatever a test says. `createWorld` is one where everything is well.
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { issueAuthority, issueCertificate } from '../../../common/certificates.ts';
import { noteToken } from '../../support/tokens.ts';

export type Json = Record<string, unknown>;

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface World {
  /** Path → object, as `/api/v1/namespaces/auth/pods/x`. */
  readonly objects: Map<string, Json>;
  /** Paths without an object behind: `/version`. */
  readonly paths: Map<string, Answer>;
  /** `<ns>/pods/http:x:9443/readyz` → what the pod answers. */
  readonly proxied: Map<string, Answer>;
  /** Whether the person may not. */
  isForbidden: (method: string, path: string) => boolean;
  /** What becomes of the dry run. */
  createPod: (pod: Json) => Answer;
  /** Extra rights, and rights that are missing, as `part verb resource`. */
  readonly more: Set<string>;
  readonly fewer: Set<string>;
  /** Of the `Date` of the API server, and of the broker. */
  skewMs: number;
  brokerSkewMs: number;
  /** An authority: PEM. */
  readonly ca: string;
}

export interface FakeCluster {
  readonly kubeconfig: string;
  readonly url: string;
  /** `METHOD path`, in order. */
  readonly asked: string[];
  world: World;
  close(): Promise<void>;
}

const DAY_MS = 24 * 60 * 60 * 1000;
const NOT_FOUND: Answer = { status: 404, body: toStatus(404, 'not found') };

export function toStatus(code: number, message: string): Json {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, code };
}

export async function startCluster(): Promise<FakeCluster> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coatcheck-doctor-'));
  const validity = {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  };
  const authority = issueAuthority({ commonName: 'fake', ...validity });
  const leaf = issueCertificate(
    { commonName: 'api', names: ['127.0.0.1'], ...validity },
    authority,
  );
  const token = noteToken(`person-${randomBytes(12).toString('hex')}`);
  const server = createServer({ cert: leaf.certificate, key: leaf.key });
  server.on('request', (request, response) => void serve(request, response));

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    const url = new URL(request.url ?? '/', 'https://x');
    const { method = 'GET' } = request;
    cluster.asked.push(`${method} ${url.pathname}`);
    const isBroker = url.pathname.includes('/services/https:');
    const { skewMs, brokerSkewMs } = cluster.world;
    const answer =
      request.headers.authorization === `Bearer ${token}`
        ? decide(cluster.world, { method, url, text })
        : { status: 401, body: toStatus(401, 'Unauthorized') };
    response.writeHead(answer.status, {
      Date: new Date(Date.now() + skewMs + (isBroker ? brokerSkewMs : 0)).toUTCString(),
    });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  }

  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const kubeconfig = path.join(folder, 'config');
  const cluster: FakeCluster = {
    kubeconfig,
    url,
    asked: [],
    world: createWorld(),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      rmSync(folder, { recursive: true });
    },
  };
  const ca = Buffer.from(authority.certificate).toString('base64');
  writeFileSync(
    kubeconfig,
    JSON.stringify({
      'current-context': 'lab',
      contexts: [{ name: 'lab', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
      clusters: [{ name: 'c', cluster: { server: url, 'certificate-authority-data': ca } }],
      users: [{ name: 'u', user: { token } }],
    }),
  );
  return cluster;
}

interface Asked {
  readonly method: string;
  readonly url: URL;
  readonly text: string;
}

function decide(world: World, { method, url, text }: Asked): Answer {
  const { pathname } = url;
  if (world.isForbidden(method, pathname))
    return { status: 403, body: toStatus(403, 'User "x" cannot do that') };
  const proxied = /^\/api\/v1\/namespaces\/([^/]+)\/((?:pods|services)\/[^/]+)\/proxy(\/.*)$/.exec(
    pathname,
  );
  if (proxied) {
    const [, namespace, target, rest] = proxied;
    const known = world.proxied.get(`${namespace}/${target}${rest}`);
    return known ?? { status: 503, body: toStatus(503, 'no route to the pod') };
  }
  if (method === 'POST' && pathname.endsWith('/subjectaccessreviews')) return review(world, text);
  if (method === 'POST' && pathname.endsWith('/pods'))
    return url.searchParams.get('dryRun') === 'All'
      ? world.createPod(JSON.parse(text) as Json)
      : { status: 500, body: toStatus(500, 'it was no dry run') };
  const path = world.paths.get(pathname);
  if (path) return path;
  const object = world.objects.get(pathname);
  if (object) return { status: 200, body: object };
  return list(world, url);
}

/** A collection in one namespace, or in all. */
function list(world: World, { pathname, searchParams }: URL): Answer {
  const [, base = '', namespace, resource = ''] =
    /^(\/api\/v1|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)$/.exec(pathname) ?? [];
  if (resource === '' || world.paths.get(pathname)?.status === 404) return NOT_FOUND;
  const selected = (searchParams.get('labelSelector') ?? '').split(',').filter((one) => one !== '');
  const field = /involvedObject\.name=([^,]+)/.exec(searchParams.get('fieldSelector') ?? '')?.[1];
  const pattern = new RegExp(`^${base}(?:/namespaces/([^/]+))?/${resource}/[^/]+$`);
  const items = [...world.objects]
    .filter(([key]) => {
      const match = pattern.exec(key);
      return match !== null && (namespace === undefined || match[1] === namespace);
    })
    .map(([, object]) => object)
    .filter(({ metadata }) => {
      const { labels = {} } = metadata as { labels?: Record<string, string> };
      return selected.every((one) => labels[one.split('=')[0] ?? ''] === one.split('=')[1]);
    })
    .filter(
      (object) => field === undefined || (object.involvedObject as { name: string }).name === field,
    );
  return { status: 200, body: { kind: 'List', metadata: { resourceVersion: '1' }, items } };
}

const BROKER_MAY = [
  'create tokenreviews',
  'create subjectaccessreviews',
  'get /openid/v1/jwks',
  'get tokenroles',
  'list tokenroles',
  'watch tokenroles',
  'patch tokenroles/status',
];
const CONTROLLER_MAY = [
  ...['get', 'list', 'watch'].flatMap((verb) => [`${verb} pods`, `${verb} serviceaccounts`]),
  'create leases',
  'get leases',
  'patch leases',
  'patch mutatingwebhookconfigurations coatcheck-webhook',
  'get secrets coatcheck-certificates',
  'update secrets coatcheck-certificates',
  'create events',
];
const MAY: Readonly<Record<string, readonly string[]>> = {
  'coatcheck-broker': BROKER_MAY,
  'coatcheck-controller': CONTROLLER_MAY,
  'coatcheck-webhook': [],
};

function review(world: World, text: string): Answer {
  const { spec } = JSON.parse(text) as {
    spec: {
      user: string;
      resourceAttributes?: { verb: string; resource: string; subresource?: string; name?: string };
      nonResourceAttributes?: { verb: string; path: string };
    };
  };
  const account = spec.user.split(':').at(-1) ?? '';
  const { resourceAttributes: asked, nonResourceAttributes: path } = spec;
  const what = asked
    ? `${asked.verb} ${asked.resource}${asked.subresource ? `/${asked.subresource}` : ''}`
    : `${path?.verb} ${path?.path}`;
  const named = asked?.name && asked.resource !== 'leases' ? `${what} ${asked.name}` : what;
  const key = `${account} ${what}`;
  const isAllowed = world.more.has(key) || (MAY[account]?.includes(named) && !world.fewer.has(key));
  return {
    status: 201,
    body: { kind: 'SubjectAccessReview', status: { allowed: isAllowed === true } },
  };
}

const LABELS = {
  'app.kubernetes.io/part-of': 'coatcheck',
  'app.kubernetes.io/instance': 'coatcheck',
  'app.kubernetes.io/version': '0.1.0',
};
const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const BROKER_URL = 'https://coatcheck-broker.auth.svc';
export const PORTS = { webhook: 9443, broker: 8081, controller: 8082 } as const;
export type PartName = keyof typeof PORTS;

export const toPath = {
  deployment: (part: PartName) => `/apis/apps/v1/namespaces/auth/deployments/coatcheck-${part}`,
  pod: (part: PartName, n = 1) => `/api/v1/namespaces/auth/pods/coatcheck-${part}-${n}`,
  registration: (name = 'coatcheck-webhook') =>
    `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/${name}`,
  lease: '/apis/coordination.k8s.io/v1/namespaces/auth/leases/coatcheck-controller',
  configMap: (name: string) => `/api/v1/namespaces/auth/configmaps/coatcheck-${name}`,
  appPod: (name: string) => `/api/v1/namespaces/shop/pods/${name}`,
};

const ENV: Readonly<Record<PartName, Readonly<Record<string, string>>>> = {
  webhook: {
    COATCHECK_PREFIX: 'auth.example.io/',
    COATCHECK_BROKER_URL: BROKER_URL,
    COATCHECK_ISSUER: BROKER_URL,
  },
  broker: {
    COATCHECK_ISSUER: BROKER_URL,
    COATCHECK_TOKEN_ROLES: 'true',
    COATCHECK_STORE_FILE: '/etc/coatcheck/store/url',
  },
  controller: {
    COATCHECK_LEASE_NAME: 'coatcheck-controller',
    COATCHECK_CERTIFICATES_SECRET: 'coatcheck-certificates',
    COATCHECK_WEBHOOK_CONFIGURATION: 'coatcheck-webhook',
    COATCHECK_PREFIX: 'auth.example.io/',
  },
};

const VOLUMES: Readonly<Record<PartName, readonly object[]>> = {
  webhook: [{ name: 'ca', configMap: { name: 'coatcheck-ca' } }],
  broker: [
    { name: 'clusters', configMap: { name: 'coatcheck-clusters' } },
    { name: 'roles', configMap: { name: 'coatcheck-roles' } },
  ],
  controller: [],
};

export function createWorld(): World {
  const now = Date.now();
  const ca = issueAuthority({
    commonName: 'coatcheck',
    notBefore: new Date(now - DAY_MS),
    notAfter: new Date(now + 400 * DAY_MS),
  }).certificate;
  const objects = new Map<string, Json>();
  const proxied = new Map<string, Answer>();
  for (const part of Object.keys(PORTS) as PartName[]) {
    addPart(objects, part);
    for (const n of [1, 2]) addPod(objects, proxied, { part, n, now });
  }
  const broker = 'auth/services/https:coatcheck-broker:https';
  const metadata = { issuer: BROKER_URL, jwks_uri: `${BROKER_URL}/oauth2/jwks` };
  proxied.set(`${broker}/.well-known/openid-configuration`, { status: 200, body: metadata });
  proxied.set(`${broker}/oauth2/jwks`, { status: 200, body: { keys: [{ kty: 'EC' }] } });
  for (const [name, labels] of [
    ['shop', { team: 'a' }],
    ['default', {}],
    ['auth', {}],
  ] as const)
    objects.set(`/api/v1/namespaces/${name}`, { metadata: { name, labels } });
  objects.set(toPath.registration(), toRegistration(ca));
  objects.set('/api/v1/namespaces/auth/services/coatcheck-webhook', {
    metadata: { name: 'coatcheck-webhook' },
  });
  objects.set(toPath.configMap('ca'), { data: { 'ca.crt': ca } });
  const entry = { name: 'main', own: true, kind: 'kubernetes', issuers: [ISSUER] };
  objects.set(toPath.configMap('clusters'), {
    data: { 'clusters.yaml': JSON.stringify({ clusters: [entry] }) },
  });
  objects.set(toPath.configMap('roles'), { data: { 'payments.yaml': '{}' } });
  objects.set(toPath.lease, {
    spec: {
      holderIdentity: 'coatcheck-controller-1_5f1c',
      renewTime: new Date(now).toISOString(),
      leaseDurationSeconds: 15,
    },
  });
  for (const name of ['webhook', 'broker', 'controller'])
    for (const base of [
      'policy/v1/namespaces/auth/poddisruptionbudgets',
      'networking.k8s.io/v1/namespaces/auth/networkpolicies',
    ])
      objects.set(`/apis/${base}/coatcheck-${name}`, {
        metadata: { name: `coatcheck-${name}`, labels: LABELS },
      });
  objects.set(toPath.appPod('checkout'), toAppPod('checkout', { isInjected: true }));
  objects.set(toPath.appPod('plain'), toAppPod('plain', { annotations: {} }));
  return {
    objects,
    paths: new Map<string, Answer>([
      ['/version', { status: 200, body: { major: '1', minor: '34+', gitVersion: 'v1.34.1' } }],
      ['/healthz', { status: 200, body: 'ok' }],
      ['/.well-known/openid-configuration', { status: 200, body: { issuer: ISSUER } }],
      ['/openid/v1/jwks', { status: 200, body: { keys: [{ kty: 'RSA' }] } }],
      ['/apis/admissionregistration.k8s.io/v1', { status: 200, body: { resources: [] } }],
      [
        '/apis/admissionregistration.k8s.io/v1beta1',
        { status: 200, body: { resources: [{ name: 'mutatingadmissionpolicies' }] } },
      ],
      ['/apis/admissionregistration.k8s.io/v1alpha1', NOT_FOUND],
    ]),
    proxied,
    isForbidden: () => false,
    createPod: (pod) => ({ status: 201, body: { ...pod, spec: { volumes: INJECTED } } }),
    more: new Set(),
    fewer: new Set(),
    skewMs: 0,
    brokerSkewMs: 0,
    ca,
  };
}

const INJECTED = [{ name: 'coatcheck-identity' }, { name: 'coatcheck-tokens' }];

export function toAppPod(
  name: string,
  {
    annotations = { 'auth.example.io/audience': 'payments' },
    isInjected = false,
    owner,
  }: { annotations?: Record<string, string>; isInjected?: boolean; owner?: string } = {},
): Json {
  return {
    metadata: {
      name,
      namespace: 'shop',
      uid: name,
      annotations,
      ...(owner && { ownerReferences: [{ kind: 'ReplicaSet', name: owner, controller: true }] }),
    },
    spec: { containers: [{ name: 'app' }], volumes: isInjected ? INJECTED : [] },
    status: { phase: 'Running' },
  };
}

export function toRegistration(
  ca: string | undefined,
  service = 'coatcheck-webhook',
  rest: Json = {},
): Json {
  return {
    metadata: { name: service, labels: LABELS },
    webhooks: [
      {
        name: 'pods.coatcheck.example.io',
        clientConfig: {
          service: { namespace: 'auth', name: service, path: '/mutate' },
          ...(ca !== undefined && { caBundle: Buffer.from(ca).toString('base64') }),
        },
        namespaceSelector: {},
        matchConditions: [{ name: 'annotated', expression: 'true' }],
        failurePolicy: 'Fail',
        reinvocationPolicy: 'IfNeeded',
        sideEffects: 'None',
        ...rest,
      },
    ],
  };
}

function addPart(objects: Map<string, Json>, part: PartName): void {
  const name = `coatcheck-${part}`;
  objects.set(toPath.deployment(part), {
    metadata: {
      name,
      namespace: 'auth',
      labels: { ...LABELS, 'app.kubernetes.io/component': part },
    },
    spec: {
      replicas: 2,
      template: {
        spec: {
          serviceAccountName: name,
          volumes: VOLUMES[part],
          containers: [
            {
              name: part,
              env: Object.entries(ENV[part]).map(([key, value]) => ({ name: key, value })),
              ports: [{ name: 'operations', containerPort: PORTS[part] }],
            },
          ],
        },
      },
    },
    status: { availableReplicas: 2 },
  });
}

function addPod(
  objects: Map<string, Json>,
  proxied: Map<string, Answer>,
  { part, n, now }: { part: PartName; n: number; now: number },
): void {
  const name = `coatcheck-${part}-${n}`;
  objects.set(toPath.pod(part, n), {
    metadata: {
      name,
      namespace: 'auth',
      labels: { ...LABELS, 'app.kubernetes.io/component': part },
    },
    status: {
      phase: 'Running',
      conditions: [{ type: 'PodScheduled', status: 'True' }],
      containerStatuses: [{ name: part, ready: true, restartCount: 0, state: { running: {} } }],
    },
  });
  const base = `auth/pods/http:${name}:${PORTS[part]}`;
  proxied.set(`${base}/readyz`, { status: 200, body: 'ready\n' });
  const metrics = [
    `coatcheck_${part}_certificate_not_after_seconds ${Math.round((now + 90 * DAY_MS) / 1000)}`,
    'coatcheck_broker_live_report_age_seconds{cluster="main"} 41',
    ...(part === 'controller' && n === 1
      ? ['coatcheck_controller_ca_bundle_injected{configuration="coatcheck-webhook"} 1']
      : []),
  ];
  proxied.set(`${base}/metrics`, { status: 200, body: `# HELP x y\n${metrics.join('\n')}\n` });
}

/** An object of the world, to be changed in place. */
export function get(world: World, path: string): Json {
  const object = world.objects.get(path);
  if (!object) throw new Error(`the world has no ${path}`);
  return object;
}
