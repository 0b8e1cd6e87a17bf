// The chart without a broker, in a cluster whose broker is in another one: what is there, what is not, and that the processes
// take what they are told.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { parseRegisteredEntry } from '../../broker/identity/registered-entry.ts';
import { createRoleParser } from '../../broker/roles/schema.ts';
import { readControllerSettings } from '../../controller/settings.ts';
import { readWebhookSettings } from '../../webhook/settings.ts';
import {
  CHART,
  type Rendered,
  renderChart,
  templateChart,
  toContainer,
  toEnvironment,
  toTemplate,
} from './helm.ts';
import { createCa, PROVIDED, ROLE } from './values.ts';

const URL_OF_BROKER = 'https://tokens.example.org:8443';
const CA = createCa();
const REMOTE = {
  broker: { enabled: false },
  brokerUrl: URL_OF_BROKER,
  brokerCaBundle: CA,
  cluster: { name: 'edge' },
};

const LAB = {
  name: 'lab',
  kind: 'kubernetes',
  issuer: 'https://lab.example.org',
  keys: { url: 'https://lab.example.org/jwks' },
};

const environmentOf = (rendered: Rendered, part: string) =>
  toEnvironment(toContainer(rendered.get('Deployment', `coatcheck-${part}`)));
const readController = (rendered: Rendered) =>
  readControllerSettings({
    environment: { ...environmentOf(rendered, 'controller'), COATCHECK_IDENTITY: 'a-pod' },
  });
const egressOf = (values: object) => {
  const policy = renderChart(values).get('NetworkPolicy', 'coatcheck-controller');
  return (policy.spec as { egress: { ports: { port: unknown }[]; to?: unknown }[] }).egress.at(-1);
};

describe('the chart of a cluster whose broker is elsewhere', () => {
  const rendered = renderChart(REMOTE);
  const { objects, get, ofKind } = rendered;

  it('has webhook and controller, and nothing of the broker', () => {
    expect(ofKind('Deployment').map(({ metadata }) => metadata.name)).to.have.members([
      'coatcheck-webhook',
      'coatcheck-controller',
    ]);
    const kinds = objects.map(({ kind }) => kind);
    expect(kinds).to.not.include.members(['PersistentVolumeClaim']);
    expect(kinds).to.not.include('CustomResourceDefinition');
    expect(kinds).to.not.include('TokenRole');
    expect(JSON.stringify(objects)).to.not.match(/coatcheck-broker|broker-replicas|tokenreviews/);
    // The near miss: the same values in the broker's own cluster.
    expect(JSON.stringify(renderChart({}).objects)).to.match(/coatcheck-broker.*tokenreviews/);
  });

  it('leads pods to the broker at its URL, by its CA alone, and by no address of this cluster', () => {
    const settings = readWebhookSettings({ environment: environmentOf(rendered, 'webhook') });
    expect(settings.brokerUrl).to.equal(URL_OF_BROKER);
    expect(settings.brokerFallbackAddress).to.equal(undefined);
    expect(get('ConfigMap', 'coatcheck-ca').data).to.deep.equal({ 'ca.crt': CA });
    expect(toTemplate(get('Deployment', 'coatcheck-webhook')).spec.enableServiceLinks).to.equal(
      false,
    );
  });

  it('keeps the CA of the webhook and that of the broker apart', () => {
    const own = createCa();
    const both = renderChart({ ...REMOTE, ...PROVIDED, caBundle: own });
    expect(both.get('ConfigMap', 'coatcheck-ca').data).to.deep.equal({ 'ca.crt': CA });
    const registration = JSON.stringify(both.ofKind('MutatingWebhookConfiguration'));
    expect(registration).to.include(Buffer.from(own).toString('base64'));
    expect(registration).to.not.include(Buffer.from(CA).toString('base64'));
  });

  it('trusts the public authorities where no CA is given', () => {
    const { brokerCaBundle: _, ...values } = REMOTE;
    const without = renderChart({ ...values, ...PROVIDED, caBundle: CA });
    expect(without.ofKind('ConfigMap')).to.deep.equal([]);
    for (const part of ['webhook', 'controller'])
      expect(environmentOf(without, part)).to.not.have.property('COATCHECK_BROKER_CA_FILE');
  });

  it('leads the controller to the URL alone, under the name of the cluster, and lets it push keys', () => {
    expect(readController(rendered)).to.include({
      brokerUrl: URL_OF_BROKER,
      brokersService: undefined,
      brokerCaFile: '/etc/coatcheck/ca/ca.crt',
      cluster: 'edge',
      pushKeys: true,
      keysSeconds: 60,
    });
    expect(readController(renderChart({})).pushKeys).to.equal(false);
  });

  it('leads it elsewhere where the admin API has a URL of its own, or each replica an address', () => {
    const controller = {
      brokerUrl: 'https://admin.example.org',
      brokersService: 'replicas.example.org:9443',
      pushKeys: false,
      keysSeconds: 10,
    };
    const settings = readController(renderChart({ ...REMOTE, controller }));
    expect(settings).to.deep.include({
      brokerUrl: 'https://admin.example.org',
      brokersService: { host: 'replicas.example.org', port: 9443 },
      pushKeys: false,
      keysSeconds: 10,
    });
  });

  it("lets the controller read the cluster's keys, only where it pushes them", () => {
    const toBindings = (values: object) =>
      renderChart(values)
        .ofKind('ClusterRoleBinding')
        .filter((one) => JSON.stringify(one.subjects).includes('coatcheck-controller'))
        .map((one) => (one.roleRef as { name: string }).name);
    const DISCOVERY = 'system:service-account-issuer-discovery';
    const OWN = ['coatcheck-certificates', 'coatcheck-controller'];
    expect(toBindings(REMOTE)).to.have.members([...OWN, DISCOVERY]);
    for (const values of [{}, { ...REMOTE, controller: { pushKeys: false } }])
      expect(toBindings(values)).to.have.members(OWN);
  });

  it('gives it a token for the broker whose predecessor still holds when the key changes', () => {
    const toSeconds = (values: object) => {
      const { spec } = toTemplate(renderChart(values).get('Deployment', 'coatcheck-controller'));
      return /"audience":"coatcheck-control","expirationSeconds":(\d+)/.exec(
        JSON.stringify(spec.volumes),
      )?.[1];
    };
    expect(toSeconds(REMOTE)).to.equal('3600');
    expect(toSeconds({})).to.equal('600');
  });

  for (const [name, more, wanted] of [
    ['at the port of its URL, anywhere', {}, { ports: [{ port: 8443, protocol: 'TCP' }] }],
    [
      'at 443 where the URL has no port',
      { brokerUrl: 'https://tokens.example.org' },
      { ports: [{ port: 443, protocol: 'TCP' }] },
    ],
    [
      'at the port of its replicas',
      { controller: { brokersService: 'replicas.example.org:9443' } },
      { ports: [{ port: 9443, protocol: 'TCP' }] },
    ],
    [
      'where the values say',
      {
        networkPolicy: {
          remoteBroker: { to: [{ ipBlock: { cidr: '192.0.2.0/24' } }], ports: [30_443] },
        },
      },
      {
        ports: [{ port: 30_443, protocol: 'TCP' }],
        to: [{ ipBlock: { cidr: '192.0.2.0/24' } }],
      },
    ],
  ] as const)
    it(`lets the controller out to the broker ${name}`, () => {
      expect(egressOf({ ...REMOTE, ...more })).to.deep.equal(wanted);
    });

  it('lets the controller of the broker’s own cluster out to its pods, as ever', () => {
    expect(JSON.stringify(egressOf({})))
      .to.include('"podSelector"')
      .and.include('broker');
  });

  it('has alerts on what there is, and one on keys that do not arrive', () => {
    const alertsOf = (values: object) => {
      const rule = renderChart({
        ...values,
        monitoring: { prometheusRule: { enabled: true } },
      }).get('PrometheusRule', 'coatcheck-alerts');
      const { groups } = rule.spec as { groups: { rules: { alert: string; expr: string }[] }[] };
      return groups.flatMap(({ rules }) => rules);
    };
    const here = alertsOf(REMOTE);
    const names = here.map(({ alert }) => alert);
    expect(names).to.include.members(['CoatcheckWebhookDown', 'CoatcheckControllerNotLeading']);
    expect(names).to.not.include.oneOf(['CoatcheckBrokerNotReady', 'CoatcheckNoLiveReport']);
    expect(here.find(({ alert }) => alert === 'CoatcheckKeysNotPushed')?.expr).to.match(
      /keys_pushed_timestamp_seconds\{namespace="auth"\}\) > 7200$/,
    );
    expect(alertsOf({}).map(({ alert }) => alert)).to.not.include('CoatcheckKeysNotPushed');
  });

  it('works without a controller, too', () => {
    const without = renderChart({ ...REMOTE, ...PROVIDED, controller: { enabled: false } });
    expect(without.ofKind('Deployment')).to.have.lengthOf(1);
    expect(without.ofKind('ClusterRoleBinding')).to.deep.equal([]);
  });

  for (const [name, values, says] of [
    ['no URL', { broker: { enabled: false } }, 'brokerUrl: is required where broker.enabled'],
    ['a URL without TLS', { ...REMOTE, brokerUrl: 'http://tokens.example.org' }, '/brokerUrl'],
    ['a URL with a user in it', { ...REMOTE, brokerUrl: 'https://a@b.example' }, '/brokerUrl'],
    ['a CA that is none', { ...REMOTE, brokerCaBundle: 'abc' }, '/brokerCaBundle'],
    ['roles', { ...REMOTE, roles: { a: ROLE } }, 'roles: belongs to the release that has the'],
    ['role files', { ...REMOTE, rolesConfigMap: 'mine' }, 'rolesConfigMap: belongs to the release'],
    ['clusters', { ...REMOTE, clusters: [LAB] }, 'clusters: belongs to the release'],
    [
      'receivers',
      { ...REMOTE, receivers: [{ identity: 'k8s:edge:a:b', audiences: ['c'] }] },
      'receivers: belongs to the release',
    ],
    [
      'replicas without a port',
      { ...REMOTE, controller: { brokersService: 'replicas.example.org' } },
      '/controller/brokersService',
    ],
    ['keys asked for all the time', { ...REMOTE, controller: { keysSeconds: 0 } }, '/keysSeconds'],
    ['a URL beside a broker', { brokerUrl: URL_OF_BROKER }, 'set broker.enabled to false'],
    ['a CA beside a broker', { brokerCaBundle: CA }, 'set broker.enabled to false'],
    [
      'replicas beside a broker',
      { controller: { brokersService: 'replicas.example.org:1' } },
      'set broker.enabled to false',
    ],
  ] as const)
    it(`is refused with ${name}, in words that say what to do`, () => {
      const { code, stderr } = templateChart(values);
      expect(code).to.not.equal(0);
      expect(stderr).to.include(says);
    });
});

describe('docs/clusters.md, "A second cluster"', () => {
  const page = readFileSync(path.join(CHART, '../../docs/clusters.md'), 'utf8');
  const section = page.split('\n## A second cluster\n')[1]?.split('\n## ')[0] ?? '';
  const blocks = [...section.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? '');
  const find = (words: string) =>
    parse(blocks.find((text) => text.includes(words)) ?? '') as object;

  it('gives the broker a name for both clusters, that its certificate has', () => {
    const rendered = renderChart(find('# in the values of the first cluster'));
    const { spec } = rendered.get('Service', 'coatcheck-broker');
    expect(spec).to.deep.include({
      type: 'LoadBalancer',
      loadBalancerSourceRanges: ['192.0.2.0/24'],
    });
    const { COATCHECK_BROKER_NAMES: names = '' } = environmentOf(rendered, 'controller');
    expect(names.split(',')).to.include('tokens.example.com');
    expect(renderChart({}).get('Service', 'coatcheck-broker').spec).to.include({
      type: 'ClusterIP',
    });
  });

  it('registers what the broker takes, with the controller that the chart makes', () => {
    const { name, ...entry } = find('# edge.yaml\n') as { name: string; controller: object };
    const n = Buffer.alloc(256, 0xab).toString('base64url');
    const keys = {
      pushed: { jwks: { keys: [{ kty: 'RSA', alg: 'RS256', kid: 'a', n, e: 'AQAB' }] } },
    };
    const parsed = parseRegisteredEntry({ ...entry, keys }, { name, allowsPrivate: false });
    expect(parsed).to.have.property('ok', true);
    const edge = renderChart(find('# edge-values.yaml'));
    const account = edge.get('ServiceAccount', 'coatcheck-controller').metadata;
    expect(entry.controller).to.deep.equal({
      namespace: account.namespace,
      serviceAccount: account.name,
    });
    expect(environmentOf(edge, 'controller')).to.include({ COATCHECK_CLUSTER: name });
  });

  it('has a role for the other cluster', () => {
    const parsed = createRoleParser()(find('# edge-role.yaml'), 'page');
    expect(parsed).to.have.property('ok', true);
  });
});
