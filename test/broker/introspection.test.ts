// Who may ask about which token: every way to be somebody, and beside each what is almost it. And what is answered.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { newOpaqueToken } from '../../broker/tokens/opaque.ts';
import { PATH_INTROSPECT } from '../../common/protocol/oauth.ts';
import { noteToken } from '../support/tokens.ts';
import { decodeClaims } from './harness.ts';
import {
  type Credentials,
  post,
  startTokenBroker,
  type TokenBroker,
  toAssertion,
  toBasic,
  toBearer,
} from './token-harness.ts';

type Outcome = 'active' | 'inactive' | number;
interface Row {
  readonly who: string;
  readonly as: (on: TokenBroker) => Credentials | Promise<Credentials>;
  /** Answers about a JWT for payments and an opaque token for vault. */
  readonly payments: Outcome;
  readonly vault: Outcome;
}

const now = () => Math.floor(Date.now() / 1000);
const receiver = (on: TokenBroker, more: Parameters<typeof on.broker.issuer.token>[0] = {}) =>
  on.broker.issuer.token({
    serviceAccount: 'payments-api',
    audiences: ['coatcheck-control'],
    ...more,
  });
const asForm = ({ id, secret }: TokenBroker['clients']['gateway']): Credentials => ({
  form: { client_id: id, client_secret: secret },
});

const WHO: readonly Row[] = [
  { who: 'nobody', as: () => ({}), payments: 401, vault: 401 },
  {
    who: 'a client by Basic',
    as: (on) => toBasic(on.clients.gateway),
    payments: 'active',
    vault: 'active',
  },
  {
    who: 'a client by form',
    as: (on) => asForm(on.clients.gateway),
    payments: 'active',
    vault: 'active',
  },
  {
    who: 'a client with a wrong secret',
    as: (on) => toBasic({ ...on.clients.gateway, secret: on.clients.stranger.secret }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a client with a secret one letter too long',
    as: (on) => asForm({ ...on.clients.gateway, secret: `${on.clients.gateway.secret}0` }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a client that nobody registered',
    as: (on) => toBasic({ ...on.clients.gateway, id: 'gatewa' }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a client with an empty secret',
    as: (on) => toBasic({ ...on.clients.gateway, secret: '' }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a client that has only a key, with the secret it does not have',
    as: (on) => toBasic(on.clients.signer),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a client_id alone',
    as: () => ({ form: { client_id: 'gateway' } }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a registered client that is no receiver',
    as: (on) => toBasic(on.clients.stranger),
    payments: 'inactive',
    vault: 'inactive',
  },
  {
    who: 'a client by Basic and by form at once',
    as: (on) => ({ ...toBasic(on.clients.gateway), ...asForm(on.clients.gateway) }),
    payments: 400,
    vault: 400,
  },
  {
    who: 'a client by an assertion for the issuer',
    as: (on) => toAssertion(on.clients.signer, on.url),
    payments: 'active',
    vault: 'inactive',
  },
  {
    who: 'a client by an assertion for the token endpoint',
    as: (on) => toAssertion(on.clients.signer, `${on.url}/oauth2/token`),
    payments: 'active',
    vault: 'inactive',
  },
  {
    who: 'an assertion for the introspection endpoint, which is not what RFC 7523 names',
    as: (on) => toAssertion(on.clients.signer, `${on.url}${PATH_INTROSPECT}`),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion for another server',
    as: (on) => toAssertion(on.clients.signer, 'https://other.example'),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion for us and another server',
    as: (on) => toAssertion(on.clients.signer, on.url, { aud: [on.url, 'https://other.example'] }),
    payments: 401,
    vault: 401,
  },
  {
    who: "an assertion signed by another client's key",
    as: (on) => toAssertion({ ...on.clients.signer, key: on.clients.stranger.key }, on.url),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion that somebody else issued about the client',
    as: (on) => toAssertion(on.clients.signer, on.url, { iss: 'stranger' }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion that has expired',
    as: (on) => toAssertion(on.clients.signer, on.url, { exp: now() - 60 }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion without exp',
    as: (on) => toAssertion(on.clients.signer, on.url, { exp: undefined }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion that lives an hour',
    as: (on) => toAssertion(on.clients.signer, on.url, { exp: now() + 3600 }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion without jti',
    as: (on) => toAssertion(on.clients.signer, on.url, { jti: undefined }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'an assertion beside another client_id',
    as: (on) => {
      const { form } = toAssertion(on.clients.signer, on.url);
      return { form: { ...form, client_id: 'gateway' } };
    },
    payments: 401,
    vault: 401,
  },
  {
    who: "a receiver's ServiceAccount token for the control audience",
    as: (on) => toBearer(receiver(on)),
    payments: 'active',
    vault: 'inactive',
  },
  {
    who: "a receiver's ServiceAccount token for the issuer as audience",
    as: (on) => toBearer(receiver(on, { audiences: [on.url] })),
    payments: 'active',
    vault: 'inactive',
  },
  {
    who: "a receiver's ServiceAccount token for another audience",
    as: (on) => toBearer(receiver(on, { audiences: ['payments'] })),
    payments: 401,
    vault: 401,
  },
  {
    who: "a receiver's ServiceAccount token for the broker and another audience",
    as: (on) => toBearer(receiver(on, { audiences: ['coatcheck-control', 'payments'] })),
    payments: 401,
    vault: 401,
  },
  {
    who: "a receiver's ServiceAccount token that has expired",
    as: (on) => toBearer(receiver(on, { issuedAt: now() - 7200 })),
    payments: 401,
    vault: 401,
  },
  {
    who: "a receiver's ServiceAccount token of another issuer's key",
    as: (on) => toBearer(receiver(on, { mint: { key: on.clients.signer.key } })),
    payments: 401,
    vault: 401,
  },
  {
    who: 'a ServiceAccount that is no receiver',
    as: (on) => toBearer(receiver(on, { serviceAccount: 'checkout' })),
    payments: 'inactive',
    vault: 'inactive',
  },
  {
    who: 'a ServiceAccount of the same name in another namespace',
    as: (on) => toBearer(receiver(on, { namespace: 'shop-evil' })),
    payments: 'inactive',
    vault: 'inactive',
  },
  {
    who: 'a client token of somebody who is no receiver',
    as: async (on) => toBearer(await on.obtain('payments')),
    payments: 'inactive',
    vault: 'inactive',
  },
  {
    who: 'another scheme',
    as: () => ({ headers: { Authorization: 'Digest x' } }),
    payments: 401,
    vault: 401,
  },
  {
    who: 'Bearer without a token',
    as: () => ({ headers: { Authorization: 'Bearer' } }),
    payments: 401,
    vault: 401,
  },
];

describe('introspection: who may ask', () => {
  let on: TokenBroker;
  let payments: string;
  let vault: string;
  before(async () => {
    on = await startTokenBroker('introspection');
    payments = await on.obtain('payments');
    vault = await on.obtain('vault');
  });
  after(() => on.stop());

  async function ask(token: string, as: Credentials): Promise<Outcome> {
    const answer = await on.introspect(token, as);
    expect(answer.headers.get('cache-control')).to.equal('no-store');
    if (answer.status === 401)
      expect(answer.headers.get('www-authenticate')).to.match(/^(Basic|Bearer) realm="coatcheck"/);
    if (answer.status !== 200) return answer.status;
    // Whoever may not ask learns nothing but what it learns of a token that never was.
    if (answer.body.active !== true) expect(answer.text).to.equal('{"active":false}');
    return answer.body.active === true ? 'active' : 'inactive';
  }

  for (const { who, as, ...expected } of WHO) {
    it(`${who}: ${expected.payments} about payments, ${expected.vault} about vault`, async () => {
      expect({
        payments: await ask(payments, await as(on)),
        vault: await ask(vault, await as(on)),
      }).to.deep.equal(expected);
    });
  }

  it('takes an assertion once', async () => {
    const as = toAssertion(on.clients.signer, on.url);
    expect(await ask(payments, as)).to.equal('active');
    expect(await ask(payments, as)).to.equal(401);
  });

  it('says in the log why somebody was refused, and names no secret', async () => {
    await ask(payments, toBasic({ ...on.clients.gateway, id: 'nobody-here' }));
    const line = on.broker.log.findLast(({ msg }) => msg === 'introspection refused');
    expect(line).to.include({
      reason: 'client_unauthenticated',
      detail: 'no client of this id is registered',
      level: 'info',
    });
  });

  it('counts what it answered', async () => {
    const { registry } = on.broker.running.broker.metrics;
    const text = await registry.getSingleMetricAsString('coatcheck_broker_introspections_total');
    for (const outcome of ['active', 'inactive', 'refused'])
      expect(text).to.match(new RegExp(`outcome="${outcome}"} [1-9]`));
  });
});

describe('introspection: a client token as bearer', () => {
  let on: TokenBroker;
  before(async () => {
    on = await startTokenBroker('introspection-by-client-token', {
      receivers: [{ identity: 'k8s:local:shop:checkout', audiences: ['payments', 'vault'] }],
    });
  });
  after(() => on.stop());

  it('opens the audience it is for, and no other of the same receiver', async () => {
    // Whoever receives tokens for payments was shown this one; it may use it to ask about payments, as it may anyway.
    const bearer = toBearer(await on.obtain('payments'));
    const [payments, vault] = [await on.obtain('payments'), await on.obtain('vault')];
    expect((await on.introspect(payments, bearer)).body.active).to.equal(true);
    expect((await on.introspect(vault, bearer)).body.active).to.equal(false);
  });

  it('opens nothing once it is revoked', async () => {
    const token = await on.obtain('vault');
    const asked = await on.obtain('vault');
    expect((await on.introspect(asked, toBearer(token))).body.active).to.equal(true);
    await on.revoke(token);
    expect((await on.introspect(asked, toBearer(token))).status).to.equal(401);
  });
});

describe('introspection: what is answered', () => {
  let on: TokenBroker;
  before(async () => {
    on = await startTokenBroker('introspection-answer');
  });
  after(() => on.stop());

  it('is the claims of a JWT', async () => {
    const token = await on.obtain('payments');
    const { body } = await on.introspect(token);
    expect(body).to.deep.equal({ active: true, token_type: 'Bearer', ...decodeClaims(token) });
  });

  it('is ours to say where a role has claims of the names that the answer has', async () => {
    const roles = `apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: payments-odd }
spec:
  audience: payments
  subjects: [{ namespace: shop, serviceAccount: checkout }]
  token: { claims: { active: false, token_type: N_A, tenant: shop } }
`;
    const odd = await startTokenBroker('introspection-odd', { roles });
    const token = await odd.obtain('payments');
    const { body } = await odd.introspect(token);
    await odd.stop();
    expect(body).to.include({ active: true, token_type: 'Bearer', tenant: 'shop' });
  });

  it('is what a JWT would say, of an opaque token', async () => {
    const [jwt, opaque] = [await on.obtain('payments'), await on.obtain('vault')];
    const { body } = await on.introspect(opaque);
    expect(Object.keys(body).sort()).to.deep.equal(
      ['active', 'token_type', ...Object.keys(decodeClaims(jwt))].sort(),
    );
    const claims = decodeClaims(jwt);
    expect(body).to.deep.include({
      iss: on.url,
      sub: 'k8s:local:shop:checkout',
      client_id: 'k8s:local:shop:checkout',
      aud: 'vault',
      scope: 'vault:read vault:write',
      policies: ['vault'],
      tenant: 'shop',
      cluster: 'local',
      'kubernetes.io': claims['kubernetes.io'],
      jti: opaque.slice(3, 27),
    });
    expect(Number(body.exp) - Number(body.iat)).to.equal(600);
  });

  const DEAD: readonly { name: string; make: (on: TokenBroker) => string | Promise<string> }[] = [
    { name: 'garbage', make: () => 'garbage' },
    {
      name: 'a ServiceAccount token, also a good one',
      make: ({ broker }) => broker.issuer.token(),
    },
    {
      name: 'an opaque token that nobody issued, its checksum right',
      make: () => noteToken(newOpaqueToken(randomBytes).token.reveal()),
    },
    {
      name: 'an opaque token with one letter changed',
      make: async ({ obtain }) => {
        const token = await obtain('vault');
        return token.slice(0, 40) + (token[40] === 'x' ? 'y' : 'x') + token.slice(41);
      },
    },
    {
      name: 'a JWT of ours with another payload',
      make: async ({ obtain }) => {
        const [header, , signature] = (await obtain('payments')).split('.');
        const forged = { ...decodeClaims(await obtain('payments')), sub: 'client:root' };
        return `${header}.${Buffer.from(JSON.stringify(forged)).toString('base64url')}.${signature}`;
      },
    },
    { name: 'a revoked JWT', make: (one) => revoked(one, 'payments') },
    { name: 'a revoked opaque token', make: (one) => revoked(one, 'vault') },
  ];

  async function revoked({ obtain, revoke }: TokenBroker, audience: string): Promise<string> {
    const token = await obtain(audience);
    expect((await revoke(token)).status).to.equal(200);
    return token;
  }

  for (const { name, make } of DEAD) {
    it(`is {"active":false} about ${name}`, async () => {
      const answer = await on.introspect(await make(on));
      expect([answer.status, answer.text]).to.deep.equal([200, '{"active":false}']);
    });
  }

  it('asks no API server and fetches no key for a ServiceAccount token', async () => {
    const before = on.broker.issuer.requests.length;
    await on.introspect(on.broker.issuer.token());
    expect(on.broker.issuer.requests).to.have.length(before);
  });

  it('wants a form, POST, and one token', async () => {
    const [basic, token] = [toBasic(on.clients.gateway), await on.obtain()];
    const json = await on.broker.request(PATH_INTROSPECT, {
      method: 'POST',
      headers: { ...basic.headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({ token }),
    });
    expect([json.status, json.body.reason]).to.deep.equal([400, 'body_invalid']);
    expect((await on.broker.request(PATH_INTROSPECT, basic)).status).to.equal(405);
    expect((await post(on.broker, PATH_INTROSPECT, basic)).body.reason).to.equal(
      'parameter_missing',
    );
    const twice = await on.broker.request(PATH_INTROSPECT, {
      method: 'POST',
      headers: { ...basic.headers },
      body: new URLSearchParams([
        ['token', token],
        ['token', token],
      ]),
    });
    expect(twice.body.reason).to.equal('parameter_repeated');
  });
});
