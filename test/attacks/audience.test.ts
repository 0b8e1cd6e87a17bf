// Who may a token be for? The matrix of `aud` forms against the verifier and a role for `payments`. Compared is always
// the role's audience, never the token's with itself.
import { expect } from 'chai';
import { resolveRole } from '../../broker/roles/resolve.ts';
import { indexRoles } from '../../broker/roles/role-index.ts';
import { type FakeIssuer, startIssuer } from '../support/issuer.ts';
import { toRole } from '../support/roles.ts';
import { createTestVerifier, type TestVerifier, toCluster } from '../support/verifying.ts';

const roles = indexRoles([
  toRole('pay'),
  toRole('pay-extra', { audience: 'ledger', allowExtraAudiences: true }),
]);

describe('attack: the audience of the subject token', () => {
  let issuer: FakeIssuer;
  let verifier: TestVerifier;
  before(async () => {
    issuer = await startIssuer();
    verifier = createTestVerifier([toCluster(issuer)]);
  });
  after(() => issuer.close());

  async function judge(aud: unknown, asked = 'payments'): Promise<string> {
    const token = issuer.token({ claims: { aud } });
    const verdict = await verifier.judge(token);
    if (verdict !== 'accepted') return verdict;
    const subject = await verifier.verify(token);
    const resolution = resolveRole(roles, { subject, audience: asked }, { ownCluster: 'here' });
    return resolution.ok ? 'accepted' : resolution.reason;
  }

  const rows: readonly { aud: unknown; asked?: string; expected: string; title: string }[] = [
    { title: 'a list with the role’s audience', aud: ['payments'], expected: 'accepted' },
    { title: 'a text that is the role’s audience', aud: 'payments', expected: 'accepted' },
    {
      title: 'a list that repeats the role’s audience',
      aud: ['payments', 'payments'],
      expected: 'accepted',
    },
    { title: 'no aud', aud: undefined, expected: 'token_audience' },
    { title: 'an empty text', aud: '', expected: 'token_audience' },
    { title: 'an empty list', aud: [], expected: 'token_audience' },
    { title: 'a list with an empty text', aud: [''], expected: 'token_audience' },
    {
      title: 'a list with an empty text beside the right one',
      aud: ['payments', ''],
      expected: 'token_audience',
    },
    { title: 'null', aud: null, expected: 'token_audience' },
    { title: 'true', aud: true, expected: 'token_audience' },
    { title: 'a number', aud: 7, expected: 'token_audience' },
    { title: 'an object', aud: { payments: true }, expected: 'token_audience' },
    { title: 'a list in a list', aud: [['payments']], expected: 'token_audience' },
    {
      title: 'a list with a number beside the right one',
      aud: ['payments', 7],
      expected: 'token_audience',
    },
    {
      title: 'a list with null beside the right one',
      aud: ['payments', null],
      expected: 'token_audience',
    },
    {
      title: 'a list of 65 texts',
      aud: Array.from({ length: 65 }, (_, at) => `a${at}`),
      expected: 'token_audience',
    },
    { title: 'another audience as text', aud: 'ledger', expected: 'target_refused' },
    { title: 'another audience as list', aud: ['ledger'], expected: 'target_refused' },
    { title: 'the right audience in other case', aud: ['Payments'], expected: 'target_refused' },
    { title: 'the right audience with a blank', aud: ['payments '], expected: 'target_refused' },
    { title: 'the right audience with a slash', aud: ['payments/'], expected: 'target_refused' },
    { title: 'the beginning of the right audience', aud: ['payment'], expected: 'target_refused' },
    { title: 'a text that lists it', aud: 'ledger,payments', expected: 'target_refused' },
    {
      title: 'the API server’s audience',
      aud: ['https://kubernetes.default.svc'],
      expected: 'target_refused',
    },
    {
      title: 'a superset of the role’s audience',
      aud: ['payments', 'ledger'],
      expected: 'token_audience',
    },
    {
      title: 'a superset where the role allows it',
      aud: ['payments', 'ledger'],
      asked: 'ledger',
      expected: 'accepted',
    },
    {
      title: 'its own audience where no role is for it',
      aud: ['orders'],
      asked: 'orders',
      expected: 'role_unknown',
    },
  ];
  for (const { title, aud, asked, expected } of rows) {
    it(`${expected === 'accepted' ? 'accepts' : `refuses with ${expected}`} ${title}`, async () => {
      expect(await judge(aud, asked)).to.equal(expected);
    });
  }
});
