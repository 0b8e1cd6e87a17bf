// The plan with changes and times as a test says them.
import { expect } from 'chai';
import {
  createEvictionPlan,
  DOUBT_MS,
  isEvictable,
  READY_MS,
  SILENCE_MS,
  SUCCESSOR_MS,
} from '../../controller/eviction-plan.ts';
import type { PodOwner, TrackedPod } from '../../controller/pods.ts';
import { AWAY_MS } from '../../controller/webhook-evidence.ts';
import { toInjected, toMissed, toOwner, toPlain, toReady } from './tracked-pods.ts';

const SECOND = 1000;

describe('the plan of evictions', () => {
  let now: number;
  let missed: Map<string, TrackedPod>;
  let outcomes: string[];
  let plan: ReturnType<typeof createEvictionPlan>;
  const add = (...pods: readonly TrackedPod[]) => {
    for (const pod of pods) missed.set(pod.uid, pod);
  };
  const next = () => plan.next(missed, now)?.name;
  const arrive = (pod: TrackedPod) => {
    plan.apply({ after: pod }, now);
    if (!pod.volumeNames.includes('coatcheck-tokens') && pod.annotations) add(pod);
  };
  const go = (pod: TrackedPod) => {
    missed.delete(pod.uid);
    plan.apply({ before: pod }, now);
  };
  const become = (before: TrackedPod, after: TrackedPod) => plan.apply({ before, after }, now);
  /** The pod goes, and this comes in its place. */
  const replace = (pod: TrackedPod, successor: TrackedPod) => {
    go(pod);
    arrive(successor);
  };
  /** The webhook is known to work: somebody else's pod was injected. */
  const seeWebhook = () => {
    now += SECOND;
    arrive(toInjected('other-1'));
  };
  beforeEach(() => {
    now = 1_000_000;
    missed = new Map();
    outcomes = [];
    plan = createEvictionPlan({
      isCovered: (namespace) => namespace !== 'outside',
      onOutcome: (pod, outcome) => outcomes.push(`${pod.name} ${outcome}`),
    });
  });

  const OWNERS: readonly [string, PodOwner | undefined, boolean][] = [
    ['ReplicaSet', toOwner('a'), true],
    ['StatefulSet', toOwner('a', { kind: 'StatefulSet' }), true],
    ['DaemonSet', toOwner('a', { kind: 'DaemonSet' }), true],
    [
      'ReplicationController',
      toOwner('a', { apiVersion: 'v1', kind: 'ReplicationController' }),
      true,
    ],
    ['Job', toOwner('a', { apiVersion: 'batch/v1', kind: 'Job' }), false],
    ['Node', toOwner('a', { apiVersion: 'v1', kind: 'Node' }), false],
    ['ReplicaSet of others', toOwner('a', { apiVersion: 'apps.example/v1' }), false],
    ['nobody', undefined, false],
  ];
  for (const [name, owner, is] of OWNERS) {
    it(`${is ? 'has' : 'never has'} pods of ${name}`, () => {
      const { owner: _, ...bare } = toMissed('a-1');
      const pod: TrackedPod = owner ? { ...bare, owner } : bare;
      expect(isEvictable(pod)).to.equal(is);
      add(pod);
      expect(next()).to.equal(is ? 'a-1' : undefined);
    });
  }

  it('tries one pod of all, as long as nobody knows whether the webhook is there', () => {
    const [first] = [toMissed('web-1')];
    add(first, toMissed('api-1'));
    expect([next(), next()]).to.eql(['web-1', undefined]);
    replace(first, toInjected('web-2'));
    expect(next()).to.equal('api-1');
  });
  it('takes the next of an owner when the successor is ready, not before', () => {
    seeWebhook();
    const [first, second] = [toMissed('web-1'), toMissed('web-2')];
    add(first, second);
    expect([next(), next()]).to.eql(['web-1', undefined]);
    replace(first, toInjected('web-3'));
    now += SECOND;
    expect(next()).to.equal(undefined);
    become(toInjected('web-3'), toReady(toInjected('web-3')));
    expect(next()).to.equal('web-2');
    expect(outcomes).to.eql(['web-1 ready']);
  });
  it('waits for a pod that takes its time to end, where only then another one is made', () => {
    seeWebhook();
    const owner = toOwner('db', { kind: 'StatefulSet' });
    add({ ...toMissed('db-0'), owner }, { ...toMissed('db-1'), owner }, toMissed('web-1'));
    expect([next(), next()]).to.eql(['db-0', 'web-1']);
    replace(toMissed('web-1'), toInjected('web-2'));
    become(toInjected('web-2'), toReady(toInjected('web-2')));
    now += 10 * SUCCESSOR_MS;
    expect(next()).to.equal(undefined);
    add(toMissed('api-1'));
    expect(next()).to.equal('api-1');
    expect(outcomes).to.eql(['web-1 ready']);
  });
  it('evicts nobody else while an evicted pod has no successor: a webhook without an answer refuses all', () => {
    seeWebhook();
    add(toMissed('web-1'), toMissed('api-1'), toMissed('job-1'));
    expect(next()).to.equal('web-1');
    now += SILENCE_MS - 1;
    expect(next()).to.equal('api-1');
    now += 1;
    expect(next()).to.equal(undefined);
    now += SUCCESSOR_MS;
    expect(next()).to.equal(undefined);
    expect(outcomes).to.eql(['web-1 absent', 'api-1 absent']);
    now += 4 * AWAY_MS - 1;
    expect(next()).to.equal(undefined);
    now += 1;
    expect(next()).to.equal('job-1');
  });
  it('does not mind an owner without successor where others are injected meanwhile', () => {
    seeWebhook();
    add(toMissed('web-1'), toMissed('api-1'), toMissed('job-1'));
    next();
    seeWebhook();
    now += SILENCE_MS;
    expect(next()).to.equal('api-1');
    replace(toMissed('api-1'), toInjected('api-2'));
    now += SUCCESSOR_MS;
    expect(next()).to.equal('job-1');
    expect(outcomes).to.eql(['web-1 absent']);
  });
  it('gives an owner up whose eviction had no answer and who made no other pod', () => {
    seeWebhook();
    add(toMissed('web-1'), toMissed('web-2'));
    next();
    plan.doubt(toMissed('web-1'));
    now += DOUBT_MS;
    go(toMissed('web-1'));
    now += SUCCESSOR_MS;
    expect(next()).to.equal(undefined);
    expect(outcomes).to.eql(['web-1 absent']);
  });
  it('goes on at once when the successor came late', () => {
    seeWebhook();
    add(toMissed('web-1'), toMissed('api-1'));
    next();
    now += 2 * SILENCE_MS;
    expect(next()).to.equal(undefined);
    replace(toMissed('web-1'), toInjected('web-2'));
    expect(next()).to.equal('api-1');
  });
  it('has ten owners under way at most', () => {
    seeWebhook();
    for (let i = 0; i < 20; i++) add(toMissed(`web${i}-1`));
    const taken = Array.from({ length: 20 }, () => next()).filter((one) => one !== undefined);
    expect(taken).to.have.lengthOf(10);
  });

  describe('stops for an owner', () => {
    let first: TrackedPod;
    beforeEach(() => {
      first = toMissed('web-1');
      add(first, toMissed('web-2'), toMissed('web-3'));
      expect(next()).to.equal('web-1');
    });
    const staysStopped = () => {
      for (let hour = 0; hour < 100; hour++) {
        now += 3600 * SECOND;
        seeWebhook();
        expect(next(), `hour ${hour}`).to.equal(undefined);
      }
      expect(plan.countStopped()).to.equal(1);
    };

    it('whose template does not have the annotation', () => {
      replace(first, toPlain('web-4'));
      expect(outcomes).to.eql(['web-1 unannotated']);
      staysStopped();
    });
    it('who makes no other pod', () => {
      go(first);
      now += SUCCESSOR_MS;
      expect(next()).to.equal(undefined);
      expect(outcomes).to.eql(['web-1 absent']);
      staysStopped();
    });
    it('whose new pod is injected and does not become ready', () => {
      replace(first, toInjected('web-4'));
      now += READY_MS;
      expect(next()).to.equal(undefined);
      expect(outcomes).to.eql(['web-1 unready']);
      staysStopped();
    });
    it('whose new pod missed injection, too; tries once more when the webhook works for others', () => {
      replace(first, toMissed('web-4'));
      expect(outcomes).to.eql(['web-1 missed']);
      now += 100 * AWAY_MS;
      expect(next()).to.equal(undefined);
      seeWebhook();
      expect(next()).to.equal('web-2');
      replace(toMissed('web-2'), toMissed('web-5'));
      expect(outcomes).to.eql(['web-1 missed', 'web-2 missed']);
      staysStopped();
    });
    it('until a new pod of it is injected and ready, whoever made room for it', () => {
      replace(first, toPlain('web-4'));
      seeWebhook();
      expect(next()).to.equal(undefined);
      arrive(toInjected('web-9'));
      expect(next()).to.equal(undefined);
      become(toInjected('web-9'), toReady(toInjected('web-9')));
      expect(next()).to.equal('web-2');
      expect(plan.countStopped()).to.equal(0);
    });
    it('until its new pod is ready after all', () => {
      const successor = toInjected('web-4');
      replace(first, successor);
      now += READY_MS;
      next();
      become(successor, toReady(successor));
      expect(next()).to.equal('web-2');
    });
    it('and not by what its other pods do', () => {
      replace(first, toPlain('web-4'));
      const old = toInjected('web-0');
      become(old, toReady(old));
      seeWebhook();
      expect(next()).to.equal(undefined);
    });
    it('not by a pod of another namespace that names the same owner', () => {
      const forged = { ...toPlain('web-4'), namespace: 'elsewhere' };
      arrive(forged);
      expect(outcomes).to.eql([]);
    });
  });

  it('waits for another successor where the first one went away', () => {
    seeWebhook();
    const first = toMissed('web-1');
    add(first);
    next();
    replace(first, toInjected('web-2'));
    go(toInjected('web-2'));
    now += SUCCESSOR_MS - 1;
    next();
    expect(outcomes).to.eql([]);
    now += 1;
    next();
    expect(outcomes).to.eql(['web-1 absent']);
  });

  describe('while the webhook seems away', () => {
    it('evicts nobody, then one pod of all, at times that double', () => {
      arrive(toMissed('a-1'));
      add(toMissed('b-1'), toMissed('c-1'));
      now += AWAY_MS - 1;
      expect(next()).to.equal(undefined);
      now += 1;
      expect([next(), next()]).to.eql(['a-1', undefined]);
      replace(toMissed('a-1'), toMissed('a-2'));
      now += 2 * AWAY_MS - 1;
      expect(next()).to.equal(undefined);
      now += 1;
      expect([next(), next()]).to.eql(['b-1', undefined]);
    });
    it('goes on at once when a pod is injected', () => {
      arrive(toMissed('a-1'));
      expect(next()).to.equal(undefined);
      seeWebhook();
      expect(next()).to.equal('a-1');
    });
    it('takes no word from namespaces that it does not see', () => {
      arrive({ ...toMissed('x-1'), namespace: 'outside' });
      add(toMissed('a-1'));
      missed.delete('uid-x-1');
      expect(next()).to.equal('a-1');
    });
  });

  it('leaves an owner alone that was held back, longer each time, and others not', () => {
    seeWebhook();
    const pod = toMissed('web-1');
    add(pod, toMissed('api-1'));
    for (const seconds of [10, 20, 40, 80, 160, 300, 300]) {
      expect(next()).to.equal('web-1');
      plan.holdBack(pod, now);
      if (seconds === 10) {
        expect(next()).to.equal('api-1');
        replace(toMissed('api-1'), toInjected('api-2'));
      }
      now += seconds * SECOND - 1;
      expect(next(), `${seconds}`).to.equal(undefined);
      now += 1;
    }
  });
  it('waits as long as the API server asks for', () => {
    const pod = toMissed('web-1');
    add(pod);
    next();
    plan.holdBack(pod, now, 60 * SECOND);
    now += 59 * SECOND;
    expect(next()).to.equal(undefined);
    now += SECOND;
    expect(next()).to.equal('web-1');
  });
  it('tries again where an eviction had no answer and the pod is there as before', () => {
    const pod = toMissed('web-1');
    add(pod);
    next();
    plan.doubt(pod);
    now += DOUBT_MS;
    expect(next()).to.equal(undefined);
    now += 10 * SECOND;
    expect(next()).to.equal('web-1');
  });
  it('sees the successor of an eviction that had no answer and was done', () => {
    const pod = toMissed('web-1');
    add(pod);
    next();
    plan.doubt(pod);
    replace(pod, toInjected('web-2'));
    become(toInjected('web-2'), toReady(toInjected('web-2')));
    expect(outcomes).to.eql(['web-1 ready']);
  });
});
