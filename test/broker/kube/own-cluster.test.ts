// The own API server in a broker: which one it is, what the statuses of TokenRoles say, and when namespaces are read. The
// same on a real API server: test/cluster/token-roles.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import type { Cluster } from '../../../broker/identity/clusters.ts';
import { findOwnApiServer } from '../../../broker/kube/own-api-server.ts';
import { createOwnCluster, type OwnCluster } from '../../../broker/kube/own-cluster.ts';
import { createRegistry, type RoleRegistry } from '../../../broker/roles/registry.ts';
import { systemClock } from '../../../common/clock.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeCollection, startCollection } from '../../support/kube-collection.ts';

const SUBJECT = { namespace: 'shop', serviceAccount: 'checkout' };
const SPEC = { audience: 'payments', subjects: [SUBJECT] };
const SELECTING = {
  audience: 'selected',
  subjects: [{ namespaceSelector: { matchLabels: { tier: 'web' } }, serviceAccount: 'checkout' }],
};

describe('own cluster of a broker', () => {
  let server: FakeCollection;
  let own: OwnCluster;
  let registry: RoleRegistry;
  const log = createLogger({
    level: 'error',
    process: 'test',
    stream: { write: () => undefined },
  });
  beforeEach(async () => {
    server = await startCollection('/apis/auth.example.io/v1alpha1/tokenroles');
  });
  afterEach(async () => {
    await registry.stop();
    await own.stop();
    await server.close();
  });
  const start = async (more: { namespaceLabels?: 'auto' | 'off' } = {}) => {
    own = createOwnCluster({
      apiServer: server,
      tokenRoles: true,
      namespaceLabels: 'auto',
      needsTokenReviews: true,
      clock: {
        now: systemClock.now,
        sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 5), signal),
      },
      random: () => 0.5,
      log,
      ...more,
    });
    registry = createRegistry({
      sources: own.source ? [own.source] : [],
      ownCluster: 'main',
      log,
    });
    registry.onChange(own.refresh);
    await registry.start();
    await own.start(registry);
  };
  const readCondition = (name: string) =>
    (server.find(name)?.status as { conditions?: Record<string, unknown>[] } | undefined)
      ?.conditions?.[0];
  const untilReason = async (name: string, reason: string) => {
    const deadline = performance.now() + 3000;
    while (readCondition(name)?.reason !== reason) {
      if (performance.now() > deadline) throw new Error(`${name} is never ${reason}`);
      await sleep(5);
    }
    return readCondition(name);
  };
  const wasAskedForNamespaces = () =>
    server.requests.some(({ url }) => url.startsWith('/api/v1/namespaces'));

  it('says which roles are in use, which are none, and which are in one another’s way', async () => {
    server.put('good', { spec: SPEC });
    server.put('none', { spec: { ...SPEC, audience: 'api' } });
    await start();
    expect(await untilReason('good', 'Accepted')).to.include({ status: 'True', message: 'in use' });
    const invalid = await untilReason('none', 'Invalid');
    expect(invalid?.status).to.equal('False');
    expect(invalid?.message).to.include('spec.audience: is reserved');
    server.put('twin', { spec: SPEC });
    await untilReason('twin', 'Ambiguous');
    expect(await untilReason('good', 'Ambiguous')).to.include({ status: 'False' });
    server.delete('twin');
    await untilReason('good', 'Accepted');
  });
  it('does not read namespaces before a role selects some', async () => {
    server.put('good', { spec: SPEC });
    await start();
    await untilReason('good', 'Accepted');
    expect([wasAskedForNamespaces(), own.problems()]).to.deep.equal([false, []]);
    expect(own.namespaces.isReady()).to.equal(false);
    server.put('selecting', { spec: SELECTING });
    await untilReason('selecting', 'Accepted');
    expect([wasAskedForNamespaces(), own.namespaces.isReady()]).to.deep.equal([true, true]);
  });
  it('knows the labels before it serves where the first roles select', async () => {
    server.put('selecting', { spec: SELECTING });
    await start();
    expect(own.namespaces.isReady()).to.equal(true);
  });
  it('says of a role that selects that it cannot, until it can', async () => {
    server.put('selecting', { spec: SELECTING });
    server.put('good', { spec: SPEC });
    server.status = (url) => (url.startsWith('/api/v1/namespaces') ? 403 : undefined);
    await start();
    const blind = await untilReason('selecting', 'NamespacesUnreadable');
    expect(blind).to.include({ status: 'False' });
    expect(own.problems()).to.have.lengthOf(1);
    await untilReason('good', 'Accepted');
    server.status = undefined;
    await untilReason('selecting', 'Accepted');
    expect(own.problems()).to.deep.equal([]);
  });
  it('never reads namespaces where that is off, and says so', async () => {
    server.put('selecting', { spec: SELECTING });
    await start({ namespaceLabels: 'off' });
    const blind = await untilReason('selecting', 'NamespacesUnreadable');
    expect(blind?.message).to.include('COATCHECK_NAMESPACE_LABELS');
    expect([wasAskedForNamespaces(), own.problems().length]).to.deep.equal([false, 1]);
  });
});

describe('own API server of the settings', () => {
  const settings = {
    tokenRoles: false,
    namespaceLabels: 'auto',
    apiServerUrl: undefined,
    apiServerCaFile: undefined,
    apiServerTokenFile: undefined,
  } as const;
  const reviewing = [
    {
      own: true,
      review: { url: 'https://a.test', caFile: '/a/ca', tokenFile: '/a/token' },
    },
  ] as unknown as readonly Cluster[];

  it('is none where nothing needs one', () => {
    expect(findOwnApiServer(settings, [])).to.equal(undefined);
  });
  it('is the one every pod finds, where TokenRoles are read', () => {
    expect(findOwnApiServer({ ...settings, tokenRoles: true }, [])).to.deep.include({
      apiServer: {
        url: 'https://kubernetes.default.svc',
        caFile: '/var/run/secrets/kubernetes.io/serviceaccount/ca.crt',
        tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
      },
      needsTokenReviews: false,
    });
  });
  it('is the one that reviews tokens of the own cluster', () => {
    expect(findOwnApiServer(settings, reviewing)).to.deep.include({
      apiServer: { url: 'https://a.test', caFile: '/a/ca', tokenFile: '/a/token' },
      needsTokenReviews: true,
    });
  });
  it('is what is set, before all others', () => {
    const given = { ...settings, apiServerUrl: 'https://b.test', apiServerCaFile: '/b/ca' };
    expect(findOwnApiServer(given, reviewing)).to.deep.include({
      apiServer: { url: 'https://b.test', caFile: '/b/ca', tokenFile: '/a/token' },
      needsTokenReviews: false,
    });
  });
});
