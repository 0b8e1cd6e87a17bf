// Clusters with `review` and `hybrid` against a real HTTPS server: what is asked, how often, what is remembered, and what
// happens when nobody answers. What attackers try is in test/attacks/review.test.ts.
import { expect } from 'chai';
import type { KubernetesCluster as Cluster } from '../../../broker/identity/clusters.ts';
import {
  type FakeApiServer,
  startApiServer,
  toRejection,
  toReview,
  toReviewSettings,
} from '../../support/api-server.ts';
import { type FakeIssuer, startIssuer } from '../../support/issuer.ts';
import { createTestValidator, type TestValidator } from '../../support/reviewing.ts';
import { toCluster } from '../../support/verifying.ts';

let issuer: FakeIssuer;
let server: FakeApiServer;
let open: TestValidator[] = [];
before(async () => {
  issuer = await startIssuer();
});
beforeEach(async () => {
  server = await startApiServer();
});
afterEach(async () => {
  await Promise.all(open.map((validator) => validator.close()));
  open = [];
  await server.close();
});
after(() => issuer.close());

type More = Parameters<typeof toReviewSettings>[1];

function toHybrid(more: More = {}): Cluster {
  return toCluster(issuer, { validation: 'hybrid', review: toReviewSettings(server, more) });
}

function toKeyless(more: More = {}): Cluster {
  const { keys: _, ...cluster } = toCluster(issuer, {
    validation: 'review',
    review: toReviewSettings(server, more),
  });
  return cluster;
}

function create(cluster: Cluster, more: { reviewTimeoutMs?: number } = {}): TestValidator {
  const validator = createTestValidator([cluster], more);
  open.push(validator);
  return validator;
}

async function until(isSo: () => boolean): Promise<void> {
  for (let round = 0; round < 1000 && !isSo(); round++)
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(isSo()).to.equal(true);
}

const outcomesOf = (validator: TestValidator) =>
  validator.events.flatMap((event) => (event.kind === 'ended' ? [event.outcome] : []));

const MODES: readonly { mode: string; toEntry: (more?: More) => Cluster }[] = [
  { mode: 'hybrid', toEntry: toHybrid },
  { mode: 'review', toEntry: toKeyless },
];

for (const { mode, toEntry } of MODES) {
  describe(`validation ${mode}`, () => {
    it('asks for exactly the audience, and takes a yes', async () => {
      const validator = create(toEntry());
      const token = issuer.token({ audiences: ['payments', 'ledger'] });
      expect(await validator.confirm(token, 'payments')).to.deep.equal({ mode, review: 'fresh' });
      expect(server.reviews).to.deep.equal([{ token, audiences: ['payments'] }]);
      expect(outcomesOf(validator)).to.deep.equal(['accepted']);
    });
    it('gives the identity of the token, with names and uids', async () => {
      const { subject } = await create(toEntry()).validate(
        issuer.token({ pod: { name: 'web-0', uid: 'u' } }),
        'payments',
      );
      expect(subject.identity).to.deep.include({
        cluster: 'here',
        namespace: 'shop',
        serviceAccount: 'checkout',
        pod: { name: 'web-0', uid: 'u' },
      });
    });
    it('refuses a token that the API server does not accept, and does not remember it', async () => {
      const validator = create(toEntry());
      const token = issuer.token();
      server.answer = (asked) => ({ body: toRejection(asked) });
      expect(await validator.judge(token)).to.equal('review_refused');
      // API servers lag behind new pods: the next moment may know this one.
      server.answer = (asked) => ({ body: toReview(asked) });
      expect(await validator.judge(token)).to.equal('fresh');
      expect(outcomesOf(validator)).to.deep.equal(['refused', 'accepted']);
    });
    it('refuses a yes without audiences', async () => {
      const validator = create(toEntry());
      server.answer = (asked) => ({ body: toReview(asked, { audiences: [] }) });
      expect(await validator.judge(issuer.token())).to.equal('token_audience');
      server.answer = (asked) => ({ body: toReview(asked) });
      expect(await validator.judge(issuer.token())).to.equal('fresh');
    });
    it('refuses a yes about another pod', async () => {
      const validator = create(toEntry());
      const other = issuer.token({ pod: { name: 'other', uid: 'other-uid' } });
      server.answer = ({ audiences }) => ({ body: toReview({ token: other, audiences }) });
      expect(await validator.judge(issuer.token())).to.equal('review_mismatch');
    });

    describe('its cache', () => {
      it('serves a good answer again until its time is over, and then asks', async () => {
        const validator = create(toEntry({ positiveCacheSeconds: 30 }));
        const token = issuer.token();
        expect(await validator.judge(token)).to.equal('fresh');
        await validator.clock.advance(29_999);
        expect(await validator.judge(token)).to.equal('cached');
        await validator.clock.advance(1);
        expect(await validator.judge(token)).to.equal('fresh');
        expect(server.reviews).to.have.length(2);
      });
      it('ends with the token', async () => {
        const validator = create(toEntry({ positiveCacheSeconds: 60 }));
        const issuedAt = Math.floor(validator.clock.now() / 1000);
        const token = issuer.token({ issuedAt, lifetimeSeconds: 10 });
        expect(await validator.judge(token)).to.equal('fresh');
        await validator.clock.advance(11_000);
        // Within the leeway, so the local checks still pass.
        expect(await validator.judge(token)).to.equal('fresh');
      });
      it('is off at 0 seconds', async () => {
        const validator = create(toEntry({ positiveCacheSeconds: 0 }));
        const token = issuer.token();
        expect(await validator.judge(token)).to.equal('fresh');
        expect(await validator.judge(token)).to.equal('fresh');
      });
      it('is for one token and one audience', async () => {
        const validator = create(toEntry());
        const audiences = ['payments', 'ledger'];
        const token = issuer.token({ audiences });
        expect(await validator.judge(token, 'payments')).to.equal('fresh');
        expect(await validator.judge(token, 'ledger')).to.equal('fresh');
        expect(await validator.judge(issuer.token({ audiences }), 'payments')).to.equal('fresh');
        expect(await validator.judge(token, 'payments')).to.equal('cached');
      });
      for (const { title, dead, expected } of [
        { title: 'the pod', dead: { podUid: 'pod-1' }, expected: 'fresh' },
        {
          title: 'the ServiceAccount',
          dead: { serviceAccountUid: '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70' },
          expected: 'fresh',
        },
        {
          title: 'many, the pod among them',
          dead: { uids: new Set(['pod-2', 'pod-1']) },
          expected: 'fresh',
        },
        {
          title: 'many, the ServiceAccount among them',
          dead: { uids: new Set(['x', '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70']) },
          expected: 'fresh',
        },
        { title: 'many others', dead: { uids: new Set(['pod-2', 'x']) }, expected: 'cached' },
        { title: 'another pod', dead: { podUid: 'pod-2' }, expected: 'cached' },
        { title: 'another ServiceAccount', dead: { serviceAccountUid: 'x' }, expected: 'cached' },
      ]) {
        it(`after the death of ${title} answers ${expected}`, async () => {
          const validator = create(toEntry());
          const token = issuer.token({ pod: { name: 'web-0', uid: 'pod-1' } });
          await validator.confirm(token);
          validator.validator.evict('here', dead);
          expect(await validator.judge(token)).to.equal(expected);
        });
      }
      it('does not keep an answer from before a death that came meanwhile', async () => {
        const validator = create(toEntry());
        const token = issuer.token({ pod: { name: 'web-0', uid: 'pod-1' } });
        server.hold();
        const first = validator.judge(token);
        await until(() => server.open === 1);
        validator.validator.evict('here', { podUid: 'pod-1' });
        server.release();
        expect(await first).to.equal('fresh');
        expect(await validator.judge(token)).to.equal('fresh');
      });
      it('lets nobody join a review from before a death', async () => {
        const validator = create(toEntry());
        const token = issuer.token({ pod: { name: 'web-0', uid: 'pod-1' } });
        await validator.confirm(issuer.token());
        server.hold();
        const first = validator.judge(token);
        await until(() => server.open === 1);
        validator.validator.evict('here', { podUid: 'pod-1' });
        const second = validator.judge(token);
        const third = validator.judge(token);
        await until(() => server.open === 2);
        server.release();
        expect(await Promise.all([first, second, third])).to.deep.equal([
          'fresh',
          'fresh',
          'shared',
        ]);
      });
      it('starts anew when the CA of the API server is another one', async () => {
        const validator = create(toEntry());
        const token = issuer.token();
        await validator.confirm(token);
        server.rotateCa();
        server.writeCa();
        server.closeConnections();
        await validator.confirm(issuer.token());
        expect(await validator.judge(token)).to.equal('fresh');
      });
    });

    it('asks once for a token that comes many times at once', async () => {
      const validator = create(toEntry());
      const token = issuer.token();
      // The keys are fetched by then; all reach the review together.
      await validator.confirm(issuer.token());
      server.hold();
      const all = Array.from({ length: 20 }, () => validator.judge(token));
      await until(() => server.open === 1);
      server.release();
      const judged = await Promise.all(all);
      expect(judged.filter((one) => one === 'fresh')).to.have.length(1);
      expect(judged.filter((one) => one === 'shared')).to.have.length(19);
      expect(server.reviews).to.have.length(2);
    });
    it('tells all who wait for one review the same no', async () => {
      const validator = create(toEntry());
      await validator.confirm(issuer.token());
      server.answer = (asked) => ({ body: toRejection(asked) });
      server.hold();
      const token = issuer.token();
      const all = Array.from({ length: 5 }, () => validator.judge(token));
      await until(() => server.open === 1);
      server.release();
      expect(await Promise.all(all)).to.deep.equal(Array(5).fill('review_refused'));
      expect(server.reviews).to.have.length(2);
    });
    it('keeps reviews bounded under a hundred tokens at once, and serves them all', async () => {
      const validator = create(toEntry({ maxConcurrent: 4 }));
      const tokens = Array.from({ length: 100 }, () => issuer.token());
      const judged = await Promise.all(tokens.map((token) => validator.judge(token)));
      expect(judged).to.deep.equal(Array(100).fill('fresh'));
      expect(server.reviews).to.have.length(100);
      expect(server.maxOpen).to.be.within(1, 4);
      expect(server.connections).to.be.at.most(4);
    });
    it('refuses whose turn does not come within the deadline, without asking for it', async () => {
      const validator = create(toEntry({ maxConcurrent: 2, queueSeconds: 4 }));
      await validator.confirm(issuer.token());
      server.hold();
      const all = Array.from({ length: 5 }, () => validator.judge(issuer.token()));
      await until(() => server.open === 2);
      await validator.clock.advance(4000);
      server.release();
      const judged = await Promise.all(all);
      expect(judged.filter((one) => one === 'fresh')).to.have.length(2);
      expect(judged.filter((one) => one === 'too_many_requests')).to.have.length(3);
      expect(server.reviews).to.have.length(3);
    });

    describe('its own credential', () => {
      it('is read anew for each review', async () => {
        const validator = create(toEntry());
        await validator.confirm(issuer.token());
        server.rotateCredential();
        server.writeCredential();
        expect(await validator.judge(issuer.token())).to.equal('fresh');
        expect(server.answered).to.deep.equal([201, 201]);
      });
      it('is read again where it was replaced between reading and asking', async () => {
        const validator = create(toEntry());
        await validator.confirm(issuer.token());
        server.hold();
        const judged = validator.judge(issuer.token());
        await until(() => server.open === 1);
        server.rotateCredential();
        server.writeCredential();
        server.release();
        expect(await judged).to.equal('fresh');
        expect(server.answered).to.have.members([201, 401, 201]);
      });
      it('that is refused is our failure and an alarm, never the caller’s fault', async () => {
        const validator = create(toEntry());
        server.rotateCredential();
        expect(await validator.judge(issuer.token())).to.equal('kube_unavailable');
        expect(await validator.judge(issuer.token())).to.equal('kube_unavailable');
        expect(outcomesOf(validator)).to.deep.equal(['credential_refused', 'credential_refused']);
        const alarms = validator.lines.filter(({ level }) => level === 'error');
        expect(alarms, 'one line, not one per request').to.have.length(1);
        expect(alarms[0]).to.include({
          cluster: 'here',
          msg: 'the API server refuses the credential of the broker',
        });
        server.writeCredential();
        expect(await validator.judge(issuer.token())).to.equal('fresh');
      });
      it('without the right to create reviews says which right is missing', async () => {
        const validator = create(toEntry());
        server.answer = () => ({ status: 403 });
        expect(await validator.judge(issuer.token())).to.equal('kube_unavailable');
        expect(server.answered, 'not asked twice').to.deep.equal([403]);
        expect(outcomesOf(validator)).to.deep.equal(['credential_refused']);
        expect(validator.lines.find(({ level }) => level === 'error')?.needs).to.match(
          /create tokenreviews of authentication\.k8s\.io/,
        );
      });
      it('that is missing on the disk is our failure', async () => {
        const validator = create(toEntry());
        server.writeCredential('');
        expect(await validator.judge(issuer.token())).to.equal('kube_unavailable');
        expect(server.answered).to.deep.equal([]);
        expect(outcomesOf(validator)).to.deep.equal(['credential_refused']);
      });
    });

    const failures: readonly {
      title: string;
      answer?: FakeApiServer['answer'];
      break?: () => void;
    }[] = [
      { title: 'breaks down', answer: () => ({ status: 500 }) },
      { title: 'is too busy', answer: () => ({ status: 429 }) },
      { title: 'has no such path', answer: () => ({ status: 404 }) },
      { title: 'redirects', answer: () => ({ status: 307, headers: { Location: '/' } }) },
      { title: 'answers nothing', answer: () => ({ body: '' }) },
      {
        title: 'answers no JSON, and the token in it',
        answer: ({ token }) => ({ body: `{"spec":${token}` }),
      },
      { title: 'answers another kind', answer: () => ({ body: { kind: 'Status' } }) },
      { title: 'answers endlessly', answer: () => ({ body: ' '.repeat(300_000) }) },
      { title: 'says nothing', break: () => server.hold() },
      {
        title: 'shows a certificate of another CA',
        break: () => {
          server.rotateCa();
          server.closeConnections();
        },
      },
      { title: 'has an empty CA file here', break: () => server.writeCa('') },
    ];
    for (const { title, answer, break: breakIt } of failures) {
      it(`says that it cannot decide where the API server ${title}`, async () => {
        const validator = create(toEntry(), { reviewTimeoutMs: 300 });
        expect(await validator.judge(issuer.token())).to.equal('fresh');
        if (answer) server.answer = answer;
        breakIt?.();
        const { reason, detail } = await validator.refuse(issuer.token());
        expect(reason).to.equal('kube_unavailable');
        expect(detail).to.match(/^cluster here: TokenReview: /);
      });
    }
    it('serves a cached answer while the API server is away', async () => {
      const validator = create(toEntry());
      const token = issuer.token();
      await validator.confirm(token);
      server.answer = () => ({ status: 500 });
      expect(await validator.judge(token)).to.equal('cached');
    });
    it('works on after kept connections were closed under it', async () => {
      const validator = create(toEntry());
      await validator.confirm(issuer.token());
      server.closeConnections();
      expect(await validator.judge(issuer.token())).to.equal('fresh');
    });
  });
}

describe('validation hybrid', () => {
  it('asks nobody before the last step', async () => {
    const validator = create(toHybrid());
    const { validation } = await validator.validate(issuer.token(), 'payments');
    expect(validation).to.deep.equal({ mode: 'hybrid', review: 'not_asked' });
    expect(server.reviews).to.have.length(0);
  });
  it('is what `review` with keys does, too', async () => {
    const validator = create({ ...toHybrid(), validation: 'review' });
    const { validation } = await validator.validate(issuer.token(), 'payments');
    expect(validation).to.deep.equal({ mode: 'review', review: 'not_asked' });
    expect(await validator.confirm(issuer.token())).to.deep.equal({
      mode: 'review',
      review: 'fresh',
    });
  });
  it('asks nobody for a cluster with `offline`', async () => {
    const validator = create(toCluster(issuer));
    expect(await validator.confirm(issuer.token())).to.deep.equal({ mode: 'offline' });
    expect(server.reviews).to.have.length(0);
  });

  describe('when reviews are unavailable', () => {
    const POD = { name: 'web-0', uid: 'pod-1' };
    const token = () => issuer.token({ pod: POD });
    const down = () => {
      server.answer = () => ({ status: 500 });
    };
    async function prepare(onUnavailable: 'deny' | 'recent'): Promise<TestValidator> {
      const validator = create(toHybrid({ onUnavailable, maxConcurrent: 1 }));
      await validator.confirm(token());
      return validator;
    }

    it('denies by default, also a pod that was reviewed a moment ago', async () => {
      const validator = await prepare('deny');
      down();
      expect(await validator.judge(token())).to.equal('kube_unavailable');
    });
    it('with `recent` lets a pod pass that was reviewed in the last 15 minutes, and says so', async () => {
      const validator = await prepare('recent');
      down();
      await validator.clock.advance(15 * 60_000);
      expect(await validator.confirm(token())).to.deep.equal({ mode: 'hybrid', review: 'recent' });
      expect(validator.events.at(-1)).to.deep.equal({
        kind: 'spared',
        cluster: 'here',
        by: 'recent',
      });
      await validator.clock.advance(1);
      expect(await validator.judge(token())).to.equal('kube_unavailable');
    });
    it('does not count passing as recent for a review', async () => {
      const validator = await prepare('recent');
      down();
      await validator.clock.advance(10 * 60_000);
      expect(await validator.judge(token())).to.equal('recent');
      await validator.clock.advance(6 * 60_000);
      expect(await validator.judge(token())).to.equal('kube_unavailable');
    });
    const rows: readonly { title: string; token: () => string; expected: string }[] = [
      { title: 'the same pod', token, expected: 'recent' },
      {
        title: 'a pod of the same name and another uid',
        token: () => issuer.token({ pod: { ...POD, uid: 'pod-2' } }),
        expected: 'kube_unavailable',
      },
      {
        title: 'a token that is bound to no pod',
        token: () => issuer.token({ pod: null }),
        expected: 'kube_unavailable',
      },
      {
        title: 'the pod’s uid under a ServiceAccount made again',
        token: () =>
          issuer.token({
            claims: {
              'kubernetes.io': {
                namespace: 'shop',
                pod: POD,
                serviceaccount: { name: 'checkout', uid: 'made-again' },
              },
            },
          }),
        expected: 'kube_unavailable',
      },
      {
        title: 'an expired token of the pod',
        token: () => issuer.token({ pod: POD, issuedAt: 1_000_000 }),
        expected: 'token_expired',
      },
      {
        title: 'a forged token of the pod',
        token: () => `${issuer.token({ pod: POD }).slice(0, -8)}AAAAAAAA`,
        expected: 'token_signature',
      },
    ];
    for (const { title, token: make, expected } of rows) {
      it(`with \`recent\` answers ${title} ${expected}`, async () => {
        const validator = await prepare('recent');
        down();
        expect(await validator.judge(make())).to.equal(expected);
      });
    }
    it('with `recent` forgets a pod that the API server refused since', async () => {
      const validator = await prepare('recent');
      server.answer = (asked) => ({ body: toRejection(asked) });
      expect(await validator.judge(token())).to.equal('review_refused');
      down();
      expect(await validator.judge(token())).to.equal('kube_unavailable');
    });
    it('with `recent` forgets a pod whose death was reported', async () => {
      const validator = await prepare('recent');
      validator.validator.evict('here', { podUid: POD.uid });
      down();
      expect(await validator.judge(token())).to.equal('kube_unavailable');
    });
    it('with `recent` does not take its own full queue for an API server that is away', async () => {
      const validator = await prepare('recent');
      server.hold();
      const first = validator.judge(token());
      await until(() => server.open === 1);
      const second = validator.judge(token());
      await validator.clock.advance(0);
      await validator.clock.advance(4000);
      expect(await second).to.equal('too_many_requests');
      server.release();
      expect(await first).to.equal('fresh');
    });
  });
});
