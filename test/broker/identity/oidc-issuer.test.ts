// Entries of kind `oidc` in the table of those the broker believes: what is read, what is refused.
import { expect } from 'chai';
import { isAllowedAddress } from '../../../broker/identity/address.ts';
import { ClustersError, parseClusters } from '../../../broker/identity/clusters.ts';

const FILE = '/etc/coatcheck/clusters.yaml';
const CLUSTER = '{ name: here, kind: kubernetes, issuer: "https://here.test" }';
const parse = (...entries: readonly string[]) =>
  parseClusters(`clusters: [${entries.join(', ')}]`, { file: FILE });
const oidc = (more = '', issuer = 'https://ci.test') =>
  `{ name: github, kind: oidc, issuer: "${issuer}"${more && `, ${more}`} }`;

function problemsOf(...entries: readonly string[]): readonly string[] {
  try {
    parse(...entries);
  } catch (error) {
    if (error instanceof ClustersError) return error.problems;
    throw error;
  }
  throw new Error('not refused');
}

describe('an OIDC issuer of the table', () => {
  it('takes its keys from discovery below the issuer, unless written otherwise', () => {
    const [, issuer] = parse(CLUSTER, oidc());
    expect(issuer).to.deep.equal({
      name: 'github',
      kind: 'oidc',
      own: false,
      issuers: ['https://ci.test'],
      validation: 'offline',
      keys: { from: 'discovery', url: 'https://ci.test' },
      algorithms: ['RS256', 'ES256'],
      maxTokenAgeSeconds: 86_400,
      refreshSeconds: 300,
      maxStalenessSeconds: 86_400,
      cooldownSeconds: 10,
    });
  });

  const keys: readonly { written: string; expected: object }[] = [
    {
      written: 'keys: { discovery: { jwksHosts: [keys.ci.test], caFile: ca.crt } }',
      expected: {
        from: 'discovery',
        url: 'https://ci.test',
        jwksHosts: ['keys.ci.test'],
        caFile: '/etc/coatcheck/ca.crt',
      },
    },
    {
      written: 'keys: { url: "https://keys.test/k", caFile: ca.crt }',
      expected: { from: 'url', url: 'https://keys.test/k', caFile: '/etc/coatcheck/ca.crt' },
    },
    {
      written: 'keys: { file: ci.json }',
      expected: { from: 'file', file: '/etc/coatcheck/ci.json' },
    },
  ];
  for (const { written, expected } of keys) {
    it(`takes ${written}`, () =>
      expect(parse(CLUSTER, oidc(written))[1]?.keys).to.deep.equal(expected));
  }

  it('leaves the only cluster the own one', () => {
    expect(parse(oidc(), CLUSTER).map(({ name, own }) => [name, own])).to.deep.equal([
      ['github', false],
      ['here', true],
    ]);
  });

  it('may be alone: a broker outside Kubernetes', () => {
    expect(parse(oidc()).map(({ own }) => own)).to.deep.equal([false]);
  });

  const refused: readonly {
    title: string;
    entries: readonly string[];
    problem: string | RegExp;
  }[] = [
    {
      title: 'the name of a cluster',
      entries: [CLUSTER, oidc().replace('github', 'here')],
      problem: 'clusters[1].name: is the name of clusters[0] already',
    },
    {
      title: 'the issuer of a cluster',
      entries: [CLUSTER, oidc('', 'https://here.test')],
      problem:
        'clusters[1].issuer: is an issuer of clusters[0] too; only Kubernetes clusters share one',
    },
    {
      title: 'being the own cluster',
      entries: [CLUSTER, oidc('own: true')],
      problem: 'clusters[1]: unknown field own',
    },
    {
      title: 'asking for reviews',
      entries: [CLUSTER, oidc('validation: hybrid')],
      problem: /^clusters\[1\]: unknown field validation/,
    },
    {
      title: 'the keys of an API server',
      entries: [CLUSTER, oidc('keys: { apiServer: {} }')],
      problem: /^clusters\[1\]\.keys: (unknown field apiServer|must have exactly one of)/,
    },
    {
      title: 'several issuers',
      entries: [CLUSTER, oidc('issuers: [a]')],
      problem: /^clusters\[1\]: unknown field issuers/,
    },
    {
      title: 'an issuer that is no address, without another one for its keys',
      entries: [CLUSTER, oidc('', 'accounts.ci.test')],
      problem: /^clusters\[1\]\.keys: is required/,
    },
    {
      title: 'an issuer over http',
      entries: [CLUSTER, oidc('', 'http://ci.test')],
      problem: /^clusters\[1\]\.keys: is required/,
    },
    {
      title: 'a symmetric algorithm',
      entries: [CLUSTER, oidc('algorithms: [HS256]')],
      problem: /^clusters\[1\]\.algorithms\[0\]: must be one of RS256/,
    },
    {
      title: 'a host of keys that is a URL',
      entries: [CLUSTER, oidc('keys: { discovery: { jwksHosts: ["https://k.test"] } }')],
      problem: /^clusters\[1\]\.keys\.discovery\.jwksHosts\[0\]: must be a host name/,
    },
    {
      title: 'tokens of any age',
      entries: [CLUSTER, oidc('maxTokenAgeSeconds: 0')],
      problem: 'clusters[1].maxTokenAgeSeconds: must be at least 60',
    },
  ];
  for (const { title, entries, problem } of refused) {
    it(`cannot have ${title}`, () => {
      const [first] = problemsOf(...entries);
      if (typeof problem === 'string') expect(first).to.equal(problem);
      else expect(first).to.match(problem);
    });
  }

  it('takes an issuer that is no address where its keys have one', () => {
    const [, issuer] = parse(CLUSTER, oidc('keys: { file: k.json }', 'accounts.ci.test'));
    expect(issuer?.issuers).to.deep.equal(['accounts.ci.test']);
  });
});

describe('the address of keys that a discovery document names', () => {
  const base = 'https://ci.test/tenant';
  const rows: readonly (readonly [
    address: string,
    hosts: readonly string[],
    isAllowed: boolean,
  ])[] = [
    ['https://ci.test/keys', [], true],
    ['https://ci.test:443/keys', [], true],
    ['https://ci.test:8443/keys', [], false],
    ['https://keys.ci.test/keys', [], false],
    ['https://keys.ci.test/keys', ['keys.ci.test'], true],
    ['https://keys.ci.test.evil.test/keys', ['keys.ci.test'], false],
    ['https://keys.ci.test:1/keys', ['keys.ci.test'], false],
    ['https://keys.ci.test:1/keys', ['keys.ci.test:1'], true],
    ['https://ci.test@evil.test/keys', [], false],
    ['https://evil.test/https://ci.test', [], false],
    ['http://ci.test/keys', [], false],
    ['http://127.0.0.1/keys', ['127.0.0.1'], false],
    ['file:///etc/passwd', [], false],
    ['keys', [], false],
  ];
  for (const [address, hosts, isAllowed] of rows) {
    it(`${isAllowed ? 'may' : 'may not'} be ${address} with [${hosts.join()}]`, () => {
      expect(isAllowedAddress(address, { base, hosts })).to.equal(isAllowed);
    });
  }
  it('may be http only where the document came over http, on loopback', () => {
    const local = { base: 'http://127.0.0.1:1', hosts: [] };
    expect(isAllowedAddress('http://127.0.0.1:1/keys', local)).to.equal(true);
    expect(isAllowedAddress('http://127.0.0.1:2/keys', local)).to.equal(false);
  });
});
