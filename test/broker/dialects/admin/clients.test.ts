// Registered clients, clusters and keys over the admin API.
import { generateKeyPairSync } from 'node:crypto';
import { expect } from 'chai';
import { noteToken } from '../../../support/tokens.ts';
import { type AdminUnderTest, startAdmin } from './harness.ts';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const publicJwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256' };

describe('admin API: clients', () => {
  let admin: AdminUnderTest;
  before(async () => {
    admin = await startAdmin('admin clients');
  });
  after(() => admin.stop());

  const create = async (body: object) => {
    const answer = await admin.call('POST /api/v1/clients', { body });
    if (typeof answer.body.secret === 'string') noteToken(answer.body.secret);
    return answer;
  };
  const whoami = async (id: string, secret: unknown) => {
    const basic = `Basic ${Buffer.from(`${id}:${String(secret)}`).toString('base64')}`;
    return (
      await admin.call('GET /api/v1/whoami', { token: '', headers: { authorization: basic } })
    ).status;
  };

  it('registers a client with a secret that is shown once', async () => {
    const made = await create({ id: 'shown-once', description: 'a gateway' });
    expect(made.status, made.text).to.equal(201);
    expect(made.body).to.include({ id: 'shown-once', secrets: 1, createdBy: 'static:bootstrap' });
    expect(made.body.methods).to.deep.equal(['client_secret']);
    expect(await whoami('shown-once', made.body.secret)).to.equal(200);
    const shown = await admin.call('GET /api/v1/clients/shown-once');
    expect(shown.body).not.to.have.property('secret');
    expect(shown.text).not.to.include('argon2');
    expect((await create({ id: 'shown-once' })).status).to.equal(409);
  });

  it('registers a client by its public keys, with a secret only where asked', async () => {
    const alone = await create({ id: 'by-key', jwks: { keys: [publicJwk] } });
    expect(alone.body).to.include({ secrets: 0 }).and.not.to.have.property('secret');
    expect(alone.body.methods).to.deep.equal(['private_key_jwt']);
    const both = await create({ id: 'by-both', jwks: { keys: [publicJwk] }, secret: true });
    expect(both.body.secret).to.be.a('string');
  });

  it('refuses keys that are nested without end, and takes the next request', async () => {
    let deep: unknown = 1;
    for (let i = 0; i < 2_000; i++) deep = [deep];
    const answer = await create({ id: 'too-deep', jwks: { keys: [{ ...publicJwk, deep }] } });
    expect(answer.status, answer.text).to.equal(400);
    expect(answer.text).to.include('levels deep');
    expect((await create({ id: 'not-too-deep', jwks: { keys: [publicJwk] } })).status).to.equal(
      201,
    );
  });

  it('refuses a private key, and says where it is', async () => {
    const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'k1' };
    const answer = await create({ id: 'by-private', jwks: { keys: [jwk] } });
    expect(answer.status).to.equal(400);
    expect((answer.body.details as { path: string }[])[0]?.path).to.equal('jwks.keys[0]');
    expect(answer.text).not.to.include(String(jwk.d));
  });

  for (const id of ['has:colon', '', 'a b', '-x', 'x'.repeat(129)]) {
    it(`refuses the id ${JSON.stringify(id.slice(0, 12))}`, async () => {
      expect((await create({ id })).status).to.equal(400);
    });
  }

  it('lets two secrets hold while one is replaced, until the old one is dropped', async () => {
    const { secret: first } = (await create({ id: 'rotating' })).body;
    const rotate = async (body = {}) => {
      const answer = await admin.call('POST /api/v1/clients/rotating/secret', { body });
      return noteToken(String(answer.body.secret));
    };
    const second = await rotate();
    expect([await whoami('rotating', first), await whoami('rotating', second)]).to.deep.equal([
      200, 200,
    ]);
    const third = await rotate();
    expect([await whoami('rotating', first), await whoami('rotating', second)]).to.deep.equal([
      401, 200,
    ]);
    const dropped = await admin.call('DELETE /api/v1/clients/rotating/secret');
    expect(dropped.body.secrets).to.equal(1);
    expect([await whoami('rotating', second), await whoami('rotating', third)]).to.deep.equal([
      401, 200,
    ]);
    const fourth = await rotate({ revokeOld: true });
    expect([await whoami('rotating', third), await whoami('rotating', fourth)]).to.deep.equal([
      401, 200,
    ]);
  });

  it('replaces what describes a client and leaves its secret', async () => {
    const { secret } = (await create({ id: 'described', name: 'before' })).body;
    const put = await admin.call('PUT /api/v1/clients/described', { body: { name: 'after' } });
    expect(put.body).to.include({ name: 'after', secrets: 1 });
    expect(await whoami('described', secret)).to.equal(200);
    expect((await admin.call('PUT /api/v1/clients/nobody', { body: {} })).status).to.equal(404);
  });

  it('takes a client away at once', async () => {
    const { secret } = (await create({ id: 'leaving' })).body;
    expect((await admin.call('DELETE /api/v1/clients/leaving')).status).to.equal(200);
    expect(await whoami('leaving', secret)).to.equal(401);
    expect((await admin.call('DELETE /api/v1/clients/leaving')).status).to.equal(404);
  });

  it('pages through clients', async () => {
    const first = await admin.call('GET /api/v1/clients?limit=2');
    expect(first.body.items).to.have.length(2);
    const second = await admin.call(`GET /api/v1/clients?limit=2&after=${String(first.body.next)}`);
    expect(second.text).not.to.equal(first.text);
  });
});

describe('admin API: clusters and keys', () => {
  let admin: AdminUnderTest;
  before(async () => {
    admin = await startAdmin('admin clusters');
  });
  after(() => admin.stop());

  it('shows the table of clusters with the state of their keys', async () => {
    const { body } = await admin.call('GET /api/v1/clusters');
    const [cluster] = body.items as Record<string, unknown>[];
    expect(cluster).to.include({ name: 'local', kind: 'kubernetes', own: true, keysFrom: 'url' });
    expect(cluster?.keys).to.have.length(1);
    expect(cluster?.problems).to.deep.equal([]);
    expect((await admin.call('GET /api/v1/clusters/local')).body).to.include({ name: 'local' });
    expect((await admin.call('GET /api/v1/clusters/none')).status).to.equal(404);
  });

  it('says that nothing can be seen of keys that are given from outside', async () => {
    expect((await admin.call('GET /api/v1/keys')).status).to.equal(404);
  });
});
