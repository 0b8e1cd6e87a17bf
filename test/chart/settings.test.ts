// What the chart tells the processes is what they understand: the rendered variables, files and roles go through the very
// code that reads them in the container.
import { expect } from 'chai';
import { parse } from 'yaml';
import { parseClusters } from '../../broker/identity/clusters.ts';
import { createRoleParser } from '../../broker/roles/schema.ts';
import { BROKER_SETTINGS, findSettingsProblems } from '../../broker/settings.ts';
import { readSettings, type SettingsTable, toVariable } from '../../common/settings.ts';
import { CONTROLLER_SETTINGS, readControllerSettings } from '../../controller/settings.ts';
import { readWebhookSettings, WEBHOOK_TABLE } from '../../webhook/settings.ts';
import { type Rendered, renderChart, toContainer, toEnvironment } from './helm.ts';
import { createCa, toUnusualValues, toUsualValues } from './values.ts';

/** Settings that are no values of the chart, and why. */
const NO_VALUES: Readonly<Record<string, string>> = {
  'webhook.clientCaFile':
    'the API server shows no certificate unless its own configuration says so',
  'webhook.reloadSeconds': 'nobody needs another pace',
  'broker.insecurePlainHttp': 'an installation of the chart always has TLS',
  'broker.store': 'a URL with a password is a Secret; sqlite is given without one',
  'broker.signingKeysDir': 'not where the store keeps the keys',
  'broker.controllerIdentity': 'in the table of clusters',
  'controller.tokenFile': 'where the chart mounts it',
  'controller.apiServerUrl': "the pod's own API server",
  'controller.apiServerCaFile': "the pod's own API server",
  'controller.apiServerTokenFile': "the pod's own API server",
  'broker.apiServerUrl': "the pod's own API server",
  'broker.apiServerCaFile': "the pod's own API server",
  'broker.apiServerTokenFile': "the pod's own API server",
  'controller.certificatesSecret':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.webhookNames':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.brokerNames':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.webhookConfiguration':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.certificatesCaFile':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.caLifetimeSeconds':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.leafLifetimeSeconds':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.caPublishSeconds':
    'the certificates above are brought; certificates.test.ts has the others',
  'controller.generateKey':
    'the certificates above are brought; certificates.test.ts has the others',
};

/** Where an installation differs from a process by itself. */
const OTHER_DEFAULTS: Readonly<Record<string, unknown>> = {
  'broker.tokenRoles': true,
  'controller.identity': 'a-pod',
  'broker.namespaceLabels': 'off',
  'broker.store': { kind: 'sqlite', file: '/var/lib/coatcheck/store.db' },
};

// The kubelet's, for a Service of the namespace.
const LINKS = {
  COATCHECK_BROKER_SERVICE_HOST: '10.96.0.9',
  COATCHECK_BROKER_SERVICE_PORT: '443',
  COATCHECK_BROKER_SERVICE_PORT_HTTPS: '443',
  COATCHECK_BROKER_PORT: 'tcp://10.96.0.9:443',
  COATCHECK_BROKER_PORT_443_TCP: 'tcp://10.96.0.9:443',
};

const readWebhook = (rendered: Rendered, name = 'coatcheck-webhook', links = {}) =>
  readWebhookSettings({
    environment: toEnvironment(toContainer(rendered.get('Deployment', name)), links),
  });

const readController = (rendered: Rendered, name = 'coatcheck-controller') => {
  const environment = toEnvironment(toContainer(rendered.get('Deployment', name)));
  return readControllerSettings({ environment: { ...environment, COATCHECK_IDENTITY: 'a-pod' } });
};

const readBroker = (rendered: Rendered, name = 'coatcheck-broker') =>
  readSettings(
    BROKER_SETTINGS,
    { environment: toEnvironment(toContainer(rendered.get('Deployment', name))) },
    findSettingsProblems,
  ).settings;

describe('settings from the chart', () => {
  const ca = createCa();
  const usual = renderChart(toUsualValues(ca));
  const unusual = renderChart(toUnusualValues(ca));

  it('are accepted by the webhook, which gets the broker by name and, from the kubelet, by address', () => {
    const settings = readWebhook(usual, 'coatcheck-webhook', LINKS);
    expect(settings.brokerUrl).to.equal('https://coatcheck-broker.auth.svc');
    expect(settings.brokerFallbackAddress).to.equal('10.96.0.9');
    expect(settings.image).to.match(/^coatcheck-exchange:\d+\.\d+\.\d+$/);
  });

  it('stop the webhook where the kubelet does not know the Service yet, so that its restart gets the address', () => {
    expect(() => readWebhook(usual)).to.throw('COATCHECK_BROKER_FALLBACK_ADDRESS must be an IP');
  });

  it('have no fallback address where none is wished', () => {
    const rendered = renderChart({ exchange: { brokerFallbackAddress: 'none' } });
    expect(readWebhook(rendered).brokerFallbackAddress).to.equal(undefined);
  });

  it('find the Service under a name with dashes', () => {
    const rendered = renderChart({}, { name: 'my-tokens' });
    const links = { MY_TOKENS_BROKER_SERVICE_HOST: 'fd00::9' };
    const settings = readWebhook(rendered, 'my-tokens-webhook', links);
    expect(settings.brokerFallbackAddress).to.equal('fd00::9');
    expect(settings.brokerUrl).to.equal('https://my-tokens-broker.auth.svc');
  });

  it('are accepted by the broker, whose issuer is the URL that pods use', () => {
    const settings = readBroker(usual);
    expect(settings.issuer).to.equal('https://coatcheck-broker.auth.svc');
    expect(settings.issuer).to.equal(readWebhook(usual, 'coatcheck-webhook', LINKS).brokerUrl);
  });

  for (const [program, table, read] of [
    ['webhook', WEBHOOK_TABLE, () => readWebhook(usual, 'coatcheck-webhook', LINKS)],
    ['broker', BROKER_SETTINGS, () => readBroker(usual)],
    ['controller', CONTROLLER_SETTINGS, () => readController(usual)],
  ] as [string, SettingsTable, () => Record<string, unknown>][]) {
    it(`are, for the ${program}, its own defaults unless values say otherwise`, () => {
      const settings = read();
      for (const [name, { default: byDefault }] of Object.entries(table)) {
        const wanted = OTHER_DEFAULTS[`${program}.${name}`] ?? byDefault;
        if (wanted !== undefined) expect(settings[name], name).to.deep.equal(wanted);
      }
    });

    it(`are, for the ${program}, all values of the chart, or have a reason not to be`, () => {
      const given = toContainer(unusual.get('Deployment', `identity-${program}`)).env.map(
        ({ name }) => name,
      );
      const missing = Object.keys(table).filter((name) => !given.includes(toVariable(name)));
      const excused = Object.keys(NO_VALUES)
        .filter((name) => name.startsWith(`${program}.`))
        .map((name) => name.slice(program.length + 1));
      expect(missing.sort()).to.deep.equal(excused.sort());
    });
  }

  it('reach the webhook as the values have them', () => {
    const settings = readWebhook(unusual, 'identity-webhook', {});
    expect(settings).to.deep.include({
      prefix: 'tokens.example.org/',
      brokerUrl: 'https://identity-broker.auth.svc',
      brokerFallbackAddress: '[fd00::7]:8443',
      issuer: 'https://tokens.example.org',
      image: 'registry.example/exchange:v7',
      imagePullPolicy: 'Always',
      // Nothing in a value is a variable: the kubelet's expansion is escaped.
      exchangeCommand: ['/bin/exchange', 'price is $(HOME) or $$5'],
      mountRoot: '/var/run/secrets/tokens',
      skipContainers: ['istio-proxy', 'my-agent'],
      reservedAudiences: ['https://api.example.org', 'sts'],
      defaultMode: 'init',
      initOrder: 'last',
      tokenExpirationSeconds: 7200,
      deadlineSeconds: 30,
      exchangeCpuRequest: '20m',
      exchangeCpuLimit: '1',
      exchangeMemoryRequest: '64Mi',
      exchangeMemoryLimit: '256Mi',
      tokensSizeLimit: '2Mi',
      podAnnotations: { 'traffic.sidecar.istio.io/excludeOutboundPorts': '443' },
      listen: { host: '0.0.0.0', port: 10_250 },
      operationsListen: { host: '0.0.0.0', port: 9999 },
      drainSeconds: 11,
      logLevel: 'debug',
    });
  });

  it('reach the broker as the values have them', () => {
    expect(readBroker(unusual, 'identity-broker')).to.deep.include({
      issuer: 'https://tokens.example.org',
      maxTokenTtlSeconds: 2_592_000,
      reservedAudiences: ['https://api.example.org', 'sts'],
      allowBrokerPolicies: ['coatcheck:roles:read'],
      allowExtraClaims: ['groups', 'email'],
      sourceRefusalsPerSecond: 7,
      identityRequestsPerSecond: 0,
      maxConnections: 900,
      allowPrivateClusterAddresses: true,
      trustedProxies: ['10.0.0.0/8', '2001:db8::1'],
      listen: { host: '0.0.0.0', port: 9443 },
      operationsListen: { host: '0.0.0.0', port: 9090 },
      adminListen: { host: '0.0.0.0', port: 9444 },
      drainSeconds: 11,
      logLevel: 'debug',
    });
  });

  it('lead the controller to every replica of the broker, at the port where the admin API is', () => {
    expect(readController(usual)).to.deep.include({
      cluster: 'main',
      brokerUrl: 'https://coatcheck-broker.auth.svc',
      brokersService: { host: 'coatcheck-broker-replicas.auth.svc', port: 8443 },
      namespace: 'auth',
    });
    expect(readController(unusual, 'identity-controller')).to.deep.include({
      cluster: 'production',
      brokersService: { host: 'identity-broker-replicas.auth.svc', port: 9444 },
      liveSetSeconds: 60,
      prefix: 'tokens.example.org/',
      excludeNamespaces: ['kube-system'],
      missedNamespaces: ['shop', 'team-*'],
      evictMissed: true,
      evictionsPerMinute: 2,
    });
    const service = usual.get('Service', 'coatcheck-broker-replicas').spec;
    expect(service).to.deep.include({ clusterIP: 'None', publishNotReadyAddresses: true });
  });

  for (const [name, rendered] of [
    ['coatcheck', usual],
    ['identity', unusual],
  ] as const) {
    for (const program of ['webhook', 'broker', 'controller']) {
      it(`name, for ${name}-${program}, only files that are mounted`, () => {
        const container = toContainer(rendered.get('Deployment', `${name}-${program}`));
        const files = container.env.filter(({ name }) => /_(FILE|DIR|PATH)$/.test(name));
        const mounts = container.volumeMounts.map(({ mountPath }) => mountPath);
        expect(files).to.have.length.greaterThan(program === 'controller' ? 0 : 2);
        for (const { value } of files) {
          expect(
            mounts.some((mount) => value === mount || value.startsWith(`${mount}/`)),
            value,
          ).to.equal(true);
        }
      });
    }
  }
});

describe('files from the chart', () => {
  const ca = createCa();
  const read = (rendered: Rendered, name: string) =>
    rendered.get('ConfigMap', name).data as Record<string, string>;

  it('are a table of clusters with this cluster as the own one, by the keys of its API server', () => {
    const text = read(renderChart({}), 'coatcheck-clusters')['clusters.yaml'] ?? '';
    const [cluster, ...others] = parseClusters(text, { file: '/etc/coatcheck/clusters/x' });
    expect(others).to.deep.equal([]);
    expect(cluster).to.deep.include({
      name: 'main',
      own: true,
      issuers: ['https://kubernetes.default.svc.cluster.local'],
      validation: 'hybrid',
    });
    expect(cluster?.review).to.deep.include({
      url: 'https://kubernetes.default.svc',
      onUnavailable: 'deny',
    });
    expect(cluster?.keys).to.deep.equal({
      from: 'apiServer',
      url: 'https://kubernetes.default.svc',
      caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    });
  });

  for (const [validation, onReviewUnavailable, expected] of [
    ['hybrid', 'recent', 'recent'],
    ['review', 'recent', 'deny'],
    ['offline', 'recent', undefined],
  ] as const) {
    it(`let the broker validate by ${validation}, with ${expected ?? 'nothing'} while the API server is away`, () => {
      const rendered = renderChart({ cluster: { validation, onReviewUnavailable } });
      const text = read(rendered, 'coatcheck-clusters')['clusters.yaml'] ?? '';
      const [cluster] = parseClusters(text, { file: '/etc/coatcheck/clusters/x' });
      expect(cluster?.validation).to.equal(validation);
      expect(cluster?.review?.onUnavailable).to.equal(expected);
    });
  }

  it('have further clusters behind it', () => {
    const text = read(renderChart(toUnusualValues(ca)), 'identity-clusters')['clusters.yaml'] ?? '';
    const clusters = parseClusters(text, { file: '/etc/coatcheck/clusters/x' });
    expect(clusters.map(({ name, own }) => [name, own])).to.deep.equal([
      ['production', true],
      ['lab', false],
      ['remote', false],
    ]);
  });

  it('restart the broker when the clusters change, and not when roles do', () => {
    const toPod = (values: object) =>
      JSON.stringify(renderChart(values).get('Deployment', 'coatcheck-broker').spec);
    expect(toPod({ cluster: { name: 'other' } })).to.not.equal(toPod({}));
    expect(toPod(toUsualValues(ca))).to.equal(
      toPod({ certificates: { mode: 'provided' }, caBundle: ca }),
    );
  });

  it('are one role file per role, which the broker accepts', () => {
    const files = read(renderChart(toUnusualValues(ca)), 'identity-roles');
    expect(Object.keys(files)).to.deep.equal(['ci.yaml', 'payments-checkout.yaml']);
    const parseRole = createRoleParser();
    for (const text of Object.values(files)) {
      const parsed = parseRole(parse(text), 'chart');
      expect(parsed.ok, JSON.stringify(parsed)).to.equal(true);
    }
  });

  it('are no roles at all by default', () => {
    const { objects, get } = renderChart({});
    expect(objects.some(({ metadata }) => metadata.name === 'coatcheck-roles')).to.equal(true);
    expect(get('ConfigMap', 'coatcheck-roles').data).to.deep.equal({});
  });

  it('leave roles to a ConfigMap of the operator where one is named', () => {
    const rendered = renderChart({ rolesConfigMap: 'my-roles' });
    expect(rendered.ofKind('ConfigMap').map(({ metadata }) => metadata.name)).to.deep.equal([
      'coatcheck-clusters',
    ]);
    const text = JSON.stringify(rendered.get('Deployment', 'coatcheck-broker'));
    expect(text).to.include('"configMap":{"name":"my-roles"}');
  });

  it('are the CA for webhook and broker, and in the registration', () => {
    const rendered = renderChart(toUsualValues(ca));
    expect(read(rendered, 'coatcheck-ca')['ca.crt']).to.equal(ca);
    const [webhook] = rendered.get('MutatingWebhookConfiguration', 'coatcheck-webhook')
      .webhooks as { clientConfig: { caBundle: string } }[];
    expect(Buffer.from(webhook?.clientConfig.caBundle ?? '', 'base64').toString()).to.equal(ca);
  });
});
