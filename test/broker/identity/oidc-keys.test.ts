// One way to keys per entry, and never an address without TLS that leaves the machine.
import { expect } from 'chai';
import { isAllowedAddress, isKeyUrl } from '../../../broker/identity/address.ts';
import { ClustersError, parseClusters } from '../../../broker/identity/clusters.ts';

const CLUSTER = '{ name: here, kind: kubernetes, issuer: "https://here.test" }';

function problemsOf(...entries: readonly string[]): readonly string[] {
  try {
    parseClusters(`clusters: [${entries.join(', ')}]`, { file: '/c.yaml' });
    return [];
  } catch (error) {
    if (error instanceof ClustersError) return error.problems;
    throw error;
  }
}

describe('the keys of an OIDC entry', () => {
  const WAYS = 'clusters[1].keys: must have exactly one of discovery, url, file';
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ['discovery', '{ discovery: {} }', []],
    ['url', '{ url: "https://k.test/k" }', []],
    ['file', '{ file: k.json }', []],
    ['url with its CA', '{ url: "https://k.test/k", caFile: ca.crt }', []],
    ['no way', '{}', [WAYS]],
    ['two ways', '{ url: "https://k.test/k", file: k.json }', [WAYS]],
    ['three ways', '{ discovery: {}, url: "https://k.test/k", file: k.json }', [WAYS]],
    [
      'a CA for a file',
      '{ file: k.json, caFile: ca.crt }',
      ['clusters[1].keys.caFile: goes with url only'],
    ],
    [
      'a CA beside discovery',
      '{ discovery: {}, caFile: ca.crt }',
      ['clusters[1].keys.caFile: goes with url only'],
    ],
  ];
  for (const [title, keys, expected] of rows) {
    it(`${expected.length === 0 ? 'may' : 'may not'} be ${title}`, () => {
      const entry = `{ name: ci, kind: oidc, issuer: "https://ci.test", keys: ${keys} }`;
      expect(problemsOf(CLUSTER, entry)).to.deep.equal(expected);
    });
  }

  it('must be written where the issuer is no address that may be asked', () => {
    const of = (keys: string) => `{ name: ci, kind: oidc, issuer: "ci"${keys} }`;
    const problem = /^clusters\[1\]\.keys: is required with another address than the issuer's/;
    expect(problemsOf(CLUSTER, of(''))[0]).to.match(problem);
    expect(problemsOf(CLUSTER, of(', keys: { discovery: {} }'))[0]).to.match(problem);
    expect(
      problemsOf(CLUSTER, of(', keys: { discovery: { url: "https://ci.test" } }')),
    ).to.deep.equal([]);
    expect(problemsOf(CLUSTER, of(', keys: { file: k.json }'))).to.deep.equal([]);
  });
});

describe('the own cluster', () => {
  const cluster = (name: string, own?: boolean) =>
    `{ name: ${name}, kind: kubernetes, issuer: "https://${name}.test", keys: { file: k.json }${own === undefined ? '' : `, own: ${own}`} }`;
  const rows: readonly (readonly [string, readonly string[], RegExp | undefined])[] = [
    ['is the only one', [cluster('a')], undefined],
    ['is the only one, and says so', [cluster('a', true)], undefined],
    [
      'cannot be the only one and deny it',
      [cluster('a', false)],
      /^clusters\[0\]\.own: the only cluster/,
    ],
    ['is one of two', [cluster('a'), cluster('b', true)], undefined],
    [
      'is one of two, where the other says that it is not',
      [cluster('a', false), cluster('b', true)],
      undefined,
    ],
    ['cannot be missing', [cluster('a'), cluster('b')], /^clusters: exactly one must be marked/],
    [
      'cannot be denied by both',
      [cluster('a', false), cluster('b', false)],
      /^clusters: exactly one/,
    ],
    [
      'cannot be two',
      [cluster('a', true), cluster('b', true)],
      /^clusters: exactly one must be marked/,
    ],
  ];
  for (const [title, entries, problem] of rows) {
    it(title, () => {
      const problems = problemsOf(...entries);
      expect(problems).to.have.length(problem ? 1 : 0);
      if (problem) expect(problems[0]).to.match(problem);
    });
  }
});

describe('an address for keys', () => {
  const rows: readonly (readonly [string, boolean])[] = [
    ['https://keys.test', true],
    ['http://localhost', true],
    ['http://127.0.0.1:8080/k', true],
    ['http://127.255.20.133/k', true],
    ['http://[::1]/k', true],
    ['http://keys.test', false],
    ['http://128.0.0.1', false],
    ['http://localhost.test', false],
    ['ftp://localhost/k', false],
    ['file:///k', false],
    ['k', false],
  ];
  for (const [address, expected] of rows) {
    it(`${expected ? 'may' : 'may not'} be ${address}`, () => {
      expect(isKeyUrl(address)).to.equal(expected);
    });
  }

  it('of a document that came over TLS is never without', () => {
    const to = { base: 'https://localhost:1', hosts: ['localhost:2'] };
    expect(isAllowedAddress('https://localhost:2/k', to)).to.equal(true);
    expect(isAllowedAddress('http://localhost:2/k', to)).to.equal(false);
  });
});
