// Every value does something: each one, set to something else, changes what is rendered. A value that changes nothing is a
// promise that nobody keeps.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { listChartValues } from '../../scripts/chart-page.ts';
import { renderBatch } from './batch.ts';
import { CHART } from './helm.ts';
import { createCa, ROLE } from './values.ts';

interface Flip {
  /** What the value is set to; found by its kind where it is not stated. */
  readonly to?: unknown;
  /** Values without which it says nothing. */
  readonly beside?: object;
  /** Values that must be set together with it. */
  readonly also?: object;
}

const POSTGRES = { broker: { store: { type: 'postgres', postgres: { secretName: 'db' } } } };
const WITH_KEYS = { broker: { keyEncryption: { secretName: 'seal' } } };
const BOOTSTRAP = { broker: { bootstrapToken: { secretName: 'first' } } };
const AWAY = { broker: { enabled: false }, brokerUrl: 'https://tokens.example.org' };
const scaled = (part: string) => ({
  [part]: {
    autoscaling: { enabled: true },
    store: part === 'broker' ? { type: 'none' } : undefined,
  },
});
const monitored = (part: string) => ({ monitoring: { [part]: { enabled: true } } });
const HOST = [{ ipBlock: { cidr: '10.0.0.0/8' } }];

/** What the kind of a value does not tell. */
const FLIPS: Readonly<Record<string, Flip>> = {
  caBundle: { to: createCa(), beside: { certificates: { mode: 'provided' } } },
  'certificates.mode': { to: 'provided' },
  'controller.enabled': { to: false, beside: { certificates: { mode: 'provided' } } },
  'webhook.tls.secretName': { beside: { certificates: { mode: 'provided' } } },
  'broker.tls.secretName': { beside: { certificates: { mode: 'provided' } } },
  'certificates.extraBrokerNames': { to: ['tokens.example.org'] },
  'certificates.certManager.issuerRef': {
    to: { name: 'ours', kind: 'ClusterIssuer', group: 'cert-manager.io' },
    beside: { certificates: { mode: 'cert-manager' } },
  },
  imagePullSecrets: { to: [{ name: 'pull' }] },
  prefix: { to: 'tokens.example.org/' },
  reservedAudiences: { to: ['sts'] },
  excludeNamespaces: { to: ['kube-system'] },
  rolesConfigMap: { to: 'mine' },
  roles: { to: { a: ROLE } },
  receivers: { to: [{ identity: 'k8s:main:a:b', audiences: ['payments'] }] },
  clusters: { to: [{ name: 'lab', kind: 'kubernetes', keys: { file: '/a' } }] },
  'cluster.issuers': { to: ['https://oidc.example.org'] },
  'image.digest': { to: `sha256:${'a'.repeat(64)}` },
  'exchange.image.digest': { to: `sha256:${'a'.repeat(64)}` },
  'exchange.brokerFallbackAddress': { to: '10.96.0.7' },
  'exchange.mountRoot': { to: '/var/run/tokens' },
  'exchange.tokensSizeLimit': { to: '2Mi' },
  'exchange.command': { to: ['/bin/exchange'] },
  'exchange.skipContainers': { to: ['agent'] },
  brokerUrl: { to: 'https://other.example.org', beside: AWAY },
  brokerCaBundle: { to: createCa(), beside: AWAY },
  'broker.enabled': { to: false, also: AWAY },
  'broker.replicas': { beside: { broker: { store: { type: 'none' } } } },
  'broker.autoscaling.enabled': { beside: { broker: { store: { type: 'none' } } } },
  'broker.podDisruptionBudget.enabled': {
    beside: { broker: { replicas: 2, store: { type: 'none' } } },
  },
  'broker.podDisruptionBudget.maxUnavailable': {
    to: '50%',
    beside: { broker: { replicas: 2, store: { type: 'none' } } },
  },
  'broker.issuer': { to: 'https://tokens.example.org' },
  'broker.formerIssuers': { to: ['https://old.example.org'] },
  'broker.store.type': { to: 'none' },
  'broker.store.persistence.size': { to: '2Gi' },
  'broker.store.postgres.secretName': { to: 'other', beside: POSTGRES },
  'broker.store.postgres.secretKey': { to: 'dsn', beside: POSTGRES },
  'broker.store.postgres.port': { beside: POSTGRES },
  'broker.keyEncryption.signingAlgorithm': { to: 'RS256', beside: WITH_KEYS },
  'broker.keyEncryption.rotationSeconds': { beside: WITH_KEYS },
  'broker.bootstrapToken.secretKey': { beside: BOOTSTRAP },
  'broker.bootstrapToken.ttlSeconds': { beside: BOOTSTRAP },
  'broker.service.clusterIP': { to: '10.96.0.7' },
  'broker.service.loadBalancerSourceRanges': {
    to: ['10.0.0.0/8'],
    beside: { broker: { service: { type: 'LoadBalancer' } } },
  },
  'broker.adminListen.port': { to: 8444 },
  'broker.adminListen.from': { to: HOST, beside: { broker: { adminListen: { port: 8444 } } } },
  'broker.allowBrokerPolicies': { to: ['coatcheck:roles:read'] },
  'broker.allowExtraClaims': { to: ['groups'] },
  'broker.trustedProxies': { to: ['10.0.0.0/8'] },
  'broker.extraVolumes': { to: [{ name: 'lab', emptyDir: {} }] },
  'broker.extraVolumeMounts': { to: [{ name: 'lab', mountPath: '/lab' }] },
  'controller.missedPods.namespaces': { to: ['shop'] },
  'controller.evictMissedPods.perMinute': {
    beside: { controller: { evictMissedPods: { enabled: true } } },
  },
  'controller.brokerUrl': { to: 'https://other.example.org', beside: AWAY },
  'controller.brokersService': { to: 'brokers.auth.svc:8443', beside: AWAY },
  'cluster.name': { to: 'production' },
  'networkPolicy.metricsFrom': { to: HOST },
  'networkPolicy.dnsPorts': { to: [53] },
  'networkPolicy.brokerEgressPorts': { to: [8443] },
  'networkPolicy.controllerEgressPorts': { to: [8443] },
  'networkPolicy.remoteBroker.to': { to: HOST, beside: AWAY },
  'networkPolicy.remoteBroker.ports': { to: [8443], beside: AWAY },
  'webhook.namespaceSelector': { to: { matchLabels: { a: 'b' } } },
  'monitoring.prometheusRule.disabled': {
    to: ['CoatcheckWebhookRefusing'],
    beside: monitored('prometheusRule'),
  },
  'monitoring.prometheusRule.runbookUrl': {
    to: 'https://docs.example.org/x',
    beside: monitored('prometheusRule'),
  },
};

/** The same in every part of the chart, by the last words of its place. */
const BY_NAME: Readonly<Record<string, unknown>> = {
  resources: { limits: { memory: '1Gi' } },
  podSecurityContext: { runAsUser: 4711 },
  extraEnv: [{ name: 'A', value: 'b' }],
  tolerations: [{ operator: 'Exists' }],
  affinity: { nodeAffinity: {} },
  topologySpreadConstraints: [
    { maxSkew: 1, topologyKey: 'rack', whenUnsatisfiable: 'DoNotSchedule' },
  ],
  cpu: '333m',
  memory: '333Mi',
};

/** Values that change nothing of what is rendered, and why. */
const SILENT: Readonly<Record<string, string>> = {};

function toFlip(place: string, byDefault: unknown, allowed: string): unknown {
  const name = place.split('.').at(-1) ?? '';
  if (Object.hasOwn(BY_NAME, name)) return BY_NAME[name];
  if (typeof byDefault === 'boolean') return !byDefault;
  const choices = [...allowed.matchAll(/`([^`]*)`/g)].map(([, choice]) => choice);
  if (choices.length > 0) return choices.find((choice) => choice !== byDefault);
  if (typeof byDefault === 'number') return byDefault + 1;
  if (typeof byDefault === 'string')
    return byDefault === '' ? 'other' : byDefault.replace(/^\w/, '9');
  if (Array.isArray(byDefault)) return ['other'];
  return { 'example.com/other': 'yes' };
}

function toBeside(place: string): object {
  const [part = '', second = ''] = place.split('.');
  if (second === 'autoscaling' && !place.endsWith('.enabled')) return scaled(part);
  if (part === 'monitoring' && !place.endsWith('.enabled')) return monitored(second);
  return {};
}

const toObject = (place: string, value: unknown): object =>
  place.split('.').reduceRight<unknown>((below, step) => ({ [step]: below }), value) as object;

function merge(first: object, second: object): object {
  const merged: Record<string, unknown> = { ...first };
  for (const [key, value] of Object.entries(second)) {
    const before = merged[key];
    const areObjects = [before, value].every(
      (one) => typeof one === 'object' && one !== null && !Array.isArray(one),
    );
    merged[key] = areObjects ? merge(before as object, value as object) : value;
  }
  return merged;
}

/** With the values that are refused in the message, instead of their number. */
function render(sets: readonly object[]): readonly string[] {
  try {
    return renderBatch(sets);
  } catch (error) {
    const words = (error as Error).message;
    throw new Error(words.replace(/\bv(\d+)-/g, (_, index) => JSON.stringify(sets[Number(index)])));
  }
}

describe('every value of the chart', function () {
  this.timeout(120_000);
  // The CRD is the largest object and follows from one value, which its own tests set.
  const small = { crds: { install: false } };
  const values = listChartValues().filter(({ place }) => place !== 'crds.install');
  const cases = values.map(({ place, default: byDefault, allowed }) => {
    const {
      to = toFlip(place, byDefault, allowed),
      beside = toBeside(place),
      also = {},
    } = FLIPS[place] ?? {};
    return {
      place,
      before: merge(small, beside),
      after: merge(merge(small, beside), merge(also, toObject(place, to))),
    };
  });
  const befores = [
    ...new Map(cases.map(({ before }) => [JSON.stringify(before), before])).entries(),
  ];
  let rendered: ReadonlyMap<string, string>;

  before(() => {
    const sets = [...befores.map(([, set]) => set), ...cases.map(({ after }) => after)];
    const texts = render(sets);
    rendered = new Map(sets.map((set, index) => [JSON.stringify(set), texts[index] ?? '']));
  });

  for (const { place, before: without, after } of cases) {
    it(`does something: ${place}`, () => {
      const [first, second] = [without, after].map((set) => rendered.get(JSON.stringify(set)));
      expect(first).to.be.a('string').and.not.equal('');
      if (place in SILENT) expect(second).to.equal(first);
      else expect(second).to.not.equal(first);
    });
  }

  it('has its place in the lists of this file, or is found by its kind', () => {
    const places = values.map(({ place }) => place);
    const strays = [...Object.keys(FLIPS), ...Object.keys(SILENT)];
    expect(strays.filter((place) => !places.includes(place))).to.deep.equal([]);
  });

  it('is named once and explained in the README', () => {
    const page = readFileSync(path.join(CHART, 'README.md'), 'utf8');
    const rows = [...page.matchAll(/^\| `([\w.]+)` \|/gm)].map(([, place]) => place);
    expect(rows).to.deep.equal(listChartValues().map(({ place }) => place));
  });
});
