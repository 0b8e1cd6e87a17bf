// The status of TokenRoles: what this broker makes of them, written when it changes, and never against another replica.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import {
  createRoleStatusWriter,
  type RoleStatusWriter,
  type RoleVerdict,
} from '../../../broker/kube/role-status.ts';
import { type CrdSource, createCrdSource } from '../../../broker/roles/sources/crd.ts';
import { type Clock, systemClock } from '../../../common/clock.ts';
import { createKubeClient, type KubeClient } from '../../../common/kube/client.ts';
import { createLogger } from '../../../common/log.ts';
import { type FakeCollection, startCollection } from '../../support/kube-collection.ts';

const SPEC = {
  audience: 'payments',
  subjects: [{ namespace: 'shop', serviceAccount: 'checkout' }],
};
const ACCEPTED: RoleVerdict = { ready: true, reason: 'Accepted', message: 'in use', overlaps: [] };
const SHADOWED = { ...ACCEPTED, ready: false, reason: 'Shadowed', message: 'a file has the name' };

interface Replica {
  readonly source: CrdSource;
  readonly writer: RoleStatusWriter;
  verdict: RoleVerdict;
  readonly lines: string[];
}

describe('status of TokenRoles', () => {
  let server: FakeCollection;
  let client: KubeClient;
  let replicas: Replica[];
  let waits: number[];
  const clock: Clock = {
    now: () => Date.UTC(2026, 10, 22, 12),
    sleep: (ms, signal) => {
      waits.push(ms);
      return systemClock.sleep(Math.min(ms, 2), signal);
    },
  };
  beforeEach(async () => {
    server = await startCollection('/apis/auth.example.io/v1alpha1/tokenroles');
    client = createKubeClient(server);
    [replicas, waits] = [[], []];
  });
  afterEach(async () => {
    for (const { writer, source } of replicas) {
      await writer.stop();
      await source.stop();
    }
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
  const startReplica = async (verdict = ACCEPTED): Promise<Replica> => {
    const lines: string[] = [];
    const stream = { write: (line: string) => lines.push(line) };
    const log = createLogger({ level: 'info', process: 'test', stream });
    const source = createCrdSource({ client, clock, log });
    const writer = createRoleStatusWriter({
      client,
      findObjects: () => source.objects,
      createVerdicts: () => () => replica.verdict,
      clock,
      random: () => 0.5,
      log,
    });
    const replica: Replica = { source, writer, verdict, lines };
    replicas.push(replica);
    source.onObjects(writer.refresh);
    await source.start();
    return replica;
  };
  const conditionOf = (name: string) =>
    (server.find(name)?.status as { conditions: Record<string, unknown>[] } | undefined)
      ?.conditions[0];
  const untilReason = (name: string, reason: string) =>
    until(() => conditionOf(name)?.reason === reason);
  /** Long enough for several writes of what should not be written. */
  const settle = () => sleep(100);

  it('is written for each object, with the generation it is about', async () => {
    server.put('a', { spec: SPEC });
    server.put('a', { spec: SPEC });
    await startReplica({ ...ACCEPTED, overlaps: ['z', 'b'] });
    await untilReason('a', 'Accepted');
    expect(server.find('a')?.status).to.deep.equal({
      observedGeneration: 2,
      conditions: [
        {
          type: 'Ready',
          status: 'True',
          reason: 'Accepted',
          message: 'in use',
          observedGeneration: 2,
          lastTransitionTime: '2026-11-22T12:00:00Z',
        },
      ],
      overlaps: ['b', 'z'],
    });
  });
  it('is not written again while nothing changes, also not by the next process', async () => {
    server.put('a', { spec: SPEC });
    const first = await startReplica();
    await untilReason('a', 'Accepted');
    first.writer.refresh();
    await startReplica();
    await settle();
    expect(server.patches).to.have.lengthOf(1);
  });
  it('follows the verdict and the spec', async () => {
    server.put('a', { spec: SPEC });
    const replica = await startReplica();
    await untilReason('a', 'Accepted');
    replica.verdict = SHADOWED;
    replica.writer.refresh();
    await untilReason('a', 'Shadowed');
    expect(conditionOf('a')?.status).to.equal('False');
    server.put('a', { spec: { ...SPEC, audience: 'ledger' } });
    await until(() => conditionOf('a')?.observedGeneration === 2);
    replica.verdict = ACCEPTED;
    replica.writer.refresh();
    await untilReason('a', 'Accepted');
  });
  it('keeps the time of the last change of status, and conditions of others', async () => {
    const times = { lastTransitionTime: '2020-01-01T00:00:00Z' };
    const other = { type: 'Reviewed', status: 'True', reason: 'ByHand', ...times };
    const before = { type: 'Ready', status: 'True', reason: 'Accepted', message: 'old', ...times };
    server.put('a', { spec: SPEC, status: { conditions: [before, other] } });
    await startReplica();
    await until(() => server.patches.length === 1);
    await until(() => (conditionOf('a')?.type as string) === 'Reviewed');
    expect(server.find('a')?.status).to.deep.include({
      conditions: [other, { ...before, message: 'in use', observedGeneration: 1 }],
    });
  });
  it('of two replicas that see different things is written once by each', async () => {
    server.put('a', { spec: SPEC });
    await startReplica(ACCEPTED);
    await startReplica(SHADOWED);
    await until(() => server.patches.length >= 2);
    await settle();
    // A write that lost a race is tried once more; nothing goes on.
    const written = server.patches.length;
    expect(written).to.be.at.most(4);
    await settle();
    expect(server.patches).to.have.lengthOf(written);
  });
  it('is written for what was made anew under an old name', async () => {
    server.put('a', { spec: SPEC });
    await startReplica();
    await untilReason('a', 'Accepted');
    server.delete('a');
    server.put('a', { spec: SPEC });
    await untilReason('a', 'Accepted');
    expect(server.patches).to.have.lengthOf(2);
  });
  it('waits between writes', async () => {
    for (let i = 0; i < 5; i++) server.put(`r${i}`, { spec: SPEC });
    await startReplica();
    await until(() => server.patches.length === 5);
    expect(waits.filter((ms) => ms === 100)).to.have.lengthOf.at.least(5);
  });
  it('that cannot be written is a line in the log, tried again, and nothing else', async () => {
    server.put('a', { spec: SPEC });
    server.status = (url) => (url.endsWith('/status') ? 403 : undefined);
    const { source, lines } = await startReplica();
    await until(() => waits.filter((ms) => ms === 30_000).length >= 2);
    expect(lines.filter((line) => line.includes('could not be written'))).to.have.lengthOf(1);
    expect([source.current().length, source.problems()]).to.deep.equal([1, []]);
    server.status = undefined;
    await untilReason('a', 'Accepted');
  });
  it('is cut to what the CRD allows', async () => {
    server.put('a', { spec: SPEC });
    const overlaps = Array.from({ length: 200 }, (_, at) => `r${at}`);
    await startReplica({ ...ACCEPTED, message: 'x'.repeat(10_000), overlaps });
    await untilReason('a', 'Accepted');
    expect(String(conditionOf('a')?.message)).to.have.lengthOf(4096);
    expect(server.find('a')).to.have.nested.property('status.overlaps').with.lengthOf(100);
    await settle();
    expect(server.patches).to.have.lengthOf(1);
  });
});
