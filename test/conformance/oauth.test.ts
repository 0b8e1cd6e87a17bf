// The token endpoint and its metadata against the standards, clause by clause. Each row is a request and what the clause
// wants of the answer; the title is the clause.
import { expect } from 'chai';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import {
  GRANT_TOKEN_EXCHANGE,
  PATH_OPENID_CONFIGURATION,
  PATH_SERVER_METADATA,
  TOKEN_TYPE_ACCESS,
  TOKEN_TYPE_ID,
  TOKEN_TYPE_JWT,
} from '../../common/protocol/oauth.ts';
import {
  type Answer,
  decodeClaims,
  decodeHeader,
  ROLES,
  startTestBroker,
  type TestBroker,
  toForm,
} from '../broker/harness.ts';

interface Clause {
  readonly clause: string;
  readonly ask: (broker: TestBroker) => Promise<Answer>;
  readonly check: (answer: Answer, broker: TestBroker) => unknown;
}

const exchange =
  (parameters: Parameters<typeof toForm>[0] = {}, headers: Record<string, string> = {}) =>
  (broker: TestBroker) =>
    broker.exchange({ subject_token: broker.issuer.token(), ...parameters }, headers);
const get = (path: string) => (broker: TestBroker) => broker.request(path);
const isError =
  (error: string, status = 400) =>
  (answer: Answer) => {
    expect([answer.status, answer.body.error], answer.text).to.deep.equal([status, error]);
    expect(answer.body).not.to.have.any.keys('access_token');
  };
const isServed = (answer: Answer) => expect(answer.status, answer.text).to.equal(200);
const claimsOf = ({ body }: Answer) => decodeClaims(body.access_token);

const RFC6749: readonly Clause[] = [
  {
    clause: '§3.2 the client MUST use the HTTP "POST" method',
    ask: get('/oauth2/token'),
    check: (answer) => expect(answer.status).to.equal(405),
  },
  {
    clause: '§3.2 parameters sent without a value MUST be treated as if they were omitted',
    ask: exchange({ scope: '', audience: '' }),
    check: isServed,
  },
  {
    clause: '§3.2 parameters sent without a value: an empty required one is missing',
    ask: exchange({ grant_type: '' }),
    check: isError('invalid_request'),
  },
  {
    clause: '§3.2 the authorization server MUST ignore unrecognized request parameters',
    ask: exchange({ unheard_of: 'x' }),
    check: isServed,
  },
  {
    clause: '§3.2 request parameters MUST NOT be included more than once',
    ask: exchange({ grant_type: [GRANT_TOKEN_EXCHANGE, GRANT_TOKEN_EXCHANGE] }),
    check: isError('invalid_request'),
  },
  {
    clause: '§3.3 the scope order does not matter, and each string adds a range',
    ask: exchange({ scope: 'payments:write payments:read' }),
    check: (answer) =>
      expect(String(claimsOf(answer).scope).split(' ')).to.have.members([
        'payments:read',
        'payments:write',
      ]),
  },
  {
    clause: '§3.3 a scope-token has no control characters',
    ask: exchange({ scope: 'payments:read\u0007' }),
    check: isError('invalid_scope'),
  },
  {
    clause: '§3.3 if the issued scope differs from the requested, "scope" MUST inform the client',
    ask: exchange(),
    check: (answer) => expect(answer.body.scope).to.equal(claimsOf(answer).scope),
  },
  {
    clause: '§5.1 access_token and token_type are REQUIRED, expires_in RECOMMENDED as a number',
    ask: exchange(),
    check: ({ body }) => {
      expect(body).to.include.all.keys('access_token', 'token_type');
      expect(body.expires_in).to.be.a('number');
    },
  },
  {
    clause: '§5.1 the answer is application/json',
    ask: exchange(),
    check: ({ headers }) => expect(headers.get('content-type')).to.match(/^application\/json/),
  },
  {
    clause: '§5.1 MUST include "Cache-Control: no-store" and "Pragma: no-cache"',
    ask: exchange(),
    check: ({ headers }) =>
      expect([headers.get('cache-control'), headers.get('pragma')]).to.deep.equal([
        'no-store',
        'no-cache',
      ]),
  },
  {
    clause: '§5.2 an error is 400 with application/json',
    ask: exchange({ scope: 'none' }),
    check: ({ status, headers }) =>
      expect([status, headers.get('content-type')]).to.deep.equal([400, 'application/json']),
  },
  {
    clause: '§5.2 invalid_request: a required parameter is missing',
    ask: exchange({ subject_token: undefined }),
    check: isError('invalid_request'),
  },
  {
    clause:
      '§5.2 invalid_client by the Authorization header MUST be 401 with a matching WWW-Authenticate',
    ask: exchange({}, { Authorization: 'Basic eDp5' }),
    check: (answer) => {
      isError('invalid_client', 401)(answer);
      expect(answer.headers.get('www-authenticate')).to.match(/^Basic /);
    },
  },
  {
    clause: '§5.2 invalid_client for unsupported authentication in the body',
    ask: exchange({ client_id: 'x', client_secret: 'y' }),
    check: isError('invalid_client', 401),
  },
  {
    clause: '§5.2 unsupported_grant_type',
    ask: exchange({ grant_type: 'password' }),
    check: isError('unsupported_grant_type'),
  },
  {
    clause: '§5.2 invalid_scope: exceeds what was granted',
    ask: exchange({ scope: 'everything' }),
    check: isError('invalid_scope'),
  },
  {
    clause:
      '§5.2 error_description MUST NOT include characters outside %x20-21 / %x23-5B / %x5D-7E',
    ask: (broker) =>
      broker.exchange({ subject_token: broker.issuer.token({ audiences: ['"quoted"\\\u00e9'] }) }),
    check: ({ body }) =>
      expect(body.error_description).to.match(/^[\x20-\x21\x23-\x5b\x5d-\x7e]+$/),
  },
  {
    clause: 'Appendix B: the body is UTF-8 form-urlencoded',
    ask: (broker) =>
      broker.request('/oauth2/token', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: '{}',
      }),
    check: isError('invalid_request'),
  },
];

const RFC8693: readonly Clause[] = [
  {
    clause: '§2.1 grant_type is urn:ietf:params:oauth:grant-type:token-exchange',
    ask: exchange({ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange' }),
    check: isServed,
  },
  {
    clause: '§2.1 audience: the logical name of the target',
    ask: exchange({ audience: 'payments' }),
    check: (answer) => expect(claimsOf(answer).aud).to.equal('payments'),
  },
  {
    clause: '§2.1 resource: MUST be an absolute URI',
    ask: exchange({ resource: 'payments' }),
    check: isError('invalid_target'),
  },
  {
    clause: '§2.1 resource: MUST NOT include a fragment',
    ask: exchange({ resource: 'https://payments.example/#x' }),
    check: isError('invalid_target'),
  },
  {
    clause: "§2.1 resource: names the target where it is one of the token's audiences",
    ask: (broker) =>
      broker.exchange({
        subject_token: broker.issuer.token({ audiences: ['https://api.example/v1'] }),
        resource: 'https://api.example/v1',
      }),
    check: (answer) => expect(claimsOf(answer).aud).to.equal('https://api.example/v1'),
  },
  {
    clause:
      '§2.1 several audiences or resources: one that cannot be served together is invalid_target (§2.2.2)',
    ask: exchange({ audience: ['payments', 'orders'] }),
    check: isError('invalid_target'),
  },
  {
    clause: '§2.1 audience and resource may be used together for one target',
    ask: (broker) =>
      broker.exchange({
        subject_token: broker.issuer.token({ audiences: ['https://api.example/v1'] }),
        resource: 'https://api.example/v1',
        audience: 'https://api.example/v1',
      }),
    check: isServed,
  },
  {
    clause: '§2.1 requested_token_type: access_token',
    ask: exchange({ requested_token_type: TOKEN_TYPE_ACCESS }),
    check: isServed,
  },
  {
    clause: '§2.1 requested_token_type: jwt',
    ask: exchange({ requested_token_type: TOKEN_TYPE_JWT }),
    check: isServed,
  },
  {
    clause: '§2.1 requested_token_type: one that is not issued here',
    ask: exchange({ requested_token_type: 'urn:ietf:params:oauth:token-type:saml2' }),
    check: isError('invalid_request'),
  },
  {
    clause: '§2.1 subject_token is REQUIRED',
    ask: exchange({ subject_token: undefined }),
    check: isError('invalid_request'),
  },
  {
    clause: '§2.1 subject_token_type is REQUIRED',
    ask: exchange({ subject_token_type: undefined }),
    check: isError('invalid_request'),
  },
  {
    clause: '§2.1 subject_token_type id_token (§3)',
    ask: exchange({ subject_token_type: TOKEN_TYPE_ID }),
    check: isServed,
  },
  {
    clause: '§2.1 actor_token that is not supported is refused, never ignored',
    ask: (broker) =>
      broker.exchange({
        subject_token: broker.issuer.token(),
        actor_token: broker.issuer.token(),
        actor_token_type: TOKEN_TYPE_JWT,
      }),
    check: isError('invalid_request'),
  },
  {
    clause: '§2.1 actor_token_type MUST NOT be included without actor_token',
    ask: exchange({ actor_token_type: TOKEN_TYPE_JWT }),
    check: isError('invalid_request'),
  },
  {
    clause: "§2.1 client authentication is the server's choice: none is needed",
    ask: exchange({ client_id: undefined }),
    check: isServed,
  },
  {
    clause: '§2.2.1 issued_token_type is REQUIRED',
    ask: exchange(),
    check: ({ body }) => expect(body.issued_token_type).to.equal(TOKEN_TYPE_ACCESS),
  },
  {
    clause: '§2.2.1 token_type is REQUIRED',
    ask: exchange(),
    check: ({ body }) => expect(body.token_type).to.equal('Bearer'),
  },
  {
    clause: '§2.2.1 expires_in says how long',
    ask: exchange(),
    check: (answer) => {
      const { exp, iat } = claimsOf(answer);
      expect(answer.body.expires_in).to.equal(Number(exp) - Number(iat));
    },
  },
  {
    clause: '§2.2.1 no refresh_token for a temporary credential',
    ask: exchange(),
    check: ({ body }) => expect(body).not.to.have.any.keys('refresh_token'),
  },
  {
    clause: '§2.2.2 an invalid subject_token, for any reason, is invalid_request with 400',
    ask: exchange({ subject_token: 'x.y.z' }),
    check: isError('invalid_request'),
  },
  {
    clause: '§2.2.2 a subject_token that is unacceptable by policy is invalid_request',
    ask: (broker) => broker.exchange({ subject_token: broker.issuer.token({ namespace: 'none' }) }),
    check: isError('invalid_request'),
  },
  {
    clause: '§2.2.2 invalid_target: unwilling or unable to issue for the target',
    ask: exchange({ audience: 'elsewhere' }),
    check: isError('invalid_target'),
  },
];

const RFC8414: readonly Clause[] = [
  {
    clause: '§2 issuer is REQUIRED and is the URL it was retrieved from',
    ask: get(PATH_SERVER_METADATA),
    check: ({ body }, broker) => expect(body.issuer).to.equal(broker.url),
  },
  {
    clause: '§2 token_endpoint answers',
    ask: get(PATH_SERVER_METADATA),
    check: async ({ body }, broker) => {
      const response = await fetch(String(body.token_endpoint), {
        method: 'POST',
        body: toForm({ subject_token: broker.issuer.token(), scope: 'none' }),
      });
      expect(((await response.json()) as { error: string }).error).to.equal('invalid_scope');
    },
  },
  {
    clause: '§2 jwks_uri holds the keys',
    ask: get(PATH_SERVER_METADATA),
    check: async ({ body }) =>
      expect(
        ((await (await fetch(String(body.jwks_uri))).json()) as { keys: unknown[] }).keys,
      ).to.have.length(1),
  },
  {
    clause: '§2 response_types_supported is REQUIRED',
    ask: get(PATH_SERVER_METADATA),
    check: ({ body }) => expect(body.response_types_supported).to.be.an('array').that.is.not.empty,
  },
  {
    clause: '§2 grant_types_supported: the default would be wrong, so it is stated',
    ask: get(PATH_SERVER_METADATA),
    check: ({ body }) => expect(body.grant_types_supported).to.deep.equal([GRANT_TOKEN_EXCHANGE]),
  },
  {
    clause: '§2 token_endpoint_auth_methods_supported: the default would be wrong, so it is stated',
    ask: get(PATH_SERVER_METADATA),
    check: ({ body }) => expect(body.token_endpoint_auth_methods_supported).to.deep.equal(['none']),
  },
  {
    clause: '§3.2 200 and application/json',
    ask: get(PATH_SERVER_METADATA),
    check: ({ status, headers }) =>
      expect([status, headers.get('content-type')]).to.deep.equal([200, 'application/json']),
  },
  {
    clause: '§3.2 claims with zero elements MUST be omitted',
    ask: get(PATH_SERVER_METADATA),
    check: ({ body }) => {
      for (const value of Object.values(body))
        if (Array.isArray(value)) expect(value).not.to.have.length(0);
    },
  },
  {
    clause: 'OpenID Discovery §3: what it requires besides',
    ask: get(PATH_OPENID_CONFIGURATION),
    check: ({ body }) => {
      expect(body.subject_types_supported).to.deep.equal(['public']);
      expect(body.id_token_signing_alg_values_supported).to.deep.equal(['ES256']);
    },
  },
  {
    clause: 'OpenID Discovery §4.3: the same issuer in both documents',
    ask: get(PATH_OPENID_CONFIGURATION),
    check: async ({ body }, broker) =>
      expect(body.issuer).to.equal((await broker.request(PATH_SERVER_METADATA)).body.issuer),
  },
];

const RFC9068: readonly Clause[] = [
  {
    clause: '§2.1 MUST be signed and MUST NOT use "none"',
    ask: exchange(),
    check: ({ body }) => expect(decodeHeader(body.access_token).alg).to.equal('ES256'),
  },
  {
    clause: '§2.1 typ SHOULD be "at+jwt"',
    ask: exchange(),
    check: ({ body }) => expect(decodeHeader(body.access_token).typ).to.equal('at+jwt'),
  },
  {
    clause: '§2.2 iss, exp, aud, sub, client_id, iat, jti are REQUIRED',
    ask: exchange(),
    check: (answer) =>
      expect(claimsOf(answer)).to.include.all.keys(
        'iss',
        'exp',
        'aud',
        'sub',
        'client_id',
        'iat',
        'jti',
      ),
  },
  {
    clause: '§2.2.3 scope: the issued scopes, as in the answer',
    ask: exchange({ scope: 'payments:read' }),
    check: (answer) => expect(claimsOf(answer).scope).to.equal(answer.body.scope),
  },
  {
    clause: '§3 aud is the requested resource alone',
    ask: exchange({ audience: 'payments' }),
    check: (answer) => expect(claimsOf(answer).aud).to.equal('payments'),
  },
  {
    clause:
      '§4 the resource server finds the keys by metadata and verifies issuer, audience and typ',
    ask: exchange(),
    check: async ({ body }, broker) => {
      const metadata = (await broker.request(PATH_SERVER_METADATA)).body;
      const keys = createRemoteJWKSet(new URL(String(metadata.jwks_uri)));
      await jwtVerify(String(body.access_token), keys, {
        issuer: String(metadata.issuer),
        audience: 'payments',
        typ: 'at+jwt',
      });
    },
  },
  {
    clause: '§4 a token for another audience does not verify',
    ask: exchange(),
    check: async ({ body }, broker) => {
      const keys = createRemoteJWKSet(new URL(`${broker.url}/oauth2/jwks`));
      const outcome = await jwtVerify(String(body.access_token), keys, { audience: 'orders' }).then(
        () => 'verified',
        (error: { claim?: string }) => error.claim,
      );
      expect(outcome).to.equal('aud');
    },
  },
  {
    clause: '§6 RFC 7519 §4.1.7: jti is never used twice',
    ask: exchange(),
    check: async (answer, broker) =>
      expect(claimsOf(await exchange()(broker)).jti).not.to.equal(claimsOf(answer).jti),
  },
];

const URL_ROLE = `
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: url-audience }
spec: { audience: "https://api.example/v1", subjects: [{ namespace: shop, serviceAccount: checkout }] }
`;

describe('conformance', () => {
  let broker: TestBroker;
  before(async () => {
    broker = await startTestBroker('conformance', { roles: ROLES + URL_ROLE });
  });
  after(() => broker.stop());

  for (const [standard, clauses] of Object.entries({
    'RFC 6749 (OAuth 2.0)': RFC6749,
    'RFC 8693 (token exchange)': RFC8693,
    'RFC 8414 (server metadata) and OpenID Discovery': RFC8414,
    'RFC 9068 (JWT access tokens)': RFC9068,
  })) {
    describe(standard, () => {
      for (const { clause, ask, check } of clauses) {
        it(clause, async () => {
          await check(await ask(broker), broker);
        });
      }
    });
  }
});
