// The last value that a role may have and the first that it may not, for every limit of the schema.
import { expect } from 'chai';
import { findClaimProblem } from '../../../broker/roles/claim-names.ts';
import { findSeconds } from '../../../broker/roles/duration.ts';
import { isMountName, type RoleLimits } from '../../../broker/roles/schema.ts';
import { parseRole, problemsOf, toDocument } from '../../support/roles.ts';

const many = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));
const token = (spec: object) => toDocument({ token: spec });
const subject = (rule: object) => toDocument({ subjects: [rule] });
const selector = (matchLabels: object) =>
  subject({ namespaceSelector: { matchLabels }, serviceAccount: 'x' });
const oidc = (claims: object) => subject({ issuer: 'github', subject: 's', claims });
/** Claims that are this many bytes as JSON. */
const bytes = (count: number) => ({ text: 'x'.repeat(count - '{"text":""}'.length) });

const rows: readonly {
  title: string;
  good: object;
  bad: object;
  problem: RegExp;
  limits?: RoleLimits;
}[] = [
  {
    title: 'ttl of 10 seconds',
    good: token({ ttl: '10s' }),
    bad: token({ ttl: '9s' }),
    problem: /spec\.token\.ttl.* at least 10s/,
  },
  {
    title: 'ttl as long as maxTtl',
    good: token({ ttl: '20m', maxTtl: '20m' }),
    bad: token({ ttl: '20m1s', maxTtl: '20m' }),
    problem: /spec\.token\.ttl.*not be longer than maxTtl/,
  },
  {
    title: 'ttl as long as the broker’s ceiling',
    good: token({ ttl: '2h' }),
    bad: token({ ttl: 7201 }),
    problem: /spec\.token\.ttl.*7200 s, the broker's ceiling/,
    limits: { maxTtlSeconds: 7200 },
  },
  {
    title: 'maxTtl as long as the broker’s ceiling',
    good: token({ maxTtl: '2h' }),
    bad: token({ maxTtl: '2h1s' }),
    problem: /spec\.token\.maxTtl.*7200 s, the broker's ceiling/,
    limits: { maxTtlSeconds: 7200 },
  },
  {
    title: '4096 bytes of claims',
    good: token({ claims: bytes(4096) }),
    bad: token({ claims: bytes(4097) }),
    problem: /spec\.token\.claims.*4096 bytes/,
  },
  {
    title: '100 scopes',
    good: token({ scopes: Object.keys(many(100)) }),
    bad: token({ scopes: Object.keys(many(101)) }),
    problem: /spec\.token\.scopes/,
  },
  {
    title: 'labels of a selector',
    good: selector(many(64)),
    bad: selector(many(65)),
    problem: /matchLabels.*at most 64 labels/,
  },
  {
    title: 'claims of a rule',
    good: oidc(many(32)),
    bad: oidc(many(33)),
    problem: /claims.*at most 32 claims/,
  },
];

describe('limits of a role', () => {
  for (const { title, good, bad, problem, limits } of rows) {
    it(`take ${title} and no more`, () => {
      expect(problemsOf(good, limits)).to.deep.equal([]);
      const problems = problemsOf(bad, limits);
      expect(problems).to.have.length(1);
      expect(problems[0]).to.match(problem);
    });
  }

  for (const claims of [null, 'x', 5, ['x']]) {
    it(`take no claims that are ${JSON.stringify(claims)}`, () => {
      expect(problemsOf(token({ claims }))).to.have.length(1);
    });
  }

  it('name a claim that is too long by its beginning', () => {
    const [problem] = problemsOf(token({ claims: { ['x'.repeat(300)]: 1 } }));
    expect(problem).to.include('x'.repeat(128));
    expect(problem).to.not.include('x'.repeat(129));
  });

  it('give a role its condition where one is written, and no member otherwise', () => {
    const text = "namespace == 'shop'";
    expect(parseRole(toDocument({ condition: text })).condition?.text).to.equal(text);
    expect(parseRole(toDocument())).to.not.have.property('condition');
  });

  it('take mount names in lower case alone, and where they are allowed', () => {
    expect(isMountName('kubernetes/shop')).to.equal(true);
    expect(isMountName('kubernetes/Shop')).to.equal(false);
    expect(isMountName('kubernetes')).to.equal(false);
    const named = toDocument({}, { metadata: { name: 'kubernetes/shop' } });
    expect(problemsOf(named, { allowMountNames: true })).to.deep.equal([]);
    expect(problemsOf(named)).to.have.length(1);
  });

  it('let no role set a claim that begins like Kubernetes’ own, whoever allows it', () => {
    for (const name of ['kubernetes.io', 'kubernetes.io/x', 'Kubernetes.IO/pod'])
      expect(findClaimProblem(name, [name])).to.match(/no role may set it/);
    expect(findClaimProblem('my.kubernetes.io')).to.equal(undefined);
  });

  const durations: readonly (readonly [unknown, number | undefined])[] = [
    ['12h', 43_200],
    ['99999h', 359_996_400],
    ['100000h', undefined],
    ['1h30m', 5400],
    ['90', 90],
    [90, 90],
    [0, undefined],
    ['0s', undefined],
    ['', undefined],
    ['h', undefined],
    [undefined, undefined],
    [['90'], undefined],
    [true, undefined],
  ];
  for (const [value, seconds] of durations) {
    it(`read ${JSON.stringify(value)} as ${seconds ?? 'no duration'}`, () => {
      expect(findSeconds(value)).to.equal(seconds);
    });
  }
});
