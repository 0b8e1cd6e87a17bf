// Roles from TokenRole objects: there after the first list, right after each change, and still there while the API server
// is away. The same on a real API server: test/cluster/token-roles.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type CrdSource, createCrdSource } from '../../../broker/roles/sources/crd.ts';
import { systemClock } from '../../../common/clock.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeCollection, startCollection } from '../../support/kube-collection.ts';

const SPEC = {
  audience: 'payments',
  subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
};

describe('TokenRole objects as a source of roles', () => {
  let server: FakeCollection;
  let client: KubeClient;
  let source: CrdSource;
  let changes: number;
  beforeEach(async () => {
    server = await startCollection('/apis/auth.example.io/v1alpha1/tokenroles');
    client = createKubeClient(server);
    changes = 0;
    source = createCrdSource({
      client,
      limits: { reservedAudiences: ['secret-place'] },
      clock: {
        now: systemClock.now,
        sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 5), signal),
      },
      log: createLogger({ level: 'error', process: 'test', stream: { write: () => undefined } }),
    });
    source.onChange(() => {
      changes += 1;
    });
  });
  afterEach(async () => {
    await source.stop();
    client.close();
    await server.close();
  });
  const until = async (isTrue: () => boolean) => {
    const deadline = performance.now() + 3000;
    while (!isTrue()) {
      if (performance.now() > deadline) throw new Error('gave up waiting');
      await sleep(5);
    }
  };
  const names = () => source.current().map(({ name }) => name);

  it('are an obstacle until they were read, and roles in the order of their names then', async () => {
    server.put('b', { spec: SPEC });
    server.put('a', { spec: { ...SPEC, audience: 'ledger' } });
    expect(source.findObstacles()).to.deep.equal(['TokenRoles were not read yet']);
    await source.start();
    expect(source.findObstacles()).to.deep.equal([]);
    expect(source.current().map(({ name, source: at, audience }) => [name, at, audience])).to.eql([
      ['a', 'crd:a', 'ledger'],
      ['b', 'crd:b', 'payments'],
    ]);
    expect([source.kind, changes, source.problems()]).to.deep.equal(['crd', 1, []]);
  });
  it('are no end of the broker where one is nested as deep as an API server takes it', async () => {
    const claims = { a: JSON.parse('['.repeat(4000) + ']'.repeat(4000)) as unknown };
    server.put('bomb', { spec: { ...SPEC, token: { claims } } });
    server.put('good', { spec: SPEC });
    await source.start();
    expect(names()).to.deep.equal(['good']);
    server.put('bomb-later', { spec: { ...SPEC, token: { claims } } });
    await until(() => source.problems().length === 2);
    expect([names(), source.findObstacles()]).to.deep.equal([['good'], []]);
    expect(source.problems().join()).to.match(/must not be nested more than 32 levels deep/);
  });
  it('follow every change', async () => {
    await source.start();
    server.put('a', { spec: SPEC });
    await until(() => names().length === 1);
    server.put('a', { spec: { ...SPEC, audience: 'ledger' } });
    await until(() => source.current()[0]?.audience === 'ledger');
    server.delete('a');
    await until(() => names().length === 0);
    expect(changes).to.equal(3);
  });
  it('do not change by a status', async () => {
    server.put('a', { spec: SPEC });
    await source.start();
    const before = source.current();
    let seen: unknown;
    source.onObjects(() => {
      seen = source.objects.get('a')?.status;
    });
    await client.patch(`${server.path}/a/status`, { status: { observedGeneration: 1 } });
    await until(() => seen !== undefined);
    expect(seen).to.deep.equal({ observedGeneration: 1 });
    expect(source.current()).to.equal(before);
  });
  it('that are no roles give none, whatever they gave before, and say why', async () => {
    server.put('a', { spec: SPEC });
    server.put('good', { spec: SPEC });
    await source.start();
    server.put('a', { spec: { ...SPEC, audience: 'secret-place' } });
    await until(() => source.invalid().length === 1);
    expect(names()).to.deep.equal(['good']);
    const problem = 'spec.audience: is reserved: a token for it is a credential elsewhere';
    expect(source.invalid()).to.deep.equal([{ name: 'a', source: 'crd:a', problems: [problem] }]);
    expect(source.problems()).to.deep.equal([`crd:a: ${problem}`]);
    expect(source.findObstacles()).to.deep.equal([]);
    server.put('a', { spec: SPEC });
    await until(() => names().length === 2);
    expect(source.problems()).to.deep.equal([]);
  });
  it('of another object under the same name are read anew', async () => {
    server.put('a', { spec: SPEC });
    await source.start();
    await until(() => server.watches === 1);
    await server.goAway();
    server.delete('a');
    server.put('a', { spec: { ...SPEC, audience: 'ledger' } });
    await server.comeBack();
    await until(() => source.current()[0]?.audience === 'ledger');
  });
  it('stay while the API server is away, which is a problem and no obstacle', async () => {
    server.put('a', { spec: SPEC });
    await source.start();
    await until(() => server.watches === 1);
    await server.goAway();
    await until(() => source.problems().length === 1);
    expect(source.problems()[0]).to.equal(
      'TokenRoles cannot be read: the API server: the connection failed',
    );
    expect([names(), source.findObstacles()]).to.deep.equal([['a'], []]);
    await server.comeBack();
    await until(() => source.problems().length === 0);
  });

  for (const [status, words] of [
    [404, 'the CRD tokenroles.auth.example.io is not installed'],
    [403, 'answered 403: the broker needs the right to list and watch them'],
    [500, 'answered 500'],
  ] as const) {
    it(`that are answered with ${status} are an obstacle that says why, and heal`, async () => {
      server.status = status;
      server.put('a', { spec: SPEC });
      await source.start();
      expect(source.findObstacles()).to.have.lengthOf(2);
      expect(source.findObstacles()[1]).to.include(words);
      expect(source.current()).to.deep.equal([]);
      server.status = undefined;
      await until(() => names().length === 1);
      expect(source.findObstacles()).to.deep.equal([]);
    });
  }
});
