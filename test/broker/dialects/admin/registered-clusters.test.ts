// `/api/v1/clusters` over HTTP: clusters registered, changed and removed while the broker runs; who may, and what becomes of
// tokens of a cluster that is gone.
import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { createReceivers } from '../../../../broker/receivers.ts';
import { StoreError } from '../../../../broker/store/store.ts';
import { newOpaqueToken } from '../../../../broker/tokens/opaque.ts';
import { systemClock } from '../../../../common/clock.ts';
import { type FakeIssuer, startIssuer } from '../../../support/issuer.ts';
import {
  createSigningKey,
  mint,
  type ServiceAccountToken,
  type SigningKey,
  serviceAccountClaims,
} from '../../../support/minting.ts';
import { noteToken } from '../../../support/tokens.ts';
import { BACKENDS, type Database, waitUntil } from '../../store/backends.ts';
import { type AdminUnderTest, startAdmin, toRole } from './harness.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
const CONTROLLER = { namespace: 'coatcheck', serviceAccount: 'controller' };
const ROLES = `
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: edge-shop }
spec:
  audience: payments
  subjects: [{ cluster: edge, namespace: shop, serviceAccount: checkout }]
  token: { type: opaque, maxTtl: 10m, policies: [payments] }
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: edge-ledger }
spec:
  audience: ledger
  subjects: [{ cluster: edge, namespace: shop, serviceAccount: checkout }]
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: far-reports }
spec:
  audience: reports
  subjects: [{ cluster: far, namespace: shop, serviceAccount: checkout }]
---
apiVersion: auth.example.io/v1alpha1
kind: TokenRole
metadata: { name: ci }
spec:
  audience: deploy
  requirePod: false
  subjects: [{ issuer: ci, subject: "repo:*" }]
`;

const edge = createSigningKey('ES256', 'edge-1');
const next = createSigningKey('ES256', 'edge-2');
const toJwks = (...keys: readonly SigningKey[]) => ({ keys: keys.map(({ jwk }) => jwk) });
const toPushed = (...keys: readonly SigningKey[]) => ({
  kind: 'kubernetes',
  issuer: ISSUER,
  controller: CONTROLLER,
  keys: { pushed: { jwks: toJwks(...keys) } },
});

function tokenOf(key: SigningKey, options: Partial<ServiceAccountToken> = {}): string {
  const claims = serviceAccountClaims({ issuer: ISSUER, audiences: ['payments'], ...options });
  return noteToken(mint({ key, claims }));
}

describe('admin API: clusters that are registered', () => {
  let own: FakeIssuer;
  let far: FakeIssuer;
  let admin: AdminUnderTest;
  before(async () => {
    [own, far] = await Promise.all([startIssuer(), startIssuer()]);
    const receivers = createReceivers([
      { identity: 'k8s:local:shop:ledger-api', audiences: ['payments', 'ledger'] },
      { identity: 'k8s:lab-*:shop:ledger-api', audiences: ['ledger'] },
    ]);
    admin = await startAdmin('registered clusters', {
      roles: ROLES,
      fake: own,
      allowsPrivateClusterAddresses: true,
      findReceivers: () => receivers,
    });
  });
  afterEach(async () => {
    const { body } = await admin.call('GET /api/v1/clusters');
    for (const { name, source } of body.items as { name: string; source: string }[])
      if (source === 'api') await admin.call(`DELETE /api/v1/clusters/${name}`);
  });
  after(async () => {
    await admin.stop();
    await Promise.all([own.close(), far.close()]);
  });

  const put = (name: string, body: unknown, token?: string, query = '') =>
    admin.call(`PUT /api/v1/clusters/${name}${query}`, { body, token });
  const exchange = (subject_token: string) => admin.broker.exchange({ subject_token });
  const judge = async (token: string) => {
    const { status, body } = await exchange(token);
    return status === 200 ? 'accepted' : body.reason;
  };
  const toFetched = (more: object = {}) => ({
    kind: 'kubernetes',
    issuer: far.issuer,
    keys: { url: far.jwksUrl },
    ...more,
  });
  const isActive = async (token: string) => {
    const bearer = noteToken(
      own.token({ serviceAccount: 'ledger-api', audiences: [admin.broker.running.url] }),
    );
    const answer = await admin.broker.request('/oauth2/introspect', {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}` },
      body: new URLSearchParams({ token }),
    });
    return answer.body.active;
  };

  it('are believed at once, shown, changed, and refused at once when they go', async () => {
    const token = tokenOf(edge);
    expect(await judge(token)).to.equal('token_issuer');
    const created = await put('edge', toPushed(edge));
    expect(created.status, created.text).to.equal(200);
    expect(created.body).to.deep.include({ result: 'created', dryRun: false });
    expect(await judge(token)).to.equal('accepted');
    const { body } = await admin.call('GET /api/v1/clusters/edge');
    expect(body).to.deep.include({
      name: 'edge',
      own: false,
      source: 'api',
      state: 'Ready',
      validation: 'offline',
      keysFrom: 'pushed',
      updatedBy: 'static:bootstrap',
      problems: [],
    });
    expect(body.keys).to.deep.equal([{ kid: 'edge-1', algorithms: ['ES256'] }]);
    expect((await put('edge', body.document)).body).to.include({ result: 'unchanged' });
    const changed = await put('edge', { ...(body.document as object), maxStalenessSeconds: 60 });
    expect(changed.body).to.include({ result: 'changed' });
    const deleted = await admin.call('DELETE /api/v1/clusters/edge');
    expect(deleted.body).to.deep.equal({ name: 'edge' });
    expect(await judge(token)).to.equal('token_issuer');
    expect((await admin.call('DELETE /api/v1/clusters/edge')).status).to.equal(404);
  });

  it('fetch their keys before they are accepted, and are refused where there are none', async () => {
    const fetched = await put('far', toFetched());
    expect(fetched.status, fetched.text).to.equal(200);
    expect(await judge(noteToken(far.token({ audiences: ['reports'] })))).to.equal('accepted');
    const nowhere = await put('nowhere', toFetched({ keys: { url: `${far.issuer}/nowhere` } }));
    expect(nowhere.status).to.equal(400);
    expect(nowhere.text).to.contain('could not be fetched from there');
  });

  it('may be OIDC issuers, whose issuer nobody else has', async () => {
    const oidc = { kind: 'oidc', issuer: far.issuer };
    expect((await put('ci', oidc)).status).to.equal(200);
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: far.issuer, sub: 'repo:a', aud: 'deploy', iat: now, exp: now + 300 };
    const token = noteToken(mint({ key: far.key, claims }));
    expect(await judge(token)).to.equal('accepted');
    const second = await put('other', toFetched());
    expect(second.status).to.equal(409);
    expect(second.text).to.contain('only Kubernetes clusters share one');
    const revoked = await admin.call('DELETE /api/v1/clusters/ci?revoke=true');
    expect(revoked.status).to.equal(400);
    expect((await admin.call('DELETE /api/v1/clusters/ci')).status).to.equal(200);
    expect(await judge(token)).to.equal('token_issuer');
  });

  it('write nothing in a dry run, and only the version that is named', async () => {
    const dry = await put('edge', toPushed(edge), undefined, '?dryRun=true');
    expect(dry.body).to.include({ result: 'created', dryRun: true });
    expect((await admin.call('GET /api/v1/clusters/edge')).status).to.equal(404);
    expect((await put('edge', toPushed(edge), undefined, '?version=7')).status).to.equal(412);
    await put('edge', toPushed(edge), undefined, '?version=0');
    const again = await put('edge', toPushed(next), undefined, '?version=0');
    expect(again.status).to.equal(412);
  });

  const refused: readonly {
    title: string;
    name?: string;
    body: () => unknown;
    status: number;
    says: string;
  }[] = [
    {
      title: 'the name of an entry in the file',
      name: 'local',
      body: toFetched,
      status: 409,
      says: 'clusters file',
    },
    {
      title: "the broker's own issuer",
      body: () => ({ ...toPushed(edge), issuer: admin.broker.running.url }),
      status: 409,
      says: 'broker itself',
    },
    {
      title: "the own cluster's key, handed in",
      body: () => toPushed(edge, own.key),
      status: 409,
      says: 'key_conflict',
    },
    {
      title: "the own cluster's key, to be fetched",
      body: () => toFetched({ keys: { url: own.jwksUrl } }),
      status: 409,
      says: 'key_conflict',
    },
    {
      title: 'a private key',
      body: () => ({
        ...toPushed(edge),
        keys: { pushed: { jwks: { keys: [edge.privateKey.export({ format: 'jwk' })] } } },
      }),
      status: 400,
      says: 'private or symmetric',
    },
    {
      title: 'a file of the broker',
      body: () => toFetched({ keys: { file: '/etc/passwd' } }),
      status: 400,
      says: 'clusters file alone',
    },
    {
      title: 'own: true',
      body: () => toFetched({ own: true }),
      status: 400,
      says: 'clusters file',
    },
    {
      title: 'a name that is no label',
      name: 'A.b',
      body: toFetched,
      status: 400,
      says: 'DNS label',
    },
  ];
  for (const { title, name = 'edge', body, status, says } of refused) {
    it(`cannot have ${title}`, async () => {
      const answer = await put(name, body());
      expect(answer.status, answer.text).to.equal(status);
      expect(answer.text).to.contain(says);
      expect((await exchange(noteToken(own.token()))).body.reason).to.equal('no_role');
    });
  }

  it('cannot have a key that another registered cluster has, nor one that it pushed since', async () => {
    await put('edge', toPushed(edge));
    const token = tokenOf(edge, { audiences: ['coatcheck-control'], ...CONTROLLER });
    await admin.call('PUT /api/v1/clusters/edge/keys', { token, body: toJwks(next) });
    for (const key of [edge, next]) {
      const answer = await put('thief', toPushed(key));
      expect(answer.body, answer.text).to.include({ reason: 'key_conflict' });
    }
  });

  it('go on with what they pushed where they are applied again, and begin anew with another first set', async () => {
    await put('edge', toPushed(edge));
    const token = tokenOf(edge, { audiences: ['coatcheck-control'], ...CONTROLLER });
    await admin.call('PUT /api/v1/clusters/edge/keys', { token, body: toJwks(next) });
    await put('edge', { ...toPushed(edge), maxStalenessSeconds: 1000 });
    expect([await judge(tokenOf(next)), await judge(tokenOf(edge))]).to.deep.equal([
      'accepted',
      'token_signature',
    ]);
    const third = createSigningKey('ES256', 'third');
    await put('edge', toPushed(third));
    expect([await judge(tokenOf(third)), await judge(tokenOf(next))]).to.deep.equal([
      'accepted',
      'token_signature',
    ]);
    await put('edge', toPushed(edge));
    expect([await judge(tokenOf(edge)), await judge(tokenOf(next))]).to.deep.equal([
      'accepted',
      'token_signature',
    ]);
  });

  it('take their client tokens with them, for as long as they are gone, or for good', async () => {
    await put('edge', toPushed(edge));
    const obtain = async (audience: string) => {
      const { body } = await exchange(tokenOf(edge, { audiences: [audience] }));
      return noteToken(String(body.access_token));
    };
    const tokens = [await obtain('payments'), await obtain('ledger')];
    const areActive = () => Promise.all(tokens.map(isActive));
    expect(await areActive()).to.deep.equal([true, true]);
    await admin.call('DELETE /api/v1/clusters/edge');
    expect(await areActive()).to.deep.equal([false, false]);
    await put('edge', toPushed(edge));
    expect(await areActive()).to.deep.equal([true, true]);
    const deleted = await admin.call('DELETE /api/v1/clusters/edge?revoke=true');
    expect(deleted.body.revoked).to.be.greaterThan(0);
    await put('edge', toPushed(edge));
    expect(await areActive()).to.deep.equal([false, false]);
  });

  describe('who may', () => {
    const write = 'coatcheck:clusters:write';
    const rows: readonly {
      who: string;
      policies: readonly string[];
      more?: object;
      name: string;
      reason: string;
    }[] = [
      { who: 'who may write clusters', policies: [write], name: 'free', reason: 'ok' },
      {
        who: 'who may only read them',
        policies: ['coatcheck:clusters:read'],
        name: 'free',
        reason: 'bearer_forbidden',
      },
      {
        who: 'who may write roles alone',
        policies: ['coatcheck:roles:write'],
        name: 'free',
        reason: 'bearer_forbidden',
      },
      {
        who: 'who may write clusters, under a name that a role has',
        policies: [write],
        name: 'edge',
        reason: 'beyond_own',
      },
      {
        who: 'who may write clusters, under a name that receivers have',
        policies: [write],
        name: 'lab-1',
        reason: 'beyond_own',
      },
      {
        who: 'who may write clusters, under a name that receivers nearly have',
        policies: [write],
        name: 'lab',
        reason: 'ok',
      },
      {
        who: 'who may write roles too, under a name that receivers have',
        policies: [write, 'coatcheck:roles:write'],
        name: 'lab-1',
        reason: 'ok',
      },
      {
        who: 'who may write roles too, but lacks a policy of the role',
        policies: [write, 'coatcheck:roles:write'],
        name: 'edge',
        reason: 'beyond_own',
      },
      {
        who: 'who has all that the role grants',
        policies: [write, 'coatcheck:roles:write', 'payments'],
        more: { ttl: '48h' },
        name: 'edge',
        reason: 'ok',
      },
    ];
    for (const { who, policies, more = {}, name, reason } of rows) {
      it(`is asked of ${who}: ${reason}`, async () => {
        const token = await admin.makeToken(policies, more);
        const answer = await put(name, toPushed(edge), token);
        expect(answer.status === 200 ? 'ok' : answer.body.reason, answer.text).to.equal(reason);
        expect(answer.text).not.to.contain('edge-shop');
      });
    }

    it('is asked about every name where a role is about every cluster', async () => {
      const everywhere = toRole('everywhere', {
        subjects: [{ cluster: '*', namespace: 'shop', serviceAccount: 'checkout' }],
      });
      await admin.call('PUT /api/v1/roles/everywhere', { body: everywhere });
      const token = await admin.makeToken([write]);
      expect((await put('free', toPushed(edge), token)).body.reason).to.equal('beyond_own');
      await admin.call('DELETE /api/v1/roles/everywhere');
      expect((await put('free', toPushed(edge), token)).status).to.equal(200);
    });

    it('is asked of the API server about ServiceAccounts: clusters, and roles where a role fits', async () => {
      admin.access.decide = ({ resourceAttributes }) => resourceAttributes.resource === 'clusters';
      const token = admin.workload('operator');
      expect((await put('free', toPushed(edge), token)).status).to.equal(200);
      expect((await put('edge', toPushed(next), token)).body.reason).to.equal('beyond_own');
      const deleted = await admin.call('DELETE /api/v1/clusters/free?revoke=true', { token });
      expect(deleted.status).to.equal(403);
      expect((await admin.call('DELETE /api/v1/clusters/free', { token })).status).to.equal(200);
    });
  });

  it('are not written while the store is away, and nothing changes', async () => {
    const clusters = admin.store.clusters as { put: (typeof admin.store.clusters)['put'] };
    const { put: write } = clusters;
    clusters.put = () => Promise.reject(new StoreError('unavailable', 'it is away'));
    const answer = await put('edge', toPushed(edge));
    clusters.put = write;
    expect(answer.status).to.equal(503);
    expect(await judge(tokenOf(edge))).to.equal('token_issuer');
  });

  it('lose against the file, are reported, and count again once it has them no more', async () => {
    await put('edge', toPushed(edge));
    const { broker } = admin.broker.running;
    const [local] = (await admin.call('GET /api/v1/clusters/local')).body.issuers as string[];
    const inFile = (name: string, more: object) => ({
      name,
      kind: 'kubernetes' as const,
      own: false,
      validation: 'offline' as const,
      algorithms: ['ES256' as const],
      refreshSeconds: 300,
      maxStalenessSeconds: 3600,
      cooldownSeconds: 10,
      issuers: [local ?? ''],
      keys: { from: 'url' as const, url: own.jwksUrl },
      ...more,
    });
    const own1 = inFile('local', { own: true });
    const keys = { from: 'url' as const, url: far.jwksUrl };
    broker.replaceClusters([own1, inFile('edge', { issuers: [far.issuer], keys })]);
    expect(await judge(tokenOf(edge))).to.equal('token_issuer');
    const { body } = await admin.call('GET /api/v1/clusters');
    const shown = (body.items as { name: string; source: string; state: string }[]).map(
      ({ name, source, state }) => `${name} ${source} ${state}`,
    );
    expect(shown).to.deep.equal(['local file Ready', 'edge file Ready', 'edge api Shadowed']);
    expect((await put('edge', toPushed(next))).status).to.equal(409);
    const problems = await broker.metrics.registry.metrics();
    expect(problems).to.match(/^coatcheck_broker_cluster_problems 1$/m);
    broker.replaceClusters([own1]);
    expect(await judge(tokenOf(edge))).to.equal('accepted');
  });
});

describe('admin API: a cluster whose pushed keys are too old', () => {
  it('cannot push, and is believed again once it is registered anew, with the keys it begins with', async () => {
    const own = await startIssuer();
    let now = Date.now();
    const clock = { ...systemClock, now: () => now };
    const admin = await startAdmin('stale keys', { roles: ROLES, fake: own, clock });
    const put = (body: object) => admin.call('PUT /api/v1/clusters/edge', { body });
    const push = (key: SigningKey, ...keys: readonly SigningKey[]) => {
      const issuedAt = Math.floor(now / 1000);
      const audiences = ['coatcheck-control'];
      const token = tokenOf(key, { audiences, ...CONTROLLER, issuedAt });
      return admin.call('PUT /api/v1/clusters/edge/keys', { token, body: toJwks(...keys) });
    };
    const entry = { ...toPushed(edge), maxStalenessSeconds: 600 };
    await put(entry);
    expect((await push(edge, edge, next)).status).to.equal(200);
    now += 601_000;
    const stale = await push(edge, edge, next);
    expect(stale.status).to.equal(503);
    expect(stale.body).to.include({ reason: 'unavailable' });
    const { body } = await admin.call('GET /api/v1/clusters/edge');
    expect(body.problems).to.deep.equal([
      'its keys are too old to be used: tokens of it cannot be checked',
    ]);
    expect((await put(entry)).body).to.include({ result: 'changed' });
    expect((await push(next, edge, next)).status).to.equal(401);
    expect((await push(edge, edge, next)).status).to.equal(200);
    expect((await put(entry)).body).to.include({ result: 'unchanged' });
    expect((await push(next, next)).status).to.equal(200);
    await admin.stop();
    await own.close();
  });
});

for (const backend of BACKENDS) {
  (backend.lack === undefined ? describe : describe.skip)(
    `admin API: clusters that are registered, on ${backend.kind}`,
    () => {
      let database: Database;
      let own: FakeIssuer;
      const { token: bootstrapToken } = newOpaqueToken(randomBytes);
      before(async function () {
        this.timeout(60_000);
        [database, own] = await Promise.all([backend.create(), startIssuer()]);
      });
      after(async () => {
        await database.close();
        await own.close();
      });
      const start = (name: string) =>
        startAdmin(name, { roles: ROLES, fake: own, storeChoice: database.choice, bootstrapToken });
      const exchange = async (admin: AdminUnderTest, key: SigningKey) =>
        (await admin.broker.exchange({ subject_token: tokenOf(key) })).status;

      it('are there after a restart', async () => {
        const first = await start('registered before');
        await first.call('PUT /api/v1/clusters/edge', { body: toPushed(edge) });
        await first.stop();
        const second = await start('registered after');
        expect(await exchange(second, edge)).to.equal(200);
        await second.call('DELETE /api/v1/clusters/edge');
        await second.stop();
      });

      if (backend.kind === 'postgres')
        it('are known to the other replicas at once, and gone there at once', async () => {
          const [a, b] = [await start('registered a'), await start('registered b')];
          await a.call('PUT /api/v1/clusters/edge', { body: toPushed(edge) });
          await waitUntil('B believes it', async () => (await exchange(b, edge)) === 200);
          await b.call('DELETE /api/v1/clusters/edge');
          await waitUntil('A does not', async () => (await exchange(a, edge)) === 400);
          await a.stop();
          await b.stop();
        });
    },
  );
}
