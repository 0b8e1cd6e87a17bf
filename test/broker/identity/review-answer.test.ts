// What a TokenReview's answer proves: a table of answers, each one thing away from the one that is accepted.
import { expect } from 'chai';
import {
  checkReview,
  parseReview,
  type ReviewQuestion,
} from '../../../broker/identity/review-answer.ts';
import { toReview } from '../../support/api-server.ts';
import { createSigningKey, mint, serviceAccountClaims } from '../../support/minting.ts';

const key = createSigningKey('ES256');
const identity = {
  kind: 'workload',
  cluster: 'here',
  namespace: 'shop',
  serviceAccount: 'checkout',
  serviceAccountUid: '3f0f8f2a-5f0c-4b7b-8a57-2c9d1e4b6a70',
} as const;
const pod = { name: 'checkout-0', uid: 'pod-uid' };
const node = { name: 'node-1', uid: 'node-uid' };

function ask(
  more: { pod?: typeof pod | null; audiences?: readonly string[] } = {},
): ReviewQuestion {
  const bound = more.pod === undefined ? pod : more.pod;
  const token = mint({
    key,
    claims: {
      ...serviceAccountClaims({
        issuer: 'https://here.test',
        audiences: more.audiences ?? ['payments'],
        pod: bound,
        node: bound && node,
      }),
      jti: 'token-1',
    },
  });
  return {
    token,
    audience: 'payments',
    subject: { identity: { ...identity, ...(bound && { pod: bound, node }) }, tokenId: 'token-1' },
  };
}

const judge = (question: ReviewQuestion, status: object = {}) => {
  const text = JSON.stringify(toReview({ ...question, audiences: ['payments'] }, status));
  return checkReview(parseReview(text), question);
};
const EXTRA = 'authentication.kubernetes.io';
const user = (question: ReviewQuestion, change: object) => {
  const { status } = toReview({ ...question, audiences: ['payments'] }) as {
    status: { user: object };
  };
  return { user: { ...status.user, ...change } };
};
const extra = (question: ReviewQuestion, change: Readonly<Record<string, unknown>>) => {
  const { user: one } = user(question, {}) as { user: { extra: object } };
  const merged: Record<string, unknown> = { ...one.extra };
  for (const [name, value] of Object.entries(change)) merged[`${EXTRA}/${name}`] = value;
  return user(question, { extra: merged });
};

describe('the answer of a TokenReview', () => {
  const accepted: readonly { title: string; status: (question: ReviewQuestion) => object }[] = [
    { title: 'as kube-apiserver gives it', status: () => ({}) },
    { title: 'with further audiences', status: () => ({ audiences: ['ledger', 'payments'] }) },
    {
      title: 'without node and credential id, as before 1.30',
      status: (question) =>
        extra(question, {
          'node-name': undefined,
          'node-uid': undefined,
          'credential-id': undefined,
        }),
    },
  ];
  for (const { title, status } of accepted) {
    it(`is a yes ${title}`, () => {
      const question = ask();
      expect(judge(question, status(question))).to.deep.equal({ ok: true, value: undefined });
    });
  }
  it('is a yes for a token that is bound to no pod, where it names none', () => {
    expect(judge(ask({ pod: null }))).to.have.property('ok', true);
  });

  const refused: readonly {
    title: string;
    reason: string;
    claim?: string;
    status: (question: ReviewQuestion) => object;
  }[] = [
    {
      title: 'authenticated is false',
      reason: 'review_refused',
      status: () => ({ authenticated: false }),
    },
    {
      title: 'authenticated is missing',
      reason: 'review_refused',
      status: () => ({ authenticated: undefined }),
    },
    {
      title: 'authenticated is the text true',
      reason: 'review_refused',
      status: () => ({ authenticated: 'true' }),
    },
    {
      title: 'there is an error beside the yes',
      reason: 'review_refused',
      status: () => ({ error: 'a webhook did not answer' }),
    },
    {
      title: 'audiences is empty',
      reason: 'token_audience',
      claim: 'status.audiences',
      status: () => ({ audiences: [] }),
    },
    {
      title: 'audiences is missing',
      reason: 'token_audience',
      claim: 'status.audiences',
      status: () => ({ audiences: undefined }),
    },
    {
      title: 'audiences is a text',
      reason: 'token_audience',
      claim: 'status.audiences',
      status: () => ({ audiences: 'payments' }),
    },
    {
      title: 'audiences has another only',
      reason: 'token_audience',
      claim: 'status.audiences',
      status: () => ({ audiences: ['https://kubernetes.default.svc'] }),
    },
    {
      title: 'audiences has a longer one only',
      reason: 'token_audience',
      claim: 'status.audiences',
      status: () => ({ audiences: ['payments2'] }),
    },
    {
      title: 'there is no user',
      reason: 'review_mismatch',
      claim: 'status.user username',
      status: () => ({ user: undefined }),
    },
    {
      title: 'the user is a person',
      reason: 'review_mismatch',
      claim: 'status.user username',
      status: (question) => user(question, { username: 'jane' }),
    },
    {
      title: 'the user is another ServiceAccount',
      reason: 'review_mismatch',
      claim: 'status.user username',
      status: (question) => user(question, { username: 'system:serviceaccount:shop:admin' }),
    },
    {
      title: 'the ServiceAccount has another uid',
      reason: 'review_mismatch',
      claim: 'status.user uid',
      status: (question) => user(question, { uid: 'made-again' }),
    },
    {
      title: 'the uid is missing',
      reason: 'review_mismatch',
      claim: 'status.user uid',
      status: (question) => user(question, { uid: undefined }),
    },
    {
      title: 'extra is missing',
      reason: 'review_mismatch',
      claim: 'status.user pod-name',
      status: (question) => user(question, { extra: undefined }),
    },
    {
      title: 'the pod has another name',
      reason: 'review_mismatch',
      claim: 'status.user pod-name',
      status: (question) => extra(question, { 'pod-name': ['checkout-1'] }),
    },
    {
      title: 'the pod has another uid',
      reason: 'review_mismatch',
      claim: 'status.user pod-uid',
      status: (question) => extra(question, { 'pod-uid': ['made-again'] }),
    },
    {
      title: 'there are two pod uids',
      reason: 'review_mismatch',
      claim: 'status.user pod-uid',
      status: (question) => extra(question, { 'pod-uid': ['pod-uid', 'other'] }),
    },
    {
      title: 'the pod uid is no list',
      reason: 'review_mismatch',
      claim: 'status.user pod-uid',
      status: (question) => extra(question, { 'pod-uid': 'pod-uid' }),
    },
    {
      title: 'the node is another',
      reason: 'review_mismatch',
      claim: 'status.user node-name',
      status: (question) => extra(question, { 'node-name': ['node-2'] }),
    },
    {
      title: 'the node has another uid',
      reason: 'review_mismatch',
      claim: 'status.user node-uid',
      status: (question) => extra(question, { 'node-uid': ['made-again'] }),
    },
    {
      title: 'it is about another token',
      reason: 'review_mismatch',
      claim: 'status.user credential-id',
      status: (question) => extra(question, { 'credential-id': ['JTI=token-2'] }),
    },
  ];
  for (const { title, reason, claim, status } of refused) {
    it(`is a no where ${title} (${reason})`, () => {
      const question = ask();
      const checked = judge(question, status(question));
      expect(checked).to.include({ ok: false, reason });
      expect(checked.ok ? undefined : checked.failed?.claim).to.equal(claim);
    });
  }
  it('is a no where it names a pod and the token none', () => {
    const question = ask({ pod: null });
    const checked = judge(question, extra(question, { 'pod-name': ['x'], 'pod-uid': ['y'] }));
    expect(checked).to.include({ ok: false, reason: 'review_mismatch' });
  });

  it("tells the operator the API server's words", () => {
    const checked = judge(ask(), { authenticated: false, error: '[pod "x"\nnot found]' });
    expect(checked.ok ? '' : checked.detail).to.equal(
      'the API server does not accept the token: [pod "x" not found]',
    );
  });
  it('tells nothing of words that hold a part of the token', () => {
    const question = ask();
    for (const segment of [question.token, ...question.token.split('.')]) {
      const checked = judge(question, { authenticated: false, error: `bad: ${segment}` });
      expect(checked.ok ? '' : checked.detail).to.equal('the API server does not accept the token');
    }
  });

  for (const { title, text } of [
    { title: 'nothing', text: '' },
    { title: 'text', text: 'ok' },
    { title: 'null', text: 'null' },
    { title: 'a list', text: '[]' },
    { title: 'another kind', text: '{"kind":"Status","status":"Success"}' },
    { title: 'a kind of this name without status', text: '{"kind":"TokenReview"}' },
    { title: 'status as a text', text: '{"kind":"TokenReview","status":"authenticated"}' },
  ]) {
    it(`is none where it is ${title}`, () => {
      expect(() => parseReview(text)).to.throw(/^the answer is (not JSON|no TokenReview)$/);
    });
  }
});
