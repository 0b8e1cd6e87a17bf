// `/api/v1/clusters/{name}/live` over HTTP: whose word counts, each yes beside its near misses, and what a report must
// look like. Two clusters state the same `iss`, as clusters made by one tool do.
import { request as httpRequest } from 'node:http';
import { expect } from 'chai';
import { parseClusters } from '../../../../broker/identity/clusters.ts';
import { type FakeIssuer, startIssuer } from '../../../support/issuer.ts';
import { waitUntil } from '../../store/backends.ts';
import { type AdminUnderTest, startAdmin } from './harness.ts';

const POD = '6c1f8c0e-7b0a-4f6e-9a52-0d8a3c1b2e01';
const CONTROLLER = { namespace: 'coatcheck', serviceAccount: 'controller' };
const CONTROL = ['coatcheck-control'];

const now = (offsetMs = 0): string => new Date(Date.now() + offsetMs).toISOString();
const toSet = (change: object = {}): object => ({
  takenAt: now(),
  pods: ['p-1'],
  serviceAccounts: ['s-1'],
  ...change,
});
const toDeaths = (uid = 'p-0', change: object = {}): object => ({
  dead: [{ kind: 'Pod', uid, at: now(), ...change }],
});

describe('admin API: who lives in a cluster', () => {
  let own: FakeIssuer;
  let edge: FakeIssuer;
  let others: readonly FakeIssuer[];
  let admin: AdminUnderTest;
  before(async () => {
    own = await startIssuer();
    edge = await startIssuer({ issuer: own.issuer });
    others = [await startIssuer(), await startIssuer()];
    const [third, fourth] = others;
    const toCluster = (name: string, { jwksUrl }: FakeIssuer) => ({
      name,
      kind: 'kubernetes',
      own: name === 'local',
      issuer: own.issuer,
      keys: { url: jwksUrl },
      controller: CONTROLLER,
    });
    const bare = {
      name: 'bare',
      kind: 'kubernetes',
      issuer: 'https://bare.example',
      keys: { url: third?.jwksUrl },
    };
    const oidc = {
      name: 'ci',
      kind: 'oidc',
      issuer: 'https://ci.example',
      keys: { url: fourth?.jwksUrl },
    };
    admin = await startAdmin('admin live', {
      fake: own,
      clusters: parseClusters(
        JSON.stringify({
          clusters: [toCluster('local', own), toCluster('edge', edge), bare, oidc],
        }),
        { file: '/clusters.yaml' },
      ),
    });
  });
  after(async () => {
    await admin.stop();
    await own.close();
    await Promise.all([edge, ...others].map((one) => one.close()));
  });

  const ask = (method: 'PUT' | 'PATCH', cluster: string, token: string, body?: unknown) =>
    admin.call(`${method} /api/v1/clusters/${cluster}/live`, {
      token,
      body: body ?? (method === 'PUT' ? toSet() : toDeaths()),
    });
  const ofController = (issuer: FakeIssuer, change: object = {}) =>
    issuer.token({ ...CONTROLLER, audiences: CONTROL, ...change });

  it('takes one complete set of a cluster at a time: each is megabytes in memory', async () => {
    const first = startSlow(`${admin.broker.running.url}/api/v1/clusters/edge/live`, {
      token: ofController(edge),
      body: JSON.stringify(toSet()),
    });
    await first.isReading;
    // Let in is it a moment after its head was read.
    await waitUntil('it is let in', async () => {
      const second = await ask('PUT', 'edge', ofController(edge));
      return second.status === 429 && second.headers.get('retry-after') === '5';
    });
    expect((await ask('PUT', 'local', ofController(own))).status).to.equal(200);
    expect((await ask('PATCH', 'edge', ofController(edge))).status).to.equal(200);
    expect(await first.finish()).to.equal(200);
    expect((await ask('PUT', 'edge', ofController(edge), {})).status).to.equal(400);
    expect((await ask('PUT', 'edge', ofController(edge))).status).to.equal(200);
  });

  const callers: readonly [
    what: string,
    toToken: () => string | Promise<string>,
    expected: Readonly<Record<string, number>>,
  ][] = [
    [
      "the own cluster's controller",
      () => ofController(own),
      { local: 200, edge: 403, bare: 403, none: 403 },
    ],
    [
      "the other cluster's controller of the same name",
      () => ofController(edge),
      { local: 403, edge: 200, bare: 403 },
    ],
    [
      'its pod without a binding',
      () => ofController(own, { pod: null }),
      { local: 200, edge: 403 },
    ],
    [
      'another ServiceAccount beside it',
      () => ofController(own, { serviceAccount: 'controller-2' }),
      { local: 403, edge: 403 },
    ],
    [
      'a ServiceAccount of its name elsewhere',
      () => ofController(own, { namespace: 'shop' }),
      { local: 403, edge: 403 },
    ],
    [
      'it with a token for a service',
      () => ofController(own, { audiences: ['payments'] }),
      { local: 401 },
    ],
    [
      'it with a token for a service too',
      () => ofController(own, { audiences: [...CONTROL, 'payments'] }),
      { local: 401 },
    ],
    [
      'it with a token that has ended',
      () => ofController(own, { issuedAt: Math.floor(Date.now() / 1000) - 7200 }),
      { local: 401 },
    ],
    ['nobody', () => '', { local: 401, none: 401 }],
    ['root', () => admin.root, { local: 200, edge: 200, bare: 200, none: 404, ci: 404 }],
    [
      'a static token that may write clusters',
      () => admin.makeToken(['coatcheck:clusters:write']),
      { local: 403 },
    ],
  ];
  for (const [what, toToken, expected] of callers) {
    for (const [cluster, status] of Object.entries(expected)) {
      it(`answers ${status} to ${what} about cluster ${cluster}`, async () => {
        const token = await toToken();
        expect((await ask('PUT', cluster, token)).status).to.equal(status);
        expect((await ask('PATCH', cluster, token)).status).to.equal(status);
      });
    }
  }

  it('does not ask RBAC about controllers: what it would give another ServiceAccount counts nothing here', async () => {
    admin.access.decide = () => true;
    const before = admin.access.asked.length;
    expect((await ask('PUT', 'local', ofController(own, { namespace: 'ops' }))).status).to.equal(
      403,
    );
    expect(admin.access.asked).to.have.length(before);
  });

  const sets: readonly [what: string, toBody: () => unknown, status: number][] = [
    ['with a moment without offset', () => toSet({ takenAt: '2026-11-22T10:15:00' }), 400],
    ['with a moment in seconds', () => toSet({ takenAt: 1_795_000_000 }), 400],
    ['dated ahead by more than the clocks may differ', () => toSet({ takenAt: now(40_000) }), 400],
    ['without pods', () => toSet({ pods: [] }), 400],
    ['without ServiceAccounts', () => toSet({ serviceAccounts: [] }), 400],
    ['of one list alone', () => ({ takenAt: now(), pods: ['p-1'] }), 400],
    ['with a uid of 65 characters', () => toSet({ pods: ['a'.repeat(65)] }), 400],
    ['with an empty uid', () => toSet({ pods: [''] }), 400],
    ['with a uid that is a name', () => toSet({ pods: ['shop/checkout'] }), 400],
    ['with a number for a uid', () => toSet({ pods: [7] }), 400],
    ['with a member that nobody knows', () => toSet({ namespaces: [] }), 400],
    ['with a uid of 64 characters', () => toSet({ pods: ['aZ9-'.repeat(16)] }), 200],
    [
      'with a moment in another offset',
      () => toSet({ takenAt: new Date().toISOString().replace('Z', '+00:00') }),
      200,
    ],
    ['dated ahead by less', () => toSet({ takenAt: now(20_000) }), 200],
  ];
  for (const [what, toBody, status] of sets) {
    it(`answers ${status} to a set ${what}`, async () => {
      expect((await ask('PUT', 'bare', admin.root, toBody())).status).to.equal(status);
    });
  }

  const reports: readonly [what: string, toBody: () => unknown, status: number][] = [
    ['of none', () => ({ dead: [] }), 400],
    ['of a Node', () => toDeaths('p-9', { kind: 'Node' }), 400],
    ['without a moment', () => ({ dead: [{ kind: 'Pod', uid: 'p-9' }] }), 400],
    ['of a uid with a blank', () => toDeaths('p 9'), 400],
    ['dated ahead', () => toDeaths('p-9', { at: now(40_000) }), 400],
    [
      'of a thousand and one',
      () => ({
        dead: Array.from({ length: 1001 }, (_, i) => ({ kind: 'Pod', uid: `x-${i}`, at: now() })),
      }),
      400,
    ],
    ['of a ServiceAccount', () => toDeaths('s-9', { kind: 'ServiceAccount' }), 200],
    ['of a day ago', () => toDeaths('p-8', { at: now(-86_400_000) }), 200],
  ];
  for (const [what, toBody, status] of reports) {
    it(`answers ${status} to deaths ${what}`, async () => {
      expect((await ask('PATCH', 'bare', admin.root, toBody())).status).to.equal(status);
    });
  }

  it('refuses a set that is older than the last, and takes the same twice', async () => {
    const token = ofController(edge);
    const later = now(5000);
    const body = toSet({ takenAt: later, pods: ['p-1', 'p-2'] });
    const first = await ask('PUT', 'edge', token, body);
    expect(first.body).to.deep.include({ pods: 2, serviceAccounts: 1 });
    const again = await ask('PUT', 'edge', token, body);
    expect([again.status, again.body.died]).to.deep.equal([200, 0]);
    const older = await ask('PUT', 'edge', token, toSet({ takenAt: now() }));
    expect([older.status, older.body.error]).to.deep.equal([409, 'conflict']);
    // The other cluster's sets are its own.
    expect((await ask('PUT', 'local', ofController(own), toSet())).status).to.equal(200);
  });

  it('shows the last set of a cluster by its counts, and none of one that never reported', async () => {
    const takenAt = now(6000);
    await ask('PUT', 'edge', ofController(edge), toSet({ takenAt, pods: ['a', 'b'] }));
    const { body } = await admin.call('GET /api/v1/clusters/edge');
    expect(body.live).to.deep.include({ takenAt, pods: 2, serviceAccounts: 1 });
    expect((await admin.call('GET /api/v1/clusters/ci')).body).not.to.have.property('live');
  });

  it('counts who died between two sets, and whom it had not heard of', async () => {
    const token = ofController(edge);
    const set = (pods: readonly string[]) => toSet({ takenAt: now(8000), pods });
    await ask('PUT', 'edge', token, set(['a', 'b', 'c']));
    expect((await ask('PUT', 'edge', token, set(['c']))).body.died).to.equal(2);
    const dead = ['a', 'c'].map((uid) => ({ kind: 'Pod', uid, at: now() }));
    expect((await ask('PATCH', 'edge', token, { dead })).body).to.deep.equal({ dead: 2, news: 1 });
    expect((await ask('PATCH', 'edge', token, { dead })).body).to.deep.equal({ dead: 2, news: 0 });
  });

  it('records a report by its counts, without a uid, and a refused one too', async () => {
    const token = ofController(own);
    await ask('PATCH', 'local', token, toDeaths(POD.replace('6c', '7d')));
    const record = admin.records().at(-1);
    expect(record).to.deep.include({
      action: 'reportDead',
      resource: 'clusters',
      outcome: 'allow',
      name: 'local',
      dead: 1,
      news: 1,
      subject: 'k8s:local:coatcheck:controller',
    });
    expect(JSON.stringify(record)).not.to.include(POD.slice(2));
    await ask('PUT', 'edge', token);
    expect(admin.records().at(-1)).to.deep.include({
      action: 'replaceLive',
      outcome: 'deny',
      reason: 'bearer_forbidden',
    });
  });

  it('takes a set of 100,000 pods, which other routes would not', async function () {
    this.timeout(20_000);
    const pods = Array.from(
      { length: 100_000 },
      (_, i) => `${String(i).padStart(8, '0')}${POD.slice(8)}`,
    );
    const body = JSON.stringify(toSet({ takenAt: now(9000), pods }));
    const startedAt = performance.now();
    const answer = await ask('PUT', 'edge', ofController(edge), body);
    const ms = performance.now() - startedAt;
    expect([answer.status, answer.body.pods]).to.deep.equal([200, 100_000]);
    console.log(
      `      PUT of 100,000 pods, ${(body.length / 1e6).toFixed(1)} MB: answered in ${ms.toFixed(0)} ms`,
    );
    const tooLong = `{"pods":["${'x'.repeat(8 * 1024 * 1024)}"]}`;
    const refused = await ask('PUT', 'edge', ofController(edge), tooLong).catch(() => undefined);
    expect(refused?.status ?? 413).to.equal(413);
    expect((await ask('PATCH', 'edge', ofController(edge), body)).status).to.equal(413);
  });

  it('opens nothing to a controller whose own pod is dead', async () => {
    const pod = { name: 'controller-1', uid: 'controller-uid' };
    const token = ofController(own, { pod });
    expect((await ask('PATCH', 'local', token, toDeaths('somebody'))).status).to.equal(200);
    expect((await ask('PATCH', 'local', token, toDeaths(pod.uid))).status).to.equal(200);
    expect((await ask('PATCH', 'local', token, toDeaths('somebody'))).status).to.equal(401);
    const other = ofController(own, { pod: { ...pod, uid: 'another-uid' } });
    expect((await ask('PATCH', 'local', other, toDeaths('somebody'))).status).to.equal(200);
  });
});

/** A report whose body comes when it is told to. */
function startSlow(url: string, { token, body }: { token: string; body: string }) {
  const request = httpRequest(url, {
    method: 'PUT',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      expect: '100-continue',
    },
  });
  const isReading = new Promise<void>((resolve, reject) => {
    request.once('continue', resolve).once('error', reject);
  });
  request.flushHeaders();
  return {
    isReading,
    finish: () =>
      new Promise<number>((resolve, reject) => {
        request.once('error', reject);
        request.once('response', (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        });
        request.end(body);
      }),
  };
}
