// The clusters table: what an operator may write, how it is read, and everything that is refused, at once.
import { expect } from 'chai';
import { isKeyUrl } from '../../../broker/identity/address.ts';
import { ClustersError, parseClusters } from '../../../broker/identity/clusters.ts';

const FILE = '/etc/coatcheck/clusters.yaml';
const parse = (text: string) => parseClusters(text, { file: FILE });
function problemsOf(text: string): readonly string[] {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ClustersError) return error.problems;
    throw error;
  }
  return [];
}
const own = 'name: here, kind: kubernetes, issuer: "https://here.test"';
const one = (more: string) => `clusters: [{ ${own}, ${more} }]`;
const two = (more: string) =>
  `clusters: [{ ${own}, own: true }, { name: there, kind: kubernetes, issuer: "https://there.test", ${more} }]`;

describe('the clusters table', () => {
  it('reads the shortest entry as the own cluster, asked through its API server', () => {
    expect(parse(`clusters: [{ ${own} }]`)).to.deep.equal([
      {
        name: 'here',
        kind: 'kubernetes',
        own: true,
        issuers: ['https://here.test'],
        validation: 'offline',
        keys: {
          from: 'apiServer',
          url: 'https://kubernetes.default.svc',
          caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
          tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
        },
        algorithms: ['RS256', 'ES256', 'ES384', 'ES512'],
        refreshSeconds: 300,
        maxStalenessSeconds: 86_400,
        cooldownSeconds: 10,
      },
    ]);
  });
  const keys: readonly { title: string; text: string; expected: object }[] = [
    {
      title: 'a URL',
      text: one('keys: { url: "https://here.test/keys", caFile: ca.crt }'),
      expected: { from: 'url', url: 'https://here.test/keys', caFile: '/etc/coatcheck/ca.crt' },
    },
    {
      title: 'discovery of the issuer',
      text: one('keys: { discovery: {} }'),
      expected: { from: 'discovery', url: 'https://here.test' },
    },
    {
      title: 'discovery elsewhere, with the keys’ address replaced',
      text: one(
        'keys: { discovery: { url: "https://mirror.test", jwksUri: "https://mirror.test/k" } }',
      ),
      expected: { from: 'discovery', url: 'https://mirror.test', jwksUri: 'https://mirror.test/k' },
    },
    {
      title: 'a file beside the table',
      text: one('keys: { file: here.json }'),
      expected: { from: 'file', file: '/etc/coatcheck/here.json' },
    },
    {
      title: 'another API server',
      text: one('keys: { apiServer: { url: "https://10.0.0.1:6443" } }'),
      expected: {
        from: 'apiServer',
        url: 'https://10.0.0.1:6443',
        caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
        tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
      },
    },
  ];
  for (const { title, text, expected } of keys) {
    it(`reads keys from ${title}`, () => expect(parse(text)[0]?.keys).to.deep.equal(expected));
  }
  describe('reviews', () => {
    const inCluster = {
      url: 'https://kubernetes.default.svc',
      caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
      tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
    };
    const usual = {
      onUnavailable: 'deny',
      maxConcurrent: 32,
      queueSeconds: 7,
      positiveCacheSeconds: 30,
    };
    it('are asked for where nothing else is said: never', () => {
      expect(parse(one('validation: offline'))[0]).to.not.have.property('review');
    });
    it('go to the own API server by the credential of the pod, keys beside them', () => {
      const [cluster] = parse(one('validation: hybrid'));
      expect(cluster).to.deep.include({
        validation: 'hybrid',
        review: { ...inCluster, ...usual },
        keys: { from: 'apiServer', ...inCluster },
      });
    });
    it('need no keys with `review`, and may have some', () => {
      expect(parse(one('validation: review'))[0]).to.not.have.property('keys');
      const [cluster] = parse(one('validation: review, keys: { file: here.json }'));
      expect(cluster?.keys).to.deep.equal({ from: 'file', file: '/etc/coatcheck/here.json' });
    });
    it('go where the keys are asked, unless written otherwise', () => {
      const [, cluster] = parse(
        two(
          'validation: hybrid, keys: { apiServer: { url: "https://t.test", caFile: ca, tokenFile: t } }, review: { tokenFile: reviewer }',
        ),
      );
      expect(cluster?.review).to.deep.equal({
        ...usual,
        url: 'https://t.test',
        caFile: '/etc/coatcheck/ca',
        tokenFile: '/etc/coatcheck/reviewer',
      });
    });
    it('have their bounds', () => {
      const [cluster] = parse(
        one(
          'validation: hybrid, onReviewUnavailable: recent, maxConcurrentReviews: 8, reviewQueueSeconds: 0, positiveCacheSeconds: 60',
        ),
      );
      expect(cluster?.review).to.deep.include({
        onUnavailable: 'recent',
        maxConcurrent: 8,
        queueSeconds: 0,
        positiveCacheSeconds: 60,
      });
    });
    it('with keys may be in two clusters of the same issuer', () => {
      const text = two(
        'validation: review, keys: { file: x }, review: { url: "https://t.test", caFile: c, tokenFile: t }',
      )
        .replace('https://there.test', 'https://here.test')
        .replace(', own: true', ', own: true, validation: hybrid');
      expect(parse(text).map(({ validation }) => validation)).to.deep.equal(['hybrid', 'review']);
    });
  });
  it('takes several issuers, and the same issuer in two clusters', () => {
    const text =
      'clusters: [{ name: a, own: true, kind: kubernetes, issuers: [i, j] }, { name: b, kind: kubernetes, issuer: i, keys: { file: b.json } }]';
    expect(
      parse(text).map(({ name, own: isOwn, issuers }) => ({ name, isOwn, issuers })),
    ).to.deep.equal([
      { name: 'a', isOwn: true, issuers: ['i', 'j'] },
      { name: 'b', isOwn: false, issuers: ['i'] },
    ]);
  });

  const refused: readonly { title: string; text: string; problem: string | RegExp }[] = [
    { title: 'an empty file', text: '', problem: /must hold one document/ },
    {
      title: 'two documents',
      text: 'clusters: []\n---\nclusters: []',
      problem: /must hold one document/,
    },
    { title: 'text that is not YAML', text: 'clusters: [', problem: /^not valid YAML at line 1/ },
    { title: 'no clusters', text: 'clusters: []', problem: 'clusters: must be at least 1 items' },
    {
      title: 'a misspelt field',
      text: one('validatoin: offline'),
      problem: 'clusters[0]: unknown field validatoin; did you mean validation?',
    },
    {
      title: 'another kind',
      text: one('kind2: x').replace('kind: kubernetes', 'kind: saml').replace(', kind2: x', ''),
      problem: 'clusters[0].kind: must be one of kubernetes, oidc',
    },
    {
      title: 'a validation that does not exist',
      text: one('validation: online'),
      problem: 'clusters[0].validation: must be one of offline, review, hybrid',
    },
    ...[
      'review: { url: "https://here.test" }',
      'onReviewUnavailable: deny',
      'maxConcurrentReviews: 8',
      'reviewQueueSeconds: 1',
      'positiveCacheSeconds: 10',
    ].map((field) => ({
      title: `${field.split(':')[0]} of a cluster that asks for no reviews`,
      text: one(field),
      problem: `clusters[0].${field.split(':')[0]}: goes with validation review or hybrid only`,
    })),
    {
      title: 'recent reviews where nothing is checked but by review',
      text: one('validation: review, onReviewUnavailable: recent'),
      problem: 'clusters[0].onReviewUnavailable: recent goes with validation hybrid only',
    },
    {
      title: 'a cache of more than a minute',
      text: one('validation: hybrid, positiveCacheSeconds: 61'),
      problem: 'clusters[0].positiveCacheSeconds: must be at most 60',
    },
    {
      title: 'no review at a time',
      text: one('validation: hybrid, maxConcurrentReviews: 0'),
      problem: 'clusters[0].maxConcurrentReviews: must be at least 1',
    },
    {
      title: 'reviews over http',
      text: one('validation: hybrid, review: { url: "http://10.0.0.1" }'),
      problem: /^clusters\[0\]\.review\.url: must be an https URL/,
    },
    {
      title: 'reviews of another cluster with our own credential',
      text: two(
        'validation: hybrid, keys: { file: x }, review: { url: "https://there.test", caFile: ca }',
      ),
      problem: 'clusters[1].review.tokenFile: is required for a cluster that is not the own one',
    },
    {
      title: 'hybrid without keys for another cluster',
      text: two('validation: hybrid, review: { url: "https://t.test", caFile: c, tokenFile: t }'),
      problem: 'clusters[1].keys: is required for a cluster that is not the own one',
    },
    {
      title: 'review without keys beside a cluster of the same issuer',
      text: two('keys: { file: x }, issuers: ["https://moved.test", "https://here.test"]')
        .replace('issuer: "https://there.test", ', '')
        .replace(', own: true', ', own: true, validation: review'),
      problem:
        'clusters[0]: has an issuer of another cluster, so it needs keys to tell whose a token is',
    },
    {
      title: 'a symmetric algorithm',
      text: one('algorithms: [HS256]'),
      problem: /^clusters\[0\]\.algorithms\[0\]: must be one of RS256/,
    },
    {
      title: 'the algorithm none',
      text: one('algorithms: [none]'),
      problem: /^clusters\[0\]\.algorithms\[0\]: must be one of RS256/,
    },
    {
      title: 'no algorithm',
      text: one('algorithms: []'),
      problem: 'clusters[0].algorithms: must be at least 1 items',
    },
    {
      title: 'a name with a colon',
      text: one('a: 1').replace('name: here', 'name: "a:b"').replace(', a: 1', ''),
      problem: /^clusters\[0\]\.name: must be a DNS label/,
    },
    {
      title: 'issuer and issuers',
      text: one('issuers: [x]'),
      problem: 'clusters[0]: must have either issuer or issuers',
    },
    {
      title: 'keys over http',
      text: one('keys: { url: "http://here.test/keys" }'),
      problem: /^clusters\[0\]\.keys\.url: must be an https URL/,
    },
    {
      title: 'keys with a password in the URL',
      text: one('keys: { url: "https://u:secret-word@here.test/keys" }'),
      problem: /^clusters\[0\]\.keys\.url: must be an https URL/,
    },
    {
      title: 'keys from two places',
      text: one('keys: { url: "https://a.test", file: a }'),
      problem: /^clusters\[0\]\.keys: must have exactly one of/,
    },
    {
      title: 'keys from nowhere',
      text: one('keys: {}'),
      problem: /^clusters\[0\]\.keys: must have exactly one of/,
    },
    {
      title: 'a staleness of nothing',
      text: one('maxStalenessSeconds: 0'),
      problem: 'clusters[0].maxStalenessSeconds: must be at least 1',
    },
    {
      title: 'a cooldown with a fraction',
      text: one('cooldownSeconds: 1.5'),
      problem: 'clusters[0].cooldownSeconds: must be a whole number',
    },
    {
      title: 'two clusters of one name',
      text: two('keys: { file: x }').replace('name: there', 'name: here'),
      problem: 'clusters[1].name: is the name of clusters[0] already',
    },
    {
      title: 'two own clusters',
      text: two('keys: { file: x }, own: true'),
      problem: /^clusters: exactly one must be marked own/,
    },
    {
      title: 'no own cluster of two',
      text: two('keys: { file: x }').replace(', own: true', ', keys: { file: y }'),
      problem: /^clusters: exactly one must be marked own/,
    },
    {
      title: 'another cluster without keys',
      text: two('algorithms: [RS256]'),
      problem: 'clusters[1].keys: is required for a cluster that is not the own one',
    },
    {
      title: 'another cluster’s API server with our own credential',
      text: two('keys: { apiServer: { url: "https://there.test", caFile: ca } }'),
      problem:
        'clusters[1].keys.apiServer.tokenFile: is required for a cluster that is not the own one',
    },
    {
      title: 'discovery of an issuer that is no URL',
      text: one('keys: { discovery: {} }').replace(
        'https://here.test',
        'kubernetes/serviceaccount',
      ),
      problem: /^clusters\[0\]\.keys\.discovery\.url: is required/,
    },
  ];
  for (const { title, text, problem } of refused) {
    it(`refuses ${title}`, () => {
      const problems = problemsOf(text);
      expect(problems).to.have.length(1);
      if (typeof problem === 'string') expect(problems[0]).to.equal(problem);
      else expect(problems[0]).to.match(problem);
    });
  }
  it('tells all problems in one message, which names the file and quotes no value', () => {
    const text = one(
      'keys: { url: "https://u:secret-word@here.test" }, algorithms: [secret-word], own: secret-word',
    );
    expect(() => parse(text))
      .to.throw(ClustersError, /3 problems with the clusters file \/etc\/coatcheck\/clusters.yaml/)
      .with.property('message')
      .that.does.not.contain('secret-word');
  });
});

describe('an address of keys', () => {
  for (const url of [
    'https://a.test',
    'https://a.test:6443/x',
    'http://127.0.0.1:80/x',
    'http://localhost:1',
    'http://[::1]:1',
  ]) {
    it(`may be ${url}`, () => expect(isKeyUrl(url)).to.equal(true));
  }
  for (const url of [
    'http://a.test',
    'http://127.0.0.1.evil.test',
    'http://localhost.evil.test',
    'https://u@a.test',
    'https://a.test/?x=1',
    'https://a.test/#x',
    'file:///etc/passwd',
    'https:\\\\a.test',
    'https:/a.test',
    ' https://a.test',
    'https://a.test?',
    'https://a.test\t',
    'ftp://a.test',
    'a.test',
    '',
  ]) {
    it(`may not be ${url || 'empty'}`, () => expect(isKeyUrl(url)).to.equal(false));
  }
});
