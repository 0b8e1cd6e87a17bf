// The admin API as HTTP: bodies, methods, headers, a listener of its own, a broker without a store.
import { expect } from 'chai';
import { createFolderAdmin } from '../../../../broker/tokens/key-admin.ts';
import { fixedKeys, generateSigningKey } from '../../../../broker/tokens/keys.ts';
import { createAccessReviews } from '../../../../common/kube/access.ts';
import { createKubeClient } from '../../../../common/kube/client.ts';
import { startAccessServer } from '../../../support/access-reviews.ts';
import { keep } from '../../../support/tokens.ts';
import { startTestBroker } from '../../harness.ts';
import { type AdminUnderTest, startAdmin, toRole } from './harness.ts';

describe('admin API: HTTP', () => {
  let admin: AdminUnderTest;
  before(async () => {
    admin = await startAdmin('admin http');
  });
  after(() => admin.stop());

  const put = (body: string | undefined, headers: Readonly<Record<string, string>> = {}) =>
    admin.call('PUT /api/v1/roles/one', { body, headers });

  const bodies: readonly [
    title: string,
    body: string,
    headers: Record<string, string>,
    status: number,
  ][] = [
    ['is no JSON', '{', {}, 400],
    ['is empty', ' ', {}, 400],
    ['is a list', '[]', {}, 400],
    ['is YAML', 'kind: TokenRole', { 'content-type': 'application/yaml' }, 415],
    ['is a form', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
    ['has another charset', '{}', { 'content-type': 'application/json; charset=latin1' }, 415],
    ['has a content encoding', '{}', { 'content-encoding': 'identity' }, 415],
    ['is larger than 256 KiB', `{"a":"${'x'.repeat(256 * 1024)}"}`, {}, 413],
    ['is just within 256 KiB', `{"a":"${'x'.repeat(256 * 1024 - 8)}"}`, {}, 400],
  ];
  for (const [title, body, headers, status] of bodies) {
    it(`answers ${status} to a body that ${title}`, async () => {
      const answer = await put(body, headers);
      expect(answer.status).to.equal(status);
      expect(answer.body).to.have.property('correlation_id', answer.headers.get('x-request-id'));
      expect(answer.body.error_description).to.be.a('string');
    });
  }

  it('refuses bytes that are no UTF-8', async () => {
    const answer = await admin.broker.request('/api/v1/roles/one', {
      method: 'PUT',
      headers: { authorization: `Bearer ${admin.root}`, 'content-type': 'application/json' },
      body: new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]),
    });
    expect(answer.status).to.equal(400);
  });

  it('says which methods a path answers', async () => {
    const answer = await admin.call('DELETE /api/v1/whoami');
    expect([answer.status, answer.headers.get('allow')]).to.deep.equal([405, 'GET, HEAD']);
    const roles = await admin.call('POST /api/v1/roles/one');
    expect(roles.headers.get('allow')).to.equal('GET, HEAD, PUT, DELETE');
  });

  for (const path of [
    '/api',
    '/api/v1',
    '/api/v1/',
    '/api/v1/secrets',
    '/api/v1/roles/',
    '/api/v2/roles',
  ]) {
    it(`has nothing at ${path}`, async () => {
      expect((await admin.call(`GET ${path}`)).status).to.equal(404);
    });
  }

  it('has no CORS, and nothing to cache', async () => {
    const preflight = await admin.call('OPTIONS /api/v1/roles', {
      token: '',
      headers: { origin: 'https://evil.example', 'access-control-request-method': 'GET' },
    });
    expect(preflight.status).to.equal(405);
    for (const answer of [
      preflight,
      await admin.call('GET /api/v1/roles'),
      await admin.call('GET /api/openapi.json'),
    ]) {
      const names = [...answer.headers.keys()];
      expect(names.filter((name) => name.startsWith('access-control-'))).to.deep.equal([]);
      expect(answer.headers.get('cache-control')).to.equal('no-store');
      expect(names).not.to.include('etag');
    }
  });

  for (const name of ['if-none-match', 'if-unmodified-since']) {
    it(`never passes over the condition ${name}`, async () => {
      const answer = await admin.call('PUT /api/v1/roles/one', {
        body: toRole('one'),
        headers: { [name]: '"1"' },
      });
      expect(answer.status).to.equal(400);
      expect((await admin.call('GET /api/v1/roles/one')).status).to.equal(404);
    });
  }

  for (const etag of ['1', 'W/"1"', '*', '"a"', '"1", "2"']) {
    it(`does not take If-Match: ${etag}`, async () => {
      const answer = await put(JSON.stringify(toRole('one')), { 'if-match': etag });
      expect(answer.status).to.equal(400);
    });
  }

  it('takes a version twice only where it is the same', async () => {
    const body = toRole('twice');
    await admin.call('PUT /api/v1/roles/twice', { body });
    const changed = toRole('twice', { requirePod: false });
    const differ = await admin.call('PUT /api/v1/roles/twice?version=2', {
      body: changed,
      headers: { 'if-match': '"1"' },
    });
    expect(differ.status).to.equal(400);
    const same = await admin.call('PUT /api/v1/roles/twice?version=1', {
      body: changed,
      headers: { 'if-match': '"1"' },
    });
    expect(same.status).to.equal(200);
  });

  it('answers HEAD like GET, without a body', async () => {
    const answer = await admin.call('HEAD /api/v1/roles');
    expect([answer.status, answer.text]).to.deep.equal([200, '']);
  });

  it('is read by the API document without any credential', async () => {
    const { status, body } = await admin.call('GET /api/openapi.json', { token: '' });
    expect(status).to.equal(200);
    expect(body.openapi).to.equal('3.1.0');
  });
});

describe('admin API: on a listener of its own', () => {
  it('is there, and not on the main one', async () => {
    const admin = await startAdmin('admin apart', { adminListen: { host: '127.0.0.1', port: 0 } });
    const { adminUrl = '' } = admin.broker.running;
    const headers = { authorization: `Bearer ${admin.root}` };
    const apart = await fetch(`${adminUrl}/api/v1/whoami`, { headers });
    const text = await apart.text();
    keep('admin apart whoami', text);
    expect(apart.status, text).to.equal(200);
    expect((await admin.call('GET /api/v1/whoami')).status).to.equal(404);
    const jwks = await fetch(`${adminUrl}/oauth2/jwks`);
    await jwks.text();
    expect(jwks.status).to.equal(404);
    await admin.stop();
  });
});

describe('admin API: without a store', () => {
  it('shows roles, clusters and keys to workloads, and says what needs a store', async () => {
    const access = await startAccessServer();
    access.decide = () => true;
    const client = createKubeClient(access);
    const keys = fixedKeys(generateSigningKey());
    const broker = await startTestBroker('admin without store', {
      accessReviews: createAccessReviews(client),
      keys,
      keyAdmin: createFolderAdmin(keys),
    });
    const token = broker.issuer.token({ audiences: [broker.running.url] });
    const ask = async (method: string, path: string, body?: object) =>
      broker.request(path, {
        method,
        headers: {
          authorization: `Bearer ${token}`,
          ...(body && { 'content-type': 'application/json' }),
        },
        ...(body && { body: JSON.stringify(body) }),
      });
    for (const path of ['whoami', 'roles', 'roles/payments-checkout', 'clusters', 'keys'])
      expect((await ask('GET', `/api/v1/${path}`)).status, path).to.equal(200);
    for (const path of ['tokens', 'clients', 'decisions']) {
      const answer = await ask('GET', `/api/v1/${path}`);
      expect([answer.status, answer.body.reason]).to.deep.equal([501, 'store_missing']);
      expect(answer.body.error_description).to.equal(
        'this broker has no store, and this needs one',
      );
    }
    expect((await ask('PUT', '/api/v1/roles/new', toRole('new'))).status).to.equal(501);
    const explain = {
      namespace: 'shop',
      serviceAccount: 'checkout',
      pod: 'p',
      audience: 'payments',
    };
    expect((await ask('POST', '/api/v1/decisions/explain', explain)).status).to.equal(200);
    const rotated = await ask('POST', '/api/v1/keys/rotate');
    expect(rotated.status).to.equal(409);
    expect(rotated.text).to.include('the signing keys are files of a folder');
    await broker.stop();
    client.close();
    await access.close();
  });
});
