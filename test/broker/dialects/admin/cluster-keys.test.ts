// `PUT /api/v1/clusters/{name}/keys` over HTTP: whose push counts, each yes beside its near misses, what a set must be, and
// what a push ends at once. Two clusters that cannot be reached state the same `iss`, and have a controller of equal names.
import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { expect } from 'chai';
import { type Cluster, parseClusters } from '../../../../broker/identity/clusters.ts';
import { StoreError } from '../../../../broker/store/store.ts';
import { newOpaqueToken } from '../../../../broker/tokens/opaque.ts';
import { type FakeIssuer, startIssuer } from '../../../support/issuer.ts';
import {
  createSigningKey,
  mint,
  type ServiceAccountToken,
  type SigningKey,
  serviceAccountClaims,
} from '../../../support/minting.ts';
import { noteToken } from '../../../support/tokens.ts';
import { startTestBroker } from '../../harness.ts';
import { BACKENDS, type Database, waitUntil } from '../../store/backends.ts';
import { type AdminUnderTest, startAdmin } from './harness.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const CONTROLLER = { namespace: 'coatcheck', serviceAccount: 'controller' };
const CONTROL = ['coatcheck-control'];
const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: edge-shop }
spec:
  audience: payments
  subjects:
    - { cluster: edge, namespace: shop, serviceAccount: checkout }
    - { cluster: twin, namespace: shop, serviceAccount: checkout }
`;

const toJwks = (...keys: readonly SigningKey[]) => ({ keys: keys.map(({ jwk }) => jwk) });

/** A token of whatever cluster has the key. */
function tokenOf(key: SigningKey, options: Partial<ServiceAccountToken> = {}): string {
  const claims = serviceAccountClaims({ issuer: ISSUER, audiences: ['payments'], ...options });
  return noteToken(mint({ key, claims }));
}

const ofController = (key: SigningKey, options: Partial<ServiceAccountToken> = {}) =>
  tokenOf(key, { audiences: CONTROL, ...CONTROLLER, ...options });

function toTable(own: FakeIssuer, firsts: Record<string, SigningKey>): readonly Cluster[] {
  const pushed = Object.entries(firsts).map(([name, key]) => ({
    name,
    kind: 'kubernetes',
    issuer: ISSUER,
    controller: CONTROLLER,
    keys: { pushed: { jwks: toJwks(key) } },
  }));
  const local = {
    name: 'local',
    own: true,
    kind: 'kubernetes',
    issuer: own.issuer,
    controller: CONTROLLER,
    keys: { url: own.jwksUrl },
  };
  return parseClusters(JSON.stringify({ clusters: [local, ...pushed] }), { file: 'clusters.yaml' });
}

// Keys are slow to make, and these are never changed.
const edge = createSigningKey('ES256', 'edge-1');
const next = createSigningKey('ES256', 'edge-2');
const twin = createSigningKey('RS256', 'twin-1');

describe('admin API: keys that a cluster pushes', () => {
  let own: FakeIssuer;
  let admin: AdminUnderTest;
  beforeEach(async () => {
    own = await startIssuer();
    admin = await startAdmin('cluster keys', {
      roles: ROLES,
      fake: own,
      clusters: toTable(own, { edge, twin }),
    });
  });
  afterEach(async () => {
    await admin.stop();
    await own.close();
  });

  const push = (name: string, token: string, body: unknown) =>
    admin.call(`PUT /api/v1/clusters/${name}/keys`, { token, body });
  const exchange = async (key: SigningKey) =>
    (await admin.broker.exchange({ subject_token: tokenOf(key) })).status;

  it('serves tokens under the keys an entry was registered with', async () => {
    expect(await exchange(edge)).to.equal(200);
    expect(await exchange(next)).to.equal(400);
  });

  it('takes a new key beside the old one, then the new one alone; each holds at once', async () => {
    const both = await push('edge', ofController(edge), toJwks(edge, next));
    expect(both.status, both.text).to.equal(200);
    expect(both.body).to.deep.equal({ cluster: 'edge', keys: 2, changed: true });
    expect(await exchange(next)).to.equal(200);
    const alone = await push('edge', ofController(next), toJwks(next));
    expect(alone.body).to.deep.equal({ cluster: 'edge', keys: 1, changed: true });
    expect(await exchange(next)).to.equal(200);
    expect(await exchange(edge)).to.equal(400);
    // A key that was taken away is nobody's word any more.
    expect((await push('edge', ofController(edge), toJwks(edge))).status).to.equal(401);
  });

  it('takes the same set for a word that it is still right, in whatever order', async () => {
    await push('edge', ofController(edge), toJwks(edge, next));
    const again = await push('edge', ofController(next), toJwks(next, edge));
    expect(again.body).to.deep.equal({ cluster: 'edge', keys: 2, changed: false });
    const { body } = await admin.call('GET /api/v1/clusters/edge');
    expect(body).to.deep.include({
      keysFrom: 'pushed',
      source: 'file',
      state: 'Ready',
      controller: 'coatcheck/controller',
      maxStalenessSeconds: 86_400,
      pushedBy: 'k8s:edge:coatcheck:controller',
      problems: [],
    });
    expect(Date.now() - Date.parse(String(body.lastPushAt))).to.be.below(60_000);
  });

  it('takes an older set again: the word of the controller is what counts', async () => {
    await push('edge', ofController(edge), toJwks(edge, next));
    expect((await push('edge', ofController(next), toJwks(edge))).status).to.equal(200);
    expect(await exchange(next)).to.equal(400);
  });

  it('records who pushed how many, and counts', async () => {
    await push('edge', ofController(edge), toJwks(edge, next));
    await push('edge', ofController(twin), toJwks(edge));
    const [good, bad] = admin.records().filter(({ action }) => action === 'pushClusterKeys');
    expect(good).to.include({
      outcome: 'allow',
      name: 'edge',
      keys: 2,
      changed: true,
      subject: 'k8s:edge:coatcheck:controller',
    });
    expect(bad).to.include({ outcome: 'deny', subject: 'k8s:twin:coatcheck:controller' });
    const metrics = await admin.broker.running.broker.metrics.registry.metrics();
    expect(metrics).to.match(/cluster_key_pushes_total\{cluster="edge",outcome="changed"\} 1/);
  });

  it('takes no push that began before the keys changed: its sender may be who was shut out', async () => {
    const token = ofController(edge);
    const slow = startSlow(`${admin.broker.url}/api/v1/clusters/edge/keys`, token);
    await waitUntil('the head was read', () => slow.isContinued());
    await push('edge', ofController(edge), toJwks(edge, next));
    await push('edge', ofController(next), toJwks(next));
    const answer = await slow.finish(toJwks(edge, next));
    expect(answer.status, answer.text).to.equal(409);
    expect(await exchange(edge)).to.equal(400);
    expect(await exchange(next)).to.equal(200);
  });

  it('answers 503 while the store is away, with nothing half done', async () => {
    const { putKeys } = admin.store.clusters;
    const writable = admin.store.clusters as { putKeys: typeof putKeys };
    writable.putKeys = () => Promise.reject(new StoreError('unavailable', 'it is away'));
    const away = await push('edge', ofController(edge), toJwks(next));
    expect(away.status).to.equal(503);
    expect(await exchange(edge)).to.equal(200);
    expect(await exchange(next)).to.equal(400);
    writable.putKeys = putKeys;
    expect((await push('edge', ofController(edge), toJwks(next))).status).to.equal(200);
    expect(await exchange(next)).to.equal(200);
  });

  it('drops what was pushed where the file begins with another set, and keeps it where it does not', async () => {
    const { broker } = admin.broker.running;
    await push('edge', ofController(edge), toJwks(next));
    broker.replaceClusters(toTable(own, { edge }));
    expect(await exchange(next)).to.equal(200);
    expect(await exchange(edge)).to.equal(400);
    const third = createSigningKey('ES256', 'edge-3');
    broker.replaceClusters(toTable(own, { edge: third }));
    expect(await exchange(third)).to.equal(200);
    expect(await exchange(next)).to.equal(400);
    broker.replaceClusters(toTable(own, {}));
    expect(await exchange(third)).to.equal(400);
    broker.replaceClusters(toTable(own, { edge }));
    // Away and back again: what it pushed last, not what it was registered with once.
    expect(await exchange(next)).to.equal(200);
    expect(await exchange(edge)).to.equal(400);
  });
});

describe('admin API: whose keys are taken, and which', () => {
  let own: FakeIssuer;
  let admin: AdminUnderTest;
  before(async () => {
    own = await startIssuer();
    admin = await startAdmin('cluster keys refused', {
      roles: ROLES,
      fake: own,
      clusters: toTable(own, { edge, twin }),
    });
  });
  after(async () => {
    await admin.stop();
    await own.close();
  });

  const push = (name: string, token: string, body: unknown) =>
    admin.call(`PUT /api/v1/clusters/${name}/keys`, { token, body });
  const exchange = async (key: SigningKey) =>
    (await admin.broker.exchange({ subject_token: tokenOf(key) })).status;

  const callers: readonly {
    who: string;
    token: (a: AdminUnderTest) => string | Promise<string>;
    to?: string;
    status: number;
  }[] = [
    { who: 'the controller of the cluster', token: () => ofController(edge), status: 200 },
    { who: 'root', token: ({ root }) => root, status: 200 },
    { who: 'nobody', token: () => '', status: 401 },
    {
      who: "the twin's controller, of equal names and iss",
      token: () => ofController(twin),
      status: 403,
    },
    {
      who: 'the controller, for its twin',
      token: () => ofController(edge),
      to: 'twin',
      status: 403,
    },
    {
      who: 'the controller, for the own cluster',
      token: () => ofController(edge),
      to: 'local',
      status: 403,
    },
    {
      who: 'the controller, for a cluster that is not there',
      token: () => ofController(edge),
      to: 'none',
      status: 403,
    },
    {
      who: "the own cluster's controller",
      token: (a) => a.broker.issuer.token({ ...CONTROLLER, audiences: CONTROL }),
      status: 403,
    },
    {
      who: 'another ServiceAccount of its namespace',
      token: () => ofController(edge, { serviceAccount: 'default' }),
      status: 403,
    },
    {
      who: 'a ServiceAccount of its name elsewhere',
      token: () => ofController(edge, { namespace: 'shop' }),
      status: 403,
    },
    {
      who: 'a pod of the cluster',
      token: () => tokenOf(edge, { audiences: CONTROL }),
      status: 403,
    },
    {
      who: 'a controller whose key is not known yet',
      token: () => ofController(next),
      status: 401,
    },
    {
      who: 'the controller, with a token for somebody else',
      token: () => ofController(edge, { audiences: ['payments'] }),
      status: 401,
    },
    {
      who: 'the controller, with a token that has ended',
      token: () => ofController(edge, { issuedAt: Math.floor(Date.now() / 1000) - 90_000 }),
      status: 401,
    },
    {
      who: 'who may write clusters',
      token: (a) => a.makeToken(['coatcheck:clusters:write']),
      status: 403,
    },
  ];
  for (const { who, token, to = 'edge', status } of callers) {
    it(`answers ${status} to ${who}, and changes nothing for who may not`, async () => {
      const shown = await token(admin);
      // Who may says what is known already: all share this broker.
      const set = status === 200 ? toJwks(edge) : toJwks(edge, next);
      const answer = await push(to, shown === '' ? '' : noteToken(shown), set);
      expect(answer.status, answer.text).to.equal(status);
      expect(await exchange(next)).to.equal(400);
    });
  }

  const many = Array.from({ length: 17 }, (_, i) => createSigningKey('ES256', `many-${i}`));
  const sets: readonly { title: string; body: unknown; status: number; reason: string }[] = [
    {
      title: 'a private key',
      body: { keys: [edge.jwk, next.privateKey.export({ format: 'jwk' })] },
      status: 400,
      reason: 'document_invalid',
    },
    {
      title: 'a symmetric key',
      body: { keys: [{ kty: 'oct', k: 'c2VjcmV0LXNlY3JldA' }] },
      status: 400,
      reason: 'document_invalid',
    },
    { title: 'no key', body: { keys: [] }, status: 400, reason: 'document_invalid' },
    { title: 'seventeen keys', body: toJwks(...many), status: 400, reason: 'document_invalid' },
    {
      title: 'two keys of one kid',
      body: { keys: [edge.jwk, { ...next.jwk, kid: edge.kid }] },
      status: 400,
      reason: 'document_invalid',
    },
    {
      title: 'a key for another algorithm',
      body: { keys: [createSigningKey('EdDSA').jwk] },
      status: 400,
      reason: 'document_invalid',
    },
    { title: "the twin's key", body: toJwks(edge, twin), status: 409, reason: 'key_conflict' },
    {
      title: "the twin's key under another kid",
      body: { keys: [edge.jwk, { ...twin.jwk, kid: 'mine' }] },
      status: 409,
      reason: 'key_conflict',
    },
    {
      title: 'more than 64 KiB',
      body: { keys: [edge.jwk], filler: 'x'.repeat(70_000) },
      status: 413,
      reason: 'body_too_large',
    },
  ];
  for (const { title, body, status, reason } of sets) {
    it(`refuses a set with ${title}: ${reason}, and goes on as before`, async () => {
      const answer = await push('edge', ofController(edge), body);
      expect(answer.status, answer.text).to.equal(status);
      expect(answer.body).to.include({ reason });
      const told = JSON.stringify([answer.text, admin.records(), admin.broker.log]);
      expect(told).not.to.contain(String(next.privateKey.export({ format: 'jwk' }).d));
      expect(told).not.to.contain('c2VjcmV0');
      expect(await exchange(edge)).to.equal(200);
      expect(await exchange(twin)).to.equal(200);
    });
  }

  it("refuses the own cluster's key", async () => {
    const answer = await push('edge', ofController(edge), toJwks(edge, own.key));
    expect(answer.body).to.include({ reason: 'key_conflict' });
  });

  it('refuses keys for an entry whose keys come from elsewhere', async () => {
    const token = noteToken(admin.broker.issuer.token({ ...CONTROLLER, audiences: CONTROL }));
    const answer = await push('local', token, toJwks(next));
    expect(answer.status).to.equal(409);
    expect(answer.body).to.include({ reason: 'conflict' });
    expect(answer.text).to.contain('are not pushed');
  });
});

describe('admin API: keys that a cluster pushes, without a store', () => {
  it('hold on the replica that was told, until it ends', async () => {
    const own = await startIssuer();
    const start = () =>
      startTestBroker('pushed none', {
        roles: ROLES,
        fake: own,
        clusters: toTable(own, { edge }),
      });
    let broker = await start();
    const exchange = async (key: SigningKey) =>
      (await broker.exchange({ subject_token: tokenOf(key) })).status;
    const answer = await broker.request('/api/v1/clusters/edge/keys', {
      method: 'PUT',
      headers: {
        authorization: `Bearer ${ofController(edge)}`,
        'content-type': 'application/json',
      },
      body: JSON.stringify(toJwks(next)),
    });
    expect(answer.status, answer.text).to.equal(200);
    expect([await exchange(next), await exchange(edge)]).to.deep.equal([200, 400]);
    await broker.stop();
    broker = await start();
    expect([await exchange(next), await exchange(edge)]).to.deep.equal([400, 200]);
    await broker.stop();
    await own.close();
  });
});

for (const backend of BACKENDS) {
  (backend.lack === undefined ? describe : describe.skip)(
    `admin API: keys that a cluster pushes, on ${backend.kind}`,
    () => {
      let database: Database;
      let own: FakeIssuer;
      before(async function () {
        this.timeout(60_000);
        [database, own] = await Promise.all([backend.create(), startIssuer()]);
      });
      after(async () => {
        await database.close();
        await own.close();
      });
      const { token: bootstrapToken } = newOpaqueToken(randomBytes);
      const start = (name: string) =>
        startAdmin(name, {
          bootstrapToken,
          roles: ROLES,
          fake: own,
          storeChoice: database.choice,
          clusters: toTable(own, { edge, twin }),
        });
      const exchange = async (admin: AdminUnderTest, key: SigningKey) =>
        (await admin.broker.exchange({ subject_token: tokenOf(key) })).status;
      const push = (admin: AdminUnderTest, name: string, keys: readonly SigningKey[], by = edge) =>
        admin.call(`PUT /api/v1/clusters/${name}/keys`, {
          token: ofController(by),
          body: toJwks(...keys),
        });

      it('hold after a restart, as old as they are', async () => {
        const first = await start('pushed before');
        expect((await push(first, 'edge', [next])).status).to.equal(200);
        const { body: before } = await first.call('GET /api/v1/clusters/edge');
        await first.stop();
        const second = await start('pushed after');
        expect(await exchange(second, next)).to.equal(200);
        expect(await exchange(second, edge)).to.equal(400);
        const { body } = await second.call('GET /api/v1/clusters/edge');
        expect(body.lastPushAt).to.equal(before.lastPushAt);
        expect((await push(second, 'edge', [edge], next)).status).to.equal(200);
        await second.stop();
      });

      if (backend.kind === 'postgres')
        it('hold on the other replicas at once, and are refused to two clusters that come together', async () => {
          const [a, b] = [await start('pushed a'), await start('pushed b')];
          expect((await push(a, 'edge', [edge, next])).status).to.equal(200);
          await waitUntil('B knows the key', async () => (await exchange(b, next)) === 200);
          expect((await push(b, 'edge', [next])).status).to.equal(200);
          await waitUntil('A knows it is gone', async () => (await exchange(a, edge)) === 400);
          const third = createSigningKey('ES256', 'third');
          const [one, two] = await Promise.all([
            push(a, 'edge', [next, third], next),
            push(b, 'twin', [twin, third], twin),
          ]);
          expect([one.status, two.status].sort()).to.deep.equal([200, 409]);
          await a.stop();
          await b.stop();
        });
    },
  );
}

/** A request whose body comes later. */
function startSlow(url: string, token: string) {
  let isContinued = false;
  const request = httpRequest(url, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      expect: '100-continue',
    },
  });
  request.on('continue', () => {
    isContinued = true;
  });
  request.flushHeaders();
  return {
    isContinued: () => isContinued,
    finish: (body: unknown) =>
      new Promise<{ status: number; text: string }>((resolve, reject) => {
        request.on('error', reject);
        request.on('response', (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
        });
        request.end(JSON.stringify(body));
      }),
  };
}
