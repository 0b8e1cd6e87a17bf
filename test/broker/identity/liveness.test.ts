// Who counts as dead, row by row, each dead row beside a living near miss; random reports against a naive model; and what
// a set of 100,000 pods costs.
import { randomUUID } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  type Cluster,
  parseClusters,
  parseControllerIdentity,
  withController,
} from '../../../broker/identity/clusters.ts';
import type { Identity, WorkloadIdentity } from '../../../broker/identity/identity.ts';
import {
  COVERED_AFTER_MS,
  createLiveness,
  type Dead,
  type Liveness,
  type MortalKind,
  SKEW_SECONDS,
} from '../../../broker/identity/liveness.ts';
import { createFakeClock, type FakeClock } from '../../support/clock.ts';

const NOW_MS = Date.UTC(2026, 10, 22, 12);
const NOW = NOW_MS / 1000;
const KEEP_SECONDS = 3600;

function toWorkload(change: Partial<WorkloadIdentity> = {}): WorkloadIdentity {
  return {
    kind: 'workload',
    cluster: 'local',
    namespace: 'shop',
    serviceAccount: 'checkout',
    serviceAccountUid: 'sa-1',
    pod: { name: 'checkout-1', uid: 'pod-1' },
    ...change,
  };
}
function toUnbound(change: Partial<WorkloadIdentity> = {}): WorkloadIdentity {
  const { pod: _pod, ...rest } = toWorkload(change);
  return rest;
}
const toDead = (uid: string, kind: MortalKind = 'Pod', at = NOW_MS): Dead => ({
  kind,
  uid,
  diedAt: at,
  reportedAt: at,
});

const UIDS = ['a', 'b', 'c', 'd'];
const AGES = [0, 29, 31, 1000];

type Step =
  | { readonly does: 'die'; readonly uid: string; readonly wait: number }
  | {
      readonly does: 'list';
      readonly uids: readonly string[];
      readonly back: number;
      readonly wait: number;
    };

/** Everything that was ever said, read from the beginning for each question. */
function createModel(time: FakeClock) {
  const deaths = new Map<string, number>();
  let last: { readonly takenAt: number; readonly uids: readonly string[] } | undefined;
  const die = (uid: string) => {
    if (!deaths.has(uid)) deaths.set(uid, time.now());
  };
  function list(uids: readonly string[], takenAt: number, tested: Liveness): void {
    // A uid that died and is gone from the list never comes back; one that is still on it may be.
    const pods = uids.filter((uid) => !deaths.has(uid) || (last?.uids.includes(uid) ?? true));
    const taken = tested.replaceLive('local', { takenAt, pods, serviceAccounts: ['sa-1'] });
    expect(taken === undefined).to.equal(last !== undefined && takenAt < last.takenAt);
    if (taken === undefined) return;
    for (const uid of last?.uids ?? []) if (!pods.includes(uid)) die(uid);
    last = { takenAt, uids: pods };
  }
  return {
    apply: (step: Step, tested: Liveness): void => {
      const now = time.now();
      if (step.does === 'list') list(step.uids, now - step.back * 1000, tested);
      else {
        tested.addDead('local', [toDead(step.uid, 'Pod', now)]);
        die(step.uid);
      }
    },
    /** Of a token that its pod can have had. */
    toIssuedAt: (uid: string, age: number): number =>
      Math.floor(Math.min(time.now(), deaths.get(uid) ?? Infinity) / 1000) - age,
    isDead: (uid: string, issuedAt: number): boolean => {
      const diedAt = deaths.get(uid);
      if (diedAt !== undefined && time.now() < diedAt + KEEP_SECONDS * 1000) return true;
      if (!last || last.uids.includes(uid)) return false;
      return last.takenAt > (issuedAt + SKEW_SECONDS) * 1000;
    },
  };
}

describe('the identity of a controller', () => {
  for (const text of ['', 'a', 'a/', '/b', 'a/b/c', 'a/*', 'A/b', 'a /b', 'a/b\n', '-a/b'])
    it(`is not ${JSON.stringify(text)}`, () => {
      expect(() => parseControllerIdentity(text)).to.throw('NAMESPACE/SERVICEACCOUNT');
    });

  const parse = (own: object, other: object = {}) =>
    parseClusters(
      JSON.stringify({
        clusters: [
          { name: 'own', kind: 'kubernetes', own: true, issuer: 'https://own.example', ...own },
          {
            name: 'edge',
            kind: 'kubernetes',
            issuer: 'https://edge.example',
            keys: { file: 'keys.json' },
            ...other,
          },
        ],
      }),
      { file: '/clusters.yaml' },
    );
  const named = { namespace: 'coatcheck', serviceAccount: 'controller' };
  const given = parseControllerIdentity('other/ctl.1');
  const findControllers = (clusters: readonly Cluster[]) =>
    clusters.map((one) => (one.kind === 'kubernetes' ? one.controller : undefined));

  it('is that of the entry, then of the setting for the own cluster, and nobody’s for others', () => {
    expect(given).to.deep.equal({ namespace: 'other', serviceAccount: 'ctl.1' });
    expect(findControllers(withController(parse({ controller: named }), given))).to.deep.equal([
      named,
      undefined,
    ]);
    expect(findControllers(withController(parse({}, { controller: named }), given))).to.deep.equal([
      given,
      named,
    ]);
    expect(findControllers(withController(parse({}), undefined))).to.deep.equal([
      undefined,
      undefined,
    ]);
  });

  for (const controller of [{ namespace: 'a' }, { ...named, serviceAccount: '*' }, 'a/b'])
    it(`is not ${JSON.stringify(controller)} in the clusters table`, () => {
      expect(() => parse({ controller })).to.throw('controller');
    });
});

describe('liveness', () => {
  let clock: FakeClock;
  let liveness: Liveness;
  beforeEach(() => {
    clock = createFakeClock(NOW_MS);
    liveness = createLiveness({ clock, keepSeconds: KEEP_SECONDS });
  });
  const isDead = (who: Identity = toWorkload(), issuedAt = NOW - 600) =>
    liveness.findDeath(who, issuedAt) !== undefined;
  const reportLive = (pods: readonly string[], serviceAccounts = ['sa-1'], takenAt = NOW_MS) =>
    liveness.replaceLive('local', { takenAt, pods, serviceAccounts });

  it('forgets clusters that are gone once no token can be left of them, and no others', async () => {
    const set = { takenAt: NOW_MS, pods: ['pod-2'], serviceAccounts: ['sa-1'] };
    for (const cluster of ['gone', 'there']) {
      liveness.replaceLive(cluster, set);
      liveness.addDead(cluster, [toDead('pod-9')]);
    }
    const sweep = () => liveness.sweep((cluster) => cluster === 'there');
    const toState = (cluster: string) => [
      liveness.findReport(cluster)?.pods,
      liveness.countDead(cluster),
      liveness.findDeath(toWorkload({ cluster }), NOW - SKEW_SECONDS - 1)?.how,
    ];
    await clock.advance(KEEP_SECONDS * 1000 - 1);
    sweep();
    expect(toState('gone')).to.deep.equal([1, 1, 'absent']);
    await clock.advance(1);
    sweep();
    expect(toState('gone')).to.deep.equal([undefined, 0, undefined]);
    expect(toState('there')).to.deep.equal([1, 1, 'absent']);
  });

  it('knows of nobody who died in a cluster that never reported', () => {
    expect(isDead()).to.equal(false);
    expect(liveness.findReport('local')).to.equal(undefined);
  });

  const identities: readonly [what: string, who: Identity, dead: boolean][] = [
    ['the pod', toWorkload(), true],
    ['the pod under another name', toWorkload({ pod: { name: 'other', uid: 'pod-1' } }), true],
    [
      'a pod of its name with another uid',
      toWorkload({ pod: { name: 'checkout-1', uid: 'pod-2' } }),
      false,
    ],
    ['a pod of its uid in another cluster', toWorkload({ cluster: 'edge' }), false],
    ['its ServiceAccount without a pod', toUnbound(), false],
    ['a ServiceAccount whose uid is the same', toUnbound({ serviceAccountUid: 'pod-1' }), false],
    ['a subject of an OIDC issuer', { kind: 'oidc', issuer: 'local', subject: 'pod-1' }, false],
    ['a client', { kind: 'client', id: 'pod-1' }, false],
  ];
  for (const [what, who, dead] of identities) {
    it(`says that ${what} is ${dead ? 'dead' : 'not known to be dead'} after a pod was reported`, () => {
      liveness.addDead('local', [toDead('pod-1')]);
      expect(isDead(who)).to.equal(dead);
    });
  }

  for (const [what, uid, dead] of [
    ['of the dead ServiceAccount', 'sa-1', true],
    ['of the one that was made anew under its name', 'sa-2', false],
  ] as const) {
    it(`says that tokens ${what} are ${dead ? 'dead' : 'alive'}, bound to a pod or not`, () => {
      liveness.addDead('local', [toDead('sa-1', 'ServiceAccount')]);
      expect(isDead(toUnbound({ serviceAccountUid: uid }))).to.equal(dead);
      expect(isDead(toWorkload({ serviceAccountUid: uid }))).to.equal(dead);
    });
  }

  for (const [issuedAt, dead] of [
    [NOW - 600, true],
    [NOW - SKEW_SECONDS - 1, true],
    [NOW - SKEW_SECONDS, false],
    [NOW, false],
    [NOW + SKEW_SECONDS + 1, false],
  ] as const) {
    it(`counts a token of ${NOW - issuedAt} s before a set that lacks its pod as ${dead ? 'dead' : 'alive'}`, () => {
      reportLive(['pod-2']);
      expect(isDead(toWorkload(), issuedAt)).to.equal(dead);
      expect(isDead(toWorkload({ pod: { name: 'checkout-2', uid: 'pod-2' } }), issuedAt)).to.equal(
        false,
      );
    });
    it(`counts a token of ${NOW - issuedAt} s before a set that lacks its ServiceAccount as ${dead ? 'dead' : 'alive'}`, () => {
      reportLive(['pod-1'], ['sa-2']);
      expect(isDead(toWorkload(), issuedAt)).to.equal(dead);
      expect(isDead(toUnbound(), issuedAt)).to.equal(dead);
      expect(isDead(toUnbound({ serviceAccountUid: 'sa-2' }), issuedAt)).to.equal(false);
    });
  }

  it('does not hold a set against another cluster', () => {
    reportLive(['pod-2'], ['sa-2']);
    expect(isDead(toWorkload({ cluster: 'edge' }))).to.equal(false);
  });

  it('tells how it knows', () => {
    reportLive(['pod-1'], ['sa-2']);
    liveness.addDead('local', [toDead('pod-1', 'Pod', NOW_MS - 5000)]);
    expect(liveness.findDeath(toWorkload(), NOW)).to.deep.equal({
      kind: 'Pod',
      uid: 'pod-1',
      how: 'reported',
      at: NOW_MS - 5000,
    });
    expect(liveness.findDeath(toUnbound(), NOW - 600)).to.deep.equal({
      kind: 'ServiceAccount',
      uid: 'sa-1',
      how: 'absent',
      at: NOW_MS,
    });
  });

  it('lets nobody live again who died, whatever a set says', () => {
    liveness.addDead('local', [toDead('pod-1')]);
    reportLive(['pod-1'], ['sa-1'], NOW_MS + 10 * COVERED_AFTER_MS);
    expect(isDead()).to.equal(true);
  });

  it('takes whoever was in one set and is not in the next for dead, also with a young token', () => {
    reportLive(['pod-1', 'pod-2'], ['sa-1', 'sa-2']);
    const gone = reportLive(['pod-2'], ['sa-1'], NOW_MS + 60_000);
    expect(gone?.map(({ kind, uid }) => [kind, uid])).to.deep.equal([
      ['Pod', 'pod-1'],
      ['ServiceAccount', 'sa-2'],
    ]);
    expect(isDead(toWorkload(), NOW + 59)).to.equal(true);
    expect(isDead(toWorkload({ pod: { name: 'checkout-2', uid: 'pod-2' } }), NOW)).to.equal(false);
  });

  it('refuses a set that is older than the one it has, and takes the same again', () => {
    reportLive(['pod-1']);
    expect(reportLive([], ['sa-1'], NOW_MS - 1)).to.equal(undefined);
    expect(isDead()).to.equal(false);
    expect(reportLive(['pod-1'])).to.deep.equal([]);
  });

  it('says of each death once that it is news', () => {
    const dead = [toDead('pod-1'), toDead('pod-2')];
    expect(liveness.addDead('local', dead)).to.deep.equal(dead);
    expect(liveness.addDead('local', [...dead, toDead('pod-3')])).to.deep.equal([toDead('pod-3')]);
    expect(liveness.addDead('edge', [toDead('pod-1')])).to.have.length(1);
  });

  it('forgets the dead when no token can live that names them', async () => {
    liveness.addDead('local', [toDead('pod-1')]);
    await clock.advance(KEEP_SECONDS * 1000 - 1);
    expect(isDead()).to.equal(true);
    await clock.advance(1);
    expect(isDead()).to.equal(false);
    reportLive(['pod-2'], ['sa-1'], NOW_MS - 1);
    expect(liveness.countDead('local')).to.equal(0);
  });

  it('forgets the dead once a later set covers them, and they stay dead', () => {
    liveness.addDead('local', [toDead('pod-1')]);
    reportLive(['pod-2'], ['sa-1'], NOW_MS + COVERED_AFTER_MS);
    expect(liveness.countDead('local')).to.equal(1);
    reportLive(['pod-2'], ['sa-1'], NOW_MS + COVERED_AFTER_MS + 1);
    expect(liveness.countDead('local')).to.equal(0);
    expect(isDead(toWorkload(), NOW + 200)).to.equal(true);
    expect(liveness.addDead('local', [toDead('pod-1')])).to.deep.equal([]);
  });

  it('holds no more dead than it may; the oldest go', () => {
    liveness = createLiveness({ clock, keepSeconds: KEEP_SECONDS, maxDead: 2 });
    liveness.addDead(
      'local',
      ['pod-1', 'pod-2', 'pod-3'].map((uid) => toDead(uid)),
    );
    expect(liveness.countDead('local')).to.equal(2);
    expect(isDead()).to.equal(false);
    expect(isDead(toWorkload({ pod: { name: 'checkout-3', uid: 'pod-3' } }))).to.equal(true);
  });

  it('agrees with a naive model on any sequence of reports', async () => {
    const uid = fc.constantFrom(...UIDS);
    const step: fc.Arbitrary<Step> = fc.oneof(
      fc.record({ does: fc.constant('die' as const), uid, wait: fc.nat(400) }),
      fc.record({
        does: fc.constant('list' as const),
        uids: fc.uniqueArray(uid),
        back: fc.nat(90),
        wait: fc.nat(400),
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const time = createFakeClock(NOW_MS);
        const tested = createLiveness({ clock: time, keepSeconds: KEEP_SECONDS });
        const model = createModel(time);
        for (const one of steps) {
          await time.advance(one.wait * 1000);
          model.apply(one, tested);
          for (const [asked, age] of UIDS.flatMap((each) =>
            AGES.map((ago) => [each, ago] as const),
          )) {
            const issuedAt = model.toIssuedAt(asked, age);
            const who = toWorkload({ pod: { name: asked, uid: asked } });
            const found = tested.findDeath(who, issuedAt) !== undefined;
            expect(found, `${asked} ${age}`).to.equal(model.isDead(asked, issuedAt));
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  it('takes 100,000 pods', function () {
    this.timeout(20_000);
    const toUids = (count: number) => Array.from({ length: count }, () => randomUUID());
    const pods = toUids(100_000);
    const serviceAccounts = ['sa-1', ...toUids(20_000)];
    const body = JSON.stringify({ takenAt: new Date(NOW_MS).toISOString(), pods, serviceAccounts });
    liveness.replaceLive('local', { takenAt: NOW_MS, pods, serviceAccounts });
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    const startedAt = performance.now();
    const parsed = JSON.parse(body) as { pods: string[]; serviceAccounts: string[] };
    const parsedAt = performance.now();
    expect(
      liveness.replaceLive('local', {
        takenAt: NOW_MS + 60_000,
        pods: parsed.pods.slice(1000),
        serviceAccounts: parsed.serviceAccounts,
      }),
    ).to.have.length(1000);
    const doneAt = performance.now();
    globalThis.gc?.();
    const grown = process.memoryUsage().heapUsed - before;
    const askedAt = performance.now();
    for (const pod of pods)
      liveness.findDeath(toWorkload({ pod: { name: 'p', uid: pod } }), NOW - 600);
    const perAsk = ((performance.now() - askedAt) * 1e6) / pods.length;
    console.log(
      `      100,000 pods, 20,001 ServiceAccounts: ${(body.length / 1e6).toFixed(1)} MB of JSON parsed in ${(parsedAt - startedAt).toFixed(0)} ms, taken in ${(doneAt - parsedAt).toFixed(0)} ms, ${perAsk.toFixed(0)} ns per question, heap ${grown > 0 ? '+' : ''}${(grown / 1e6).toFixed(1)} MB${globalThis.gc ? '' : ' (before collection)'}`,
    );
    expect(isDead(toWorkload({ pod: { name: 'p', uid: pods[5] ?? '' } }))).to.equal(true);
    expect(isDead(toWorkload({ pod: { name: 'p', uid: pods[5000] ?? '' } }))).to.equal(false);
  });
});
