import { expect } from 'chai';
import {
  createDeathLog,
  type Death,
  findDeadAccounts,
  findDeadPods,
} from '../../controller/deaths.ts';
import { createPodTrimmer } from '../../controller/pods.ts';

const trim = createPodTrimmer('auth.example.io/');
const pod = (uid: string, phase: string, metadata: object = {}) =>
  trim({ metadata: { name: 'app', namespace: 'shop', uid, ...metadata }, status: { phase } });
const TERMINATING = { deletionTimestamp: '2026-11-22T12:00:00Z' };

const CHANGES = [
  { what: 'whose object is gone', before: pod('a', 'Running'), dead: ['a'] },
  { what: 'that never started and is gone', before: pod('a', 'Pending'), dead: ['a'] },
  {
    what: 'that succeeded',
    before: pod('a', 'Running'),
    after: pod('a', 'Succeeded'),
    dead: ['a'],
  },
  { what: 'that failed', before: pod('a', 'Running'), after: pod('a', 'Failed'), dead: ['a'] },
  { what: 'that is over when it is first seen', after: pod('a', 'Succeeded'), dead: ['a'] },
  {
    what: 'under whose name there is another',
    before: pod('a', 'Running'),
    after: pod('b', 'Pending'),
    dead: ['a'],
  },
  {
    what: 'under whose name there is another that is over, too',
    before: pod('a', 'Running'),
    after: pod('b', 'Failed'),
    dead: ['a', 'b'],
  },
  { what: 'that was over before its object went', before: pod('a', 'Succeeded'), dead: [] },
  { what: 'that only came', after: pod('a', 'Pending'), dead: [] },
  { what: 'that goes on', before: pod('a', 'Pending'), after: pod('a', 'Running'), dead: [] },
  {
    what: 'that is told to end, and drains',
    before: pod('a', 'Running'),
    after: pod('a', 'Running', TERMINATING),
    dead: [],
  },
  {
    what: 'whose node is silent',
    before: pod('a', 'Running'),
    after: pod('a', 'Unknown'),
    dead: [],
  },
];

describe('the death', () => {
  for (const { what, before, after, dead } of CHANGES) {
    it(`of a pod ${what} is ${dead.length === 0 ? 'not told' : 'told'}`, () => {
      expect(findDeadPods({ ...(before && { before }), ...(after && { after }) })).to.eql(dead);
    });
  }
  it('of a ServiceAccount is its removal, also where another one takes its name', () => {
    expect(findDeadAccounts({ before: { uid: 'a' } })).to.eql(['a']);
    expect(findDeadAccounts({ before: { uid: 'a' }, after: { uid: 'b' } })).to.eql(['a']);
    expect(findDeadAccounts({ before: { uid: 'a' }, after: { uid: 'a' } })).to.eql([]);
    expect(findDeadAccounts({ after: { uid: 'a' } })).to.eql([]);
  });
});

describe('a pod', () => {
  it('is trimmed to what the controller needs', () => {
    const trimmed = trim({
      metadata: {
        name: 'app',
        namespace: 'shop',
        uid: 'u',
        labels: { app: 'x' },
        managedFields: [{ manager: 'kubectl' }],
        annotations: { 'auth.example.io/audience': 'payments', other: 'secret' },
        ownerReferences: [
          { kind: 'Node', name: 'n', uid: '0' },
          { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'app-1', uid: '1', controller: true },
        ],
        ...TERMINATING,
      },
      spec: {
        serviceAccountName: 'checkout',
        volumes: [{ name: 'v', secret: {} }],
        containers: [],
      },
      status: { phase: 'Running', podIP: '10.0.0.1' },
    });
    expect(trimmed).to.eql({
      uid: 'u',
      name: 'app',
      namespace: 'shop',
      phase: 'Running',
      serviceAccountName: 'checkout',
      owner: { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'app-1', uid: '1' },
      deletionTimestamp: '2026-11-22T12:00:00Z',
      annotations: { audience: 'payments' },
      volumeNames: ['v'],
    });
  });
});

describe('the log of deaths', () => {
  const death = (uid: string, at: number): Death => ({ kind: 'Pod', uid, at });
  it('remembers what happened since a time, and forgets what was before', () => {
    const log = createDeathLog();
    for (const [uid, at] of [
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ] as const)
      log.add(death(uid, at));
    expect(log.since(2).map(({ uid }) => uid)).to.eql(['b', 'c']);
    log.forgetBefore(3);
    expect(log.since(0).map(({ uid }) => uid)).to.eql(['c']);
  });
  it('has a bound, and says when it forgot one for another', () => {
    const log = createDeathLog(2);
    expect([log.add(death('a', 1)), log.add(death('b', 2)), log.add(death('c', 3))]).to.eql([
      false,
      false,
      true,
    ]);
    expect(log.since(0).map(({ uid }) => uid)).to.eql(['b', 'c']);
  });
});
