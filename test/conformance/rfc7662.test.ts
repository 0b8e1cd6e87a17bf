// Introspection against RFC 7662, clause by clause: what is asked, and what the clause wants of the answer.
import { expect } from 'chai';
import { PATH_INTROSPECT, PATH_SERVER_METADATA } from '../../common/protocol/oauth.ts';
import { type Answer, decodeClaims } from '../broker/harness.ts';
import {
  post,
  startTokenBroker,
  type TokenBroker,
  toBasic,
  toBearer,
} from '../broker/token-harness.ts';
import { createFakeClock } from '../support/clock.ts';

interface Clause {
  readonly clause: string;
  readonly check: (on: TokenBroker) => Promise<unknown>;
}

const isInactive = ({ status, body }: Answer) =>
  expect([status, body]).to.deep.equal([200, { active: false }]);
const isActive = ({ status, body }: Answer) =>
  expect([status, body.active]).to.deep.equal([200, true]);
const gateway = (on: TokenBroker) => toBasic(on.clients.gateway);
const ask = async (on: TokenBroker, form: Record<string, string> = {}) =>
  post(on.broker, PATH_INTROSPECT, { ...gateway(on), form });

const CLAUSES: readonly Clause[] = [
  {
    clause: '§2.1 a POST with parameters as application/x-www-form-urlencoded',
    check: async (on) => isActive(await on.introspect(await on.obtain())),
  },
  {
    clause: '§2.1 token is REQUIRED',
    check: async (on) => {
      const { status, body } = await ask(on);
      expect([status, body.error]).to.deep.equal([400, 'invalid_request']);
    },
  },
  {
    clause: '§2.1 token_type_hint MAY come: access_token',
    check: async (on) =>
      isActive(await ask(on, { token: await on.obtain(), token_type_hint: 'access_token' })),
  },
  {
    clause:
      '§2.1 not found by the hint, the server MUST extend its search over all its token types',
    check: async (on) => {
      for (const audience of ['payments', 'vault']) {
        const token = await on.obtain(audience);
        isActive(await ask(on, { token, token_type_hint: 'refresh_token' }));
      }
    },
  },
  {
    clause: '§2.1 a server MAY ignore token_type_hint: also one that nobody registered',
    check: async (on) =>
      isActive(await ask(on, { token: await on.obtain(), token_type_hint: 'urn:x:y' })),
  },
  {
    clause: '§2.1 MUST also require some form of authorization: to prevent token scanning',
    check: async (on) => {
      const { status, headers } = await on.introspect(await on.obtain(), {});
      expect(status).to.equal(401);
      expect(headers.get('www-authenticate')).to.match(/^Bearer realm=/);
    },
  },
  {
    clause: '§2.1 authorization by client authentication (RFC 6749 §2.3)',
    check: async (on) => isActive(await on.introspect(await on.obtain(), gateway(on))),
  },
  {
    clause: '§2.1 authorization by a separate access token (RFC 6750)',
    check: async (on) => {
      const bearer = on.broker.issuer.token({
        serviceAccount: 'payments-api',
        audiences: ['coatcheck-control'],
      });
      isActive(await on.introspect(await on.obtain(), toBearer(bearer)));
    },
  },
  {
    clause: '§2.2 the answer is application/json',
    check: async (on) => {
      const { headers } = await on.introspect(await on.obtain());
      expect(headers.get('content-type')).to.equal('application/json');
    },
  },
  {
    clause: '§2.2 active is REQUIRED and a boolean',
    check: async (on) => {
      for (const token of [await on.obtain(), 'unknown'])
        expect((await on.introspect(token)).body.active).to.be.a('boolean');
    },
  },
  {
    clause: '§2.2 scope: a text of scopes, separated by spaces',
    check: async (on) =>
      expect((await on.introspect(await on.obtain('vault'))).body.scope).to.equal(
        'vault:read vault:write',
      ),
  },
  {
    clause: '§2.2 token_type as in RFC 6749 §5.1',
    check: async (on) =>
      expect((await on.introspect(await on.obtain('vault'))).body.token_type).to.equal('Bearer'),
  },
  {
    clause: '§2.2 exp, iat, nbf: whole seconds; sub, aud, iss, jti as JWT defines them',
    check: async (on) => {
      for (const audience of ['payments', 'vault']) {
        const { body } = await on.introspect(await on.obtain(audience));
        for (const time of [body.exp, body.iat, body.nbf])
          expect(Number.isSafeInteger(time)).to.equal(true);
        for (const text of [body.sub, body.aud, body.iss, body.jti]) expect(text).to.be.a('string');
        expect(body.aud).to.equal(audience);
      }
    },
  },
  {
    clause: '§2.2 a JWT answers its own claims',
    check: async (on) => {
      const token = await on.obtain();
      expect((await on.introspect(token)).body).to.deep.include(decodeClaims(token));
    },
  },
  {
    clause: '§2.2 not active: no further information, also not why',
    check: async (on) => {
      const revoked = await on.obtain();
      await on.revoke(revoked);
      for (const token of [revoked, 'unknown', on.broker.issuer.token()])
        isInactive(await on.introspect(token));
    },
  },
  {
    clause: '§2.2 a protected resource that may not know the token: {"active": false}',
    check: async (on) =>
      isInactive(await on.introspect(await on.obtain(), toBasic(on.clients.stranger))),
  },
  {
    clause: '§2.2 the answer MAY differ by who asks: a resource learns only about its own audience',
    check: async (on) => {
      const token = await on.obtain('vault');
      const bearer = on.broker.issuer.token({
        serviceAccount: 'payments-api',
        audiences: ['coatcheck-control'],
      });
      isActive(await on.introspect(token));
      isInactive(await on.introspect(token, toBearer(bearer)));
    },
  },
  {
    clause: '§2.3 bad client credentials: 401 as in RFC 6749 §5.2',
    check: async (on) => {
      const wrong = toBasic({ ...on.clients.gateway, secret: 'wrong' });
      const { status, body, headers } = await on.introspect(await on.obtain(), wrong);
      expect([status, body.error]).to.deep.equal([401, 'invalid_client']);
      expect(headers.get('www-authenticate')).to.match(/^Basic /);
    },
  },
  {
    clause: '§2.3 a bad bearer: 401 as in RFC 6750 §3',
    check: async (on) => {
      const { status, body, headers } = await on.introspect(await on.obtain(), toBearer('wrong'));
      expect([status, body.error]).to.deep.equal([401, 'invalid_token']);
      expect(headers.get('www-authenticate')).to.match(/^Bearer .*error="invalid_token"/);
    },
  },
  {
    clause: '§2.3 a good request for a token that is not active is no error',
    check: async (on) => expect((await on.introspect('x')).status).to.equal(200),
  },
  {
    clause: '§4 all checks of the token are made: one that has expired is not active',
    check: async () => {
      const clock = createFakeClock(Date.now());
      const later = await startTokenBroker('rfc7662-later', { clock });
      const tokens = [await later.obtain('payments'), await later.obtain('vault')];
      for (const token of tokens) isActive(await later.introspect(token));
      await clock.advance(900_000);
      for (const token of tokens) isInactive(await later.introspect(token));
      const stopping = later.stop();
      await clock.advance(60_000);
      await stopping;
    },
  },
  {
    clause: '§4 answers are not to be kept by caches on the way',
    check: async (on) =>
      expect((await on.introspect(await on.obtain())).headers.get('cache-control')).to.equal(
        'no-store',
      ),
  },
  {
    clause: '§4 a token in a query leaks into logs: GET is refused',
    check: async (on) => {
      const target = `${PATH_INTROSPECT}?token=${await on.obtain()}`;
      const answer = await on.broker.request(target, { headers: gateway(on).headers ?? {} });
      expect([answer.status, answer.headers.get('allow')]).to.deep.equal([405, 'POST']);
    },
  },
  {
    clause: 'RFC 8414 §2: the endpoint, and every way to authenticate at it',
    check: async (on) => {
      const { body } = await on.broker.request(PATH_SERVER_METADATA);
      expect(body.introspection_endpoint).to.equal(on.url + PATH_INTROSPECT);
      expect(body.introspection_endpoint_auth_methods_supported).to.have.members([
        'Bearer',
        'client_secret_basic',
        'client_secret_post',
        'private_key_jwt',
      ]);
      expect(body.introspection_endpoint_auth_signing_alg_values_supported).to.include('ES256');
    },
  },
];

describe('conformance: RFC 7662 (token introspection)', () => {
  let on: TokenBroker;
  before(async () => {
    on = await startTokenBroker('rfc7662');
  });
  after(() => on.stop());

  for (const { clause, check } of CLAUSES) it(clause, () => check(on));
});
