// The local issuer over HTTP, against what kube-apiserver answers to the same requests.

import { createHash, createPublicKey, type JsonWebKey } from 'node:crypto';
import { expect } from 'chai';
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose';
import type { Clock } from '../../common/clock.ts';
import { listen, type RunningServer } from '../../common/http.ts';
import { createIssuerKey } from '../../dev/issuer/keys.ts';
import { createLocalIssuer } from '../../dev/issuer.ts';
import { keep, noteToken } from '../support/tokens.ts';

const START = Date.parse('2026-11-22T10:00:00Z');
const TOKEN_PATH = '/api/v1/namespaces/shop/serviceaccounts/checkout/token';
const REVIEW_PATH = '/apis/authentication.k8s.io/v1/tokenreviews';
const POD = { kind: 'Pod', apiVersion: 'v1', name: 'checkout-1' };

interface Reply {
  code: number;
  // biome-ignore lint/suspicious/noExplicitAny: answers are read field by field, as a client in a test does.
  body: any;
}

describe('the local issuer', () => {
  let server: RunningServer;
  let now = START;
  const clock: Clock = { now: () => now, sleep: () => Promise.resolve() };

  const key = createIssuerKey();

  beforeEach(async () => {
    now = START;
    let issued = 0;
    const issuer = createLocalIssuer({
      baseUrl: 'http://127.0.0.1:8420',
      clock,
      key,
      newUid: () => `00000000-0000-4000-8000-${String(++issued).padStart(12, '0')}`,
    });
    server = await listen(issuer.handler, { address: { host: '127.0.0.1', port: 0 } });
  });

  afterEach(() => server.drain(0));

  async function call(method: string, path: string, body?: unknown): Promise<Reply> {
    const response = await fetch(`${server.url}/dev/kube${path}`, {
      method,
      ...(body !== undefined && {
        headers: { 'Content-Type': 'application/json' },
        body: typeof body === 'string' ? body : JSON.stringify(body),
      }),
    });
    const text = await response.text();
    const parsed = JSON.parse(text);
    if (parsed.kind !== 'TokenRequest') keep('dev-issuer-answer', text);
    return { code: response.status, body: parsed };
  }

  async function getToken(spec: object, path = TOKEN_PATH): Promise<string> {
    const { code, body } = await call('POST', path, { spec });
    expect(code).to.equal(201);
    return noteToken(body.status.token);
  }

  const review = async (token: string, audiences?: readonly string[]): Promise<Reply> =>
    call('POST', REVIEW_PATH, { spec: { token, ...(audiences && { audiences }) } });

  describe('TokenRequest', () => {
    it('signs a pod-bound token with the claims of kube-apiserver and nothing else', async () => {
      const { code, body } = await call('POST', TOKEN_PATH, {
        kind: 'TokenRequest',
        apiVersion: 'authentication.k8s.io/v1',
        spec: { audiences: ['payments'], expirationSeconds: 900, boundObjectRef: POD },
      });
      const token = noteToken(body.status.token);
      const jwks = (await call('GET', '/openid/v1/jwks')).body as JSONWebKeySet;
      const { payload } = await jwtVerify(token, createLocalJWKSet(jwks), {
        currentDate: new Date(START),
      });
      const seconds = START / 1000;
      expect(code).to.equal(201);
      expect(body.status.expirationTimestamp).to.equal('2026-11-22T10:15:00Z');
      expect(body.spec.boundObjectRef).to.deep.include(POD);
      expect(payload.jti).to.match(/^[0-9a-f-]{36}$/);
      expect({ ...payload, jti: '' }).to.deep.equal({
        aud: ['payments'],
        exp: seconds + 900,
        iat: seconds,
        iss: 'http://127.0.0.1:8420/dev/kube',
        jti: '',
        'kubernetes.io': {
          namespace: 'shop',
          node: { name: 'dev-node', uid: '00000000-0000-4000-8000-000000000001' },
          pod: { name: 'checkout-1', uid: body.spec.boundObjectRef.uid },
          serviceaccount: { name: 'checkout', uid: '00000000-0000-4000-8000-000000000004' },
        },
        nbf: seconds,
        sub: 'system:serviceaccount:shop:checkout',
      });
    });

    it('derives the kid from the key as kube-apiserver does, and writes no typ', async () => {
      const token = await getToken({ audiences: ['payments'] });
      const { body } = await call('GET', '/openid/v1/jwks');
      const [key] = body.keys as JsonWebKey[];
      const publicKey = createPublicKey({ key: key as JsonWebKey, format: 'jwk' });
      const der = publicKey.export({ type: 'spki', format: 'der' });
      const kid = createHash('sha256').update(der).digest('base64url');
      expect(decodeProtectedHeader(token)).to.deep.equal({ alg: 'RS256', kid });
      expect(key).to.include({ kid, kty: 'RSA', use: 'sig', alg: 'RS256' });
      expect(key).not.to.have.property('d');
    });

    it('leaves pod and node out of a token that is bound to none, and lives an hour by default', async () => {
      const claims = toClaims(await getToken({ audiences: ['payments'] }));
      expect(claims.exp - claims.iat).to.equal(3600);
      expect(Object.keys(claims['kubernetes.io'])).to.deep.equal(['namespace', 'serviceaccount']);
    });

    it('takes the API server for the audience where none is named', async () => {
      const claims = toClaims(await getToken({}));
      expect(claims.aud).to.deep.equal(['http://127.0.0.1:8420/dev/kube']);
    });

    it('keeps the uid of a ServiceAccount and of a pod from one request to the next', async () => {
      const spec = { audiences: ['payments'], boundObjectRef: POD };
      const [first, second] = [toClaims(await getToken(spec)), toClaims(await getToken(spec))];
      expect(first['kubernetes.io']).to.deep.equal(second['kubernetes.io']);
      expect(first.jti).not.to.equal(second.jti);
    });

    it('takes the uid of the reference for a pod that did not exist', async () => {
      const claims = toClaims(await getToken({ boundObjectRef: { ...POD, uid: 'uid-of-mine' } }));
      expect(claims['kubernetes.io'].pod).to.deep.equal({ name: 'checkout-1', uid: 'uid-of-mine' });
    });

    const lives = [
      {
        name: 'the default pod token lives a year and warns after 3607 s',
        audiences: [],
        seconds: 3607,
        bound: true,
        life: 31_536_000,
        warns: true,
      },
      {
        name: 'not so for an audience of its own',
        audiences: ['payments'],
        seconds: 3607,
        bound: true,
        life: 3607,
        warns: false,
      },
      {
        name: 'not so for another life',
        audiences: [],
        seconds: 3606,
        bound: true,
        life: 3606,
        warns: false,
      },
      {
        name: 'not so without a pod',
        audiences: [],
        seconds: 3607,
        bound: false,
        life: 3607,
        warns: false,
      },
    ];
    for (const { name, audiences, seconds, bound, life, warns } of lives) {
      it(name, async () => {
        const { body } = await call('POST', TOKEN_PATH, {
          spec: { audiences, expirationSeconds: seconds, ...(bound && { boundObjectRef: POD }) },
        });
        const claims = toClaims(noteToken(body.status.token));
        expect(claims.exp - claims.iat).to.equal(life);
        expect(claims['kubernetes.io'].warnafter).to.equal(warns ? claims.iat + 3607 : undefined);
        expect(Date.parse(body.status.expirationTimestamp)).to.equal(START + seconds * 1000);
      });
    }

    const refusals = [
      {
        name: 'fewer than 600 seconds',
        body: { spec: { expirationSeconds: 599 } },
        code: 422,
        reason: 'Invalid',
        says: 'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes',
      },
      {
        name: 'more than 2^32 seconds',
        body: { spec: { expirationSeconds: 2 ** 32 + 1 } },
        code: 422,
        reason: 'Invalid',
        says: 'may not specify a duration larger than 2^32 seconds',
      },
      {
        name: 'seconds that are no whole number',
        body: { spec: { expirationSeconds: 600.5 } },
        code: 400,
        reason: 'BadRequest',
        says: 'spec.expirationSeconds',
      },
      {
        name: 'seconds as a string',
        body: { spec: { expirationSeconds: '600' } },
        code: 400,
        reason: 'BadRequest',
        says: 'spec.expirationSeconds',
      },
      {
        name: 'an audience that is no string',
        body: { spec: { audiences: [1] } },
        code: 400,
        reason: 'BadRequest',
        says: 'spec.audiences',
      },
      {
        name: 'audiences that are no list',
        body: { spec: { audiences: 'payments' } },
        code: 400,
        reason: 'BadRequest',
        says: 'spec.audiences',
      },
      {
        name: 'a reference to a ConfigMap',
        body: { spec: { boundObjectRef: { kind: 'ConfigMap', apiVersion: 'v1', name: 'x' } } },
        code: 400,
        reason: 'BadRequest',
        says: 'cannot bind token to object of type v1, Kind=ConfigMap',
      },
      {
        name: 'a Pod of another API group',
        body: { spec: { boundObjectRef: { kind: 'Pod', apiVersion: 'apps/v1', name: 'x' } } },
        code: 400,
        reason: 'BadRequest',
        says: 'cannot bind token to object of type apps/v1, Kind=Pod',
      },
      {
        name: 'a reference without a name',
        body: { spec: { boundObjectRef: { kind: 'Pod', apiVersion: 'v1' } } },
        code: 400,
        reason: 'BadRequest',
        says: 'name may not be empty',
      },
      {
        name: 'another kind',
        body: { kind: 'TokenReview', spec: {} },
        code: 400,
        reason: 'BadRequest',
        says: 'kind TokenRequest',
      },
      {
        name: 'another version',
        body: { apiVersion: 'authentication.k8s.io/v1beta1' },
        code: 400,
        reason: 'BadRequest',
        says: 'authentication.k8s.io/v1',
      },
      {
        name: 'the name of another ServiceAccount',
        body: { metadata: { name: 'billing' } },
        code: 422,
        reason: 'Invalid',
        says: 'must match the service account name if specified',
      },
      {
        name: 'the namespace of another',
        body: { metadata: { namespace: 'bank' } },
        code: 422,
        reason: 'Invalid',
        says: 'must match the service account namespace if specified',
      },
      { name: 'a list', body: [], code: 400, reason: 'BadRequest', says: 'TokenRequest' },
      {
        name: 'no JSON',
        body: '{"spec":',
        code: 400,
        reason: 'BadRequest',
        says: 'not valid JSON',
      },
      {
        name: 'more than 3 MiB',
        body: `"${'x'.repeat(3 * 1024 * 1024)}"`,
        code: 413,
        reason: 'RequestEntityTooLarge',
        says: 'limit is 3145728',
      },
    ];
    for (const { name, body, code, reason, says } of refusals) {
      it(`refuses ${name}`, async () => {
        const reply = await call('POST', TOKEN_PATH, body);
        expect(reply.code).to.equal(code);
        expect(reply.body).to.include({
          kind: 'Status',
          apiVersion: 'v1',
          status: 'Failure',
          reason,
          code,
        });
        expect(reply.body.message).to.contain(says);
      });
    }

    it('takes exactly 600 and exactly 2^32 seconds', async () => {
      for (const expirationSeconds of [600, 2 ** 32]) {
        const claims = toClaims(await getToken({ audiences: ['payments'], expirationSeconds }));
        expect(claims.exp - claims.iat).to.equal(expirationSeconds);
      }
    });

    it('refuses a uid that is not the living pod’s, and takes the one that is', async () => {
      const pod = toClaims(await getToken({ boundObjectRef: POD }))['kubernetes.io'].pod;
      const other = await call('POST', TOKEN_PATH, {
        spec: { boundObjectRef: { ...POD, uid: 'other' } },
      });
      expect(other.code).to.equal(409);
      expect(other.body).to.include({ reason: 'Conflict', code: 409 });
      expect(other.body.message).to.contain('(other) does not match the UID in record');
      await getToken({ boundObjectRef: { ...POD, uid: pod.uid } });
    });

    it('refuses to bind to a pod that runs as another ServiceAccount', async () => {
      await getToken({ boundObjectRef: POD });
      const reply = await call('POST', TOKEN_PATH.replace('checkout', 'billing'), {
        spec: { boundObjectRef: POD },
      });
      expect(reply.code).to.equal(400);
      expect(reply.body.message).to.contain('cannot bind token for serviceaccount "billing"');
    });

    it('makes no ServiceAccount and no pod out of a refused request', async () => {
      await call('POST', TOKEN_PATH, { spec: { expirationSeconds: 1, boundObjectRef: POD } });
      expect((await call('GET', '/api/v1/namespaces/shop/pods')).body.items).to.deep.equal([]);
    });

    it('refuses a body that a browser could send across origins without asking', async () => {
      const response = await fetch(`${server.url}/dev/kube${TOKEN_PATH}`, {
        method: 'POST',
        body: '{}',
      });
      expect(response.status).to.equal(415);
      expect(await response.json()).to.include({ reason: 'UnsupportedMediaType' });
    });
  });

  describe('TokenReview', () => {
    it('tells user, groups and extra of a good token, and the audiences it shares with the question', async () => {
      const token = await getToken({ audiences: ['payments', 'orders'], boundObjectRef: POD });
      const claims = toClaims(token);
      const { code, body } = await review(token, ['orders', 'billing']);
      expect(code).to.equal(201);
      expect(body.status).to.deep.equal({
        authenticated: true,
        user: {
          username: 'system:serviceaccount:shop:checkout',
          uid: claims['kubernetes.io'].serviceaccount.uid,
          groups: ['system:serviceaccounts', 'system:serviceaccounts:shop', 'system:authenticated'],
          extra: {
            'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`],
            'authentication.kubernetes.io/node-name': ['dev-node'],
            'authentication.kubernetes.io/node-uid': [claims['kubernetes.io'].node.uid],
            'authentication.kubernetes.io/pod-name': ['checkout-1'],
            'authentication.kubernetes.io/pod-uid': [claims['kubernetes.io'].pod.uid],
          },
        },
        audiences: ['orders'],
      });
    });

    it('says yes without audiences to a token for the API server alone', async () => {
      expect((await review(await getToken({}))).body.status.authenticated).to.equal(true);
      const other = (await review(await getToken({ audiences: ['payments'] }))).body.status;
      expect(other).not.to.have.property('authenticated');
      expect(other.error).to.equal(
        '[invalid bearer token, token audiences ["payments"] is invalid for the target audiences ["http://127.0.0.1:8420/dev/kube"]]',
      );
    });

    it('refuses a token for other audiences than those asked for', async () => {
      const { status } = (
        await review(await getToken({ audiences: ['payments'] }), ['orders', 'billing'])
      ).body;
      expect(status).to.deep.equal({
        user: {},
        error:
          '[invalid bearer token, token audiences ["payments"] is invalid for the target audiences ["orders" "billing"]]',
      });
    });

    it('refuses a token a minute after its end, not before', async () => {
      const token = await getToken({ audiences: ['payments'], expirationSeconds: 600 });
      now = START + 659_000;
      expect((await review(token, ['payments'])).body.status.authenticated).to.equal(true);
      now = START + 661_000;
      const { status } = (await review(token, ['payments'])).body;
      expect(status.error).to.equal('[invalid bearer token, service account token has expired]');
    });

    it('refuses a token from the future', async () => {
      const token = await getToken({ audiences: ['payments'] });
      now = START - 61_000;
      const { status } = (await review(token, ['payments'])).body;
      expect(status.error).to.equal(
        '[invalid bearer token, service account token is not valid yet]',
      );
    });

    const forgeries: { name: string; forge: (token: string) => string; error: string }[] = [
      {
        name: 'claims that were changed',
        forge: (token) => withClaims(token, { sub: 'system:serviceaccount:shop:admin' }),
        error: '[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]',
      },
      {
        name: 'an algorithm of none',
        forge: (token) => withHeader(token, { alg: 'none' }),
        error: '[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]',
      },
      {
        name: 'a kid that is not ours',
        forge: (token) => withHeader(token, { kid: 'other' }),
        error: '[invalid bearer token, invalid signature, no keys found]',
      },
      {
        name: 'another issuer',
        forge: (token) => withClaims(token, { iss: 'https://kubernetes.default.svc' }),
        error: 'invalid bearer token',
      },
      {
        name: 'two segments',
        forge: (token) => token.split('.').slice(0, 2).join('.'),
        error: 'invalid bearer token',
      },
      { name: 'no JWT at all', forge: () => 'not-a-token', error: 'invalid bearer token' },
    ];
    for (const { name, forge, error } of forgeries) {
      it(`refuses ${name}`, async () => {
        const forged = noteToken(forge(await getToken({ audiences: ['payments'] })));
        const { code, body } = await review(forged, ['payments']);
        expect(code).to.equal(201);
        expect(body.status).to.deep.equal({ user: {}, error });
      });
    }

    const malformed = [
      { name: 'no token', spec: {}, says: 'token is required' },
      { name: 'a token that is a number', spec: { token: 1 }, says: 'spec.token must be a string' },
      {
        name: 'audiences that are no list',
        spec: { token: 'x', audiences: 'payments' },
        says: 'a list of strings',
      },
    ];
    for (const { name, spec, says } of malformed) {
      it(`answers 400 to ${name}`, async () => {
        const { code, body } = await call('POST', REVIEW_PATH, { spec });
        expect(code).to.equal(400);
        expect(body.message).to.contain(says);
      });
    }
  });

  describe('the death of a pod', () => {
    it('ends its tokens and no others', async () => {
      const spec = { audiences: ['payments'], boundObjectRef: POD };
      const dying = await getToken(spec);
      const living = await getToken({ ...spec, boundObjectRef: { ...POD, name: 'checkout-2' } });
      const unbound = await getToken({ audiences: ['payments'] });
      expect((await call('DELETE', '/api/v1/namespaces/shop/pods/checkout-1')).code).to.equal(200);
      const { status } = (await review(dying, ['payments'])).body;
      expect(status).to.deep.equal({
        user: {},
        error: '[invalid bearer token, service account token has been invalidated]',
      });
      expect((await review(living, ['payments'])).body.status.authenticated).to.equal(true);
      expect((await review(unbound, ['payments'])).body.status.authenticated).to.equal(true);
    });

    it('is final: a pod of the same name is another pod, and the old uid never comes back', async () => {
      const spec = { audiences: ['payments'], boundObjectRef: POD };
      const old = await getToken(spec);
      const { uid } = toClaims(old)['kubernetes.io'].pod;
      await call('DELETE', '/api/v1/namespaces/shop/pods/checkout-1');
      const back = await call('POST', TOKEN_PATH, {
        spec: { ...spec, boundObjectRef: { ...POD, uid } },
      });
      expect(back.code).to.equal(404);
      expect(back.body.message).to.equal('pods "checkout-1" not found');
      const next = toClaims(await getToken(spec))['kubernetes.io'].pod;
      expect(next.uid).not.to.equal(uid);
      expect((await review(old, ['payments'])).body.status.error).to.equal(
        `[invalid bearer token, pod UID (${next.uid}) does not match service account pod ref claim (${uid})]`,
      );
    });

    it('shows in the pods of the namespace', async () => {
      await getToken({ boundObjectRef: POD });
      const path = '/api/v1/namespaces/shop/pods';
      const { body } = await call('GET', path);
      expect(body.items).to.have.length(1);
      expect(body.items[0]).to.deep.include({
        kind: 'Pod',
        spec: { serviceAccountName: 'checkout', nodeName: 'dev-node' },
      });
      expect((await call('GET', `${path}/checkout-1`)).body.metadata).to.include({
        name: 'checkout-1',
        namespace: 'shop',
        creationTimestamp: '2026-11-22T10:00:00Z',
      });
      await call('DELETE', `${path}/checkout-1`);
      expect((await call('GET', path)).body.items).to.deep.equal([]);
      for (const method of ['GET', 'DELETE']) {
        const reply = await call(method, `${path}/checkout-1`);
        expect(reply.code).to.equal(404);
        expect(reply.body).to.deep.include({
          reason: 'NotFound',
          details: { name: 'checkout-1', kind: 'pods' },
        });
      }
    });
  });

  it('publishes discovery that leads to its keys', async () => {
    const { body } = await call('GET', '/.well-known/openid-configuration');
    expect(body).to.deep.equal({
      issuer: 'http://127.0.0.1:8420/dev/kube',
      jwks_uri: 'http://127.0.0.1:8420/dev/kube/openid/v1/jwks',
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
    });
  });

  const strays = [
    {
      name: 'an unknown path',
      method: 'GET',
      path: '/api/v1/nodes',
      code: 404,
      reason: 'NotFound',
    },
    {
      name: 'a wrong method',
      method: 'GET',
      path: TOKEN_PATH,
      code: 405,
      reason: 'MethodNotAllowed',
    },
    {
      name: 'a namespace no cluster would have',
      method: 'POST',
      path: '/api/v1/namespaces/Shop_1/serviceaccounts/x/token',
      code: 400,
      reason: 'BadRequest',
    },
    {
      name: 'a ServiceAccount with a colon',
      method: 'POST',
      path: '/api/v1/namespaces/shop/serviceaccounts/a:b/token',
      code: 400,
      reason: 'BadRequest',
    },
    {
      name: 'a percent-encoded slash',
      method: 'GET',
      path: '/api/v1/namespaces/shop/pods/a%2fb',
      code: 400,
      reason: 'BadRequest',
    },
  ];
  for (const { name, method, path, code, reason } of strays) {
    it(`answers ${name} with a Status`, async () => {
      const reply = await call(method, path, method === 'POST' ? {} : undefined);
      expect(reply.code).to.equal(code);
      expect(reply.body).to.include({ kind: 'Status', reason, code });
    });
  }
});

// biome-ignore lint/suspicious/noExplicitAny: claims are read field by field, as a client in a test does.
function toClaims(token: string): any {
  return JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
}

function withClaims(token: string, change: object): string {
  const [header, , signature] = token.split('.');
  return [header, encode({ ...toClaims(token), ...change }), signature].join('.');
}

function withHeader(token: string, change: object): string {
  const [, claims, signature] = token.split('.');
  return [encode({ ...decodeProtectedHeader(token), ...change }), claims, signature].join('.');
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
