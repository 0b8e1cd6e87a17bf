// A review hands a token to an API server, so it must be the right one; and each costs that server work, so garbage must
// not cause any. Beside each refusal stands the token that is served.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { KubernetesCluster as Cluster } from '../../broker/identity/clusters.ts';
import { type FakeApiServer, startApiServer, toReviewSettings } from '../support/api-server.ts';
import { createSigningKey, encode, type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { createTestValidator, type TestValidator } from '../support/reviewing.ts';
import { noteToken } from '../support/tokens.ts';
import { OWN_ISSUER, toCluster } from '../support/verifying.ts';

const ISS = 'https://kubernetes.default.svc.cluster.local';

describe('attack: reviews', () => {
  let servers: FakeApiServer[];
  let issuers: FakeIssuer[];
  let open: TestValidator[] = [];
  before(async () => {
    issuers = await Promise.all([1, 2, 3].map(() => startIssuer({ issuer: ISS })));
  });
  beforeEach(async () => {
    servers = await Promise.all([startApiServer(), startApiServer()]);
  });
  afterEach(async () => {
    await Promise.all([...open, ...servers].map((one) => one.close()));
    open = [];
  });
  after(() => Promise.all(issuers.map((issuer) => issuer.close())));

  const issuerOf = (index: number) => issuers[index] as FakeIssuer;
  const serverOf = (index: number) => servers[index] as FakeApiServer;
  const create = (clusters: readonly Cluster[], more: { reviewTimeoutMs?: number } = {}) => {
    const validator = createTestValidator(clusters, more);
    open.push(validator);
    return validator;
  };
  const toHybrid = (index: number, more: Partial<Cluster> = {}) =>
    toCluster(issuerOf(index), {
      name: `cluster-${index}`,
      own: index === 0,
      validation: 'hybrid',
      review: toReviewSettings(serverOf(index)),
      ...more,
    });
  const toKeyless = () => {
    const { keys: _, ...cluster } = toHybrid(0, { validation: 'review' });
    return cluster;
  };
  const asked = () => servers.map(({ reviews }) => reviews.length);

  describe('clusters with the same issuer', () => {
    const createThree = () =>
      create([toHybrid(0), toHybrid(1), toCluster(issuerOf(2), { name: 'offline', own: false })]);

    it('show a token to the API server of the cluster that signed it, and to no other', async () => {
      const validator = createThree();
      expect(await validator.judge(issuerOf(0).token())).to.equal('fresh');
      expect(asked()).to.deep.equal([1, 0]);
      expect(await validator.judge(issuerOf(1).token())).to.equal('fresh');
      expect(asked()).to.deep.equal([1, 1]);
    });
    it('show a token of the one with `offline` to nobody', async () => {
      expect(await createThree().judge(issuerOf(2).token())).to.equal('offline');
      expect(asked()).to.deep.equal([0, 0]);
    });
    it('show a token that none of them signed to nobody', async () => {
      const stranger = createSigningKey('ES256', issuerOf(0).key.kid);
      const forged = issuerOf(0).token({ mint: { key: stranger } });
      expect(await createThree().judge(forged)).to.equal('token_signature');
      expect(asked()).to.deep.equal([0, 0]);
    });
    it('do not send a token on where its API server says elsewhere', async () => {
      const validator = create([toHybrid(0), toHybrid(1)]);
      const location = `${serverOf(1).url}/apis/authentication.k8s.io/v1/tokenreviews`;
      for (const status of [301, 302, 303, 307, 308]) {
        serverOf(0).answer = () => ({ status, headers: { Location: location } });
        expect(await validator.judge(issuerOf(0).token())).to.equal('kube_unavailable');
      }
      expect(serverOf(1).answered).to.deep.equal([]);
    });
    it('do not take a server for theirs that has another CA, and show it nothing', async () => {
      const review = { ...toReviewSettings(serverOf(0)), url: serverOf(1).url };
      const validator = create([toHybrid(0, { review })]);
      expect(await validator.judge(issuerOf(0).token())).to.equal('kube_unavailable');
      expect(serverOf(1).answered).to.deep.equal([]);
    });
  });

  const now = () => Math.floor(Date.now() / 1000);
  const edit = (change: (parts: readonly string[]) => readonly string[]) => ({
    mint: { edit: change },
  });
  const garbage: readonly { title: string; token: () => string; reasons: readonly string[] }[] = [
    {
      title: 'random bytes',
      token: () => noteToken(randomBytes(600).toString('base64url')),
      reasons: ['token_malformed'],
    },
    {
      title: 'three segments of random bytes',
      token: () => noteToken([1, 2, 3].map(() => randomBytes(200).toString('base64url')).join('.')),
      reasons: ['token_malformed'],
    },
    {
      title: 'four segments',
      token: () => issuerOf(0).token(edit((parts) => [...parts, 'x'])),
      reasons: ['token_malformed'],
    },
    {
      title: 'more than 16 KiB',
      token: () => issuerOf(0).token({ claims: { pad: 'x'.repeat(16_384) } }),
      reasons: ['token_malformed'],
    },
    {
      title: 'alg none',
      token: () =>
        issuerOf(0).token(edit(([, payload = '']) => [encode('{"alg":"none"}'), payload, 'eA'])),
      reasons: ['token_malformed'],
    },
    {
      title: 'an algorithm that the cluster does not use',
      token: () => issuerOf(0).token({ mint: { header: { alg: 'PS256' } } }),
      reasons: ['token_signature'],
    },
    {
      title: 'another issuer',
      token: () => issuerOf(0).token({ claims: { iss: `${ISS}/` } }),
      reasons: ['token_issuer'],
    },
    {
      title: 'the broker’s own issuer',
      token: () => issuerOf(0).token({ claims: { iss: OWN_ISSUER } }),
      reasons: ['token_issuer'],
    },
    {
      title: 'an expired token',
      token: () => issuerOf(0).token({ issuedAt: now() - 7200 }),
      reasons: ['token_expired'],
    },
    {
      title: 'a token past its warnafter',
      token: () => {
        const { 'kubernetes.io': kubernetes } = JSON.parse(
          Buffer.from(issuerOf(0).token().split('.')[1] ?? '', 'base64url').toString(),
        ) as { 'kubernetes.io': object };
        return issuerOf(0).token({
          claims: { 'kubernetes.io': { ...kubernetes, warnafter: now() - 60 } },
        });
      },
      reasons: ['token_expired'],
    },
    {
      title: 'a token of tomorrow',
      token: () => issuerOf(0).token({ issuedAt: now() + 86_400 }),
      reasons: ['token_not_yet_valid'],
    },
    {
      title: 'a token for another audience',
      token: () => issuerOf(0).token({ audiences: ['ledger'] }),
      reasons: ['target_refused'],
    },
    {
      title: 'a token without kubernetes.io',
      token: () => issuerOf(0).token({ claims: { 'kubernetes.io': undefined } }),
      reasons: ['token_claims'],
    },
    {
      title: 'a member named twice',
      token: () => {
        const [, payload = ''] = issuerOf(0).token().split('.');
        const text = Buffer.from(payload, 'base64url').toString();
        return issuerOf(0).token({ mint: { claims: `{"sub":"x",${text.slice(1)}` } });
      },
      reasons: ['token_malformed'],
    },
  ];

  describe('without keys', () => {
    for (const { title, token, reasons } of garbage) {
      it(`cost nothing by ${title}`, async () => {
        const validator = create([toKeyless()]);
        for (let round = 0; round < 20; round++)
          expect(reasons).to.include(await validator.judge(token()));
        expect(asked()).to.deep.equal([0, 0]);
        expect(await validator.judge(issuerOf(0).token())).to.equal('fresh');
      });
    }
    it('are asked about a forged token, because nobody else can tell', async () => {
      const validator = create([toKeyless()]);
      serverOf(0).answer = () => ({
        body: { kind: 'TokenReview', status: { error: 'invalid bearer token' } },
      });
      const forged = issuerOf(0).token({ mint: { key: createSigningKey('ES256') } });
      const refusal = await validator.refuse(forged);
      expect(refusal.reason).to.equal('review_refused');
      expect(refusal).to.have.property('facts').that.has.all.keys('fingerprint');
      expect(refusal.failed).to.equal(undefined);
      expect(asked()).to.deep.equal([1, 0]);
    });
    it('do not serve a good answer to a token that differs in its signature alone', async () => {
      const validator = create([toKeyless()]);
      const token = issuerOf(0).token();
      expect(await validator.judge(token)).to.equal('fresh');
      serverOf(0).answer = () => ({ body: { kind: 'TokenReview', status: {} } });
      const other = noteToken(
        `${token.slice(0, token.lastIndexOf('.') + 1)}${encode('x'.repeat(64))}`,
      );
      expect(await validator.judge(other)).to.equal('review_refused');
      expect(await validator.judge(token)).to.equal('cached');
    });
    it('never have the issuer of the broker itself', () => {
      expect(() => createTestValidator([{ ...toKeyless(), issuers: [OWN_ISSUER] }])).to.throw(
        /own issuer/,
      );
    });
  });

  it('with keys are not asked about anything that the keys refuse, however much of it comes', async () => {
    const validator = create([toHybrid(0)]);
    const stranger = createSigningKey('ES256', issuerOf(0).key.kid);
    // The audience is for authorize() to compare, before it asks for the last step (test/broker/review.test.ts).
    for (const { token } of garbage.filter(({ reasons }) => !reasons.includes('target_refused'))) {
      for (let round = 0; round < 20; round++)
        expect(await validator.judge(token())).to.match(/^token_|^target_/);
    }
    for (let round = 0; round < 100; round++) {
      const forged = issuerOf(0).token({ mint: { key: stranger } });
      expect(await validator.judge(forged)).to.equal('token_signature');
    }
    expect(asked()).to.deep.equal([0, 0]);
    expect(await validator.judge(issuerOf(0).token())).to.equal('fresh');
  });
});
