// values.schema.json: bad values are refused with a message that names the place; each has a neighbour that is taken.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { CHART, lintChart, templateChart } from './helm.ts';
import { createCa, ROLE, toUnusualValues, toUsualValues } from './values.ts';

interface Bad {
  name: string;
  values: object;
  /** Words of helm's message. */
  says: string;
  /** The near miss that is fine. */
  fine: object;
}

const BAD: readonly Bad[] = [
  {
    name: 'a value that does not exist',
    values: { replicas: 3 },
    says: "'replicas' not allowed",
    fine: { webhook: { replicas: 3 } },
  },
  {
    name: 'a misspelt value further down',
    values: { webhook: { replica: 3 } },
    says: "'replica' not allowed",
    fine: { broker: { replicas: 3, store: { type: 'none' } } },
  },
  {
    name: 'a prefix without slash',
    values: { prefix: 'auth.example.io' },
    says: '/prefix',
    fine: { prefix: 'auth.example.org/' },
  },
  {
    name: 'a prefix that would end the quoted text in the expression',
    values: { prefix: "a'/" },
    says: '/prefix',
    fine: { prefix: 'a/' },
  },
  {
    name: 'a token life that the kubelet would not ask for',
    values: { exchange: { tokenExpirationSeconds: 599 } },
    says: '/exchange/tokenExpirationSeconds',
    fine: { exchange: { tokenExpirationSeconds: 600 } },
  },
  {
    name: 'a mode that does not exist',
    values: { exchange: { defaultMode: 'once' } },
    says: '/exchange/defaultMode',
    fine: { exchange: { defaultMode: 'init' } },
  },
  {
    name: 'a name as the fallback address',
    values: { exchange: { brokerFallbackAddress: 'broker.auth.svc' } },
    says: '/exchange/brokerFallbackAddress',
    fine: { exchange: { brokerFallbackAddress: '10.96.0.7:8443' } },
  },
  {
    name: 'an issuer with a path',
    values: { broker: { issuer: 'https://tokens.example.org/x' } },
    says: '/broker/issuer',
    fine: { broker: { issuer: 'https://tokens.example.org' } },
  },
  {
    name: 'an issuer without TLS',
    values: { broker: { issuer: 'http://tokens.example.org' } },
    says: '/broker/issuer',
    fine: { broker: { issuer: 'https://tokens.example.org:8443' } },
  },
  {
    name: 'a caBundle in base64',
    values: { caBundle: 'LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0t' },
    says: '/caBundle',
    fine: { certificates: { mode: 'provided' }, caBundle: createCa() },
  },
  {
    name: 'a digest that is none',
    values: { image: { digest: 'sha256:abc' } },
    says: '/image/digest',
    fine: { image: { digest: `sha256:${'0'.repeat(64)}` } },
  },
  {
    name: 'no issuer of the cluster',
    values: { cluster: { issuers: [] } },
    says: '/cluster/issuers',
    fine: { cluster: { issuers: ['https://oidc.example.org'] } },
  },
  {
    name: 'a kind of validation that the broker does not have',
    values: { cluster: { validation: 'none' } },
    says: '/cluster/validation',
    fine: { cluster: { validation: 'offline' } },
  },
  {
    name: 'an answer to an API server that is away that the broker does not have',
    values: { cluster: { onReviewUnavailable: 'allow' } },
    says: '/cluster/onReviewUnavailable',
    fine: { cluster: { onReviewUnavailable: 'recent' } },
  },
  {
    name: 'a second own cluster',
    values: { clusters: [{ name: 'a', kind: 'kubernetes', keys: { file: 'a' }, own: true }] },
    says: '/clusters/0/own',
    fine: { clusters: [{ name: 'a', kind: 'kubernetes', keys: { file: 'a' } }] },
  },
  {
    name: 'two brokers on one sqlite file',
    values: { broker: { replicas: 2 } },
    says: 'the store sqlite is one file of one broker',
    fine: {
      broker: { replicas: 2, store: { type: 'postgres', postgres: { secretName: 'db' } } },
    },
  },
  {
    name: 'postgres without the Secret of its URL',
    values: { broker: { store: { type: 'postgres' } } },
    says: 'broker.store.postgres.secretName: is required',
    fine: { broker: { store: { type: 'postgres', postgres: { secretName: 'db' } } } },
  },
  {
    name: 'a store nobody knows',
    values: { broker: { store: { type: 'mysql' } } },
    says: '/broker/store/type',
    fine: { broker: { store: { type: 'none' } } },
  },
  {
    name: 'keys for sealing without a store',
    values: { broker: { store: { type: 'none' }, keyEncryption: { secretName: 'seal' } } },
    says: 'broker.keyEncryption.secretName: needs a store',
    fine: { broker: { keyEncryption: { secretName: 'seal' } } },
  },
  {
    name: 'a bootstrap token without a store',
    values: { broker: { store: { type: 'none' }, bootstrapToken: { secretName: 'first' } } },
    says: 'broker.bootstrapToken.secretName: needs a store',
    fine: { broker: { bootstrapToken: { secretName: 'first' } } },
  },
  {
    name: 'evictions where only labels say which namespaces the webhook sees',
    values: {
      webhook: { namespaceSelector: { matchLabels: { tokens: 'yes' } } },
      controller: { evictMissedPods: { enabled: true } },
    },
    says: 'name the namespaces in controller.missedPods.namespaces',
    fine: {
      webhook: { namespaceSelector: { matchLabels: { tokens: 'yes' } } },
      controller: {
        evictMissedPods: { enabled: true },
        missedPods: { namespaces: ['team-*'] },
      },
    },
  },
  {
    name: 'evictions that never come',
    values: { controller: { evictMissedPods: { perMinute: 0 } } },
    says: '/controller/evictMissedPods/perMinute',
    fine: { controller: { evictMissedPods: { perMinute: 1 } } },
  },
  {
    name: 'a pattern of namespaces with two stars',
    values: { controller: { missedPods: { namespaces: ['*-team-*'] } } },
    says: '/controller/missedPods/namespaces/0',
    fine: { controller: { missedPods: { namespaces: ['*-team'] } } },
  },
  {
    name: 'a controller without a replica',
    values: { controller: { replicas: 0 } },
    says: "'/controller/replicas': minimum: got 0, want 1",
    fine: { controller: { replicas: 1 } },
  },
  {
    name: 'a name for a certificate with an empty label',
    values: { certificates: { extraBrokerNames: ['a..b'] } },
    says: 'certificates.extraBrokerNames: "a..b" is neither a DNS name nor an address',
    fine: { certificates: { extraBrokerNames: ['a.b', '3a', '2001:db8::1'] } },
  },
  {
    name: 'part of an address as a name for a certificate',
    values: { certificates: { extraBrokerNames: ['tokens.lab', '1.2.3'] } },
    says: 'certificates.extraBrokerNames: "1.2.3" is neither a DNS name nor an address',
    fine: { certificates: { extraBrokerNames: ['tokens.lab', '1.2.3.4', '1::'] } },
  },
  {
    name: 'an IPv6 address that is none as a name for a certificate',
    values: { certificates: { extraBrokerNames: ['1::2::3'] } },
    says: 'certificates.extraBrokerNames: "1::2::3" is neither',
    fine: { certificates: { extraBrokerNames: ['1::2:3', '::', '1:2:3:4:5:6:7:8'] } },
  },
  {
    name: 'a domain of the cluster that ends in a number',
    values: { certificates: { clusterDomain: 'lab.1' } },
    says: 'certificates.clusterDomain: "lab.1" is no DNS name',
    fine: { certificates: { clusterDomain: 'lab.1a' } },
  },
  {
    name: 'an issuer whose host cannot stand in a certificate',
    values: { broker: { issuer: 'https://tokens..example:8443' } },
    says: 'broker.issuer: "tokens..example" is neither a DNS name nor an address',
    fine: { broker: { issuer: 'https://[2001:db8::1]:8443' } },
  },
  {
    name: 'a receiver of nothing',
    values: { receivers: [{ identity: 'client:ci', audiences: [] }] },
    says: '/receivers/0/audiences',
    fine: { receivers: [{ identity: 'client:ci', audiences: ['payments'] }] },
  },
  {
    name: 'a remote cluster without keys',
    values: { clusters: [{ name: 'a', kind: 'kubernetes', issuer: 'https://a.example' }] },
    says: "missing property 'keys'",
    fine: {
      clusters: [
        { name: 'a', kind: 'kubernetes', issuer: 'https://a.example', validation: 'review' },
      ],
    },
  },
  {
    name: 'a remote cluster with hybrid and no keys to check by',
    values: { clusters: [{ name: 'a', kind: 'kubernetes', validation: 'hybrid' }] },
    says: '/clusters/0',
    fine: {
      clusters: [{ name: 'a', kind: 'kubernetes', validation: 'hybrid', keys: { file: 'a' } }],
    },
  },
  {
    name: 'a role without an audience',
    values: { roles: { a: { subjects: ROLE.subjects } } },
    says: "missing property 'audience'",
    fine: { roles: { a: ROLE } },
  },
  {
    name: 'a role for nobody',
    values: { roles: { a: { audience: 'payments', subjects: [] } } },
    says: '/roles/a/subjects',
    fine: { roles: { 'a.b': ROLE } },
  },
  {
    name: 'a number as an annotation',
    values: { exchange: { podAnnotations: { a: 1 } } },
    says: '/exchange/podAnnotations/a',
    fine: { exchange: { podAnnotations: { a: '1' } } },
  },
  {
    name: 'a port that is none',
    values: { webhook: { port: 0 } },
    says: '/webhook/port',
    fine: { webhook: { port: 10_250 } },
  },
  {
    name: 'one port for two things',
    values: { webhook: { port: 9443 } },
    says: 'webhook: its ports must differ (port, operationsPort)',
    fine: { webhook: { port: 9443, operationsPort: 9444 } },
  },
  {
    name: 'the admin API on the port of the others',
    values: { broker: { adminListen: { port: 8443 } } },
    says: 'broker: its ports must differ (port, operationsPort, adminListen.port)',
    fine: { broker: { adminListen: { port: 8444 } } },
  },
  {
    name: 'an interval of scrapes without a unit',
    values: { monitoring: { serviceMonitor: { interval: '30' } } },
    says: '/monitoring/serviceMonitor/interval',
    fine: { monitoring: { serviceMonitor: { interval: '1m' } } },
  },
  {
    name: 'roles in two places',
    values: { roles: { a: ROLE }, rolesConfigMap: 'mine' },
    says: 'roles and rolesConfigMap exclude each other',
    fine: { rolesConfigMap: 'mine' },
  },
];

describe('the schema of values', () => {
  for (const { name, values, says, fine } of BAD) {
    it(`refuses ${name} and says where`, () => {
      const { code, stderr } = templateChart(values);
      expect(code).to.not.equal(0);
      expect(stderr).to.include(says);
    });

    it(`takes the neighbour of ${name}`, () => {
      const { code, stderr } = templateChart(fine);
      expect(code, stderr).to.equal(0);
    });
  }

  it('has every value of values.yaml, and values.yaml every value of it', () => {
    const read = (name: string) => parse(readFileSync(path.join(CHART, name), 'utf8')) as Schema;
    const inSchema = listSchema(read('values.schema.json')).filter((one) => one !== 'global');
    const inValues = listValues(read('values.yaml'), inSchema);
    expect(inSchema.filter((one) => !inValues.includes(one) && !isInOpenObject(one))).to.deep.equal(
      [],
    );
    expect(inValues.filter((one) => !inSchema.includes(one))).to.deep.equal([]);
  });

  it('leaves no object of ours open to misspelt members', () => {
    const schema = JSON.parse(
      readFileSync(path.join(CHART, 'values.schema.json'), 'utf8'),
    ) as Schema;
    const open = listOpenObjects(schema);
    // Shapes of Kubernetes, which its own API checks; entries of clusters and roles, which the broker checks.
    expect([...new Set(open.map((one) => one.split('.').at(-1)))].sort()).to.deep.equal([
      'affinity',
      'global',
      'podSecurityContext',
      'resources',
    ]);
  });

  for (const [name, values] of [
    ['the defaults', {}],
    ['a first installation', toUsualValues(createCa())],
    ['everything set', toUnusualValues(createCa())],
  ] as const) {
    it(`and helm lint --strict find nothing wrong with ${name}`, () => {
      const { code, stdout, stderr } = lintChart(values);
      expect(code, stdout + stderr).to.equal(0);
      expect(stdout).to.not.match(/WARNING|ERROR/);
    });
  }
});

interface Schema {
  readonly type?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: unknown;
  readonly patternProperties?: unknown;
}

function listSchema({ properties }: Schema, path: readonly string[] = []): string[] {
  return Object.entries(properties ?? {}).flatMap(([name, schema]) => {
    const below = listSchema(schema, [...path, name]);
    return below.length > 0 ? below : [[...path, name].join('.')];
  });
}

function listValues(
  value: object,
  known: readonly string[],
  path: readonly string[] = [],
): string[] {
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    const here = [...path, name].join('.');
    const isLeaf = typeof member !== 'object' || member === null || known.includes(here);
    return isLeaf ? [here] : listValues(member, known, [...path, name]);
  });
}

/** Members that values.yaml shows as `{}`. */
function isInOpenObject(place: string): boolean {
  return place.startsWith('webhook.namespaceSelector.') || place.startsWith('roles.');
}

function listOpenObjects(schema: Schema, path: readonly string[] = []): string[] {
  const isOpen =
    schema.type === 'object' &&
    schema.additionalProperties === undefined &&
    schema.patternProperties === undefined;
  return [
    ...(isOpen ? [path.join('.')] : []),
    ...Object.entries(schema.properties ?? {}).flatMap(([name, below]) =>
      listOpenObjects(below, [...path, name]),
    ),
  ];
}
