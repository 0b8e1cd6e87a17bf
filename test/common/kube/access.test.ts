// Access reviews: the questions as the API server wants them, and that nothing but its clear yes is one. The same on a
// real API server: test/cluster/token-roles.
import { expect } from 'chai';
import {
  type AccessAttributes,
  type AccessReviews,
  type AccessUser,
  createAccessReviews,
} from '../../../common/kube/access.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import { KubeError } from '../../../common/kube/error.ts';
import {
  type FakeAccessServer,
  startAccessServer,
  toAccessReview,
} from '../../support/access-reviews.ts';

const ATTRIBUTES: AccessAttributes = {
  verb: 'update',
  group: 'auth.example.io',
  resource: 'tokenroles',
  name: 'payments',
};
const USER: AccessUser = {
  user: 'system:serviceaccount:shop:deployer',
  uid: '7f1c',
  groups: ['system:serviceaccounts', 'system:authenticated'],
  extra: { 'authentication.kubernetes.io/pod-name': ['deployer-1'] },
};

describe('access reviews', () => {
  let server: FakeAccessServer;
  let client: KubeClient;
  let reviews: AccessReviews;
  beforeEach(async () => {
    server = await startAccessServer();
    client = createKubeClient(server);
    reviews = createAccessReviews(client);
  });
  afterEach(async () => {
    client.close();
    await server.close();
  });
  const failOf = async (asking: Promise<unknown>): Promise<KubeError> => {
    const error = await asking.catch((one: unknown) => one);
    if (error instanceof KubeError) return error;
    throw new Error('it did not fail as it should', { cause: error });
  };

  it('asks about a user with everything that is known of them', async () => {
    server.decide = ({ user }) => user === USER.user;
    expect(await reviews.can(USER, ATTRIBUTES)).to.deep.equal({ allowed: true, reason: '' });
    expect(server.asked).to.deep.equal([
      { kind: 'SubjectAccessReview', ...USER, resourceAttributes: ATTRIBUTES },
    ]);
    const other = { user: 'jane', groups: [] };
    expect(await reviews.can(other, ATTRIBUTES)).to.include({ allowed: false });
    expect(server.asked[1]).to.deep.equal({
      kind: 'SubjectAccessReview',
      ...other,
      resourceAttributes: ATTRIBUTES,
    });
  });
  it('asks about itself without naming anybody', async () => {
    server.decide = ({ resourceAttributes }) => resourceAttributes.verb === 'list';
    expect(await reviews.canI({ ...ATTRIBUTES, verb: 'list' })).to.include({ allowed: true });
    expect(await reviews.canI(ATTRIBUTES)).to.include({ allowed: false });
    expect(server.asked[1]).to.deep.equal({
      kind: 'SelfSubjectAccessReview',
      resourceAttributes: ATTRIBUTES,
    });
  });
  it('passes on why, in the words of the authorizer', async () => {
    server.decide = (asked) =>
      toAccessReview(asked, { allowed: false, reason: 'no', evaluationError: 'role not found' });
    expect(await reviews.canI(ATTRIBUTES)).to.deep.equal({
      allowed: false,
      reason: 'no; role not found',
    });
  });
  it('takes an explicit denial for a no, whatever stands beside it', async () => {
    server.decide = (asked) => toAccessReview(asked, { allowed: true, denied: true });
    expect(await reviews.can(USER, ATTRIBUTES)).to.include({ allowed: false });
    server.decide = (asked) => toAccessReview(asked, { allowed: true, denied: false });
    expect(await reviews.can(USER, ATTRIBUTES)).to.include({ allowed: true });
  });
  it('does not ask about nobody', async () => {
    const error = await reviews.can({ user: '', groups: [] }, ATTRIBUTES).catch((one) => one);
    expect(error).to.be.instanceOf(TypeError);
    expect(server.asked).to.deep.equal([]);
  });

  const rows: readonly { title: string; answer: number | object | string; kind: string }[] = [
    { title: 'a refused credential', answer: 401, kind: 'unauthorized' },
    { title: 'a missing right', answer: 403, kind: 'forbidden' },
    { title: 'an API server in trouble', answer: 500, kind: 'unavailable' },
    { title: 'no JSON', answer: 'yes', kind: 'unavailable' },
    { title: 'null', answer: 'null', kind: 'unavailable' },
    {
      title: 'another kind of object',
      answer: { kind: 'Status', status: { allowed: true } },
      kind: 'unavailable',
    },
    { title: 'no status', answer: { kind: 'SubjectAccessReview' }, kind: 'unavailable' },
    {
      title: 'a yes that is a text',
      answer: { kind: 'SubjectAccessReview', status: { allowed: 'true' } },
      kind: 'unavailable',
    },
  ];
  for (const { title, answer, kind } of rows) {
    it(`fails on ${title} as ${kind}`, async () => {
      server.decide = () => answer;
      expect(await failOf(reviews.can(USER, ATTRIBUTES))).to.have.property('kind', kind);
    });
  }
});
