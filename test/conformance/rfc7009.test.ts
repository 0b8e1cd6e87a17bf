// Revocation against RFC 7009, clause by clause; and what a broker does that cannot revoke, or not now.
import { expect } from 'chai';
import { PATH_REVOKE, PATH_SERVER_METADATA } from '../../common/protocol/oauth.ts';
import { type Answer, startTestBroker, type TestBroker } from '../broker/harness.ts';
import {
  post,
  startTokenBroker,
  type TokenBroker,
  toBasic,
  toBearer,
} from '../broker/token-harness.ts';

interface Clause {
  readonly clause: string;
  readonly check: (on: TokenBroker) => Promise<unknown>;
}

const isDone = ({ status, text }: Answer) => expect([status, text]).to.deep.equal([200, '']);
const isLive = async (on: TokenBroker, token: string) =>
  (await on.introspect(token)).body.active === true;
const isError = ({ status, body }: Answer, error: string, wanted = 400) =>
  expect([status, body.error]).to.deep.equal([wanted, error]);

/** A token that lived until the request, and is gone after it. */
async function checkEnds(on: TokenBroker, audience: string, form = {}): Promise<void> {
  const token = await on.obtain(audience);
  expect(await isLive(on, token)).to.equal(true);
  isDone(await on.revoke(token, { form }));
  expect(await isLive(on, token)).to.equal(false);
}

const CLAUSES: readonly Clause[] = [
  {
    clause: '§2 SHOULD support the revocation of access tokens: JWTs',
    check: (on) => checkEnds(on, 'payments'),
  },
  {
    clause: '§2 SHOULD support the revocation of access tokens: opaque ones',
    check: (on) => checkEnds(on, 'vault'),
  },
  {
    clause: '§2.1 token is REQUIRED',
    check: async (on) =>
      isError(await post(on.broker, PATH_REVOKE, { form: {} }), 'invalid_request'),
  },
  {
    clause: '§2.1 token_type_hint is OPTIONAL',
    check: (on) => checkEnds(on, 'vault', { token_type_hint: 'access_token' }),
  },
  {
    clause:
      '§2.1 not found by the hint, the server MUST extend its search over all its token types',
    check: async (on) => {
      for (const audience of ['payments', 'vault'])
        await checkEnds(on, audience, { token_type_hint: 'refresh_token' });
    },
  },
  {
    clause:
      '§2.1 credentials that come are validated first, and nothing is revoked where they are bad',
    check: async (on) => {
      const token = await on.obtain();
      isError(
        await on.revoke(token, toBasic({ ...on.clients.gateway, secret: 'wrong' })),
        'invalid_client',
        401,
      );
      isError(await on.revoke(token, toBearer('wrong')), 'invalid_token', 401);
      expect(await isLive(on, token)).to.equal(true);
      isDone(await on.revoke(token, toBasic(on.clients.gateway)));
      expect(await isLive(on, token)).to.equal(false);
    },
  },
  {
    clause: '§2.1 the invalidation takes place immediately',
    check: async (on) => {
      const tokens = await Promise.all([1, 2, 3, 4].map(() => on.obtain('vault')));
      for (const token of tokens) {
        isDone(await on.revoke(token));
        expect(await isLive(on, token)).to.equal(false);
      }
    },
  },
  {
    clause: '§2.1 only the token that was shown is revoked',
    check: async (on) => {
      for (const audience of ['payments', 'vault']) {
        const [one, two] = [await on.obtain(audience), await on.obtain(audience)];
        isDone(await on.revoke(one));
        expect([await isLive(on, one), await isLive(on, two)]).to.deep.equal([false, true]);
      }
    },
  },
  {
    clause: '§2.2 200 where the token has been revoked, and where it was invalid before',
    check: async (on) => {
      const token = await on.obtain();
      isDone(await on.revoke(token));
      isDone(await on.revoke(token));
    },
  },
  {
    clause: '§2.2 invalid tokens do not cause an error',
    check: async (on) => {
      const jwt = await on.obtain();
      for (const token of ['x', jwt.slice(0, -4), on.broker.issuer.token()])
        isDone(await on.revoke(token));
      expect(await isLive(on, jwt)).to.equal(true);
    },
  },
  {
    clause: '§2.2 the content of the answer is empty, its status says all',
    check: async (on) => {
      const { text, headers } = await on.revoke(await on.obtain());
      expect([text, headers.get('content-length')]).to.deep.equal(['', '0']);
    },
  },
  {
    clause: '§2.2 unknown token_type_hints do not influence the answer',
    check: (on) => checkEnds(on, 'payments', { token_type_hint: 'urn:x:y' }),
  },
  {
    clause: '§2.2.1 errors as in RFC 6749 §5.2: a parameter twice',
    check: async (on) => {
      const body = new URLSearchParams([
        ['token', 'x'],
        ['token', 'y'],
      ]);
      isError(await on.broker.request(PATH_REVOKE, { method: 'POST', body }), 'invalid_request');
    },
  },
  {
    clause: '§2.3 cross-origin requests MAY be supported: here they are not',
    check: async (on) => {
      const headers = { Origin: 'https://evil.example' };
      const answer = await on.revoke('x', { headers });
      expect(answer.headers.get('access-control-allow-origin')).to.equal(null);
    },
  },
  {
    clause: '§3 receivers that verify by themselves may not notice: introspection does',
    check: (on) => checkEnds(on, 'payments'),
  },
  {
    clause: '§5 guessing is no use: what is shown must be the whole token, an accessor is none',
    check: async (on) => {
      const token = await on.obtain('vault');
      for (const guess of [token.slice(3, 27), token.slice(0, 27), `${token}0`])
        isDone(await on.revoke(guess));
      expect(await isLive(on, token)).to.equal(true);
    },
  },
  {
    clause: '§5 by POST alone, so that no token stands in a URL',
    check: async (on) => {
      const token = await on.obtain('vault');
      const answer = await on.broker.request(`${PATH_REVOKE}?token=${token}`);
      expect(answer.status).to.equal(405);
      const inQuery = await post({ ...on.broker }, `${PATH_REVOKE}?token=${token}`, {});
      isError(inQuery, 'invalid_request');
      expect(await isLive(on, token)).to.equal(true);
    },
  },
  {
    clause: 'RFC 8414 §2: the endpoint, and that it asks for no authentication',
    check: async (on) => {
      const { body } = await on.broker.request(PATH_SERVER_METADATA);
      expect(body.revocation_endpoint).to.equal(on.url + PATH_REVOKE);
      expect(body.revocation_endpoint_auth_methods_supported).to.include('none');
    },
  },
];

describe('conformance: RFC 7009 (token revocation)', () => {
  let on: TokenBroker;
  before(async () => {
    on = await startTokenBroker('rfc7009');
  });
  after(() => on.stop());

  for (const { clause, check } of CLAUSES) it(clause, () => check(on));

  it('leaves a record of each token that ended, and none of what was none', async () => {
    const token = await on.obtain('vault');
    const before = on.broker.audit.length;
    await on.revoke(token);
    await on.revoke(token);
    await on.revoke('garbage');
    expect(on.broker.audit).to.have.length(before + 1);
    expect(on.broker.audit.at(-1)).to.deep.include({
      action: 'revoke',
      outcome: 'allow',
      subject: 'k8s:local:shop:checkout',
      audience: 'vault',
      role: 'vault-checkout',
      tokenId: token.slice(3, 27),
    });
  });

  it('says 503 and Retry-After where the store does not take it, and then the token lives (§2.2.1)', async () => {
    const other = await startTokenBroker('rfc7009-away');
    const tokens = [await other.obtain('payments'), await other.obtain('vault')];
    await other.store.close();
    for (const token of tokens) {
      const answer = await other.revoke(token);
      expect([answer.status, answer.body.error]).to.deep.equal([503, 'temporarily_unavailable']);
      expect(answer.headers.get('retry-after')).to.match(/^\d+$/);
      expect(other.broker.audit.at(-1)).to.include({
        action: 'revoke',
        outcome: 'failure',
        reason: 'store_unavailable',
      });
    }
    await other.stop();
  });
});

describe('conformance: a broker without a store', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('no-store');
  });
  after(() => broker.stop());

  it('says unsupported_token_type of a token that it would have to revoke (RFC 7009 §2.2.1)', async () => {
    const { body } = await broker.exchange({ subject_token: broker.issuer.token() });
    const form = { token: String(body.access_token) };
    const answer = await post(broker, PATH_REVOKE, { form });
    expect([answer.status, answer.body.error, answer.body.reason]).to.deep.equal([
      400,
      'unsupported_token_type',
      'revocation_unsupported',
    ]);
  });

  it('says 200 of what is no token of its own', async () => {
    expect((await post(broker, PATH_REVOKE, { form: { token: 'x' } })).status).to.equal(200);
  });

  it('names no revocation endpoint and no way for clients (RFC 8414 §2)', async () => {
    const { body } = await broker.request(PATH_SERVER_METADATA);
    expect(body).not.to.have.property('revocation_endpoint');
    expect(body.introspection_endpoint_auth_methods_supported).to.deep.equal(['Bearer']);
  });
});
