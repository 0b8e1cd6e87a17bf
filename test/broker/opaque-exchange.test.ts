// Opaque tokens, clients and receivers over HTTP: what the token endpoint gives and refuses, and what reloads.
import { expect } from 'chai';
import { PATH_TOKEN, TOKEN_TYPE_ACCESS, TOKEN_TYPE_JWT } from '../../common/protocol/oauth.ts';
import { ROLES, startTestBroker, type toForm } from './harness.ts';
import {
  type Credentials,
  startTokenBroker,
  TOKEN_ROLES,
  type TokenBroker,
  toAssertion,
  toBasic,
} from './token-harness.ts';

describe('exchange for an opaque token', () => {
  let on: TokenBroker;
  before(async () => {
    on = await startTokenBroker('opaque-exchange');
  });
  after(() => on.stop());

  const exchange = (parameters: Parameters<typeof toForm>[0] = {}) =>
    on.broker.exchange({
      subject_token: on.broker.issuer.token({ audiences: ['vault'] }),
      ...parameters,
    });

  it('answers like any other exchange, with an access token of 76 characters', async () => {
    const { body, headers } = await exchange();
    expect(body.access_token).to.match(/^cc_[0-9A-Za-z]{73}$/);
    expect(headers.get('cache-control')).to.equal('no-store');
    expect(body).to.deep.include({
      issued_token_type: TOKEN_TYPE_ACCESS,
      token_type: 'Bearer',
      expires_in: 600,
      scope: 'vault:read vault:write',
      expiry_cap: 'ttl',
    });
  });

  it('is what an access token may be, and not what a JWT is', async () => {
    const access = await exchange({ requested_token_type: TOKEN_TYPE_ACCESS });
    expect(access.status).to.equal(200);
    const jwt = await exchange({ requested_token_type: TOKEN_TYPE_JWT });
    expect([jwt.status, jwt.body.error, jwt.body.reason]).to.deep.equal([
      400,
      'invalid_request',
      'token_type_unsupported',
    ]);
    // The near miss: a role whose tokens are JWTs.
    const subject = on.broker.issuer.token();
    const payments = await exchange({
      subject_token: subject,
      requested_token_type: TOKEN_TYPE_JWT,
    });
    expect(payments.status).to.equal(200);
  });

  it('is durable when it is answered, and gone from the broker afterwards', async () => {
    const token = String((await exchange()).body.access_token);
    const { items } = await on.store.tokens.list({ audience: 'vault' }, { limit: 100 });
    expect(items.map(({ accessor }) => accessor)).to.include(token.slice(3, 27));
    expect(JSON.stringify(items)).not.to.include(token.slice(27, 70));
  });

  it('counts what it gave out, by type', async () => {
    await on.obtain('payments');
    const { registry } = on.broker.running.broker.metrics;
    const text = await registry.getSingleMetricAsString('coatcheck_broker_tokens_issued_total');
    expect(text)
      .to.match(/type="opaque"} [1-9]/)
      .and.match(/type="jwt"} [1-9]/);
  });

  it('is 503 where the store does not answer; JWTs go on', async () => {
    const other = await startTokenBroker('opaque-exchange-away');
    await other.store.close();
    const ask = (audience: string) =>
      other.broker.exchange({
        subject_token: other.broker.issuer.token({ audiences: [audience] }),
      });
    const opaque = await ask('vault');
    expect([opaque.status, opaque.body.error]).to.deep.equal([503, 'temporarily_unavailable']);
    expect(opaque.headers.get('retry-after')).to.be.a('string');
    expect((await ask('payments')).status).to.equal(200);
    await other.stop();
  });

  it('does not exist without a store: no role gives one', async () => {
    const plain = await startTestBroker('opaque-without-store');
    try {
      await plain.writeRoles('vault.yaml', TOKEN_ROLES.slice(ROLES.length));
      const subject = plain.issuer.token({ audiences: ['vault'] });
      expect((await plain.exchange({ subject_token: subject })).status).to.equal(400);
      const jwt = await plain.exchange({ subject_token: plain.issuer.token() });
      expect(jwt.status).to.equal(200);
    } finally {
      await plain.stop();
    }
  });
});

describe('clients at the token endpoint', () => {
  let on: TokenBroker;
  before(async () => {
    on = await startTokenBroker('clients-at-token-endpoint');
    await on.store.clients.put({ id: 'public', secretHashes: [], createdAt: 0, createdBy: 'test' });
  });
  after(() => on.stop());

  const ROWS: readonly {
    readonly name: string;
    readonly as: (on: TokenBroker) => Credentials;
    readonly reason?: string;
  }[] = [
    { name: 'no client', as: () => ({}) },
    { name: 'a client_id that nobody registered', as: () => ({ form: { client_id: 'anybody' } }) },
    { name: 'a client_id that is no id', as: () => ({ form: { client_id: 'k8s:a:b:c' } }) },
    {
      name: 'a client_id without credentials of its own',
      as: () => ({ form: { client_id: 'public' } }),
    },
    {
      name: 'the client_id of a client with a secret, without it',
      as: () => ({ form: { client_id: 'gateway' } }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'the client_id of a client with a key, without an assertion',
      as: () => ({ form: { client_id: 'signer' } }),
      reason: 'client_unauthenticated',
    },
    { name: 'a client with its secret by Basic', as: ({ clients }) => toBasic(clients.gateway) },
    {
      name: 'a client with its secret by form',
      as: ({ clients: { gateway } }) => ({
        form: { client_id: gateway.id, client_secret: gateway.secret },
      }),
    },
    {
      name: 'a client with an assertion',
      as: ({ clients, url }) => toAssertion(clients.signer, `${url}${PATH_TOKEN}`),
    },
    {
      name: 'a client with a wrong secret',
      as: ({ clients }) => toBasic({ ...clients.gateway, secret: 'wrong' }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'a secret without client_id',
      as: ({ clients }) => ({ form: { client_secret: clients.gateway.secret } }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'a client that has no secret, with one',
      as: () => ({ form: { client_id: 'public', client_secret: 'x' } }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'an assertion of another type',
      as: ({ clients, url }) => ({
        form: { ...toAssertion(clients.signer, url).form, client_assertion_type: 'urn:saml' },
      }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'a bearer token',
      as: () => ({ headers: { Authorization: 'Bearer x' } }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'Basic without a colon',
      as: () => ({ headers: { Authorization: `Basic ${Buffer.from('x').toString('base64')}` } }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'Basic with a stray percent sign',
      as: () => ({ headers: { Authorization: `Basic ${Buffer.from('a:%').toString('base64')}` } }),
      reason: 'client_unauthenticated',
    },
    {
      name: 'two ways at once',
      as: ({ clients }) => ({
        ...toBasic(clients.gateway),
        form: { client_secret: 'x', client_id: 'gateway' },
      }),
      reason: 'parameter_invalid',
    },
  ];

  for (const { name, as, reason } of ROWS) {
    it(`${reason === undefined ? 'serves' : 'refuses'} ${name}`, async () => {
      const { headers = {}, form = {} } = as(on);
      const answer = await on.broker.exchange(
        { subject_token: on.broker.issuer.token(), ...form },
        headers,
      );
      expect(answer.body.reason, answer.text).to.equal(reason);
      expect(answer.status).to.equal(
        reason === undefined ? 200 : reason === 'parameter_invalid' ? 400 : 401,
      );
    });
  }
});
